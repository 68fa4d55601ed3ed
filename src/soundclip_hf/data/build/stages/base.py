"""The stages that turn rows into rows: cut, annotate, judge, subset. Each reads one shard and counts what it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...annotation.annotate import Annotator
from ...annotation.caption_tables import with_captions
from ...annotation.dead_letters import earlier_attempts
from ...annotation.judge import FAILED, Judge
from ...ave2.schema import complete
from ...ave2.subsets import filters, matches, split_of
from ...ave2.validation import faults
from ...clips.cuts import Job
from ...clips.segment import cut
from ...stage_settings import captioners, own_captions, rubric
from ..config import BuildConfig
from ..folder import BuildFolder


@dataclass
class Work:
    """One shard of one stage.

    Attributes:
        processes: How many of them ask the same server: its limits are divided by this.
        crashed: Videos that take their process down; they are rejected.
        counts: What was done, by name.
    """

    config: BuildConfig
    folder: BuildFolder
    shard: str
    processes: int = 1
    crashed: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)


def segment(work: Work) -> Iterator[dict[str, Any]]:
    for video in work.folder.videos(work.shard):
        if video["video_id"] in work.crashed:
            work.counts["rejected: crashed"] += 1
            continue
        made = cut(Job(video["path"], video["video_id"]), work.folder.clips(), work.config.segment.cutting())
        work.counts["videos"] += 1
        work.counts.update(f"rejected: {reject.reason}" for reject in made.rejects)
        yield from made.rows(work.config.source_dataset)


def annotate(work: Work, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    asked = captioners(work.config, work.folder.clips()).items()
    servers = {step: (settings.server(work.processes), prompt) for step, (settings, prompt) in asked}
    letters = work.folder.dead_letters("annotate", work.shard)
    annotator = Annotator(servers, work.folder.answers("annotate"), letters, earlier_attempts(letters))
    for done in annotator.annotate(with_captions(rows, own_captions(work.config))):
        work.counts.update(f"failed: {step}: {failure}" for step, failure in done.failures.items())
        yield done.row
    work.counts["requests"] += annotator.requests


def judge(work: Work, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if work.config.judge.server is None:
        yield from (complete({**row, **FAILED}) for row in rows)
        return
    letters = work.folder.dead_letters("judge", work.shard)
    judging = Judge(
        work.config.judge.server.server(work.processes),
        rubric(work.config, work.folder.clips()),
        work.folder.answers("judge"),
        letters,
        earlier_attempts(letters),
    )
    for done in judging.judge(rows):
        work.counts.update([f"failed: {done.failure}"] if done.failure else [])
        yield done.row
    work.counts["requests"] += judging.requests


def subset(work: Work, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    settings = work.config.subset
    yield from selected(rows, settings.keep, settings.inclusive, settings.eval_share, work.counts)


def selected(
    rows: Iterable[Mapping[str, Any]], keep: str, inclusive: bool, eval_share: float, counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Rows of a subset, each with the split of its video.

    Raises:
        ValueError: A row breaks the schema, with all its reasons.
    """
    conditions = filters(keep, inclusive=inclusive)
    shares = {"train": 1 - eval_share, "eval": eval_share}
    for row in rows:
        if reasons := faults(row):
            raise ValueError(f"{row.get('sample_id')}: {'; '.join(reasons)}")
        if not matches(row, conditions):
            counts["left out"] += 1
            continue
        split = split_of(row["youtube_id"], shares)
        counts[split] += 1
        yield {**row, "split": split}


__all__ = ["Work", "annotate", "judge", "segment", "selected", "subset"]
