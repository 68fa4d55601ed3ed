"""Procedural sounds of 26 kinds of source, for a small audio-visual world: dry sounds, noises, rooms, mixtures.

All is drawn from the generator that is passed in: the same state gives the same samples. A kind varies in pitch, tempo,
timbre, loudness and number of events, and families of kinds share their average spectrum (knocks, whistles, horns,
nasal voices), so telling them apart takes more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np

from . import animals, instruments, machines
from .envelopes import curve, wander
from .waves import LENGTH, RATE, SECONDS, cycles, harmonic, hiss, samples, shaped_noise

__all__ = ["KINDS", "RATE", "SECONDS", "mix", "noise", "room", "sound_of"]

_SOUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "bell": instruments.bell,
    "drum": instruments.drum,
    "guitar": instruments.guitar,
    "piano": instruments.piano,
    "trumpet": instruments.trumpet,
    "flute": instruments.flute,
    "phone": instruments.phone,
    "clock": instruments.clock,
    "car": machines.car,
    "train": machines.train,
    "boat": machines.boat,
    "helicopter": machines.helicopter,
    "dog": animals.dog,
    "cat": animals.cat,
    "bird": animals.bird,
    "owl": animals.owl,
    "duck": animals.duck,
    "frog": animals.frog,
    "bee": animals.bee,
    "cow": animals.cow,
    "sheep": animals.sheep,
    "kettle": machines.kettle,
    "hammer": instruments.hammer,
    "fan": machines.fan,
    "siren": machines.siren,
    "tap": machines.tap,
}
KINDS = tuple(_SOUNDS)

_NOISES = ("white", "pink", "brown", "hum", "wind", "murmur")
_FALLS = {"white": 0.0, "pink": 0.5, "brown": 1.0, "wind": 0.8}
_HERTZ = np.maximum(np.fft.rfftfreq(LENGTH, 1 / RATE), 20).astype(np.float32)

_LEVEL = 0.1
_FRAME = 800  # 50 ms
_QUIET = 10 ** (-30 / 20)

_LONGEST_TAIL = 0.8
# Room for the clip and the longest tail, so that the tail does not come round to the start; a product of small primes.
_ROOM_SIZE = 61440


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        near = get_close_matches(str(name), names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}.")


def _active_rms(sound: np.ndarray) -> float:
    """RMS of the 50-ms frames within 30 dB of the loudest one: pauses between events do not count."""
    power = np.square(sound).reshape(-1, _FRAME).mean(1)
    return float(np.sqrt(power[power >= power.max() * _QUIET**2].mean()))


def sound_of(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A new sound of a kind, without room or noise.

    Args:
        kind: one of `KINDS`.
        rng: all variety comes from it.

    Returns:
        (48000,) float32 at 16 kHz. The frames that are not silent have an RMS of 0.1, less where that would pass 0.95.

    Raises:
        ValueError: unknown kind.
    """
    _known(kind, KINDS, "kind of sound")
    wave = _SOUNDS[kind](rng).astype(np.float32)
    wave *= curve(10 ** (rng.uniform(-5, 0, 4) / 20))
    start = int(rng.uniform(0, 0.5) * RATE) if rng.random() < 0.75 else 0
    sound = np.zeros(LENGTH, dtype=np.float32)
    sound[start:] = wave[: LENGTH - start]
    edge = samples(0.005)
    sound[start : start + edge] *= np.linspace(0, 1, edge, dtype=np.float32)
    return sound * np.float32(min(_LEVEL / _active_rms(sound), 0.95 / np.abs(sound).max()))


