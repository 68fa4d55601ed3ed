"""Synthetic scenes: everything follows from the number, rows are valid AVE-2, files hold what was drawn and heard."""

import json
from collections import Counter

import numpy as np
import pytest

from soundclip_hf.data.ave2.schema import COLUMNS
from soundclip_hf.data.ave2.validation import validate
from soundclip_hf.data.synthetic import COLOURS, KINDS, PLACES, RATE, scene, sentence, write_mp4
from soundclip_hf.data.synthetic.pictures import HUES
from soundclip_hf.data.synthetic.shapes import PAINTS, SHAPES, SILENT, SOUNDING
from soundclip_hf.media import read_clip


@pytest.fixture(scope="module")
def scenes():
    return [scene(number) for number in range(400)]


def test_the_same_number_is_the_same_scene():
    first, again, other = scene(7), scene(7), scene(8)
    assert first == again
    np.testing.assert_array_equal(first.picture, again.picture)
    np.testing.assert_array_equal(first.sound, again.sound)
    assert first.things != other.things


def test_picture_and_sound_have_the_shapes_of_the_docs():
    shown = scene(3)
    assert shown.picture.shape == (256, 256, 3)
    assert shown.picture.dtype == np.uint8
    assert shown.draw(64).shape == (64, 64, 3)
    assert shown.sound.shape == (3 * RATE,)
    assert shown.sound.dtype == np.float32
    assert np.abs(shown.sound).max() <= 1


def test_the_kinds():
    assert len(KINDS) >= 24
    assert set(KINDS) == set(SOUNDING)
    assert not set(SOUNDING) & set(SILENT)
    assert {paint for shapes in SHAPES.values() for paint, _ in shapes} <= set(PAINTS)


def test_scenes_are_of_every_sort(scenes):
    counts = Counter(len(shown.things) for shown in scenes)
    assert set(counts) == {0, 1, 2, 3, 4}
    kinds = Counter(shown.row()["segment_type"] for shown in scenes)
    assert set(kinds) == {
        "visible_only",
        "invisible_only",
        "silent_only",
        "visible_invisible",
        "visible_silent",
        "invisible_silent",
        "all",
        "no_source",
    }
    assert any(len(shown.sounding) == 2 for shown in scenes)
    snr = [shown.snr_db for shown in scenes]
    assert min(snr) >= 0
    assert max(snr) <= 20
    seen = Counter(thing.kind for shown in scenes for thing in shown.things)
    assert set(seen) == set(SHAPES)


def test_one_place_holds_one_thing_and_a_kind_comes_once(scenes):
    for shown in scenes:
        places = [thing.place for thing in shown.things]
        assert len(set(places)) == len(places)
        kinds = [thing.kind for thing in shown.things] + list(shown.offscreen)
        assert len(set(kinds)) == len(kinds)
        assert len(shown.levels) == len(shown.sources)
        assert set(places) <= set(PLACES)


def test_rows_are_valid_and_tell_of_the_scene(scenes):
    rows = [shown.row() for shown in scenes]
    assert set(rows[0]) == set(COLUMNS)
    assert list(validate(rows)) == []
    for shown, row in zip(scenes, rows):
        things = json.loads(row["extra"])["things"]
        assert [thing["kind"] for thing in things if thing["sounds"]] == sorted(
            row["visible_active_sources"], key=[thing.kind for thing in shown.things].index
        )
        assert all(thing["colour"] in row["video_caption"] for thing in things)
        assert all(kind in row["audio_caption"] for kind in shown.sources)
        assert row["overall_score"] is None


def test_a_thing_is_drawn_where_its_box_is_and_in_its_colour():
    checked = 0
    for number in range(60):
        shown = scene(number)
        if len(shown.things) != 1 or shown.things[0].kind not in ("ball", "bell", "kettle", "boat", "frog"):
            continue
        (thing,) = shown.things
        picture = shown.draw(128).astype(float)
        spread = picture.max(-1) - picture.min(-1)  # ground and clutter are greyish, paint is not
        left, top, right, bottom = (round(128 * edge) for edge in thing.box)
        inside = spread[top:bottom, left:right]
        assert inside.mean() > 2 * np.delete(spread, np.s_[top:bottom], 0).mean()
        covered = thing.coverage(8).reshape(8, 8)
        rows, columns = np.nonzero(covered)
        assert columns.min() >= int(8 * thing.box[0])
        assert rows.max() <= int(8 * thing.box[3])
        assert covered.max() <= 1
        checked += 1
    assert checked >= 1


def test_colours_stay_apart():
    hues = sorted(HUES.values())
    gaps = np.diff([*hues, hues[0] + 360])
    assert gaps.min() > 2 * 8
    assert tuple(HUES) == COLOURS


def test_video_files_hold_the_scenes(tmp_path):
    shown = [next(scene(n) for n in range(50) if scene(n).sounding), scene(51)]
    path = tmp_path / "two.mp4"
    write_mp4(path, shown, size=128)
    assert [file.name for file in tmp_path.iterdir()] == ["two.mp4"]
    clip = read_clip(path, frame=1.5, sampling_rate=RATE)
    assert clip.frame.size == (128, 128)
    difference = np.abs(np.asarray(clip.frame, float) - shown[0].draw(128)).mean()
    assert difference < 8
    heard = clip.waveform[: 3 * RATE]
    expected = shown[0].sound[: len(heard)]
    assert np.corrcoef(heard, expected)[0, 1] > 0.8
    second = read_clip(path, frame=4.5)
    assert np.abs(np.asarray(second.frame, float) - shown[1].draw(128)).mean() < 8
    assert second.duration == pytest.approx(6, abs=0.1)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="number=-1"):
        scene(-1)
    with pytest.raises(ValueError, match="at least one"):
        write_mp4(tmp_path / "a.mp4", [])
    with pytest.raises(ValueError, match="size=65"):
        write_mp4(tmp_path / "a.mp4", [scene(0)], size=65)
    assert not list(tmp_path.iterdir())


def test_sentences():
    assert sentence(["a bell"], "Nothing.") == "A bell."
    assert sentence(["a bell", "an owl", "a dog"], "Nothing.") == "A bell, an owl and a dog."
    assert sentence([], "Nothing.") == "Nothing."
