"""The page finds what `soundclip search` finds, and shows it."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from soundclip_hf.bundled import CLIP
from soundclip_hf.cli import app
from soundclip_hf.cli.retrieval.search import load_dual_of, open_index
from soundclip_hf.demo.desk import CLIP as CLIP_MODE
from soundclip_hf.demo.desk import PAIR, PICTURE_TO_SOUNDS, SOUND_TO_FRAMES, Media
from soundclip_hf.demo.examples import Example, examples_of
from soundclip_hf.demo.given import DemoError
from soundclip_hf.demo.searching import PLAYED_RATE, Library, embed_examples


def test_every_example_is_found(desk, example_folder):
    """A sound finds its own clip's frame among the first, and every match has its frame and its sound to show."""
    assert desk.library.count("audio") == desk.library.count("image") == 8
    ranks = []
    for name in ("clock", "bird", "phone", "frog", "piano", "dog"):
        path = str(example_folder / f"{name}.mp4")
        found = desk.library.search(path, "audio", 8)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        ranks.append([one.name for one in found].index(f"{name}.mp4"))
        assert all(one.frame.size == (256, 256) and len(one.sound) == 3 * PLAYED_RATE for one in found)
    assert sum(ranks) / len(ranks) < 1.5  # 3.5 by chance


def soundclip(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_it_finds_what_the_command_finds(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(CLIP, videos / "a.mp4")
    examples = [Example("a", clip=videos / "a.mp4")]
    index = tmp_path / "index"
    assert soundclip("index", videos, "--out", index).exit_code == 0
    blocks, settings = open_index(index)
    dual = load_dual_of(index, settings, None, "cpu", "auto")
    library = Library(dual, blocks, videos, settings["frame"], settings["frames"])
    for by in ("audio", "image"):
        row = json.loads(soundclip("search", index, CLIP, "--by", by, "--json").stdout)
        (found,) = library.search(str(CLIP), by, 3)
        assert (found.name, round(found.score, 6)) == (row["source"], row["score"])
        (again,) = embed_examples(dual, examples, videos).search(str(CLIP), by, 3)
        assert again.score == pytest.approx(found.score, abs=1e-6)
    (videos / "a.mp4").write_bytes(b"no clip any more")
    assert library.search(str(CLIP), "audio", 1)[0].missing == "This file has changed since it was indexed."
    (videos / "a.mp4").unlink()
    assert library.search(str(CLIP), "audio", 1)[0].missing == "This file is no longer there."


def test_pictures_and_sounds_are_searched_and_found(desk, example_folder, tmp_path):
    for name in ("dubbed piano.png", "dubbed piano.wav"):
        shutil.copy(example_folder / name, tmp_path)
    (example,) = examples_of(tmp_path)
    library = embed_examples(desk.library.dual, [example], tmp_path)
    (picture,) = library.search(str(CLIP), "audio", 5)
    assert (picture.name, picture.sound) == ("dubbed piano.png", None)
    (sound,) = library.search(str(example.picture), "image", 5)
    assert (sound.name, sound.frame) == ("dubbed piano.wav", None)


def test_what_cannot_be_searched(desk, example_folder, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    with pytest.raises(DemoError, match=r"^broken\.mp4"):
        desk.library.search(str(tmp_path / "broken.mp4"), "audio", 1)
    with pytest.raises(DemoError, match=r"dubbed piano\.png: .*no"):
        desk.library.search(str(example_folder / "dubbed piano.png"), "audio", 1)
    for media, what in ((Media(CLIP_MODE), "a clip"), (Media(PAIR), "a sound")):
        with pytest.raises(DemoError, match=f"nothing to search with. Give {what}"):
            desk.search(media, SOUND_TO_FRAMES, 3)
    with pytest.raises(DemoError, match="holds no sounds"):
        Library(desk.library.dual, [], example_folder).search(str(CLIP), "image", 1)


def test_cards(desk):
    html = desk.search(Media(CLIP_MODE, str(CLIP)), PICTURE_TO_SOUNDS, 3)
    assert html.count("<li") == html.count("<audio") == html.count("<img") == 3
    assert "cosine" in html