def noise(rng: np.random.Generator, kind: str | None = None) -> np.ndarray:
    """Background noise.

    Args:
        rng: all variety comes from it.
        kind: "white", "pink", "brown", "hum" (mains and harmonics), "wind" or "murmur" (of voices); any if None.

    Returns:
        (48000,) float32, RMS 1.

    Raises:
        ValueError: unknown kind.
    """
    kind = _NOISES[rng.integers(len(_NOISES))] if kind is None else kind
    _known(kind, _NOISES, "kind of noise")
    if kind == "hum":
        hertz = 50.0 if rng.random() < 0.5 else 60.0
        wave = harmonic(cycles(hertz), np.arange(1, 41) ** -rng.uniform(0.5, 1.5), rng)
        wave += rng.uniform(0.1, 0.5) * hiss(rng, rng.uniform(300, 2000), 1.5)
    elif kind == "murmur":
        wave = np.zeros(LENGTH, dtype=np.float32)
        for centre in rng.uniform(250, 2600, 3):
            wave += hiss(rng, centre, 0.35) * np.clip(0.3 + wander(rng, rng.uniform(5, 9)), 0, None)
    else:
        wave = shaped_noise(rng, (_HERTZ / 100) ** np.float32(-_FALLS[kind] * rng.uniform(0.85, 1.15)))
        if kind == "wind":
            wave *= curve(10 ** (rng.uniform(-22, 0, rng.integers(4, 9)) / 20))
    return wave / np.sqrt(np.mean(np.square(wave)))


def room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sound in a room: with a tail of decaying noise, RT60 0.1 to 0.8 s, from absent to as loud as the sound itself.

    Args:
        sound: (48000,) float32.

    Returns:
        (48000,) float32 with the same RMS in the frames that are not silent; what rings on after the end is cut.

    Raises:
        ValueError: another shape.
    """
    if sound.shape != (LENGTH,):
        raise ValueError(f"sound has shape {sound.shape}; pass one clip of shape ({LENGTH},)")
    seconds, wet = rng.uniform(0.1, _LONGEST_TAIL), np.float32(rng.uniform(0, 0.5))
    size = samples(seconds)
    # 60 dB are a factor of 1000.
    fall = np.exp(np.linspace(0, -np.log(1000), size, dtype=np.float32))
    tail = rng.standard_normal(size, dtype=np.float32) * fall
    tail /= np.sqrt(np.sum(np.square(tail)))
    spectrum = np.fft.rfft(sound, _ROOM_SIZE) * np.fft.rfft(tail, _ROOM_SIZE)
    echo = np.fft.irfft(spectrum, _ROOM_SIZE)[:LENGTH].astype(np.float32)
    heard = (1 - wet) * sound + wet * echo
    before, after = _active_rms(sound), _active_rms(heard)
    return heard * np.float32(before / after) if after else heard


def mix(sources: Sequence[tuple[str, float]], rng: np.random.Generator, *, snr_db: float) -> np.ndarray:
    """What a microphone hears of some sources, each in its own room, over background noise.

    Args:
        sources: (kind, level) pairs; the level in dB relative to the first one. None at all gives a silent clip.
        rng: all variety comes from it.
        snr_db: how far the noise lies below the sum of the sources, both as RMS over the clip.

    Returns:
        (48000,) float32 whose peak is at a random level from -12 to -1 dBFS. Without sources: faint noise with an RMS
        from -75 to -50 dBFS, and in one case of three nothing but zeros.

    Raises:
        ValueError: unknown kind, or a level or `snr_db` that is not finite.
    """
    if not np.isfinite(snr_db):
        raise ValueError(f"snr_db is {snr_db}; give a finite number of decibels")
    for kind, level in sources:
        _known(kind, KINDS, "kind of sound")
        if not np.isfinite(level):
            raise ValueError(f"the level of {kind!r} is {level}; give a finite number of decibels")
    if not sources:
        if rng.random() < 1 / 3:
            return np.zeros(LENGTH, dtype=np.float32)
        return np.clip(noise(rng) * np.float32(10 ** (rng.uniform(-75, -50) / 20)), -1, 1)
    first = sources[0][1]
    total = np.zeros(LENGTH, dtype=np.float32)
    for kind, level in sources:
        total += room(sound_of(kind, rng), rng) * np.float32(10 ** ((level - first) / 20))
    loudness = np.sqrt(np.mean(np.square(total)))
    total += noise(rng) * (loudness * np.float32(10 ** (-snr_db / 20)))
    return total * np.float32(10 ** (rng.uniform(-12, -1) / 20) / np.abs(total).max())
