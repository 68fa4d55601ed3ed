"""Missing packages: one error with the line that installs them, and extras that really bring what the code asks for."""

import ast
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from without_extras import BLOCKED, OURS, block

from soundclip_hf.extras import EXTRA_OF, PIP_NAMES, NotInstalledError, installed, require
from soundclip_hf.training.trainer_packages import OPTIMIZERS, TRACKERS

tomllib = pytest.importorskip("tomllib")  # Python 3.11

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "soundclip_hf"
FILES = sorted(SOURCE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# These get an object of the package from their caller, who has it then.
GIVEN = {"data/stats/statistics.py", "data/ave2/shard_series.py"}
# `data/build/needs.py` and `cli/apps/demo.py` ask for these.
ELSEWHERE = {"data/build/cluster.py": {"datatrove", "ray"}, "demo/page.py": {"gradio"}}
# Imported under a name other than that of the distribution.
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}


def plain(requirement: str) -> str:
    """The normalised name of a distribution, out of a requirement."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def brought(requirements: list[str]) -> set[str]:
    """Names of distributions that requirements bring, with those that the installed ones among them need."""
    found, waiting = set(), [plain(one) for one in requirements]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [plain(one) for one in needed if "extra ==" not in one]
    return found


CORE = brought([*PROJECT["dependencies"], "accelerate"])


@pytest.mark.parametrize(
    ("modules", "extra", "message"),
    [
        (["pyarrow"], None, "x needs pyarrow, which is not installed: pip install 'soundclip-hf[data]'"),
        (
            ["pyarrow", "torch", "matplotlib"],
            None,
            "x needs matplotlib and pyarrow, which are not installed: pip install 'soundclip-hf[data,plots]'",
        ),
        (["datasets"], "train", "x needs datasets, which is not installed: pip install 'soundclip-hf[train]'"),
        (["wandb"], None, "x needs wandb, which is not installed: pip install wandb"),
        (["azureml.core"], None, "x needs azureml.core, which is not installed: pip install azureml-sdk"),
        (
            ["wandb", "ray", "httpx"],
            None,
            "x needs httpx, ray and wandb, which are not installed: pip install 'soundclip-hf[cluster,data]' wandb",
        ),
    ],
)
def test_one_error_names_all_that_is_missing(monkeypatch, modules, extra, message):
    block(monkeypatch, *BLOCKED)
    with pytest.raises(NotInstalledError) as raised:
        require(*modules, what="x", extra=extra)
    assert str(raised.value) == message


def test_what_is_there_is_not_missing(monkeypatch, tmp_path):
    require("torch", "json", what="x")
    (tmp_path / "a_folder_of_data").mkdir()
    (tmp_path / "a_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("a_module")
    assert not installed("a_folder_of_data")
    assert not installed("a_module_that_is_not_there.core")
    assert "a_module" not in sys.modules


def required(file: Path) -> list[tuple[set[str], str | None]]:
    """The modules and the extra of each call of `require` in a file."""
    calls = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            found = [one.value for part in node.args for one in ast.walk(part) if isinstance(one, ast.Constant)]
            extra = next((word.value.value for word in node.keywords if word.arg == "extra"), None)
            calls.append(({name for name in found if isinstance(name, str)}, extra))
    return calls


def optional_imports(file: Path) -> set[str]:
    """Top-level names that a file imports, which a plain install does not have; those for types do not count."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    spared = [
        part
        for node in ast.walk(tree)
        if (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING")
        or (isinstance(node, ast.Try) and any(getattr(one.type, "id", "") == "ImportError" for one in node.handlers))
        for part in ast.walk(node)
    ]
    names = set()
    for node in ast.walk(tree):
        if node in spared:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
    names -= {*sys.stdlib_module_names, "soundclip_hf"}
    return {name for name in names if plain(DISTRIBUTIONS.get(name, name)) not in CORE}


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_of_what_extras_bring_stand_behind_require(file):
    name = file.relative_to(SOURCE).as_posix()
    if name in GIVEN:
        return
    named = {module for modules, _ in required(file) for module in modules} | ELSEWHERE.get(name, set())
    missing = optional_imports(file) - named
    assert not missing, f"call extras.require before {file} imports {', '.join(sorted(missing))}"


def test_every_extra_that_is_named_exists_and_brings_the_package():
    extras = PROJECT["optional-dependencies"]
    asked = {*EXTRA_OF.items()}
    for file in FILES:
        for modules, extra in required(file):
            asked |= {(module, extra) for module in modules if extra}
    assert ("datasets", "train") in asked
    for module, extra in asked:
        assert extra in extras, f"pyproject.toml has no extra {extra!r}"
        assert plain(module) in brought(extras[extra]), f"the extra {extra!r} does not bring {module}"


def test_modules_of_no_extra_are_what_pip_calls_them():
    known = {*EXTRA_OF, "deepspeed", "liger_kernel", "lmms_eval", "mteb", *OPTIMIZERS.values()}
    known |= {module for modules in TRACKERS.values() for module in modules}
    for file in FILES:
        for modules, _ in required(file):
            assert modules <= known, f"{file}: add {modules - known} to EXTRA_OF, or the extra to pyproject.toml"
    assert set(PIP_NAMES) <= known


