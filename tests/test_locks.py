"""The locks hold what pyproject.toml asks for, at its lower and at its upper end, and name no host."""

import re
import tomllib
from pathlib import Path

import pytest
from locks import LOCKS, differences, read_lock
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = [
    Requirement(line)
    for part in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in part
    if not line.startswith("soundclip-hf")
]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_locked_within_its_range(path):
    pins = read_lock(path)
    outside = [str(asked) for asked in ASKED if not asked.specifier.contains(pins[asked.name])]
    assert not outside


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_name_no_host(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"://|\s@\s|--index|--find-links", text)


def test_lower_bounds_are_what_the_lowest_lock_installs():
    pins = read_lock(LOCKS[1])
    above = []
    for asked in ASKED:
        (bound,) = [Version(limit.version) for limit in asked.specifier if limit.operator == ">="]
        if Version(pins[asked.name]) != bound:
            above.append(f"{asked}: {pins[asked.name]}")
    # Another package of the tree asks for more than we do: then our bound is a number that nobody ran.
    assert not above


def test_differences_are_named(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text("packaging==0.1\nno-such-package==2 ; python_version >= '3.11'\nother==3 ; python_version < '3'\n")
    named = differences(lock)
    assert [line.split()[0] for line in named] == ["packaging", "no-such-package"]
    assert named[0].endswith("(0.1)")
    assert named[1] == "no-such-package missing (2)"
