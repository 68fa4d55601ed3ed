"""Which lock of `requirements/` an environment was made from, and where it differs."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

FOLDER = Path(__file__).resolve().parents[2] / "requirements"
LOCKS = (FOLDER / "locked.txt", FOLDER / "lowest.txt")


def read_lock(path: Path) -> dict[str, str]:
    """Package -> version, of those that this Python and machine need."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                (pin,) = requirement.specifier
                pins[requirement.name] = pin.version
    return pins


def differences(path: Path) -> list[str]:
    """What is installed otherwise than the lock says, as "package installed (locked)"."""
    found = []
    for name, locked in read_lock(path).items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "missing"
        if installed.partition("+")[0] != locked:  # a local build, such as torch's +cpu
            found.append(f"{name} {installed} ({locked})")
    return found


def describe_environment() -> str:
    """One line for the head of a test run."""
    found = {path: differences(path) for path in LOCKS}
    path = min(found, key=lambda candidate: len(found[candidate]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    said = f"lock: requirements/{path.name} (sha256 {digest}, {len(read_lock(path))} packages)"
    if not found[path]:
        return f"{said}, installed as locked"
    more = f" and {len(found[path]) - 6} more" if len(found[path]) > 6 else ""
    return f"{said}; installed otherwise: {', '.join(found[path][:6])}{more}"
