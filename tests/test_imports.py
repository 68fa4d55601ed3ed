"""Imports point down only: the layers of the package, and nothing heavier than torch and transformers on import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "soundclip_hf"
# From the bottom up; folders of one row are strangers to each other.
LAYERS = (
    {"extras", "files", "kernels", "losses", "media", "media_kinds", "settings"},
    {"data", "modeling"},
    {"conversion", "evaluation", "retrieval"},
    {"training"},
    {"publishing", "analysis", "integrations"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The bundled model is data with a path, no code of ours.
LEVEL["bundled"] = -1


def part_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def own_imports(path: Path) -> set[str]:
    """Top-level parts of the package that a file imports, wherever in the file."""
    package = ["soundclip_hf", *path.relative_to(SOURCE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("soundclip_hf.")}
    return found


FILES = sorted(SOURCE.rglob("*.py"))


def test_there_are_files_to_check():
    assert len(FILES) > 10
    assert {part_of(path) for path in FILES} - {"__init__"} <= set(LEVEL), "a new part needs a place in LAYERS"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    part = part_of(path)
    if part == "__init__":
        return
    for other in own_imports(path) - {part, "__version__"}:
        assert other in LEVEL, f"{path}: unknown part {other}"
        assert LEVEL[other] < LEVEL[part], f"{path}: {part} must not import {other}"


def test_kernels_import_relatively():
    for path in (SOURCE / "kernels").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert not any(name.startswith("soundclip_hf") for name in names), path


def test_no_helpers_drawer():
    assert not [path for path in FILES if path.stem in ("utils", "common", "helpers", "misc")]


def test_import_stays_light_and_offline():
    """Extras, decoders and plots are imported where they are used; sockets are closed to be sure of the rest."""
    code = """
import socket, sys
def refuse(*args, **kwargs): raise OSError("no network at import")
socket.socket.connect = refuse
import soundclip_hf
heavy = {"datasets", "peft", "matplotlib", "gradio", "ray", "typer", "rich"} & set(sys.modules)
assert not heavy, heavy
from transformers import AutoConfig
assert AutoConfig.for_model("sound_llava")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
