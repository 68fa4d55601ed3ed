"""The pages of docs/: their Python runs, their commands exist, and the site builds without a missing link."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from glob import glob
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from media_files import pcm_wav
from synthetic_ave2 import write_ave2
from tiny_models import tiny_audio_config, tiny_llava, tiny_sound_llava
from tiny_processors import picture, sound, tiny_feature_extractor, tiny_llava_processor, tiny_sound_processor
from typer.testing import CliRunner

import soundclip_hf
from soundclip_hf import SoundLlava, SoundLlavaProcessor, WhisperClipModel
from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.cli import app
from soundclip_hf.data.synthetic.sample_files import write_sample_files
from soundclip_hf.training.arguments import read_arguments as read_alignment
from soundclip_hf.training.finetuning.arguments import read_arguments as read_finetuning
from soundclip_hf.training.finetuning.presets import apply_preset

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), flags=re.M | re.S)


PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
# Blocks that need a server, more processes or another package, and have tests of their own: page, word of the block.
ELSEWHERE = {
    ("finetuning.md", "SFTTrainer"),  # tests/training/finetuning/test_trl.py
    ("finetuning.md", "DistributedConfig"),  # tests/modeling/test_tensor_parallel.py, in two processes
    ("serving.md", ""),  # tests/serving/test_serving_guide.py
}


def python_of(page: str) -> list[str]:
    words = [word for name, word in ELSEWHERE if name == page]
    return [code for code in blocks(page, "python") if not any(word in code for word in words)]


# What a page presumes. Repositories that it names are folders of these names in the working directory, where every
# `from_pretrained` looks first.


def write_adapter(folder: Path, alignment: str = "projected") -> None:
    model = SoundLlava.from_pretrained(TINY)
    model.config.base_model_name_or_path = str(TINY)
    model.config.sound_config.alignment = alignment
    model.save_pretrained(folder, adapter_only=True)
    SoundLlavaProcessor.from_pretrained(TINY).save_pretrained(folder)


def write_files() -> None:
    picture().save("street.jpg")
    Path("siren.wav").write_bytes(pcm_wav(sound()[:, None], 16_000))


def write_llava() -> Path:
    base = Path("llava-hf/llava-1.5-7b-hf")
    tiny_llava("llava").save_pretrained(base)
    tiny_llava_processor("llava").save_pretrained(base)
    return base


def write_whisper(name: str) -> None:
    WhisperClipModel(tiny_audio_config()).save_pretrained(name)
    tiny_feature_extractor().save_pretrained(name)


def prepare_adapters() -> dict[str, Any]:
    for name in ("org/soundclip-imagebind", "org/soundclip-whisper@v1"):
        write_adapter(Path(name))
    write_adapter(Path("org/soundclip-imagebind-raw"), "raw")
    content = [{"type": "video", "path": str(CLIP)}, {"type": "text", "text": "What makes the sound?"}]
    inputs = SoundLlavaProcessor.from_pretrained(TINY).apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return {"inputs": inputs}


def prepare_add_sound() -> None:
    write_files()
    base = write_llava()
    model = tiny_sound_llava("llava")
    model.config.base_model_name_or_path = str(base.resolve())
    model.save_pretrained("org/soundclip-imagebind", adapter_only=True)
    tiny_sound_processor("llava").save_pretrained("org/soundclip-imagebind")


def write_samples(count: int) -> None:
    """What `soundclip samples samples` writes."""
    assert list(write_sample_files(Path("samples"), count))


def prepare_quickstart() -> None:
    write_samples(1)
    write_llava()
    write_whisper("openai/whisper-medium")


def prepare_finetuning() -> None:
    """What `soundclip finetune` leaves: an adapter with LoRA."""
    folder = Path("out/finetune/llava-1.5-7b-lora")
    write_adapter(folder)
    model = SoundLlava.from_pretrained(folder)
    apply_preset(model, "lora")
    model.save_pretrained(folder)


PREPARE: dict[str, Callable[[], dict[str, Any] | None]] = {
    "adapters.md": prepare_adapters,
    "add_sound.md": prepare_add_sound,
    "align.md": lambda: write_samples(12),
    "ave2.md": lambda: write_ave2(Path("org/ave2"), Path("clips")) and None,
    "encoders.md": lambda: write_whisper("openai/whisper-tiny"),
    "finetuning.md": prepare_finetuning,
    "integrations.md": write_files,
    "lora.md": lambda: write_adapter(Path("me/soundclip-whisper")),
    "quickstart.md": prepare_quickstart,
}
# Commands whose options are the settings of a run.
SETTINGS: dict[str, Callable[[list[str]], Any]] = {
    "align": read_alignment,
    "finetune": read_finetuning,
}
# Lines that a page says its code prints.
PRINTS = {
    "ave2.md": ["(48000,) 16000", "5 9.0", "5"],
    "concepts.md": [
        "zero 65",
        "drop 9",
        "drop 8 [12, 13, 14, 20, 21, 22, 29, 30]",
    ],
    "encoders.md": ["torch.Size([2, 64])"],
    "evaluate.md": ["0.5", "{'t1': 21.0}"],
    "integrations.md": [
        "torch.Size([2, 2])",
        "['audio', 'image', 'video', 'message'] (128,)",
        "soundclip-hf/tiny ['audio', 'image', 'video']",
    ],
    "quickstart.md": ["The clock.", "The piano.", "It is blue."],
}


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    """All blocks of a page as one module."""
    monkeypatch.chdir(tmp_path)
    presumed = PREPARE.get(page, dict)() or {}
    source = tmp_path / "page.py"
    source.write_text("\n".join(python_of(page)))
    spec = importlib.util.spec_from_file_location("page_of_the_docs", source)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # transformers looks for the file of a class
    vars(module).update(presumed)
    spec.loader.exec_module(module)
    printed = capsys.readouterr().out.splitlines()
    assert not set(PRINTS.get(page, [])) - set(printed), printed


def test_no_page_is_prepared_for_nothing():
    pages = {*PREPARE, *PRINTS, *(page for page, _ in ELSEWHERE)}
    assert {page for page in pages if page in PAGES and not blocks(page, "python")} == set()


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each `soundclip` command line of the pages, with the page that it is on."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("soundclip ") and " | " not in line:
                    yield page, shlex.split(line, comments=True)[1:]


def options_of(command: Any, words: list[str]) -> set[str]:
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    return {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)} - known


def test_every_command_and_option_of_the_pages_exists():
    for page, words in commands():
        command, named = typer.main.get_command(app), []
        while words and words[0] in getattr(command, "commands", {}):
            named.append(words.pop(0))
            command = command.commands[named[-1]]
        assert not hasattr(command, "commands"), f"{page}: no command soundclip {' '.join([*named, *words])}"
        if named[-1] in SETTINGS:
            words = [word for word in words if word not in ("--dry-run", "--json")]
            SETTINGS[named[-1]]([*words, "--bf16", "false"])  # raises if it does not know one
        else:
            assert not (unknown := options_of(command, words)), f"{page}: soundclip {' '.join(named)} has no {unknown}"


def test_the_commands_of_evaluation(tmp_path, monkeypatch):
    """One after another in an empty folder, as they stand."""
    (block,) = [code for code in blocks("evaluate.md", "bash") if code.startswith("soundclip audit --limit")]
    monkeypatch.chdir(tmp_path)
    for line in block.replace("\\\n", " ").strip().splitlines():
        words = shlex.split(line, comments=True)
        words = [name for word in words[1:] for name in (sorted(glob(word)) if "*" in word else []) or [word]]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{line}\n{done.stderr}"
    measured = tmp_path / "measured"
    assert (measured / "README.md").read_text().startswith("# What I measured")
    assert {path.name for path in measured.glob("*.png")} == {"ranks.png", "budget.png", "overlay.png", "tradeoff.png"}


def test_the_counts_of_the_papers_claims():
    done = CliRunner().invoke(app, ["reproduce", "tables"])
    counts = done.stdout.strip().splitlines()[-1]
    text = " ".join((DOCS / "reproduce.md").read_text(encoding="utf-8").split())
    total = sum(map(int, re.findall(r"\d+", counts)))
    assert f"compares {total} claims with the tables: {counts}." in text


def test_the_pictures_are_small_and_refer_to_nothing():
    pictures = sorted((DOCS / "pictures").glob("*.svg"))
    assert pictures
    for path in pictures:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 30_000, path.name
        assert set(re.findall(r"(?:https?:)?//[^\s\"')]+", text)) == {"http://www.w3.org/2000/svg"}, path.name


class Resources(HTMLParser):
    """What a browser fetches for a page, and the names that can be linked to."""

    FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        name = (
            "href"
            if tag == "link" and values.get("rel") not in ("canonical", "next", "prev")
            else self.FETCHED.get(tag)
        )
        if name and values.get(name):
            self.fetched.append(str(values[name]))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly: a link or an anchor that leads nowhere ends the build."""
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # also the changelog and the guide for contributors
    for path in pages:
        resources = Resources()
        resources.feed(path.read_text(encoding="utf-8"))
        assert resources.fetched
        assert not [name for name in resources.fetched if re.match(r"(\w+:)?//", name)], path
    for path in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)]*", path.read_text(encoding="utf-8")), path


def test_the_reference_has_every_public_name(site):
    ids = set()
    for path in (site / "api").rglob("*.html"):
        resources = Resources()
        resources.feed(path.read_text(encoding="utf-8"))
        ids |= resources.ids
    assert {name for name in soundclip_hf.__all__ if f"soundclip_hf.{name}" not in ids} == set()


def test_the_reference_shows_no_marks_of_docstrings(site):
    """transformers' form of types and references is no Markdown: scripts/docs_docstrings.py rewrites it."""
    pages = [path.read_text(encoding="utf-8") for path in (site / "api").rglob("*.html")]
    assert "WhisperClipModel" in "".join(pages)
    for text in pages:
        assert not re.findall(r"[^<>]*(?:\*optional\*|\[<code>[^<]*</code>\])[^<>]*", text)


def test_every_page_can_be_searched(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert len(found) > len(PAGES)
