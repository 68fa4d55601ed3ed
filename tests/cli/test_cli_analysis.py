"""`soundclip tradeoff` and `soundclip reproduce tables`."""

import pytest

from soundclip_hf.analysis import reproduce
from soundclip_hf.evaluation.results import EvalResult


@pytest.fixture
def results(tmp_path):
    scores = {"a": (10.0, 3.8), "b": (20.0, 3.6), "c": (40.0, 3.0), "d": (30.0, 3.5)}
    for model, (t1, score) in scores.items():
        given = {"model": model, "dataset": "d", "n": 9, "seed": 0, "error_bars": {}}
        metrics = {"raw_a2v": {"t1": 0.0}, "projected_a2v": {"t1": t1}}
        EvalResult(task="retrieval", metrics=metrics, **given).save(tmp_path / f"{model}-retrieval.json")
        metrics = {"raw_gpt4o_overall": 4.0, "projected_gpt4o_overall": score}
        EvalResult(task="generation", metrics=metrics, **given).save(tmp_path / f"{model}-generation.json")
    return sorted(tmp_path.glob("*.json"))


def test_tradeoff_of_results(soundclip, results, tmp_path):
    done = soundclip("tradeoff", *results, "--plot", tmp_path / "t.png", "--json", "--task", "dense captioning")
    assert done.code == 0, done.stderr
    (report,) = done.rows
    # Losses 5, 10, 25, 12.5 at gains 10, 20, 40, 30: sums of squares 500, of products 295 (means 25 and 13.125).
    assert report["line"]["slope"] == pytest.approx(
        ((10 - 25) * 5 + (20 - 25) * 10 + (40 - 25) * 25 + (30 - 25) * 12.5) / 500
    )
    assert report["pearson"]["n"] == 4
    assert report["source"] == "results"
    assert report["recommendation"]["encoder"] == "WhisperCLIP"
    assert report["recommendation"]["measured"][0]["generation"]["value"] == 4.0
    assert (tmp_path / "t.png").stat().st_size > 10_000
    assert (tmp_path / "t.json").is_file()


def test_every_correlation_has_its_interval_and_n(soundclip, results):
    done = soundclip("tradeoff", *results)
    assert done.code == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("pearson", "spearman"))]
    assert len(lines) == 2
    for line in lines:
        assert line.endswith(", n = 4")
        assert "[" in line
        assert "bootstrap [" in line


def test_the_papers_numbers_say_that_they_are_the_papers(soundclip):
    done = soundclip("tradeoff", "--paper")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("paper: the paper's own numbers; the line and the Pareto front were withdrawn")
    assert "loss = 0.1642 gain + 11.8549" in done.stdout


def test_wrong_command_lines(soundclip, results, tmp_path):
    assert soundclip("tradeoff").code == 2
    assert soundclip("tradeoff", results[0], "--paper").code == 2
    assert soundclip("tradeoff", "--paper", "--retrieval-metric", "v2a.t1").code == 2
    assert soundclip("tradeoff", "--paper", "--plot", tmp_path / "t.gif").code == 2
    done = soundclip("tradeoff", results[0])
    assert done.code == 1
    assert done.error.startswith("error: a: no result has a2v.t1 of raw")
    (tmp_path / "x.json").write_text("{}")
    assert soundclip("tradeoff", tmp_path / "x.json").error.startswith(f"error: {tmp_path / 'x.json'} is not a result")


def test_reproduce_tables(soundclip):
    done = soundclip("reproduce", "tables", "--check")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "claim | part | paper | recomputed | status"
    (r,) = [line for line in lines if line.startswith("Finding 6: r ")]
    assert [cell.strip() for cell in r.split("|")] == ["Finding 6: r", "r", "0.89", "0.453561", "mismatch"]


def test_reproduce_tables_as_json(soundclip):
    rows = soundclip("reproduce", "tables", "--json").rows
    found = {row["claim"]: row for row in rows}
    assert found["Finding 6: r"]["status"] == "mismatch"
    assert found["the authors' line"]["status"] == "withdrawn by the authors"
    assert found["kappa"]["recomputed"] is None
    assert len(found) == len(rows) > 50


def test_check_fails_if_the_arithmetic_gives_something_else(soundclip, tmp_path, monkeypatch):
    """Against stored outcomes that differ in one number."""
    text = reproduce.EXPECTED.read_text().replace("44.4", "44.3")
    (tmp_path / "e.csv").write_text(text)
    monkeypatch.setattr(reproduce, "EXPECTED", tmp_path / "e.csv")
    done = soundclip("reproduce", "tables", "--check")
    assert done.code == 1
    assert "changed: Finding 1: gains in Top-1, ImageBind: was 44.3, is 44.4" in done.stderr
    assert soundclip("reproduce", "tables").code == 0


def test_tradeoff_of_the_later_version(soundclip):
    done = soundclip("tradeoff", "--icassp2027", "--generation-metric", "b3", "--json")
    assert done.code == 0, done.stderr
    assert (done.rows[0]["source"], done.rows[0]["generation_metric"], done.rows[0]["n"]) == ("icassp2027", "b3", 5)
    assert "b1, b2, b3 only" in soundclip("tradeoff", "--icassp2027", "--generation-metric", "bleu").error
    assert "one of them only" in soundclip("tradeoff", "--icassp2027", "--paper").error
