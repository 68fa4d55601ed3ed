"""The table of docs/upstream.md against the code: every internal name of another package that we touch is in it."""

import ast
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import soundclip_hf
from soundclip_hf.extras import NotInstalledError

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "soundclip_hf"
TABLE = ROOT / "docs" / "upstream.md"
# Packages whose insides may change with any release; what they export at their top is theirs to keep.
PACKAGES = ("accelerate", "datasets", "datatrove", "huggingface_hub", "peft", "timm", "transformers")
# Documented modules below the top of a package.
DOCUMENTED = {
    "accelerate.utils",
    "datatrove.pipeline.base",
    "datatrove.executor",
    "datasets.exceptions",
    "huggingface_hub.dataclasses",
    "huggingface_hub.errors",
    "huggingface_hub.utils",
    "transformers.audio_utils",
    "transformers.image_utils",
    "transformers.initialization",
    "transformers.modeling_outputs",
    "transformers.utils",
    "transformers.utils.logging",
}
STANDARD = {"_exit", "_replace"}  # Python's own, documented under these names
PRIVATE = re.compile(r"_(?!_)\w+$")


def is_deep(module: str) -> bool:
    return module.split(".")[0] in PACKAGES and "." in module and module not in DOCUMENTED


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                # `from transformers import processing_utils` imports a module, too.
                for module in (node.module, f"{node.module}.{alias.name}"):
                    if is_deep(module) and (module == node.module or is_module(module)):
                        names.add(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if is_deep(alias.name)}
    return names


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def defined(tree: ast.AST) -> set[str]:
    """Private names that a file itself gives to functions, classes, variables and attributes of `self`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
    return {name for name in names if PRIVATE.match(name)}


def used(tree: ast.AST) -> set[str]:
    """Private names that a file reads off an object, sets on one, passes as an argument, or asks for by `getattr`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            names.add(node.arg)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            asks = node.func.id in ("getattr", "hasattr", "setattr")
            names |= {str(node.args[1].value)} if asks and isinstance(node.args[1], ast.Constant) else set()
    return {name for name in names if PRIVATE.match(name)}


def overridden() -> set[str]:
    """Private names that a class of ours and a class of another package, from which it inherits, both define."""
    names = set()
    for info in pkgutil.walk_packages(soundclip_hf.__path__, "soundclip_hf."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except NotInstalledError:  # lmms-eval, which is in no extra
            assert info.name.startswith("soundclip_hf.integrations.")
            continue
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ != module.__name__:
                continue
            foreign = [base for base in kind.__mro__[1:] if base.__module__.split(".")[0] in (*PACKAGES, "torch")]
            inherited = {name for base in foreign for name in {**vars(base), **vars(base).get("__annotations__", {})}}
            names |= {name for name in vars(kind) if PRIVATE.match(name) and name in inherited}
    return names - {"_abc_impl", "_backward_cls"}  # metaclasses write these into every class


def touched() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in sorted(SOURCE.rglob("*.py"))]
    own = set().union(*(defined(tree) for tree in trees))
    foreign = set().union(*(used(tree) for tree in trees)) - own
    # transformers stores names of its own on our classes while they run: only what our files write counts.
    return (set().union(*(imported(tree) for tree in trees)) | foreign | (overridden() & own)) - STANDARD


def rows() -> list[tuple[list[str], str, str]]:
    """Names, reason and test of each row of the page's tables."""
    found = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if (
            line.startswith("|")
            and len(cells) == 3
            and not set(cells[0]) <= set("-")
            and cells[0] not in ("name", "what")
        ):
            found.append((re.findall(r"`([^`]+)`", cells[0]), cells[1], cells[2]))
    return found


def names_of_the_table() -> list[str]:
    text = TABLE.read_text(encoding="utf-8").partition("## Behaviour")[0]
    return [
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.strip("|").split("|")[0])
    ]


def test_the_table_names_what_the_code_touches():
    named, found = names_of_the_table(), touched()
    assert len(named) == len(set(named)), "a name comes twice"
    assert not found - set(named), "not in docs/upstream.md"
    assert not set(named) - found, "in docs/upstream.md, but nothing uses it"


def test_every_row_has_a_reason_and_a_test_that_exists():
    assert len(rows()) > 20
    for _, reason, test in rows():
        assert reason
        path, _, function = test.strip("`").partition("::")
        assert re.search(rf"^ *def {function}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), test


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from transformers.models.clap.modeling_clap import ClapAudioModel", "transformers.models.clap.modeling_clap"),
        ("from transformers import processing_utils", "transformers.processing_utils"),
        ("import datasets.table", "datasets.table"),
    ],
)
def test_deep_imports_are_found(code, expected):
    assert any(name.startswith(expected) for name in imported(ast.parse(code)))


@pytest.mark.parametrize("code", ["x._hidden", "f(_hidden=1)", "getattr(x, '_hidden', None)", "x._hidden = 1"])
def test_private_names_are_found(code):
    assert used(ast.parse(code)) == {"_hidden"}


def test_overrides_are_found():
    assert {"_init_weights", "_no_split_modules", "_get_grad_norm"} <= overridden()


def test_packages_of_the_table_are_capped():
    """A package whose insides we touch must not move under us; a new minor version is run first."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in {name.split(".")[0] for name in names_of_the_table() if "." in name}:
        asked = re.findall(rf'"{package.replace("_", "[-_]")}([<>=][^"]*)"', text)
        assert asked
        assert all("<" in limits for limits in asked), package
