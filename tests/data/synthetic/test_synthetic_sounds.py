"""Synthetic sounds: drawn from the generator alone, in range, and each kind is what its name says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundclip_hf.data.synthetic.sounds import KINDS, RATE, SECONDS, mix, noise, room, sound_of

LENGTH = 48000
NOISES = ("white", "pink", "brown", "hum", "wind", "murmur")
seeds = st.integers(0, 2**32 - 1)


def rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def frame_power(wave: np.ndarray) -> np.ndarray:
    return np.square(wave, dtype=np.float64).reshape(-1, 800).mean(1)


def spectrum(wave: np.ndarray) -> np.ndarray:
    """Power at 0, 1/3, 2/3, … Hz."""
    return np.abs(np.fft.rfft(wave.astype(np.float64))) ** 2


def share_between(wave: np.ndarray, low: float, high: float) -> float:
    power = spectrum(wave)
    return float(power[int(low * 3) : int(high * 3)].sum() / power.sum())


def test_kinds_are_the_26_of_the_world():
    assert len(KINDS) == len(set(KINDS)) == 26
    assert KINDS[0] == "bell"
    assert KINDS[-1] == "tap"
    assert RATE * SECONDS == LENGTH


@pytest.mark.parametrize("kind", KINDS)
def test_sounds_are_reproducible_varied_and_level(kind):
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    draws = [sound_of(kind, rng) for _ in range(20)]
    for wave in draws:
        assert wave.shape == (LENGTH,)
        assert wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() <= 0.951
        power = frame_power(wave)
        active = power[power >= power.max() / 1000]
        assert 0.04 < np.sqrt(active.mean()) < 0.1001
        # Within 40 dB of the loudest 50 ms.
        assert (power >= power.max() * 1e-4).mean() >= 0.4
    np.testing.assert_array_equal(draws[0], sound_of(kind, again))
    # No two draws are one sound, even when shifted: the peak of their normalised correlation stays below 1.
    first, second = (np.fft.rfft(wave, 2 * LENGTH) for wave in draws[:2])
    correlation = np.fft.irfft(first * second.conj()).max() / (np.linalg.norm(draws[0]) * np.linalg.norm(draws[1]))
    assert correlation < 0.9


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("bird", 2000, 8000), ("owl", 200, 1000), ("boat", 50, 2500), ("kettle", 700, 6000), ("flute", 350, 4000)],
)
def test_energy_lies_where_the_kind_lives(kind, low, high):
    rng = np.random.default_rng(3)
    assert min(share_between(sound_of(kind, rng), low, high) for _ in range(10)) > 0.8


def test_helicopter_thumps_12_to_20_times_a_second():
    rng = np.random.default_rng(5)
    rates = []
    for _ in range(12):
        # Loudness 500 times a second, freed of its slow changes; its strongest regular change is the rotor.
        loudness = np.abs(sound_of("helicopter", rng)[9600:41600]).reshape(-1, 32).mean(1)
        loudness /= np.convolve(loudness, np.ones(101) / 101, mode="same")
        beat = np.abs(np.fft.rfft(loudness - loudness.mean()))
        rates.append(4 + np.argmax(beat[8:100]) / 2)
    # Random filtered noise leads astray now and then.
    assert sum(11.5 <= rate <= 20.5 for rate in rates) >= 10
    assert max(rates) > min(rates) + 3


def test_siren_sweeps_and_fan_does_not():
    def dominant(wave: np.ndarray) -> np.ndarray:
        frames = wave[9600:44800].reshape(-1, 1600) * np.hanning(1600)
        return np.argmax(np.abs(np.fft.rfft(frames)), 1) * 10.0

    rng = np.random.default_rng(11)
    for _ in range(5):
        pitches = dominant(sound_of("siren", rng))
        assert np.percentile(pitches, 95) > 1.3 * np.percentile(pitches, 5)
        power = frame_power(sound_of("fan", rng))[12:]
        assert power.max() < 20 * power.min()


@pytest.mark.parametrize("kind", ["clock", "drum", "hammer", "dog"])
def test_events_come_again(kind):
    rng = np.random.default_rng(2)
    for _ in range(5):
        power = frame_power(sound_of(kind, rng))
        risen = (power[1:] > 2.5 * power[:-1]) & (power[1:] > power.max() / 100)
        assert risen.sum() >= 3


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_unit_power(kind):
    wave = noise(np.random.default_rng(1), kind)
    assert wave.shape == (LENGTH,)
    assert wave.dtype == np.float32
    assert rms(wave) == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(wave, noise(np.random.default_rng(1), kind))


def test_noises_fall_as_their_colour_says():
    def slope(kind: str) -> float:
        power = np.mean([spectrum(noise(np.random.default_rng(seed), kind)) for seed in range(20)], axis=0)
        octaves = [power[3 * 2**k : 6 * 2**k].mean() for k in range(6, 12)]  # from 64 Hz to 4096 Hz
        return float(np.polyfit(np.arange(6), 10 * np.log10(octaves), 1)[0])

    assert slope("white") == pytest.approx(0, abs=0.3)
    assert slope("pink") == pytest.approx(-3, abs=0.6)  # dB per octave
    assert slope("brown") == pytest.approx(-6, abs=0.9)


def test_hum_stands_on_mains_harmonics():
    wave = noise(np.random.default_rng(0), "hum")
    power = spectrum(wave)
    mains = [sum(power[hertz * 3 * k] for k in range(1, 41)) / power.sum() for hertz in (50, 60)]
    assert max(mains) > 0.7


def test_room_adds_a_decaying_tail_after_a_click():
    click = np.zeros(LENGTH, dtype=np.float32)
    click[8000] = 0.5
    wet = [room(click, np.random.default_rng(seed)) for seed in range(10)]
    for heard in wet:
        assert heard.shape == click.shape
        assert heard.dtype == np.float32
        assert np.abs(heard[:7999]).max() < 1e-5  # nothing before the click: no tail that came round
        assert np.abs(heard[8000 + 12900 :]).max() < 1e-4  # 0.8 s later it is gone
        early, late = rms(heard[8001:8800]), rms(heard[8000 + 6000 : 8000 + 12000])
        assert late < early
    np.testing.assert_array_equal(wet[3], room(click, np.random.default_rng(3)))
    with pytest.raises(ValueError, match=r"shape \(10,\).*\(48000,\)"):
        room(click[:10], np.random.default_rng(0))


@settings(max_examples=25, deadline=None)
@given(
    sources=st.lists(st.tuples(st.sampled_from(KINDS), st.floats(-20, 20)), min_size=1, max_size=3),
    snr_db=st.floats(-10, 60),
    seed=seeds,
)
def test_mixtures_never_clip_and_repeat_exactly(sources, snr_db, seed):
    wave = mix(sources, np.random.default_rng(seed), snr_db=snr_db)
    assert wave.shape == (LENGTH,)
    assert wave.dtype == np.float32
    peak = 20 * np.log10(np.abs(wave).max())
    assert -12.001 <= peak <= -0.999
    np.testing.assert_array_equal(wave, mix(sources, np.random.default_rng(seed), snr_db=snr_db))


@settings(max_examples=10, deadline=None)
@given(kind=st.sampled_from(KINDS), snr_db=st.floats(0, 20), seed=seeds)
def test_noise_lies_snr_below_the_sources(kind, snr_db, seed):
    clean, noisy, mostly_noise = (
        mix([(kind, 0.0)], np.random.default_rng(seed), snr_db=ratio).astype(np.float64)
        for ratio in (200.0, snr_db, -200.0)
    )
    # All three are a * source + b * noise with the same source and noise, so least squares finds both parts.
    parts, rest, *_ = np.linalg.lstsq(np.stack([clean, mostly_noise], 1), noisy, rcond=None)
    assert rest[0] < 1e-6 * np.sum(noisy**2)
    measured = 20 * np.log10(rms(parts[0] * clean) / rms(parts[1] * mostly_noise))
    assert measured == pytest.approx(snr_db, abs=0.05)


def test_levels_are_relative_to_the_first_source():
    """The bird is above 2 kHz and the boat mostly below: their bands show which is the louder one."""
    ratios = []
    for level in (-20.0, 20.0):
        wave = mix([("boat", 0.0), ("bird", level)], np.random.default_rng(4), snr_db=60)
        ratios.append(share_between(wave, 2000, 8000))
    assert ratios[0] < 0.2
    assert ratios[1] > 0.8
    first = mix([("boat", 0.0), ("bird", 5.0)], np.random.default_rng(4), snr_db=20)
    moved = mix([("boat", 30.0), ("bird", 35.0)], np.random.default_rng(4), snr_db=20)
    np.testing.assert_allclose(first, moved, atol=1e-6)


def test_silent_clips_are_faint_noise_or_zeros():
    rng = np.random.default_rng(0)
    clips = [mix([], rng, snr_db=10) for _ in range(90)]
    zeros = [clip for clip in clips if not clip.any()]
    assert 15 <= len(zeros) <= 45  # one in three: 30, give or take three deviations
    levels = [20 * np.log10(rms(clip)) for clip in clips if clip.any()]
    assert -75.1 <= min(levels) < -70
    assert -55 < max(levels) <= -49.9


def test_wrong_names_and_numbers_are_told():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown kind of sound 'helicoptre'; did you mean 'helicopter'"):
        sound_of("helicoptre", rng)
    with pytest.raises(ValueError, match="unknown kind of sound 'dgo'"):
        mix([("cat", 0.0), ("dgo", 0.0)], rng, snr_db=10)
    with pytest.raises(ValueError, match="unknown kind of noise 'pnik'; did you mean 'pink'"):
        noise(rng, "pnik")
    with pytest.raises(ValueError, match="snr_db is nan"):
        mix([("cat", 0.0)], rng, snr_db=float("nan"))
    with pytest.raises(ValueError, match="level of 'dog' is inf"):
        mix([("cat", 0.0), ("dog", float("inf"))], rng, snr_db=10)
