"""The stage that keeps the rows of a subset, each with the split of its video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...ave2.subsets import selected
from ..config import BuildConfig
from .base import Stage, Work


class Subset(Stage):
    """Keeps the rows that meet a subset's conditions."""

    name = "subset"
    after = "judge"

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        settings = config.subset
        return {"keep": settings.keep, "inclusive": settings.inclusive, "eval_share": settings.eval_share}

    def workers(self, config: BuildConfig) -> int | None:
        return config.subset.workers

    def rows(self, work: Work) -> Iterator[dict[str, Any]]:
        settings = work.config.subset
        yield from selected(self.before(work), settings.keep, settings.inclusive, settings.eval_share, work.counts)


__all__ = ["Subset"]
