"""`soundclip embed`: what is in the file, what is done again and what is not, and how failures are told."""

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from soundclip_hf import SoundClipModel, SoundClipProcessor
from soundclip_hf.bundled import TINY
from soundclip_hf.retrieval import embedding
from soundclip_hf.retrieval.embedding_store import read_block


@pytest.fixture(scope="module")
def dual():
    return SoundClipModel.from_pretrained(TINY, dtype=torch.float32), SoundClipProcessor.from_pretrained(TINY)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were opened."""
    names = []
    original = embedding.read_source
    monkeypatch.setattr(
        embedding, "read_source", lambda source, *rest: names.append(source.name) or original(source, *rest)
    )
    return names


def test_vectors_are_those_of_the_model(soundclip, files, tmp_path, dual):
    out = tmp_path / "out.safetensors"
    sources = [files / name for name in ("a.mp4", "tone.wav", "picture.png", "silent.mp4", "b.mp4")]
    done = soundclip("embed", *sources, "-o", out, "--json", "--batch-size", 2)
    assert done.code == 0
    assert [row["source"] for row in done.rows] == [str(source) for source in sources]
    assert [(row["audio"], row["image"]) for row in done.rows] == [(0, 0), (1, None), (None, 1), (None, 2), (2, 3)]
    assert done.rows[0]["sound_seconds"] == pytest.approx(1.0, abs=0.05)
    assert "3 sounds, 4 pictures of 5 files (0 unchanged), 0 failed" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]

    model, processor = dual
    tensors = load_file(out)
    with torch.no_grad():
        pair = model(**processor(videos=[files / "a.mp4", files / "b.mp4"], return_tensors="pt"))
        tone = model.get_audio_features(**processor(audio=files / "tone.wav", return_tensors="pt"))
        picture = model.get_image_features(**processor(images=str(files / "picture.png"), return_tensors="pt"))
    audio = torch.cat([pair.audio_model_output.pooler_output, tone.pooler_output])[[0, 2, 1]]
    torch.testing.assert_close(tensors["audio"], audio, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tensors["image"][[0, 3]], pair.vision_model_output.pooler_output, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(tensors["image"][1:2], picture.pooler_output, rtol=1e-4, atol=1e-4)
    assert read_block(out).settings["model"] == "soundclip_hf/bundled/tiny"


def test_normalised_frames_and_moments(soundclip, files, tmp_path, dual):
    clip, out = files / "a.mp4", tmp_path / "out.safetensors"
    assert soundclip("embed", clip, "-o", out, "--normalize", "--frames", 3).code == 0
    model, processor = dual
    with torch.no_grad():
        expected = model.get_image_features(processor(videos=clip, num_frames=3, return_tensors="pt")["pixel_values"])
    found = load_file(out)["image"]
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected.pooler_output), rtol=1e-4, atol=1e-5)
    vectors = []
    for frame in ("first", "0.9"):
        assert soundclip("embed", clip, "-o", tmp_path / f"{frame}.safetensors", "--frame", frame).code == 0
        vectors.append(load_file(tmp_path / f"{frame}.safetensors")["image"])
    assert not torch.allclose(*vectors, atol=1e-3)


def test_modalities(soundclip, files, tmp_path):
    shapes = {}
    for modality in ("auto", "audio", "image", "both"):
        done = soundclip("embed", files / "a.mp4", "-o", tmp_path / f"{modality}.safetensors", "--modality", modality)
        assert done.code == 0
        found = load_file(tmp_path / f"{modality}.safetensors")
        shapes[modality] = (len(found["audio"]), len(found["image"]))
    assert shapes == {"auto": (1, 1), "audio": (1, 0), "image": (0, 1), "both": (1, 1)}
    for modality, name, message in (
        ("audio", "picture.png", "is a picture; --modality audio needs a sound or a clip"),
        ("image", "tone.wav", "is a sound; --modality image needs a picture or a clip"),
        ("both", "tone.wav", "is a sound; --modality both needs a clip"),
        ("both", "silent.mp4", "has no audio stream"),
        ("audio", "silent.mp4", "has no audio stream"),
    ):
        done = soundclip("embed", files / name, "-o", tmp_path / "x.safetensors", "--modality", modality)
        assert done.code == 1
        assert message in done.error
        assert not (tmp_path / "x.safetensors").exists()


def test_a_failing_file_costs_the_others_nothing(soundclip, files, tmp_path):
    out = tmp_path / "out.safetensors"
    names = ["a.mp4", "corrupt.mp4", "text.png", "empty.mp4", "missing.wav", "short.wav", "tone.wav"]
    done = soundclip("embed", *(files / name for name in names), "-o", out, "--json")
    assert done.code == 1
    good = [row["source"] for row in done.rows if "error" not in row]
    assert good == [str(files / "a.mp4"), str(files / "tone.wav")]
    bad = {row["source"]: row["error"] for row in done.rows if "error" in row}
    assert list(bad) == [str(files / name) for name in names[1:-1]]
    assert all(source in error for source, error in bad.items())
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 5
    assert "Traceback" not in done.stderr
    assert len(load_file(out)["audio"]) == 2


def test_what_has_not_changed_is_not_done_again(soundclip, files, tmp_path, reads):
    for name in ("a.mp4", "tone.wav", "picture.png"):
        shutil.copy2(files / name, tmp_path / name)
    command = [
        "embed",
        *(tmp_path / name for name in ("a.mp4", "tone.wav", "picture.png")),
        "-o",
        tmp_path / "out.safetensors",
    ]
    assert soundclip(*command).code == 0
    first = read_block(tmp_path / "out.safetensors")
    reads.clear()
    (tmp_path / "tone.wav").touch()  # another time, the same content
    assert "(3 unchanged)" in soundclip(*command).stderr
    assert reads == []
    shutil.copy(files / "noise.wav", tmp_path / "tone.wav")
    done = soundclip(*command, files / "b.mp4")
    assert "(2 unchanged)" in done.stderr
    assert sorted(reads) == sorted([str(tmp_path / "tone.wav"), str(files / "b.mp4")])
    again = read_block(tmp_path / "out.safetensors")
    assert [entry.source for entry in again.entries] == [
        *(entry.source for entry in first.entries),
        str(files / "b.mp4"),
    ]
    assert torch.equal(again.audio[0], first.audio[0])
    assert not torch.allclose(again.audio[1], first.audio[1], atol=1e-3)


def test_goes_on_after_a_kill(soundclip, files, tmp_path, reads):
    sources = [str(files / name) for name in ("a.mp4", "tone.wav", "picture.png", "b.mp4")]
    out = tmp_path / "out.safetensors"
    code = f"""
