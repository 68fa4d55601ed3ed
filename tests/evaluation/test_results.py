"""Results go to JSON and come back."""

import pytest

from soundclip_hf.evaluation.results import EvalResult


def result(**values) -> EvalResult:
    given = {"task": "retrieval", "model": "m", "dataset": "d", "n": 3, "seed": 0, "metrics": {"x": 1.5}}
    return EvalResult(**{**given, "error_bars": {"x": [1.0, 2.0]}, **values})


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "result.json"
    result(config={"k": 15}, revision="abc").save(path)
    assert EvalResult.load(path) == result(config={"k": 15}, revision="abc")
    assert EvalResult.load(path).versions["torch"]
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    result().save(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        result(metrics={"x": float("nan")}).save(path)
    assert EvalResult.load(path) == result()


@pytest.mark.parametrize("text", ["[]", '{"task": "a", "odd": 1}', "{"])
def test_other_files(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not"):
        EvalResult.load(path)
