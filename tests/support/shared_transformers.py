"""
The test classes that transformers shares among its models, from the sdist of the installed version (no wheel has them).

`python tests/support/shared_transformers.py` fetches the sdist into `.cache/`; the tests only look there.
"""

import functools
import importlib
import subprocess
import sys
import tarfile
import types
import unittest
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import pytest

CACHE = Path(__file__).resolve().parents[2] / ".cache"
NAME = f"transformers-{version('transformers')}"
PACKAGE = "transformers_shared_tests"  # not `tests`: that name would shadow other packages' tests
NEEDED = "test_modeling_common.py"


def fetch() -> Path:
    """
    Put the unpacked `tests` folder into `.cache/`, where it is not there yet.

    Raises:
        RuntimeError: If the package index does not give the sdist, or it holds no tests.
    """
    folder = CACHE / NAME / "tests"
    if (folder / NEEDED).is_file():
        return folder
    sdist = CACHE / f"{NAME}.tar.gz"
    if not sdist.is_file():
        # Without these options pip would download, and build, the package's requirements.
        options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", str(CACHE)]
        command = [sys.executable, "-m", "pip", "download", NAME.replace("-", "=="), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "pip failed").splitlines()[-1]
            raise RuntimeError(f"{sdist.name} cannot be fetched from the package index: {last}")
    with tarfile.open(sdist) as archive:
        tests = [member for member in archive.getmembers() if member.name.startswith(f"{NAME}/tests/")]
        # Python 3.11 before 3.11.4 has no filters.
        archive.extractall(CACHE, members=tests, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    if not (folder / NEEDED).is_file():
        raise RuntimeError(f"{sdist} holds no tests/{NEEDED}")
    return folder


@functools.cache
def load(name: str) -> types.ModuleType:
    """A module of transformers' `tests`, such as `test_modeling_common`; skips the calling test where it is absent."""
    folder = CACHE / NAME / "tests"
    if not (folder / f"{name}.py").is_file():
        pytest.skip(
            f"{NAME}.tar.gz is not in .cache: `make test-slow` fetches it from the package index or says why not",
            allow_module_level=True,
        )
    if PACKAGE not in sys.modules:
        _module(PACKAGE, __path__=[str(folder)])
        # Left out of the sdist, but imported by what is in it.
        _module(f"{PACKAGE}.exporters", __path__=[])
        _module(f"{PACKAGE}.exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
        _module(f"{PACKAGE}.generation", __path__=[])
        _module(f"{PACKAGE}.generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
        _module(f"{PACKAGE}.utils", __path__=[])
        _module(f"{PACKAGE}.utils.test_configuration_utils", config_common_kwargs=_COMMON_FIELDS)
        _module("fetch_hub_objects_for_ci", url_to_local_path=lambda url, *args, **kwargs: url)
    # test_configuration_common imports the repository's transformers from its own place in the tree, and never uses it.
    with mock.patch("transformers.utils.direct_transformers_import"):
        return importlib.import_module(f"{PACKAGE}.{name}")


# Values unlike the defaults, for `ConfigTester`.
_COMMON_FIELDS = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["AModel"],
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "problem_type": "regression",
}


def _module(name: str, **attributes: object) -> None:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module


def expect_failures(case: type[unittest.TestCase], known: dict[str, str]) -> None:
    """
    Mark the tests of `case` that are known to fail with their reasons, so that one that passes again is reported.

    Raises:
        ValueError: If `case` has no test of such a name.
    """
    for name, reason in known.items():
        test = getattr(case, name, None)
        if test is None:
            raise ValueError(f"{case.__name__} has no {name}: transformers may have renamed it; update the list.")
        setattr(case, name, pytest.mark.xfail(reason=reason, strict=True)(_own_copy(test)))


def _own_copy(test: Callable) -> Callable:
    # The shared function belongs to other classes too, which a mark on it would reach.
    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        test(self)

    return run


def main() -> int:
    try:
        folder = fetch()
    except RuntimeError as error:
        print(f"Without transformers' shared tests, which will be skipped: {error}", file=sys.stderr)
        return 1
    print(f"transformers' shared tests: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
