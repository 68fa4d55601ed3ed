"""The best epoch of a run, and the picture of its curves."""

import math

import pytest
from PIL import Image

from soundclip_hf.training.curve import BestEpoch, best_epoch, draw_curve

HISTORY = [
    {"epoch": 0.5, "loss": 3.0},
    {"epoch": 1.0, "eval_loss": 2.0, "eval_a2v_mean_rank": 9.0, "eval_chance_mean_rank": 10.5, "eval_a2v_t1": 5.0},
    {"epoch": 2.0, "eval_loss": 1.0, "eval_a2v_mean_rank": 5.0, "eval_chance_mean_rank": 10.5, "eval_a2v_t1": 9.0},
    {"epoch": 3.0, "eval_loss": 1.0, "eval_a2v_mean_rank": 4.0, "eval_chance_mean_rank": 10.5, "eval_a2v_t1": 9.0},
    {"epoch": 4.0, "eval_loss": math.nan, "eval_a2v_mean_rank": 6.0, "eval_a2v_t1": 7.0},
    {"epoch": 4.0, "train_loss": 0.5},
]


@pytest.mark.parametrize(
    ("metric", "greater", "epoch", "name", "value"),
    [
        (None, None, 2.0, "eval_loss", 1.0),  # of two equal ones the first; NaN is never the best
        ("loss", False, 2.0, "eval_loss", 1.0),
        ("eval_a2v_mean_rank", False, 3.0, "eval_a2v_mean_rank", 4.0),
        ("a2v_t1", None, 2.0, "eval_a2v_t1", 9.0),
    ],
)
def test_the_best_epoch(metric, greater, epoch, name, value):
    assert best_epoch(HISTORY, metric, greater) == BestEpoch(epoch, name, value)


def test_a_run_without_evaluation_has_no_best_epoch():
    assert best_epoch(HISTORY[:1], None, None) is None
    assert best_epoch(HISTORY, "nothing", None) is None


@pytest.mark.parametrize("history", [HISTORY, HISTORY[:1], []])
def test_the_picture(tmp_path, history):
    draw_curve(history, best_epoch(history, None, None), tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as drawn:
        drawn.load()
        assert drawn.size == (1500, 600)
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
