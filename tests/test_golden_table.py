"""The table of golden comparisons: the worst of several, failures, values that are none, remarks, what is left out."""

import math

import numpy as np
import pytest
import torch
from golden_table import left_out, table

from soundclip_hf.conversion.golden import Comparison, Golden, read_golden


def one(array, difference, ok=True, remark=""):
    return Comparison("imagebind", array, difference, 1e-4, 0.0, ok, remark)


def test_the_worst_of_several_is_shown():
    for differences in ((1e-6, 5e-5, 2e-6), (5e-5, 1e-6, 2e-6)):
        lines = table([one("head", difference) for difference in differences])
        assert len(lines) == 3
        assert lines[1].split() == ["imagebind", "head", "5.00e-05", "1e-04", "ok"]
        assert lines[2] == "1 of 1 within tolerance"


@pytest.mark.parametrize("difference", [math.nan, math.inf, 1.0])
def test_a_failure_is_never_hidden_by_a_success(difference):
    failed = one("head", difference, ok=False)
    for made in ([one("head", 1e-6), failed], [failed, one("head", 1e-6)]):
        assert table(made)[1].endswith("FAILED")
        assert table(made)[2] == "0 of 1 within tolerance"


def test_remarks_are_footnotes():
    lines = table([one("a", 0.0), one("b", 0.0, remark="why"), one("c", 0.0, remark="why")])
    assert [line.split()[3:] for line in lines[1:4]] == [["1e-04", "ok"]] + 2 * [["1e-04", "[1]", "ok"]]
    assert lines[4:] == ["[1] why", "3 of 3 within tolerance"]


def test_what_a_run_leaves_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("golden_table.SHARED", tmp_path)
    (tmp_path / "golden").mkdir()
    np.savez(tmp_path / "golden" / "imagebind.npz", a=[1], head=[1], audio_pcm=[1])
    assert left_out([one("head of one item", 0.0)]) == ["not compared: imagebind a"]
    assert left_out([one("head", 0.0), one("a", 0.0)]) == []


def test_comparisons_see_shapes_and_values_that_are_none(tmp_path):
    golden = Golden("x", tmp_path, {"a": np.array([1.0, 2.0], dtype=np.float32)}, {}, "salt")
    assert golden.compare("a", torch.tensor([1.0, 2.00009]), 1e-4).ok
    assert not golden.compare("a", torch.tensor([1.0, 2.0002]), 1e-4).ok
    assert golden.compare("a", torch.tensor([1.0, 2.0002]), 1e-4, rtol=1e-4).ok
    nan = golden.compare("a", torch.tensor([1.0, math.nan]), 1e-4)
    assert not nan.ok
    assert nan.to_dict()["difference"] is None
    other = golden.compare("a", torch.tensor([1.0]), 1e-4)
    assert not other.ok
    assert "shape (1,), expected (2,)" in str(other)


def test_a_folder_without_vectors_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder of golden vectors of whisper, whisper\.npz is not there"):
        read_golden(tmp_path, "whisper")
