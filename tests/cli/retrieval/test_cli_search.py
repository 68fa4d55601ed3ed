"""`soundclip index` and `soundclip search`: a folder and its changes, and what is found in it."""

import shutil
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from soundclip_hf import SoundClipModel, SoundClipProcessor
from soundclip_hf.bundled import TINY
from soundclip_hf.retrieval import embedding
from soundclip_hf.retrieval.embedding_store import EmbeddingStore


@pytest.fixture
def folder(files, tmp_path):
    folder = tmp_path / "media"
    (folder / "deeper").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name, place in (("a.mp4", ""), ("b.mp4", "deeper"), ("tone.wav", ""), ("picture.png", "deeper")):
        shutil.copy2(files / name, folder / place / name)
    shutil.copy2(files / "noise.wav", folder / ".hidden" / "noise.wav")
    (folder / "notes.txt").write_text("no media")
    return folder


NAMES = ["a.mp4", "deeper/b.mp4", "deeper/picture.png", "tone.wav"]


def entries(index):
    return EmbeddingStore(index).entries


def test_index_and_its_changes(soundclip, files, folder, monkeypatch):
    index = folder / "idx"
    done = soundclip("index", folder, "-o", index, "--json", "--batch-size", 3)
    assert done.code == 0
    counts = {
        "files": 4,
        "sounds": 3,
        "pictures": 3,
        "added": 4,
        "updated": 0,
        "unchanged": 0,
        "removed": 0,
        "failed": 0,
    }
    assert done.rows == [{"index": str(index), **counts}]
    assert sorted(entries(index)) == NAMES
    for block in EmbeddingStore(index).blocks():
        torch.testing.assert_close(block.audio.norm(dim=1), torch.ones(3))

    read = []
    original = embedding.read_source
    monkeypatch.setattr(
        embedding, "read_source", lambda source, *rest: read.append(source.name) or original(source, *rest)
    )
    again = soundclip("index", folder, "-o", index, "--json")
    assert again.rows == [{"index": str(index), **counts, "added": 0, "unchanged": 4}]
    assert not read
    shutil.copy(files / "noise.wav", folder / "tone.wav")
    shutil.copy2(files / "silent.mp4", folder)
    (folder / "a.mp4").unlink()
    changed = soundclip("index", folder, "-o", index, "--json")
    assert changed.rows[0] | {"added": 1, "updated": 1, "unchanged": 2, "removed": 1, "files": 4} == changed.rows[0]
    assert sorted(read) == ["silent.mp4", "tone.wav"]
    assert sorted(entries(index)) == ["deeper/b.mp4", "deeper/picture.png", "silent.mp4", "tone.wav"]
    (folder / "tone.wav").write_bytes(b"broken")
    broken = soundclip("index", folder, "-o", index, "--json")
    assert broken.code == 1
    assert "tone.wav" in broken.error
    assert broken.rows[0]["source"] == "tone.wav"
    assert broken.rows[1]["failed"] == 1
    assert "tone.wav" not in entries(index)


def test_modality_of_an_index(soundclip, folder, tmp_path):
    done = soundclip("index", folder, "-o", tmp_path / "idx", "--modality", "audio", "--json")
    assert done.code == 0
    assert (done.rows[0]["sounds"], done.rows[0]["pictures"]) == (3, 0)
    done = soundclip("search", tmp_path / "idx", folder / "tone.wav")
    assert done.code == 1
    assert "holds no frames (--modality audio)" in done.error


@pytest.fixture(scope="module")
def index(files, tmp_path_factory):
    """An index of clips, sounds and pictures, with a copy that ties with its original."""
    from soundclip_hf.cli import app

    folder = tmp_path_factory.mktemp("indexed")
    for name in ("a.mp4", "b.mp4", "silent.mp4", "tone.wav", "noise.wav", "picture.png"):
        shutil.copy2(files / name, folder / name)
    shutil.copy2(files / "picture.png", folder / "a copy.png")
    app(["index", str(folder), "-o", str(folder / "idx")], standalone_mode=False)
    return folder / "idx"


def test_search_is_that_of_the_model(soundclip, index, files):
    model, processor = (
        SoundClipModel.from_pretrained(TINY, dtype=torch.float32),
        SoundClipProcessor.from_pretrained(TINY),
    )
    folder = index.parent
    frames = [*sorted(path.name for path in folder.glob("*.*4")), "picture.png", "a copy.png"]
    with torch.no_grad():
        query = model.get_audio_features(**processor(audio=files / "noise.wav", return_tensors="pt")).pooler_output
        pictures = {}
        for name in frames:
            picture = str(folder / name)
            if name.endswith("4"):
                from soundclip_hf import read_clip

                picture = read_clip(picture).frame
            pictures[name] = model.get_image_features(**processor(images=picture, return_tensors="pt")).pooler_output
    cosines = {name: F.cosine_similarity(query, vector).item() for name, vector in pictures.items()}
    done = soundclip("search", index, files / "noise.wav", "-k", 10, "--json")
    assert done.code == 0
    assert [row["rank"] for row in done.rows] == [1, 2, 3, 4, 5]
    assert {row["source"] for row in done.rows} == set(cosines)
    found = [cosines[row["source"]] for row in done.rows]
    # Equal pictures of one batch may differ in the last bit, so a copy may come before its original.
    assert all(first > second - 1e-5 for first, second in pairwise(found))
    for row in done.rows:
        assert row["score"] == pytest.approx(cosines[row["source"]], abs=1e-4)
        assert row["path"] == str(folder.resolve() / row["source"])
        assert row["by"] == "audio"
    assert done.rows[0]["query"] == str(files / "noise.wav")
    assert "by its sound, among 5 frames" in done.stderr


