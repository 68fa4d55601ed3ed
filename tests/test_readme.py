"""The README's snippets run as they stand, and its numbers of API are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_ave2 import write_ave2
from tiny_models import tiny_audio_config, tiny_llava
from tiny_processors import tiny_feature_extractor, tiny_llava_processor

from soundclip_hf import SoundLlava, WhisperClipModel

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(code, cwd):
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=300)


def test_quickstart_prints_an_answer(tmp_path):
    done = run(PYTHON[0], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The clock.\n"


def test_quickstart_has_eight_lines():
    assert len(PYTHON[0].strip().splitlines()) == 8


def test_pipeline(tmp_path):
    done = run(PYTHON[1], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["The clock.", "It is blue."]


def test_ears_for_your_own_llava(tmp_path):
    base, ears = tmp_path / "base", tmp_path / "ears"
    tiny_llava("llava").save_pretrained(base)
    tiny_llava_processor("llava").save_pretrained(base)
    WhisperClipModel(tiny_audio_config()).save_pretrained(ears)
    tiny_feature_extractor().save_pretrained(ears)
    names = 'base, ears = "llava-hf/llava-1.5-7b-hf", "openai/whisper-medium"'
    assert names in PYTHON[2]
    done = run(PYTHON[2].replace(names, f"base, ears = {str(base)!r}, {str(ears)!r}"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert SoundLlava.from_pretrained(tmp_path / "my-adapter").config.sound_config.alignment == "raw"


def test_dual_encoder(tmp_path):
    done = run(PYTHON[3], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tensor([[")


def test_a_published_data_set(tmp_path):
    folder = write_ave2(tmp_path / "set", tmp_path / "clips")
    assert PYTHON[4].count('"org/ave2"') == 2
    done = run(PYTHON[4].replace('"org/ave2"', repr(str(folder))), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(48000,) 16000", "5 9.0"]


def test_the_commands_of_evaluation():
    """They are those of docs/evaluate.md, which tests/test_docs.py runs."""
    (block,) = re.findall(r"```bash\n(soundclip audit .*?)```", README, flags=re.DOTALL)
    assert block in (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["demo", "test", "test-slow", "test-gpu", "check"])
def test_make_targets_that_documents_name_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