import os
from soundclip_hf.cli import app
from soundclip_hf.retrieval import embedding
embedding.FLUSH_FILES = 1
original = embedding.EmbeddingStore.add
calls = []
def add(store, block):
    original(store, block)
    calls.append(block)
    if len(calls) == 2:
        os._exit(9)
embedding.EmbeddingStore.add = add
app({["embed", *sources, "-o", str(out), "--batch-size", "1"]!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 9
    assert not out.exists()
    assert soundclip("embed", *sources, "-o", out).code == 0
    assert sorted(reads) == sorted(sources[2:])
    whole = tmp_path / "whole.safetensors"
    assert soundclip("embed", *sources, "-o", whole).code == 0
    resumed, whole = read_block(out), read_block(whole)
    assert resumed.entries == whole.entries
    torch.testing.assert_close(resumed.audio, whole.audio)
    torch.testing.assert_close(resumed.image, whole.image)
    assert not list(tmp_path.glob(".*"))


def test_other_settings_are_refused(soundclip, files, whisper, tmp_path):
    out = tmp_path / "out.safetensors"
    assert soundclip("embed", files / "a.mp4", "-o", out).code == 0
    done = soundclip("embed", files / "a.mp4", "-o", out, "--frame", "first")
    assert done.code == 1
    assert "was made with frame='middle', now it is 'first'" in done.error
    done = soundclip("embed", files / "a.mp4", "-o", out, "--encoder", whisper)
    assert done.code == 1
    assert "was made with" in done.error


def test_an_encoder_of_its_own(soundclip, files, whisper, tmp_path):
    done = soundclip(
        "embed", files / "tone.wav", files / "picture.png", "-o", tmp_path / "out.safetensors", "--encoder", whisper
    )
    assert done.code == 0
    assert "--alignment raw" in done.stderr
    vectors = load_file(tmp_path / "out.safetensors")
    assert vectors["audio"].shape == vectors["image"].shape == (1, 128)  # 160 wide, cut to the tower's width


def test_files_that_cannot_be_media_need_no_model(soundclip, files, tmp_path):
    out = tmp_path / "e.safetensors"
    done = soundclip("embed", files / "piktur.png", files / "empty.mp4", "-o", out, "--model", "/nowhere", "--json")
    assert done.code == 1
    missing = f"{files}/piktur.png: no such file; did you mean {files}/picture.png?"
    empty = f"{files}/empty.mp4: is empty (0 bytes); fetch or write it again"
    assert done.stderr == f"error: {missing}\nerror: {empty}\n"
    assert [row["error"] for row in done.rows] == [missing, empty]
    assert not list(tmp_path.iterdir())


def test_bad_command_lines(soundclip, files, tmp_path):
    clip = files / "a.mp4"
    (tmp_path / "text.safetensors").write_text("x")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert soundclip("embed", clip).code == 2
    assert soundclip("embed", "-o", tmp_path / "x.safetensors").code == 2
    assert soundclip("embed", clip, "-o", tmp_path / "x.safetensors", "--modality", "smell").code == 2
    for arguments, code, message in (
        (["-o", tmp_path / "x.safetensors", "--frame", "late"], 2, "--frame late"),
        (["-o", tmp_path / "x.safetensors", "--device", "abacus"], 2, "--device abacus"),
        (["-o", tmp_path / "x.safetensors", "--model", "/nowhere"], 1, "no such folder"),
        (["-o", tmp_path], 2, "is a folder; name a file"),
        (["-o", tmp_path / "e.txt"], 2, "vectors are written to a .safetensors file; give a name with this ending"),
        (["-o", tmp_path / "text.safetensors"], 1, "exists, and is no file of this command"),
        (["-o", tmp_path / "other.safetensors"], 1, "exists, and is no file of this command"),
        (["-o", tmp_path / "text.safetensors" / "x.safetensors"], 1, "is a file and can hold no files"),
    ):
        done = soundclip("embed", clip, *arguments)
        assert done.code == code, arguments
        assert message in done.error
    assert (tmp_path / "text.safetensors").read_text() == "x"
    assert not (tmp_path / "e.txt").exists()
