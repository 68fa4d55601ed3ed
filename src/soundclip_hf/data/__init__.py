"""AVE-2 and its kin: schema, validation, segments, judgements, statistics, shards. Modules are imported by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ave2.audio_column import with_audio
    from .ave2.loading import Ave2
    from .ave2.upstream import from_upstream

# What users of a published data set need; `datasets` is imported with it, not before.
_LAZY = {"Ave2": "ave2.loading", "from_upstream": "ave2.upstream", "with_audio": "ave2.audio_column"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


__all__ = ["Ave2", "from_upstream", "with_audio"]
