"""The picture beside the patches that its sound keeps."""

import numpy as np
import pytest

from soundclip_hf.bundled import CLIP
from soundclip_hf.demo.desk import CLIP as CLIP_MODE
from soundclip_hf.demo.desk import PAIR, Choices, Desk, Media
from soundclip_hf.demo.given import Given, read_given
from soundclip_hf.demo.patches import patch_view
from soundclip_hf.evaluation.generation.kept_patches import kept_patches


@pytest.fixture(scope="module")
def given(desk):
    return read_given(clip=str(CLIP), rate=desk.rate)


def view(desk, given, top_k=8, alignment="projected", alpha=0.0):
    return patch_view(given, desk.answering, top_k=top_k, alignment=alignment, alpha=alpha)


def test_k_patches_stay(desk, given):
    for k in (0, 8, 64):
        shown = view(desk, given, k)
        assert (shown.kept, shown.patches) == (k, 64)
        assert -1 <= shown.low < shown.high <= 1
    assert shown.frame.size == shown.shown.size == (512, 512)


def test_settings_change_what_is_shown(desk, given):
    """By k, by the embedding and by alpha; alpha 1 is the raw embedding."""
    shown = {
        name: np.asarray(one.shown)
        for name, one in {
            "8": view(desk, given),
            "20": view(desk, given, 20),
            "raw": view(desk, given, alignment="raw"),
            "half": view(desk, given, alpha=0.5),
            "all": view(desk, given, alpha=1.0),
        }.items()
    }
    assert np.array_equal(shown["raw"], shown["all"])
    different = [shown[name] for name in ("8", "20", "raw", "half")]
    assert all((one != other).any() for place, one in enumerate(different) for other in different[:place])


def test_the_clock_is_kept(desk, given):
    """Of the bundled clip, patches on the clock, which sounds, and none on the piano, which does not."""
    found = kept_patches(given.picture, given.sound, given.rate, desk.answering, ["projected"], top_k=8)["projected"]
    rows, columns = np.nonzero(found.kept.reshape(8, 8))
    assert set(rows) <= {0, 1, 2, 3}
    assert set(columns) <= {4, 5, 6, 7}
    order = np.argsort(-found.similarity, kind="stable")
    assert set(order[:8]) == set(np.flatnonzero(found.kept))


def test_without_sound_or_picture(desk, given):
    assert view(desk, Given(None, given.sound, given.rate)) is None
    silent = view(desk, Given(given.picture, None, given.rate))
    assert silent.frame.size == (512, 512)
    assert silent.shown is None


def test_what_the_page_says_of_it(desk, example_folder):
    frame, shown, legend = desk.view(Media(CLIP_MODE, str(CLIP)), desk.defaults)
    assert frame is not None
    assert shown is not None
    assert "8 of 64 patches are kept" in legend
    assert desk.view(Media(CLIP_MODE), desk.defaults)[:2] == (None, None)
    sound = str(example_folder / "dubbed piano.wav")
    frame, shown, legend = desk.view(Media(PAIR, None, None, sound), desk.defaults)
    assert (frame, shown) == (None, None)
    assert "no picture" in legend


def test_starting_values(desk):
    assert desk.defaults == Choices(8, "projected", 0.0, "zero")
    assert Desk(desk.answering, desk.library, [], 20).defaults.top_k == 20
    with pytest.raises(ValueError, match=r"top_k=65: the pictures of .* have 64 patches"):
        Desk(desk.answering, desk.library, [], 65)
