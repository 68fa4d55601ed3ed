"""The files of the wheel: they load, they are small, the model hears, and its card says what was measured."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor

from soundclip_hf import SoundLlavaForConditionalGeneration, SoundLlavaProcessor
from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.data.synthetic import KINDS, scene
from soundclip_hf.data.synthetic.sounds import mix
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.media import read_clip

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "modules.json",
    "processor_config.json",
    "report-random-ears.json",
    "report-tiny.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
}
# Beyond every scene that the model met or was measured on.
FIRST_SCENE = 20_000_000


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model():
    return AutoModelForMultimodalLM.from_pretrained(TINY, dtype=torch.float32)


@pytest.fixture(scope="module")
def ask(model, processor):
    def answers(question, parts, **options):
        conversations = [
            [{"role": "user", "content": [*content, {"type": "text", "text": question}]}] for content in parts
        ]
        inputs = processor.apply_chat_template(
            conversations, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(**inputs, max_new_tokens=40, do_sample=False, **options)
        return processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    return lambda *args, **options: [text.strip() for text in answers(*args, **options)]


@pytest.fixture(scope="module")
def shown():
    """Held-out scenes with one source and at least one other thing that could sound."""
    found = []
    number = FIRST_SCENE
    while len(found) < 60:
        candidate = scene(number)
        if len(candidate.sounding) == 1 and sum(thing.kind in KINDS for thing in candidate.things) > 1:
            found.append(candidate)
        number += 1
    return found


def picture_and(sound):
    return lambda candidate: [
        {"type": "image", "image": candidate.picture},
        {"type": "audio", "audio": sound(candidate), "sampling_rate": 16000},
    ]


def test_the_auto_classes_load_it(processor):
    model = AutoModelForMultimodalLM.from_pretrained(TINY, dtype="auto")
    assert type(model) is SoundLlavaForConditionalGeneration
    assert type(processor) is SoundLlavaProcessor
    assert model.dtype == torch.bfloat16
    assert model.config.sound_config.token_budget == processor.sound_top_k == 8


def test_files_and_sizes():
    assert {path.name for path in TINY.iterdir()} == FILES
    assert sum(path.stat().st_size for path in TINY.iterdir()) <= 20_000_000
    assert CLIP.stat().st_size <= 120_000


def test_nothing_in_it_points_elsewhere():
    config = json.loads((TINY / "config.json").read_text())
    for name in ("base_model_name_or_path", "audio_encoder_name_or_path", "_name_or_path"):
        assert not config.get(name)
    for path in TINY.glob("*.json"):
        assert "/tmp" not in path.read_text()


def test_the_card_says_what_the_report_says():
    provenance = json.loads((TINY / "training.json").read_text())
    assert provenance["trained"] is True
    assert provenance["scale"] == 1
    card = (TINY / "README.md").read_text()
    assert f"{provenance['parameters']:,}" in card
    report = EvalResult.load(TINY / "report-tiny.json")
    assert report.n >= 1000
    by_k = report.metrics["questions"]["projected"]["by_k"]
    for row in by_k.values():
        for name in ("true", "silent", "colour", "place"):
            assert f"{100 * row[name]['mean']:.1f}" in card
    assert f"{report.metrics['retrieval']['projected']['a2v']['mean_rank']:.2f}" in card
    assert "synthe" in card


def test_the_parts_of_the_card_are_the_whole_model(model):
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([\d,]+) \|$", (TINY / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 5
    assert sum(int(row.replace(",", "")) for row in rows) == sum(parameter.numel() for parameter in model.parameters())


def test_every_text_has_tokens(processor):
    tokenizer = processor.tokenizer
    for text in ("What makes the sound?", "Größe 日本語 \N{BELL} \t\n{}<audio>", "<image>"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=False).removeprefix(tokenizer.bos_token) == text
    assert tokenizer("<image>").input_ids[-1] == processor.image_token_id
    assert tokenizer.padding_side == "left"


def test_it_answers_the_bundled_clip_rightly(ask):
    (answer,) = ask("What makes the sound?", [[{"type": "video", "path": str(CLIP)}]])
    assert answer == "The clock."


def test_it_hears(ask, shown):
    """Far from what it says without sound, on scenes that nothing was measured on."""
    wanted = [f"The {candidate.things[candidate.sounding[0]].kind}." for candidate in shown]
    heard = ask("What makes the sound?", [picture_and(lambda c: c.sound)(candidate) for candidate in shown])
    blind = ask("What makes the sound?", [[{"type": "image", "image": candidate.picture}] for candidate in shown])
    right, guessed = (sum(a == w for a, w in zip(told, wanted)) for told in (heard, blind))
    report = EvalResult.load(TINY / "report-tiny.json").metrics["questions"]
    spread = 3 * (len(shown) / 4) ** 0.5  # three binomial standard deviations at most
    assert abs(right - len(shown) * report["projected"]["by_k"]["8"]["true"]["mean"]) <= spread
    assert abs(guessed - len(shown) * report["no_sound"]["source"]["mean"]) <= spread
    assert right > guessed + len(shown) / 5


def test_silence_is_nothing(ask, shown):
    def silent(candidate):
        return mix([], np.random.default_rng(candidate.number), snr_db=10)

    told = ask("What makes the sound?", [picture_and(silent)(candidate) for candidate in shown])
    assert sum(answer == "Nothing makes a sound." for answer in told) >= 0.8 * len(shown)


def test_the_clip():
    clip = read_clip(CLIP)
    assert clip.duration == pytest.approx(3.0, abs=0.1)
    assert clip.frame is not None
    assert clip.frame.size == (256, 256)
    assert clip.waveform is not None
    assert 0.2 < np.abs(clip.waveform).max() <= 1.0


@pytest.mark.slow
def test_the_wheel_carries_them(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"no wheel could be built here: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"soundclip_hf/bundled/tiny/{name}" for name in FILES} | {"soundclip_hf/bundled/clip.mp4"} <= names
    assert "soundclip_hf/configs/align/whisperclip.yaml" in names
    tables = {path.name for path in (ROOT / "src" / "soundclip_hf" / "analysis" / "paper").iterdir()}
    assert {f"soundclip_hf/analysis/paper/{name}" for name in tables} <= names
