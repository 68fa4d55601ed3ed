"""The files that travel in the wheel: they load, they are small, and the model says that it is untrained."""

import json
import runpy
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMultimodalLM, AutoProcessor

from soundclip_hf import SoundLlavaConfig, SoundLlavaForConditionalGeneration, SoundLlavaProcessor
from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.media import read_clip

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
}


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(TINY)


def test_the_auto_classes_load_it(processor):
    model = AutoModelForMultimodalLM.from_pretrained(TINY, dtype="auto")
    assert type(model) is SoundLlavaForConditionalGeneration
    assert type(processor) is SoundLlavaProcessor
    assert model.dtype == torch.bfloat16
    assert model.config.image_seq_length == 64
    assert processor.sound_top_k == model.config.sound_config.token_budget


def test_files_and_sizes():
    assert {path.name for path in TINY.iterdir()} == FILES
    assert sum(path.stat().st_size for path in TINY.iterdir()) <= 5_000_000
    assert CLIP.stat().st_size <= 60_000


def test_it_says_that_it_is_untrained():
    provenance = json.loads((TINY / "training.json").read_text())
    if provenance["trained"]:
        pytest.skip("the bundled model is a trained one")
    card = (TINY / "README.md").read_text()
    assert "UNTRAINED" in card.split("\n\n")[0] + card.split("\n\n")[1]
    assert "answers mean nothing" in card
    assert f"{provenance['parameters']:,}" in card


def test_every_text_has_tokens(processor):
    tokenizer = processor.tokenizer
    for text in ("What makes the sound?", "Größe 日本語 \N{BELL} \t\n{}<audio>", "<image>"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=False).removeprefix(tokenizer.bos_token) == text
    assert tokenizer("<image>").input_ids[-1] == processor.image_token_id
    assert tokenizer.padding_side == "left"


def test_it_answers_in_words_and_hears(processor):
    model = AutoModelForMultimodalLM.from_pretrained(TINY, dtype=torch.float32)
    clip = read_clip(CLIP, sampling_rate=16000)
    sounds = [clip.waveform, 0.3 * np.random.default_rng(0).standard_normal(48000).astype(np.float32)]
    conversations = [
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": clip.frame},
                    {"type": "audio", "audio": sound, "sampling_rate": 16000},
                    {"type": "text", "text": "What makes the sound?"},
                ],
            }
        ]
        for sound in sounds
    ]
    inputs = processor.apply_chat_template(
        conversations, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    texts = processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert texts[0] != texts[1]
    for text in texts:
        assert text.isascii()
        assert text.strip()


def test_the_clip():
    clip = read_clip(CLIP)
    assert clip.duration == pytest.approx(3.0, abs=0.05)
    assert clip.frame is not None
    assert clip.frame.size == (256, 192)
    assert clip.waveform is not None
    assert 0.2 < np.abs(clip.waveform).max() <= 1.0


def test_the_script_makes_these_files(tmp_path, monkeypatch):
    provenance = json.loads((TINY / "training.json").read_text())
    if provenance["trained"] or any(
        version(name) != number for name, number in provenance["versions"].items() if name != "python"
    ):
        pytest.skip("made by another script, or with other library versions")
    script = ROOT / "scripts" / "make_untrained_tiny.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--seed", str(provenance["seed"]), "--out", str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    for name in FILES - {"model.safetensors", "training.json", "config.json"}:
        assert (tmp_path / "tiny" / name).read_bytes() == (TINY / name).read_bytes(), name
    configs = [SoundLlavaConfig.from_pretrained(folder).to_dict() for folder in (tmp_path / "tiny", TINY)]
    for config in configs:
        config["sound_config"]["audio_config"].pop("dtype")  # the ears' own is that of the model
    assert configs[0] == configs[1]
    made, bundled = (load_file(folder / "model.safetensors") for folder in (tmp_path / "tiny", TINY))
    assert made.keys() == bundled.keys()
    for name, tensor in made.items():
        assert torch.equal(tensor, bundled[name]), name
    assert read_clip(tmp_path / CLIP.name).duration == read_clip(CLIP).duration


@pytest.mark.slow
def test_the_wheel_carries_them(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"no wheel could be built here: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"soundclip_hf/bundled/tiny/{name}" for name in FILES} | {"soundclip_hf/bundled/clip.mp4"} <= names
