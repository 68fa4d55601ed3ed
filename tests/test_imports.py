"""Imports point down only: the layers of the package, and nothing heavier than torch and transformers on import."""

import ast
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "soundclip_hf"
# From the bottom up; folders of one row are strangers to each other.
LAYERS = (
    {
        "extras",
        "files",
        "hub_access",
        "interrupts",
        "kernels",
        "losses",
        "media",
        "media_kinds",
        "package_messages",
        "settings",
        "text_tables",
    },
    {"data", "modeling"},
    {"conversion", "retrieval"},
    {"evaluation"},
    {"training"},
    {"publishing", "analysis", "integrations", "serving"},
    {"demo"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The same inside the two large folders.
ROOMS = {
    "data": (
        {"ave2", "inference", "media_columns", "pool"},
        {"annotation", "clips", "other_sets", "stats", "synthetic", "viewer"},
        {"build", "manifest_files"},
    ),
    "modeling": (
        {"checkpoint_json"},
        {"checkpoint_files", "checkpoint_names", "finite"},
        {"pushing"},
        {"audio_encoders"},
        {"configuration_soundclip"},
        {"audio_features", "projector", "slots", "vision_tower"},
        {"checkpoints", "outputs", "prompts", "sound_inputs", "unused_projectors"},
        {"adapters", "visual_features"},
        {"modeling_soundclip", "modeling_soundllava", "processing_soundclip", "processing_soundllava"},
        {"added_sound"},
    ),
}
LARGEST_FOLDER = 15
LONGEST_FILE = 450
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# The bundled model is data with a path, no code of ours.
LEVEL["bundled"] = -1


def part_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def own_imports(path: Path, depth: int = 1) -> set[str]:
    """Parts of the package, `depth` names below it, that a file imports, wherever in the file."""
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
        own = (name.split(".") for name in names if name.startswith("soundclip_hf."))
        found |= {".".join(parts[1 : depth + 1]) for parts in own if len(parts) > depth}
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


@pytest.mark.parametrize("folder", ROOMS)
def test_rooms_of_a_folder_import_down(folder):
    level = {name: number for number, names in enumerate(ROOMS[folder]) for name in names}
    files = [path for path in FILES if path.relative_to(SOURCE).parts[0] == folder and path.parent.name != folder]
    files += [path for path in (SOURCE / folder).glob("*.py") if path.name != "__init__.py"]
    assert {path.relative_to(SOURCE).parts[1].removesuffix(".py") for path in files} == set(level)
    for path in files:
        room = path.relative_to(SOURCE).parts[1].removesuffix(".py")
        others = {name.split(".")[1] for name in own_imports(path, 2) if name.startswith(f"{folder}.")}
        for other in (others & set(level)) - {room}:
            assert level[other] < level[room], f"{path}: {room} must not import {other}"


def test_no_folder_is_too_large_to_read_at_a_glance():
    sizes = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert not {str(folder): size for folder, size in sizes.items() if size > LARGEST_FOLDER}


def test_files_are_short():
    """Half of them at most 150 lines, none over 450 but what transformers keeps in one file."""
    lines = {path: len(path.read_text().splitlines()) for path in FILES}
    assert statistics.median(lines.values()) <= 150
    long = {str(path): count for path, count in lines.items() if count > LONGEST_FILE}
    assert not {path for path in long if not Path(path).name.startswith(("modeling_", "processing_"))}, long


def late_imports(path: Path) -> list[int]:
    """Lines inside functions that import from the package itself."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTIONS)]
    inside = {node for function in functions for node in ast.walk(function) if isinstance(node, ast.ImportFrom)}
    return sorted(node.lineno for node in inside if node.level or (node.module or "").startswith("soundclip_hf"))


def test_own_modules_are_imported_at_the_top():
    """But in the command line, whose help must be fast, and of modules that cannot be imported everywhere."""
    late = {str(path.relative_to(SOURCE)) for path in FILES if late_imports(path)}
    # fused.py needs Triton, and the class in datatrove_step.py is a subclass of one of datatrove's.
    assert {name for name in late if not name.startswith("cli/")} == {"kernels/operator.py", "data/build/cluster.py"}


def test_no_module_imports_itself_in_a_circle():
    """Over all imports at the top of modules, also within a folder."""
    names = {module_of(path): path for path in FILES}
    graph = {name: top_imports(path, name, set(names)) for name, path in names.items()}
    order: list[str] = []
    done: dict[str, bool] = {}

    def visit(name: str) -> None:
        if name in done:
            assert done[name], f"a circle of imports: {' -> '.join([*order[order.index(name) :], name])}"
            return
        done[name] = False
        order.append(name)
        for other in sorted(graph[name]):
            visit(other)
        order.pop()
        done[name] = True

    for name in sorted(names):
        visit(name)


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top_imports(path: Path, name: str, known: set[str]) -> set[str]:
    """Modules of ours that are imported when this one is; a package's own parts that it gathers count too."""
    tree = ast.parse(path.read_text())
    hidden = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS) or is_for_types(node)]
    inside = {child for node in hidden for child in ast.walk(node)}
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node in inside or not node.level:
            continue
        base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
        base = f"{base}.{node.module}" if node.module else base
        for alias in node.names:
            target = f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
            if target in known:
                found.add(target)
    return found - {name}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_every_folder_says_what_it_holds():
    folders = {path.parent for path in FILES}
    silent = [folder for folder in folders if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))]
    assert not silent


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


def test_names_of_test_files_differ():
    """pytest imports them by their names alone, and would stop at the second of two."""
    names = [
        path.name for path in Path(__file__).parent.rglob("*.py") if path.name not in ("__init__.py", "conftest.py")
    ]
    assert sorted(names) == sorted(set(names))
