"""The test classes that transformers shares among its models: from the sdist of the installed version, once per run."""

import functools
import importlib
import subprocess
import sys
import tarfile
import tempfile
import types
from pathlib import Path

import pytest
import transformers


@functools.cache
def _folder() -> Path | str:
    """The unpacked sdist, or why there is none."""
    folder = Path(tempfile.gettempdir()) / f"transformers-{transformers.__version__}-sdist"
    unpacked = folder / f"transformers-{transformers.__version__}"
    if (unpacked / "tests").is_dir():
        return unpacked
    source = f"transformers=={transformers.__version__}"
    options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--quiet", "--dest", str(folder)]
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", "download", source, *options], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        return f"the sdist of {source} cannot be fetched: {fetched.stderr.strip().splitlines()[-1]}"
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        tests = [member for member in archive.getmembers() if member.name.startswith(f"{unpacked.name}/tests/")]
        archive.extractall(folder, members=tests, filter="data")
    return unpacked


def shared_tests(name: str) -> types.ModuleType:
    """A module of transformers' `tests` folder, such as `test_processing_common`; skips if there is none."""
    found = _folder()
    if isinstance(found, str):
        pytest.skip(found, allow_module_level=True)
    # A helper of the repository that the sdist leaves out.
    hub = types.ModuleType("fetch_hub_objects_for_ci")
    hub.url_to_local_path = lambda url, *args, **kwargs: url  # type: ignore[attr-defined]
    sys.modules.setdefault("fetch_hub_objects_for_ci", hub)
    if str(found / "tests") not in sys.path:
        sys.path.append(str(found / "tests"))
    return importlib.import_module(name)
