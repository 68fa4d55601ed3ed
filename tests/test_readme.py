"""The README's snippets run as they stand, and its numbers of API are there."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest
from hub_server import serve
from model_server import ModelServer
from synthetic_ave2 import write_ave2
from tiny_models import tiny_audio_config, tiny_llava
from tiny_processors import tiny_feature_extractor, tiny_llava_processor
from typer.testing import CliRunner

from soundclip_hf import SoundLlava, WhisperClipModel
from soundclip_hf.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
BASH = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
# First words of the blocks that take minutes.
SLOW = (
    "soundclip samples samples --count 96",
    "soundclip finetune",
    "soundclip push",
    "pip install 'soundclip-hf[demo,serve]'",
)


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


def test_an_audio_encoder_for_your_own_llava(tmp_path):
    base, encoder = tmp_path / "base", tmp_path / "encoder"
    tiny_llava("llava").save_pretrained(base)
    tiny_llava_processor("llava").save_pretrained(base)
    WhisperClipModel(tiny_audio_config()).save_pretrained(encoder)
    tiny_feature_extractor().save_pretrained(encoder)
    names = 'base, encoder = "llava-hf/llava-1.5-7b-hf", "openai/whisper-medium"'
    assert names in PYTHON[2]
    done = run(PYTHON[2].replace(names, f"base, encoder = {str(base)!r}, {str(encoder)!r}"), tmp_path)
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


def shell(start):
    """The commands of the only shell block that begins so, as lists of words; names of files are not expanded yet."""
    (block,) = [text for text in BASH if text.startswith(start)]
    return [shlex.split(line, comments=True)[1:] for line in block.strip().splitlines()]


def expanded(words):
    return [name for word in words for name in (sorted(glob(word)) if "*" in word else []) or [word]]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    (command, *_) = shell("soundclip samples samples\nsoundclip describe")
    with contextlib.chdir(folder):
        assert CliRunner().invoke(app, command).exit_code == 0
    return folder


def invoke(words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, expanded(words))
    assert done.exit_code == 0, f"{words}\n{done.stderr}"
    return done.stdout


def test_one_picture_and_three_sounds(samples, monkeypatch):
    _, *asked = shell("soundclip samples samples\nsoundclip describe")
    answers = [invoke(words, samples, monkeypatch).strip() for words in asked]
    assert answers == re.findall(r"# (The \w+\.)", README)
    assert len(answers) == 3


@pytest.mark.parametrize("start", ["soundclip describe samples/clips", "soundclip index", "soundclip ave2 segment"])
def test_commands_on_sample_files(samples, monkeypatch, start):
    for words in shell(start):
        invoke(words, samples, monkeypatch)
    if start.startswith("soundclip ave2"):
        assert (samples / "page" / "index.html").is_file()


def test_the_commands_of_evaluation():
    """They are those of docs/evaluate.md, which tests/test_docs.py runs."""
    (block,) = [text for text in BASH if text.startswith("soundclip audit")]
    assert block in (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")


def test_every_command_is_run_by_a_test():
    """A new block needs a line in one of these tests."""
    starts = (
        "pip install",
        "make demo",
        "soundclip samples",
        "soundclip describe",
        "soundclip index",
        "soundclip ave2",
    )
    assert all(text.startswith((*starts, *SLOW, "soundclip audit")) for text in BASH)
    assert len(PYTHON) == 7


@pytest.mark.slow
def test_training_and_publishing_from_an_empty_folder(tmp_path):
    """Aligns, fine-tunes and publishes as the README says, with a Hub on this machine."""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_alice", "HF_HUB_DISABLE_XET": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment["OMP_NUM_THREADS"] = "1"  # several threads on busy cores take ten times as long
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        environment.pop(name, None)
    with serve() as hub:
        environment["HF_ENDPOINT"] = hub.url
        for words in [words for start in SLOW[:3] for words in shell(start)]:
            # The user of this Hub is called alice.
            words = [re.sub("^me/", "alice/", word) for word in words]
            done = subprocess.run(
                ["soundclip", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
            )
            assert done.returncode == 0, f"{words}\n{done.stderr}"
    assert json.loads((tmp_path / "out/finetune/tiny/answers.json").read_text())["n"] == 200


@pytest.mark.slow
def test_a_client_of_the_server(samples):
    assert 'base_url="http://127.0.0.1:8000/v1"' in PYTHON[5]
    running = ModelServer("--max-new-tokens", "64")
    try:
        done = run(PYTHON[5].replace("http://127.0.0.1:8000/v1", running.url), samples)
    finally:
        running.interrupt()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The boat. [{")


@pytest.mark.slow
def test_sentence_transformers(samples):
    done = run(PYTHON[6], samples)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tensor([[")


@pytest.mark.slow
def test_a_space(tmp_path, monkeypatch):
    (words,) = [words for words in shell("pip install 'soundclip-hf[demo,serve]'") if words[0] == "space"]
    invoke(words, tmp_path, monkeypatch)
    assert (tmp_path / "my-space" / "app.py").is_file()


@pytest.mark.parametrize("picture", re.findall(r"!\[.*?\]\((.*?)\)", README))
def test_pictures_are_there(picture):
    assert (ROOT / picture).is_file()


def test_links_lead_to_files():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("target", ["demo", "test", "docs", "test-slow", "test-gpu", "check"])
def test_make_targets_that_documents_name_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