def test_a_picture_finds_sounds(soundclip, index, files):
    done = soundclip("search", index, files / "picture.png", "-k", 2, "--json")
    assert done.code == 0
    assert len(done.rows) == 2
    assert {row["source"] for row in done.rows} <= {"a.mp4", "b.mp4", "tone.wav", "noise.wav"}
    assert all(row["by"] == "image" and row["sound_seconds"] > 0 for row in done.rows)


def test_a_clip_searches_by_either(soundclip, index, files):
    clip = files / "a.mp4"
    heard, seen = (soundclip("search", index, clip, "--by", by, "--json").rows for by in ("audio", "image"))
    default = soundclip("search", index, clip, "--json").rows
    # Scores are rounded to six digits, and a query encoded anew may round the other way.
    assert default == [row | {"score": pytest.approx(row["score"], abs=2e-6)} for row in heard]
    assert {row["by"] for row in seen} == {"image"}
    done = soundclip("search", index, files / "silent.mp4")
    assert done.code == 1
    assert "has no audio stream" in done.error
    assert soundclip("search", index, files / "silent.mp4", "--by", "image").code == 0


def test_the_table(soundclip, index, files):
    done = soundclip("search", index, files / "tone.wav", "-k", 3)
    assert done.code == 0
    assert len([line for line in done.stdout.splitlines() if ".mp4" in line or ".png" in line]) == 3
    assert "cosine" in done.stdout
    assert "synthetic scenes alone" not in done.stdout


def test_bad_command_lines(soundclip, index, files, tmp_path, whisper):
    tone = files / "tone.wav"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for arguments, code, message in (
        (["search", index, tone, "--by", "image"], 2, "--by image"),
        (["search", index, files / "missing.wav"], 1, "no such file"),
        (["search", tmp_path / "nothing", tone], 1, "no such folder"),
        (["search", tmp_path / "file", tone], 1, "is a file"),
        (["search", tmp_path / "empty", tone], 1, "is empty, or no index"),
        (["index", tmp_path / "nothing", "-o", tmp_path / "idx"], 1, "no such folder"),
        (["index", tmp_path / "empty", "-o", tmp_path / "idx"], 1, "holds no media files"),
        (["index", index.parent, "-o", tmp_path / "file"], 2, "is a file; name a folder"),
        (["index", index.parent, "-o", index, "--frames", 2], 1, "was made with frames=1, now it is 2"),
    ):
        done = soundclip(*arguments)
        assert done.code == code, arguments
        assert message in done.error
    assert soundclip("search", index, tone, "-k", 0).code == 2
    assert soundclip("index", index.parent).code == 2


def test_an_index_does_not_go_into_a_folder_of_something_else(soundclip, folder, tmp_path):
    other = tmp_path / "adapter"
    other.mkdir()
    (other / "model.safetensors").write_text("weights")
    done = soundclip("index", folder, "-o", other)
    assert done.code == 1
    assert done.error == f"error: --out {other}: holds model.safetensors and no index; choose a new or an empty folder"
    assert [path.name for path in other.iterdir()] == ["model.safetensors"]


def test_what_is_wrong_is_said_before_a_model_is_loaded(soundclip, index, files):
    """There is no such model, and it is not missed."""
    for arguments, message in (
        (["search", index, files / "tome.wav"], f"{files}/tome.wav: no such file; did you mean {files}/tone.wav?"),
        (["search", index, files / "tune.mp4"], f"{files}/tune.mp4: no such file; pass a media file"),
        (["search", index, files], f"{files}: is a folder; pass a media file"),
        (["index", index.parent, "-o", index, "--frames", 2], f"--out {index}: was made with frames=1, now it is 2"),
    ):
        done = soundclip(*arguments, "--model", "/nowhere")
        assert done.code == 1
        assert message in done.error


def test_another_model_under_the_same_name(soundclip, files, tmp_path):
    model, processor = SoundClipModel.from_pretrained(TINY), SoundClipProcessor.from_pretrained(TINY)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    media = tmp_path / "media"
    media.mkdir()
    shutil.copy2(files / "a.mp4", media)
    made = soundclip("index", media, "-o", tmp_path / "idx", "--model", tmp_path / "model")
    assert made.code == 0
    assert soundclip("search", tmp_path / "idx", files / "tone.wav").code == 0
    with torch.no_grad():
        model.audio_projection.fc2.weight.mul_(1.5)
    model.save_pretrained(tmp_path / "model")
    done = soundclip("search", tmp_path / "idx", files / "tone.wav")
    assert done.code == 1
    assert "was made with other weights" in done.error
    done = soundclip("index", media, "-o", tmp_path / "idx", "--model", tmp_path / "model")
    assert done.code == 1
    assert "was made with weights=" in done.error
