"""Results go to JSON and come back."""

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from huggingface_hub import ModelCardData

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


def test_the_time_is_that_of_the_measurement(tmp_path):
    made = result()
    made.save(tmp_path / "r.json")
    loaded = EvalResult.load(tmp_path / "r.json")
    assert loaded.created == made.created
    age = datetime.now(UTC) - datetime.fromisoformat(made.created)
    assert timedelta(0) <= age < timedelta(minutes=10)


@pytest.mark.parametrize("created", ["yesterday", "2026-11-26T04:48:15", "2026-11-26T04:48:15+02:00", ""])
def test_a_time_that_is_not_utc_is_refused(created):
    with pytest.raises(ValueError, match="must be a time in UTC"):
        result(created=created)


def written(path, **values):
    made = {"task": "retrieval", "model": "m", "dataset": "d", "n": 3, "seed": 0, "metrics": {"x": 1.5}}
    path.write_text(json.dumps({**made, "error_bars": {"x": [1.0, 2.0]}, **values}))
    return path


def test_an_earlier_file_is_read_and_nothing_is_made_up(tmp_path):
    """Format 1 knows neither the time nor the revision of the data; the versions of now are not those of then."""
    loaded = EvalResult.load(written(tmp_path / "r.json"))
    assert (loaded.created, loaded.dataset_revision, loaded.versions) == (None, None, {})
    loaded.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["format"] == 2
    assert EvalResult.load(tmp_path / "again.json") == loaded


def test_a_later_file_is_refused_with_both_versions(tmp_path):
    """Also where the later format has fields that this one does not know."""
    path = written(tmp_path / "r.json", format=3, new_field=1)
    with pytest.raises(ValueError, match=rf"format 3; soundclip-hf {version('soundclip-hf')} reads formats up to 2"):
        EvalResult.load(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": "2"}, "its format is '2'"),
        ({"format": True}, "its format is True"),
        ({"format": 0}, "its format is 0"),
        ({"metrics": [1]}, r"metrics is \[1\], expected a JSON object"),
        ({"n": "3"}, "n is '3', expected a whole number"),
        ({"n": True}, "n is True, expected a whole number"),
        ({"model": None}, "model is None, expected text"),
        ({"revision": 7}, "revision is 7, expected text or null"),
        ({"created": "noon"}, "created='noon'"),
    ],
)
def test_fields_of_a_wrong_kind(tmp_path, values, words):
    with pytest.raises(ValueError, match=words):
        EvalResult.load(written(tmp_path / "r.json", **values))


NESTED = {"chance": {"t1": 1.0}, "projected_a2v": {"t1": 45.2, "t1_sd": None}, "flag": True, "words": "none"}


def test_numbers_and_their_intervals():
    made = result(
        metrics={**NESTED, "x": 2},
        error_bars={"projected_a2v": {"interval_95": {"t1": (40.0, 50.5)}}, "chance": {"t1": "none"}, "x": [1, 3]},
    )
    assert made.numbers() == {"chance.t1": 1.0, "projected_a2v.t1": 45.2, "x": 2}
    assert made.interval("projected_a2v.t1") == (40.0, 50.5)
    assert made.interval("x") == (1.0, 3.0)
    assert made.interval("chance.t1") is None
    assert made.interval("raw_a2v.t1") is None


def test_model_index_is_what_the_hub_reads():
    made = result(
        dataset="org/ave2, test",
        dataset_revision="0a1b",
        metrics=NESTED,
        error_bars={"projected_a2v": {"interval_95": {"t1": [40.0, 50.5]}}},
    )
    card = ModelCardData(**{"model-index": made.to_model_index()})
    assert card.model_name == "m"
    chance, projected = card.eval_results
    assert (projected.task_type, projected.dataset_type, projected.dataset_name) == (
        "retrieval",
        "org/ave2",
        "org/ave2, test",
    )
    assert projected.dataset_revision == "0a1b"
    assert (projected.metric_type, projected.metric_value) == ("projected_a2v.t1", 45.2)
    assert projected.metric_args == {"n": 3, "seed": 0, "interval_95": [40.0, 50.5]}
    assert (chance.metric_type, chance.metric_args) == ("chance.t1", {"n": 3, "seed": 0})
    # Back to YAML, as a card is written.
    assert card.to_dict()["model-index"][0]["results"][0]["metrics"][1]["value"] == 45.2


@pytest.mark.parametrize("metrics", [{}, {"flag": True}, {"x": float("inf")}])
def test_nothing_that_a_card_could_hold(metrics):
    with pytest.raises(ValueError, match="metrics: "):
        result(metrics=metrics).to_model_index()
