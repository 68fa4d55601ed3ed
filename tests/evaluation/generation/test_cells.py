"""A grid: each setting once, under one name."""

import pytest

from soundclip_hf.evaluation.generation.cells import Cell, grid, model_label


def test_a_grid_has_each_setting_once():
    cells = grid(["raw", "projected"], [0, 0.25, 0.1 + 0.2, 0.3, 1], [15, 150, 15], ["zero", "drop"])
    names = [cell.name for cell in cells]
    assert len(names) == len(set(names)) == 4 * 2 * 2
    assert names[:3] == ["raw-k15-zero", "raw-k15-drop", "raw-k150-zero"]
    assert {name.split("-")[0] for name in names} == {"raw", "projected", "alpha0.25", "alpha0.3"}
    assert [cell.alignment for cell in grid(["projected"], [0.5, 1], [1])] == ["projected", "mixed", "raw"]


def test_settings_of_a_cell():
    raw, mixed = (Cell(alpha, 8).answer_settings(20, 0.0, 3) for alpha in (1.0, 0.25))
    assert (raw.alignment, raw.alpha, raw.top_k, raw.patches, raw.max_new_tokens) == ("raw", None, 8, "zero", 20)
    assert (mixed.alignment, mixed.alpha) == ("projected", 0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["cooked"],), "alignment 'cooked': must be one of projected, raw"),
        (([], [1.5]), r"alpha=1.5: must be in 0..1"),
        (([], []), "alignments and alphas: none given"),
        ((["raw"], [], []), "top_k: none given"),
        ((["raw"], [], [-1]), "top_k=-1: must be at least 0"),
        ((["raw"], [], [1], ["keep"]), "patches='keep': must be one of zero, drop"),
    ],
)
def test_bad_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid(*arguments)


def test_labels_of_models_are_file_names():
    assert model_label("me/my model") == "me--my-model"
    assert model_label("./runs/one/") == "runs--one"
    assert model_label("/") == "model"
    long, other = model_label("a" * 300), model_label("b" + "a" * 299)
    assert len(long) < 100
    assert long != other
