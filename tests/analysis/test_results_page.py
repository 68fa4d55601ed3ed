"""Pages of results: every number of a file, once, in a table of its task."""

import pytest

from soundclip_hf.analysis.results_page import read_results, result_tables, results_page
from soundclip_hf.evaluation.results import EvalResult


def result(task="generation", metrics=None, bars=None, **config):
    return EvalResult(task, "org/m", "set, eval", 10, 0, metrics or {"bleu": 0.125}, bars or {}, config=config)


def test_rows_are_named_by_what_differs():
    (table,) = result_tables([result(k=15, patches="zero"), result(k=150, patches="zero", alpha=0.5)])
    assert [name for name, _ in table.rows] == ["k 15", "k 150, alpha 0.5"]
    assert table.common == {"patches": "zero"}


def test_groups_of_numbers_are_rows_with_their_intervals():
    metrics = {"raw_a2v": {"t1": 1.0, "mean_rank": 50.5}, "projected_a2v": {"t1": 45.25, "mean_rank": 7.0}}
    bars = {"projected_a2v": {"interval_95": {"t1": [40.0, 50.5]}}}
    (table,) = result_tables([result("retrieval", metrics, bars)])
    assert table.columns == ("t1", "mean_rank")
    assert dict(table.rows) == {"raw_a2v": ("1", "50.50"), "projected_a2v": ("45.25 [40, 50.50]", "7")}


def test_one_row_of_many_numbers_stands_upright():
    (table,) = result_tables([result("audit", {"a": 1, "b": 2, "c": 3, "d": 4})])
    assert table.rows == (("a", ("1",)), ("b", ("2",)), ("c", ("3",)), ("d", ("4",)))
    assert table.columns == ("org/m",)


def test_the_page_shows_every_task_picture_and_command(tmp_path):
    result(k=1).save(tmp_path / "generation" / "a.json")
    result(k=2).save(tmp_path / "generation" / "b.json")
    result("audit", {"kl": 0.5}).save(tmp_path / "audit.json")
    (tmp_path / "suite.json").write_text('{"soundclip …": 1.5}')
    (tmp_path / "token-budget.png").write_bytes(b"")
    page = results_page(tmp_path, title="Measured", text="On scenes.", commands=["soundclip eval suite"])
    assert page.startswith("# Measured\n\nOn scenes.\n")
    assert "| k 1 | 0.125 |" in page
    assert "## Audit" in page
    assert "![token budget](token-budget.png)" in page
    assert "```bash\nsoundclip eval suite\n```" in page
    assert "generation/a.json" in page
    assert "suite.json" not in page


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    names = [
        "alpha0.125-k8.json",
        "alpha0.25-k8.json",
        "alpha0.5-k8.json",
        "raw-k2.json",
        "raw-k8.json",
        "raw-k16.json",
    ]
    for name in reversed(names):
        result(name=name).save(tmp_path / name)
    assert [path.name for path in read_results(tmp_path)] == names


def test_a_folder_without_results_is_named(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no result"):
        read_results(tmp_path)
    (tmp_path / "later.json").write_text('{"format": 99, "task": "x", "metrics": {}}')
    with pytest.raises(ValueError, match="format 99"):
        read_results(tmp_path)
