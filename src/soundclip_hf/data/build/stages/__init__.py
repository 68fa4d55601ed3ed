"""The stages of a build, one class in one module. A module that is put here is found, and has its place by `after`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .base import Pusher, Stage, Work


def find_stages() -> dict[str, Stage]:
    """
    The stages of this folder by name, in the order in which they run.

    Raises:
        ValueError: Two come after the same one, or one comes after a stage that there is not.
    """
    following: dict[str | None, Stage] = {}
    for module in iter_modules(__path__):
        name = f"{__name__}.{module.name}"
        for kind in vars(import_module(name)).values():
            if not (isinstance(kind, type) and issubclass(kind, Stage)) or kind is Stage or kind.__module__ != name:
                continue
            if kind.after in following:
                both = f"{following[kind.after].name!r} and {kind.name!r}"
                raise ValueError(f"the stages {both} both come after {kind.after!r}")
            following[kind.after] = kind()
    found: dict[str, Stage] = {}
    last: str | None = None
    while last in following:
        stage = following.pop(last)
        found[stage.name] = stage
        last = stage.name
    if following:
        lost = next(iter(following.values()))
        raise ValueError(f"the stage {lost.name!r} comes after {lost.after!r}, which is none of {', '.join(found)}")
    return found


STAGES = find_stages()

__all__ = ["STAGES", "Pusher", "Stage", "Work", "find_stages"]
