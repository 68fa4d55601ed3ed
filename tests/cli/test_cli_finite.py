"""Numbers that are NaN or infinite are an error that names where they come from, never an empty answer or a vector."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from soundclip_hf.bundled import CLIP, TINY


@pytest.fixture
def spoiled(tmp_path):
    """The bundled model with NaN in one weight, the first whose name holds a text."""

    def make(part):
        folder = shutil.copytree(TINY, tmp_path / part)
        tensors = load_file(TINY / "model.safetensors")
        name = next(name for name in tensors if part in name)
        tensors[name].view(-1)[-1] = torch.nan
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


@pytest.mark.parametrize("part", ["lm_head.weight", "vision_tower.embeddings.class", "audio_projection.fc1.bias"])
def test_weights_that_are_nan_are_named(describe, spoiled, tmp_path, part):
    manifest, out = tmp_path / "m.jsonl", tmp_path / "o.jsonl"
    manifest.write_text("".join(json.dumps({"id": f"{row}", "video": str(CLIP)}) + "\n" for row in range(2)))
    options = ("--manifest", manifest, "--out", out)
    broken = describe("--model", spoiled(part), *options)
    assert broken.code == 1
    errors = [line for line in broken.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    for line in errors:
        assert line.startswith(f"error: {CLIP}: cannot be answered: the model's weights hold NaN or Inf (first in ")
        assert part in line
    assert [set(json.loads(line)) & {"answer", "error"} for line in out.read_text().splitlines()] == [{"error"}] * 2
    # Nothing was recorded as done.
    out.unlink()
    assert "2 answered, 0 skipped" in describe(*options).stderr


@pytest.mark.parametrize(
    ("part", "modality"),
    [("audio_projection.fc1.bias", "audio"), ("vision_tower.embeddings.patch_embedding.weight", "image")],
)
def test_vectors_that_are_nan_are_errors(soundclip, spoiled, tmp_path, part, modality):
    folder = tmp_path / "media"
    folder.mkdir()
    shutil.copy(CLIP, folder / "a.mp4")
    options = ("--model", spoiled(part), "--modality", modality)
    for command in (
        ("embed", folder / "a.mp4", "-o", tmp_path / "v.safetensors"),
        ("index", folder, "-o", tmp_path / "index"),
    ):
        done = soundclip(*command, *options)
        assert done.code == 1
        assert "a.mp4" in done.error
        assert f"hold NaN or Inf (first in {part})" in done.error
    assert not (tmp_path / "v.safetensors").exists()


def test_pixels_that_are_infinite_cost_their_item_alone(describe, files, tmp_path):
    """A processor that divides by next to nothing makes them; a sound without a picture is answered all the same."""
    folder = shutil.copytree(TINY, tmp_path / "model")
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["image_processor"]["image_std"] = [1e-50, 1e-50, 1e-50]
    (folder / "processor_config.json").write_text(json.dumps(settings))
    manifest = tmp_path / "m.jsonl"
    rows = [{"id": "picture", "image": str(files / "picture.png")}, {"id": "sound", "audio": str(files / "tone.wav")}]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = describe("--model", folder, "--manifest", manifest)
    assert done.code == 1
    picture, sound = done.rows
    assert "picture.png: cannot be answered: the pixels of the picture are NaN or infinite" in picture["error"]
    assert sound["answer"]