PYTHON = {
    "from soundclip_hf.data import with_audio": ("a column of sound (with_audio)", "datasets and pyarrow", "data"),
    "import soundclip_hf.data.ave2.audio_column": ("a column of sound (with_audio)", "datasets and pyarrow", "data"),
    "import soundclip_hf.serving.app": ("serving a model", "fastapi, openai and uvicorn", "serve"),
    "import soundclip_hf.data.build.datatrove_step": ("a step of a datatrove pipeline", "datatrove", "data"),
    "data.ave2.schema.features()": ("the schema of AVE-2", "datasets", "data"),
    "next(data.ave2.tables.read_rows(parquet))": ("t.parquet: reading Parquet", "pyarrow", "data"),
    "next(data.ave2.tables.read_batches(parquet, ['split']))": ("reading the columns of a table", "pyarrow", "data"),
    "data.ave2.tables.write_parquet([], 'o.parquet')": ("writing Parquet", "datasets and pyarrow", "data"),
    "data.ave2.shards.write_shards([], 'o')": ("writing shards", "datasets and pyarrow", "data"),
    "data.annotation.dead_letters.DeadLetters('o')": ("a file of dead letters", "pyarrow", "data"),
    "next(data.annotation.dead_letters.read_dead_letters('o'))": ("a file of dead letters", "pyarrow", "data"),
    "data.annotation.dead_letters.earlier_attempts(parquet)": ("t.parquet: reading Parquet", "pyarrow", "data"),
    "data.viewer.view.write_page(parquet, 'o')": ("t.parquet: reading Parquet", "pyarrow", "data"),
    "data.viewer.clips.parquet_with_clips(parquet)": ("t.parquet: reading clips from Parquet", "pyarrow", "data"),
    "data.stats.rating_sheet.stratified(parquet, 1)": ("reading the columns of a table", "pyarrow", "data"),
    "data.other_sets.manifest_files.read_manifest(parquet)": ("t.parquet: reading Parquet", "pyarrow", "data"),
    "data.annotation.caption_tables.read_captions('o.csv')": ("reading your own captions", "pyarrow", "data"),
    "data.inference.connections.ServerConnections(data.inference.client.Server('u', 'm'))": (
        "asking a server",
        "httpx",
        "data",
    ),
    "data.other_sets.tvsum('t.mat')": ("t.mat: reading HDF5", "h5py", "data"),
    "data.other_sets.tvsum_scores('t.mat')": ("t.mat: reading HDF5", "h5py", "data"),
    "data.Ave2('set').subset()": ("a subset of AVE-2", "datasets", "data"),
    "data.stats.histograms.draw_histograms({}, 'o.png', 't')": ("drawing histograms", "matplotlib", "plots"),
    "import soundclip_hf.integrations.sentence_transformers": (
        "the integration with sentence-transformers",
        "sentence_transformers",
        "st",
    ),
    "[*data.build.build(config)]": ("this build", "datasets and pyarrow", "data"),
    "[*data.build.cluster.run_on_cluster(ray)]": (
        "this build",
        "datasets, datatrove, pyarrow and ray",
        "cluster,data",
    ),
    "publishing.ave2_card.ave2_card('set', 'me/it')": ("reading the columns of a table", "pyarrow", "data"),
    "publishing.ave2_push.push_folder('set', 'me/it')": ("the card of a data set", "pyarrow", "data"),
    "training.arguments.read_arguments([])": ("training", "datasets", "train"),
    "next(training.ablations.run_grid('loss', []))": ("training", "datasets", "train"),
    "training.alignment.align(settings, None)": ("training", "datasets", "train"),
    "training.pairs.open_pairs(settings, 0)": ("reading a dataset", "datasets", "train"),
}


def test_the_python_api_of_a_plain_install(tmp_path):
    """In a process of its own, where nothing of the extras was ever imported; the modules of `OURS` ask for them."""
    code = f"""
import json, pkgutil, sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import soundclip_hf
failed = []
for found in pkgutil.walk_packages(soundclip_hf.__path__, "soundclip_hf."):
    if found.name.endswith("__main__") or found.name in {OURS!r}:
        continue
    if found.name in ("soundclip_hf.demo.page", "soundclip_hf.serving.app", "soundclip_hf.serving.handler"):
        continue
    try:
        __import__(found.name)
    except ImportError as error:
        failed.append(f"{{found.name}}: {{error}}")
assert not failed, failed
from soundclip_hf import data, publishing, training
from soundclip_hf.extras import NotInstalledError
from pathlib import Path
parquet = Path("t.parquet")
parquet.write_bytes(b"")
Path("set/data").mkdir(parents=True)
Path("set/data/t.parquet").write_bytes(b"")
Path("set/manifest.json").write_text('{{"rows": 1, "splits": {{}}, "shards": []}}')
config = data.build.config.BuildConfig()
ray = data.build.config.BuildConfig(run=data.build.config.RunSettings(executor="ray"))
settings = training.arguments.AlignmentArguments(base_model="b", dataset="d")
before = sorted(path.name for path in Path().rglob("*"))
told = {{}}
for line in {[*PYTHON]!r}:
    try:
        exec(line)
    except ImportError as error:
        told[line] = [type(error).__name__, str(error)]
assert sorted(path.name for path in Path().rglob("*")) == before
data.Ave2, data.from_upstream
print(json.dumps(told))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = {}
    for line, (what, names, extra) in PYTHON.items():
        verb = "are" if " and " in names else "is"
        message = f"{what} needs {names}, which {verb} not installed: pip install 'soundclip-hf[{extra}]'"
        expected[line] = ["NotInstalledError", message]
    assert json.loads(done.stdout) == expected
