"""A plugin: the comparisons with golden vectors that a run has made, as one table at its end.

They travel in the reports' user properties, so that those of xdist's workers arrive too.
"""

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from shared_data import SHARED

if TYPE_CHECKING:
    from soundclip_hf.conversion.golden import Comparison

_PROPERTY = "golden"
_LISTED = 6
_INPUTS = ("_pcm", "layer_weight_logits")
_running: list[pytest.Item] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def record(comparison: "Comparison") -> None:
    """Put a comparison of the running test into the table."""
    if _running:
        _running[-1].user_properties.append((_PROPERTY, list(astuple(comparison))))


def pytest_terminal_summary(terminalreporter):
    rows = [
        values
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, values in report.user_properties
        if name == _PROPERTY
    ]
    if rows:
        # Every run loads this plugin, and most have no use for torch and all encoders.
        from soundclip_hf.conversion.golden import Comparison

        made = [Comparison(*values) for values in rows]
        terminalreporter.section("golden vectors")
        for line in [*table(made), *left_out(made)]:
            terminalreporter.write_line(line)


def table(made: "list[Comparison]") -> list[str]:
    """Lines, one per array and tolerance, of several comparisons the worst; then remarks and a count."""
    worst: dict[tuple[Any, ...], Comparison] = {}
    for one in made:
        key = (one.golden, one.array, one.tolerance)
        # NaN is larger than everything: it compares as false.
        if key not in worst or (worst[key].ok and not (one.ok and one.difference <= worst[key].difference)):
            worst[key] = one
    rows = [("encoder", "array", "max difference", "tolerance", "ok")]
    remarks: list[str] = []
    for one in sorted(worst.values(), key=lambda one: one.golden):
        if one.remark and one.remark not in remarks:
            remarks.append(one.remark)
        mark = f" [{remarks.index(one.remark) + 1}]" if one.remark else ""
        verdict = "ok" if one.ok else "FAILED"
        rows.append((one.golden, one.array, f"{one.difference:.2e}", one.tolerance + mark, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    failed = sum(not one.ok for one in worst.values())
    summary = f"{len(worst) - failed} of {len(worst)} within tolerance"
    return [*lines, *(f"[{number}] {remark}" for number, remark in enumerate(remarks, start=1)), summary]


def left_out(made: "list[Comparison]") -> list[str]:
    """Reference outputs of the encoders in the table that the run compared with nothing."""
    lines = []
    for name in sorted({one.golden for one in made}):
        compared = {one.array.split(" ")[0] for one in made if one.golden == name}
        arrays = np.load(SHARED / "golden" / f"{name}.npz").files
        rest = [array for array in arrays if array not in compared and not array.endswith(_INPUTS)]
        if rest:
            more = f" and {len(rest) - _LISTED} more" if len(rest) > _LISTED else ""
            lines.append(f"not compared: {name} {', '.join(rest[:_LISTED])}{more}")
    return lines
