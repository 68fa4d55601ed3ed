"""The benchmark script on a tiny shape: it checks before it times, and writes what it measured."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench_topk_mask.py"


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("bench_topk_mask", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PATCHES", 24)
    monkeypatch.setattr(module, "DIM", 32)
    return module


def run(bench, target: Path) -> list[dict]:
    bench.main(["--device", "cpu", "--batches", "1", "--k", "5", "--repeats", "3", "--json", str(target)])
    return json.loads(target.read_text())["results"]


def test_every_contestant_is_checked_and_timed(bench, tmp_path):
    results = run(bench, tmp_path / "figures.json")
    names = {result["contestant"] for result in results}
    assert names == {"naive", "eager", "reference", "ours", "ours, out=", "copy (floor)"}
    assert {(r["dtype"], r["mode"]) for r in results} == {(d, m) for d in ("bf16", "fp32") for m in ("zero", "drop")}
    for result in results:
        for clock in ("wall", "cpu"):
            assert 0 < result[clock]["q1_us"] <= result[clock]["median_us"] <= result[clock]["q3_us"]
        assert result["contestant"] in ("naive", "copy (floor)") or result["answer"] == "exact"


def test_a_wrong_answer_gets_no_time(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "eager", lambda tokens, audio, k, mode: torch.zeros_like(tokens))
    assert "eager" not in {result["contestant"] for result in run(bench, tmp_path / "figures.json")}
