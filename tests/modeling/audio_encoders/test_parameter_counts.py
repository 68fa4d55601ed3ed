"""The parameter counts that docstrings and the README state are those of the full-size models."""

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

import soundclip_hf.modeling.audio_encoders  # noqa: F401  registers the encoders

README = Path(__file__).resolve().parents[3] / "README.md"


LARGER_CLAP = {"depths": [2, 2, 12, 2], "patch_embeds_hidden_size": 128, "hidden_size": 1024}
WHISPER_LARGE = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
# What the documents state, in their order: the default sizes of every family, and others of two of them.
STATED = {
    "audioclip": [{}],
    "imagebind_audio": [{}],
    "ms_clap": [{}],
    "pe_av_audio": [{}],
    "sound_clap": [{}, LARGER_CLAP],
    "wav2clip": [{}],
    "whisper_clip": [{}, WHISPER_LARGE],
}


def build(model_type, sizes):
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.for_model(model_type, **sizes))


def stated(text):
    return re.findall(r"(\d+(?:\.\d+)?) M\b", " ".join(text.split()))


def agrees(number, count):
    digits = len(number.partition(".")[2])
    return f"{count / 1e6:.{digits}f}" == number


@pytest.mark.parametrize("model_type", STATED)
def test_stated_counts(model_type):
    models = [build(model_type, sizes) for sizes in STATED[model_type]]
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    numbers = stated(type(models[0]).__doc__)
    assert len(numbers) == len(counts)
    assert all(map(agrees, numbers, counts)), (numbers, counts)
    row = next(
        line for line in README.read_text().splitlines() if line.startswith("| ") and f"(`{model_type}`)" in line
    )
    in_readme = stated(row)
    assert in_readme
    assert all(map(agrees, in_readme, counts)), (in_readme, counts)


def test_every_encoder_states_its_count():
    folder = Path(__file__).resolve().parents[3] / "src" / "soundclip_hf" / "modeling" / "audio_encoders"
    families = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")]
    assert len(families) == len(STATED)
