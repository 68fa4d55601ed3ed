"""Who gets whose sound, and what each condition sounds like."""

import io
from collections import Counter

import numpy as np
import pytest
from media_files import pcm_wav
from PIL import Image

from soundclip_hf.evaluation.audit.trials import Trials, swaps
from soundclip_hf.evaluation.samples import Sample, Samples
from soundclip_hf.media import MediaError

RATE = 16_000


def wav(seed: int | None, seconds: float = 0.5) -> bytes:
    """Noise, or digital silence for None."""
    size = (round(seconds * RATE), 1)
    values = np.zeros(size) if seed is None else np.random.default_rng(seed).uniform(-9000, 9000, size)
    return pcm_wav(values.astype(np.int16), RATE)


def png(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)).save(file, "png")
    return file.getvalue()


def samples(made: list[Sample]) -> Samples:
    return Samples("made", made.__getitem__, [one.id for one in made], [one.group for one in made])


def trials(made: list[Sample], seed: int = 0) -> Trials:
    return Trials(samples(made), RATE, "What?", "middle", seed)


@pytest.mark.parametrize("seed", range(20))
def test_each_sound_goes_to_another_group_once(seed):
    rng = np.random.default_rng(seed)
    groups = [f"video-{number}" for number in rng.integers(0, 6, size=int(rng.integers(12, 40)))]
    chosen = swaps(groups, seed)
    assert all(groups[index] != groups[other] for index, other in enumerate(chosen))
    if max(Counter(groups).values()) <= len(groups) / 2:
        assert sorted(chosen) == list(range(len(groups)))
    assert chosen == swaps(groups, seed)


def test_a_group_with_more_than_half_of_the_samples():
    groups = ["a"] * 7 + ["b"] * 2
    chosen = swaps(groups, 0)
    assert all(groups[index] != groups[other] for index, other in enumerate(chosen))


def test_seeds_draw_differently():
    groups = [str(number) for number in range(12)]
    assert len({tuple(swaps(groups, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("groups", [["a"], ["a", "a", "a"]])
def test_one_group_has_nobody_to_swap_with(groups):
    with pytest.raises(ValueError, match="all of one video or group: a swapped sound needs at least two groups"):
        swaps(groups, 0)


def test_the_conditions():
    made = [Sample(name, name, audio=wav(seed), image=png()) for seed, name in enumerate(("a", "b"))]
    found = trials(made)
    first = found[0]
    other = found[1]
    assert (first.swapped_with, other.swapped_with) == ("b", "a")
    assert first.true.pictures[0].size == (32, 32)
    assert np.array_equal(first.prompt("swapped").sound, other.true.sound)
    silence = first.prompt("silent").sound
    assert silence.shape == first.true.sound.shape
    assert not silence.any()
    assert first.prompt("none").sound is None
    for condition in ("silent", "swapped", "none"):
        assert first.prompt(condition).pictures == first.true.pictures
        assert not first.says_nothing(condition)


@pytest.mark.filterwarnings("ignore:.*silent sound")
def test_a_condition_with_the_same_sound_says_nothing():
    made = [
        Sample("mute", "mute", audio=wav(None)),
        Sample("mute2", "mute2", audio=wav(None)),
    ]
    first = trials(made)[0]
    assert first.says_nothing("silent")
    assert first.says_nothing("swapped")
    assert not first.says_nothing("none")


def test_samples_without_sound_are_left_out_and_named():
    made = [
        Sample("picture", "picture", image=png()),
        Sample("a", "a", audio=wav(0)),
        Sample("b", "b", audio=wav(1)),
    ]
    found = trials(made)
    assert found.ids == ["a", "b"]
    assert found.left_out == ["picture"]
    assert [found[index].id for index in range(2)] == ["a", "b"]


def test_samples_that_cannot_be_read_are_left_out_and_named(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    made = [
        Sample("broken", "broken", audio=str(broken)),
        Sample("a", "a", audio=wav(0)),
        Sample("b", "b", audio=wav(1)),
    ]
    found = trials(made)
    assert found.ids == ["a", "b"]
    assert found.left_out == ["broken"]
    assert "broken.wav" in found.failed["broken"]
    with pytest.raises(ValueError, match=r"none of its 1 samples has a sound.*broken\.wav"):
        trials(made[:1])


def test_a_sound_that_is_gone_during_the_run_is_no_silence(tmp_path, monkeypatch):
    monkeypatch.setattr("soundclip_hf.evaluation.audit.trials._CACHED", 1)
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(wav(number))
    found = trials([Sample(path.stem, path.stem, audio=str(path)) for path in paths])
    paths[0].unlink()
    with pytest.raises(MediaError, match="no such file"):
        found[0]


def test_no_sounds_and_too_few():
    with pytest.raises(ValueError, match="made: none of its 2 samples has a sound"):
        trials([Sample("a", "a", image=png()), Sample("b", "b", image=png())])
    with pytest.raises(ValueError, match=r"made: 1 sample\(s\) with sound, all of one video"):
        trials([Sample("a", "a", audio=wav(0)), Sample("b", "b", image=png())])
    with pytest.raises(ValueError, match=r"made: 2 sample\(s\) with sound, all of one video"):
        trials([Sample("v_01", "v", audio=wav(0)), Sample("v_02", "v", audio=wav(1))])
