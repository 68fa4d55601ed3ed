"""
Test with the newest release of everything, the upper limits of pyproject.toml lifted and pre-releases left out.

What: makes `.venv-newest`, runs the offline tests and the demo there, prints a table package | locked | newest | result
Needs: the package index; `.venv` (`make test-newest` makes it); about 15 minutes on two cores
Launch: make test-newest            (TESTS="tests/modeling tests/test_readme.py" for a part)
Expect: exit code 0 and "passed" in every row; a row says which upper limit in pyproject.toml a newer release is beyond
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv-newest"
PYTHON = ENVIRONMENT / "bin" / "python"
OWN = "soundclip-hf"


def requirements() -> dict[str, Requirement]:
    """What the package and its extra `dev` ask for, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, Requirement] = {}
    waiting = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == OWN:
            for extra in requirement.extras:
                waiting += project["optional-dependencies"][extra]
        else:
            found[requirement.name] = requirement
    return dict(sorted(found.items()))


def without_upper_limit(requirement: Requirement) -> str:
    kept = [str(limit) for limit in requirement.specifier if limit.operator in (">=", ">", "!=")]
    return requirement.name + ",".join(sorted(kept))


def install(wanted: list[str]) -> None:
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        run([uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)])
        pip = [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
    else:
        run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--upgrade"]
    run([*pip, *wanted])
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def run(command: list[str]) -> None:
    print("$", *command, file=sys.stderr, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def passes(command: list[str]) -> bool:
    print("$", *command, file=sys.stderr, flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def installed(python: str) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    names = json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
    return {canonicalize_name(name): version for name, version in names.items()}


def rows(passed: bool) -> list[tuple[str, str, str, str]]:
    locked, newest = installed(sys.executable), installed(str(PYTHON))
    wanted = requirements()
    table = []
    for name, requirement in wanted.items():
        old, new = (versions.get(canonicalize_name(name), "none") for versions in (locked, newest))
        result = "passed" if passed else "failed"
        if new != "none" and not SpecifierSet(str(requirement.specifier)).contains(Version(new)):
            result += f", beyond {requirement.specifier} in pyproject.toml"
        table.append((name, old, new, "as locked" if old == new and passed else result))
    named = {canonicalize_name(name) for name in [*wanted, OWN]}
    others = sorted((set(locked) | set(newest)) - named)
    changed = [name for name in others if locked.get(name) != newest.get(name)]
    table += [
        (name, locked.get(name, "none"), newest.get(name, "none"), "passed" if passed else "failed") for name in changed
    ]
    return table


def print_table(table: list[tuple[str, str, str, str]]) -> None:
    head = ("package", "locked", "newest", "result")
    widths = [max(len(row[column]) for row in [head, *table]) for column in range(4)]
    for row in (head, tuple("-" * width for width in widths), *table):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")


def main() -> int:
    install([without_upper_limit(requirement) for requirement in requirements().values()])
    tests = os.environ.get("TESTS", "").split()
    passed = passes([str(PYTHON), "-m", "pytest", "-n", "auto", *tests])
    demo = [str(ENVIRONMENT / "bin" / "soundclip"), "describe", "--question", "What makes the sound?"]
    passed = passes(demo) and passed
    print_table(rows(passed))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
