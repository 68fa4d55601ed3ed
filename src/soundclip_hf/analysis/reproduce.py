"""Recomputes what the paper derives from its own tables, and compares it with what the paper prints."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..files import write_text
from ..text_tables import csv_rows
from .claims import CLAIMS, Claim
from .paper_tables import FOLDER

EXPECTED = FOLDER / "expected.csv"
_COLUMNS = ("claim", "part", "value", "status")


class Status(StrEnum):
    match = "match"
    mismatch = "mismatch"
    not_recomputable = "not recomputable"
    withdrawn = "withdrawn by the authors"


@dataclass(frozen=True)
class Outcome:
    """
    Attributes:
        claim: Its name.
        source: Where the paper makes it.
        paper: What it prints, by part.
        recomputed: The same parts and possibly others, from the tables; None where that cannot be.
        status: A claim that the authors have withdrawn is that, whether its arithmetic is right or not.
        agrees: Whether every printed part is met; None where it cannot be recomputed.
        note: Why not.
    """

    claim: str
    source: str
    paper: Mapping[str, str]
    recomputed: Mapping[str, float | str] | None
    status: Status
    agrees: bool | None
    note: str

    def report(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return {**asdict(self), "status": self.status.value}


def reproduce_tables(claims: Sequence[Claim] = CLAIMS) -> list[Outcome]:
    """Recompute every claim; the same arithmetic on every machine."""
    return [_outcome(claim) for claim in claims]


def check(outcomes: Sequence[Outcome], path: str | Path | None = None) -> list[str]:
    """
    Compare with what was computed when `expected.csv` was written.

    Args:
        path: None takes the file that comes with the package.

    Returns:
        What has changed, a line for each; empty if nothing has. That the paper is right or wrong is no change.

    Raises:
        ValueError: If the file is not such a table.
    """
    before = {(row["claim"], row["part"]): row for row in csv_rows(path or EXPECTED, _COLUMNS)}
    now = {(row["claim"], row["part"]): row for row in _rows(outcomes)}
    changed = [f"{claim}, {part or 'status'}: is gone" for claim, part in before.keys() - now.keys()]
    changed += [f"{claim}, {part or 'status'}: is new" for claim, part in now.keys() - before.keys()]
    for key in now.keys() & before.keys():
        claim, part = key
        for column in ("value", "status"):
            old, new = before[key][column], now[key][column]
            if not _same(old, new):
                changed.append(f"{claim}, {part or 'status'}: was {old}, is {new}")
    return sorted(changed)


def write_expected(outcomes: Sequence[Outcome], path: str | Path = EXPECTED) -> None:
    """Store outcomes for [`check`], after a change of the claims that is meant."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(outcomes))
    write_text(Path(path), text.getvalue())


def _outcome(claim: Claim) -> Outcome:
    found = claim.compute() if claim.compute else None
    agrees = None if found is None else all(_met(claim, part, found[part]) for part in claim.paper)
    if claim.withdrawn:
        status = Status.withdrawn
    elif agrees is None:
        status = Status.not_recomputable
    else:
        status = Status.match if agrees else Status.mismatch
    return Outcome(claim.name, claim.source, claim.paper, found, status, agrees, claim.note)


def _met(claim: Claim, part: str, found: float | str) -> bool:
    printed = claim.paper[part]
    if isinstance(found, str):
        return found == printed
    half = 0.5 * 10.0 ** -len(printed.partition(".")[2]) if claim.tolerance is None else claim.tolerance
    # A number half way between two rounds either way; so does one that arithmetic has moved by its last bits.
    return abs(found - float(printed)) <= half + 1e-9


def _rows(outcomes: Sequence[Outcome]) -> list[dict[str, str]]:
    rows = []
    for outcome in outcomes:
        rows.append({"claim": outcome.claim, "part": "", "value": "", "status": outcome.status.value})
        for part, value in (outcome.recomputed or {}).items():
            text = value if isinstance(value, str) else f"{value:.10g}"
            rows.append({"claim": outcome.claim, "part": part, "value": text, "status": ""})
    return rows


def _same(old: str, new: str) -> bool:
    try:
        return math.isclose(float(old), float(new), rel_tol=1e-8, abs_tol=1e-8)
    except ValueError:
        return old == new


__all__ = ["EXPECTED", "Outcome", "Status", "check", "reproduce_tables", "write_expected"]
