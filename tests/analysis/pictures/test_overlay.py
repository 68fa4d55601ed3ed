"""Overlays: the pixels of kept patches, of others, and of what the model does not see."""

import numpy as np
import pytest
from PIL import Image
from without_extras import block

from soundclip_hf.analysis.pictures.overlay import Heard, Overlay, draw_overlays, overlay
from soundclip_hf.analysis.pictures.patch_grid import PatchGrid
from soundclip_hf.extras import NotInstalledError

pytest.importorskip("matplotlib")
# A frame of 400 x 200, of which the middle 200 x 200 is seen, as 2 x 2 patches.
FRAME = Image.new("RGB", (400, 200), (120, 120, 120))
GRID = PatchGrid(100, 0, 300, 200, 2)


def heard(kept, similarity=(0.0, 0.1, 0.2, 0.3)):
    return Heard(np.array(kept, dtype=bool), np.array(similarity))


def pixels(found, **options):
    return np.asarray(overlay(FRAME, found, GRID, side=400, **options)).astype(int)


def test_a_kept_patch_is_outlined_where_it_lies():
    drawn = pixels(heard([0, 1, 0, 0]))
    nothing = pixels(heard([0, 0, 0, 0]))
    changed = np.argwhere((drawn != nothing).any(-1))
    # Patch 1 is at the top right: columns 200 to 300, rows 0 to 100; its outline is 2 pixels wide and has a casing.
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert (left, right) == pytest.approx((200, 300), abs=2)
    assert (top, bottom) == pytest.approx((0, 100), abs=2)
    assert (drawn[50, 200] == 255).all()
    assert (drawn[100, 250] == 255).all()
    assert not (drawn[10:90, 210:290] != nothing[10:90, 210:290]).any()  # the picture inside stays as it is


def test_neighbours_that_stay_have_one_outline():
    both = pixels(heard([1, 1, 0, 0]))
    assert (both[50, 200] != 255).any()  # between them
    assert (both[50, 100] == 255).all()
    assert (both[50, 299] == 255).all()
    everything = pixels(heard([1, 1, 1, 1]))
    assert (everything[98:103, 150] != 255).any(-1).all()


def test_an_outline_at_the_edge_of_the_picture_is_seen():
    """The base view of LLaVA-1.6 covers the whole frame."""
    whole = PatchGrid(0, 0, 400, 200, 2)
    drawn = np.asarray(overlay(FRAME, heard([1, 0, 0, 1]), whole, side=400))
    white = (drawn == 255).all(-1)
    assert white[:4, 50].any()  # above patch 0
    assert white[50, :4].any()
    assert white[-4:, 350].any()  # below patch 3
    assert white[150, -4:].any()
    assert not white[:4, 350].any()


def test_colours_say_how_similar_and_the_rest_is_dark():
    drawn = pixels(heard([0, 0, 0, 0]))
    patches = [drawn[50, 150], drawn[50, 250], drawn[150, 150], drawn[150, 250]]
    lights = [patch @ [0.299, 0.587, 0.114] for patch in patches]
    assert lights == sorted(lights)
    assert lights[3] - lights[0] > 60
    assert patches[0][2] > patches[0][0]  # blue
    assert patches[3][0] > patches[3][2]  # yellow
    for beyond in (drawn[100, 99], drawn[100, 300], drawn[100, 10]):
        assert beyond.tolist() == [42, 42, 42]  # 0.35 of 120
    # With other ends of the colours, the same similarities look more alike.
    wide = pixels(heard([0, 0, 0, 0]), span=(-3, 3))
    assert abs(wide[50, 150] - wide[150, 250]).max() < 20
    same = pixels(heard([0, 0, 0, 0], [0.2] * 4))
    assert (same[50, 150] == same[150, 250]).all()


def test_a_frame_is_made_as_large_as_asked_and_keeps_its_shape():
    found = overlay(FRAME, heard([1, 0, 0, 0]), GRID, side=100)
    assert found.size == (100, 50)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (heard([1, 0, 0], [0, 0, 0]), r"kept \(3,\) .* expected \(4,\)"),
        (heard([1, 0, 0, 0], [0, 0, 0]), r"similarity \(3,\)"),
        (heard([[1, 0], [0, 0]], [[0, 0], [0, 0]]), r"kept \(2, 2\)"),
        (heard([1, 0, 0, 0], [0, np.nan, 0, np.inf]), "2 of 4 similarities are not finite"),
    ],
)
def test_what_does_not_belong_to_the_grid(found, words):
    with pytest.raises(ValueError, match=words):
        overlay(FRAME, found, GRID)


def test_a_table_of_overlays(tmp_path):
    both = {"raw": heard([1, 0, 0, 0]), "projected": heard([0, 0, 0, 1])}
    rows = [Overlay("a", FRAME, GRID, both), Overlay("b" * 90, FRAME.resize((200, 200)), GRID, both)]
    draw_overlays(rows, tmp_path / "o.png", "title")
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.width == 1200
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    for bad in ([], [Overlay("a", FRAME, GRID)], [rows[0], Overlay("c", FRAME, GRID, {"raw": both["raw"]})]):
        with pytest.raises(ValueError, match="the same kinds of embeddings"):
            draw_overlays(bad, tmp_path / "o.png")
    with pytest.raises(ValueError, match=r"a picture is a \.png"):
        draw_overlays(rows, tmp_path / "o.gif")


def test_without_matplotlib(monkeypatch):
    block(monkeypatch, "matplotlib")
    with pytest.raises(NotInstalledError, match=r"drawing an overlay needs matplotlib.*soundclip-hf\[plots\]"):
        overlay(FRAME, heard([1, 0, 0, 0]), GRID)


@pytest.mark.parametrize(("grid", "said"), [(GRID, True), (PatchGrid(0, 0, 400, 200, 2), False)])
def test_what_is_cropped_away_is_explained_where_there_is_some(tmp_path, grid, said):
    draw_overlays([Overlay("clip", FRAME, grid, {"raw": heard([1, 0, 0, 0])})], tmp_path / "o.svg")
    text = (tmp_path / "o.svg").read_text()
    assert "outlined: kept patches" in text
    assert ("darkened: cropped away" in text) == said
