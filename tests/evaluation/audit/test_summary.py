"""Totals of rows that are written by hand."""

import numpy as np
import pytest

from soundclip_hf.evaluation.audit.summary import summarise


def row(name: str, moved: float, *, group: str | None = None, change: float = 1.0, **more) -> dict:
    cell = {"kl_first": moved / 2, "kl_mean": moved / 4, "moved": moved, "change": change, "flipped": moved > 0.5}
    return {"id": name, "group": group or name, "channels": {"total": {"silent": None, "swapped": cell | more}}}


def test_means_by_hand():
    rows = [row("a", 0.2, change=1e-5), row("b", 0.6, kept_overlap=0.25), row("c", 1.0, kept_overlap=0.75)]
    means, intervals, counts = summarise(rows, 1e-3, 0)
    assert set(means) == set(intervals) == {("total", "swapped")}
    found = means["total", "swapped"]
    assert found["moved"] == pytest.approx(0.6)
    assert found["kl_first"] == pytest.approx(0.3)
    assert found["kl_mean"] == pytest.approx(0.15)
    assert found["flipped"] == pytest.approx(2 / 3)
    assert found["reached"] == pytest.approx(2 / 3)
    assert found["kept_overlap"] == pytest.approx(0.5)
    assert counts == {"total.swapped": 3}


def test_intervals_hold_the_mean_and_follow_the_seed():
    rows = [row(str(number), number / 40) for number in range(40)]
    _, intervals, _ = summarise(rows, 1e-3, 0)
    low, high = intervals["total", "swapped"]["moved"]
    assert low < 39 / 80 < high
    # The standard error of this mean is 0.0456.
    assert high - low == pytest.approx(2 * 1.96 * 0.0456, rel=0.15)
    assert summarise(rows, 1e-3, 0)[1] == intervals
    assert summarise(rows, 1e-3, 1)[1] != intervals


def test_copies_within_a_group_do_not_narrow_an_interval():
    values = np.random.default_rng(0).random(10)
    single = [row(str(index), value) for index, value in enumerate(values)]
    copies = [
        row(f"{index}-{copy}", value, group=str(index)) for index, value in enumerate(values) for copy in range(5)
    ]
    first, second = (summarise(rows, 1e-3, 0)[1]["total", "swapped"]["moved"] for rows in (single, copies))
    assert second == pytest.approx(first)


def test_equal_values_have_an_interval_of_one_point():
    _, intervals, _ = summarise([row(str(number), 0.25) for number in range(5)], 1e-3, 0)
    assert intervals["total", "swapped"]["moved"] == pytest.approx([0.25, 0.25])
