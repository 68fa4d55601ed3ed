"""`soundclip reproduce table1`: what can be measured is measured, and what is missing is named."""

import shutil

from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.results import EvalResult


def test_an_adapter_that_is_there_is_measured_beside_the_paper(soundclip, tmp_path):
    shutil.copytree(TINY, tmp_path / "adapters" / "whisperclip")
    options = ["--data", "synthetic", "--limit", 12, "--adapters", tmp_path / "adapters", "--out", tmp_path / "out"]
    done = soundclip("reproduce", "table1", *options, "--json")
    assert done.code == 0, done.stderr
    cells = {(row["encoder"], row["column"]): row for row in done.rows if "column" in row}
    assert len(cells) == 72
    measured = EvalResult.load(tmp_path / "out" / "whisperclip.json")
    cell = cells["WhisperCLIP", "a2v_t1_projected"]
    assert (cell["paper"], cell["measured"]) == (18.6, measured.numbers()["projected_a2v.t1"])
    assert cell["interval_95"] == list(measured.interval("projected_a2v.t1"))
    assert cells["CLAP", "a2v_t1_projected"]["measured"] is None
    assert "missing: CLAP: no adapter in" in done.stderr
    assert "has 12 samples; the paper draws out of 500" in done.stderr


def test_missing_clips_and_adapters_are_named(soundclip, tmp_path):
    done = soundclip("reproduce", "table1", "--data", tmp_path / "none", "--adapters", tmp_path)
    assert done.code == 1
    assert "missing: data: " in done.stderr
    assert "soundclip align --config align/imagebind" in done.stderr
    assert "ImageBind   | sound to picture | projected | 45.2, –" in done.stdout
