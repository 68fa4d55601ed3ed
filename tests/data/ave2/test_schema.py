"""The columns of AVE-2, what is derived, and a trip through Parquet."""

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2 import schema

datasets = pytest.importorskip("datasets")

# Paper, Table 16: (visible, invisible, silent) -> class.
TABLE_16 = [
    ("100", "visible_only"),
    ("010", "invisible_only"),
    ("001", "silent_only"),
    ("110", "visible_invisible"),
    ("101", "visible_silent"),
    ("011", "invisible_silent"),
    ("111", "all"),
    ("000", "no_source"),
]


@pytest.mark.parametrize(("pattern", "name"), TABLE_16)
def test_segment_type_of_table_16(pattern, name):
    assert schema.segment_type(*([] if flag == "0" else ["x"] for flag in pattern)) == name


def test_features_have_every_column_and_the_stated_types():
    features = schema.features()
    assert set(features) == set(schema.COLUMNS)
    assert [features[name].dtype for name in schema.SCORES] == ["int8"] * 5
    assert features["youtube_start_time"].dtype == "float64"
    assert features["segment_start_time"].dtype == features["overall_score"].dtype == "float32"
    assert features["segment_type"].names == [name for _, name in TABLE_16]
    assert features["media_status"].num_classes == 8
    assert features["visible_active_sources"] == datasets.List(datasets.Value("string"))
    assert isinstance(schema.features(media=True)["video"], datasets.Video)


def test_rows_survive_parquet(tmp_path):
    given = rows()
    made = datasets.Dataset.from_list(given, features=schema.features())
    made.to_parquet(tmp_path / "shard.parquet")
    read = datasets.Dataset.from_parquet(str(tmp_path / "shard.parquet"), cache_dir=str(tmp_path / "cache"))
    assert read.features == schema.features()
    labels = {name: read.features[name].int2str for name in schema.LABELS}
    for before, after in zip(given, read, strict=True):
        after |= {name: label(after[name]) for name, label in labels.items() if after[name] is not None}
        assert after.pop("overall_score") == pytest.approx(before["overall_score"])
        assert after == {name: value for name, value in before.items() if name != "overall_score"}


def test_overall_score_is_the_mean_and_null_when_one_score_is():
    scores = dict(zip(schema.SCORES, (10, 10, 8, 10, 10)))
    assert schema.overall_score(scores) == 9.6
    assert schema.overall_score(scores | {"temporal_alignment_score": None}) is None
    assert schema.overall_score(dict.fromkeys(schema.SCORES, 0)) == 0.0


def test_complete_computes_ids_times_and_flags():
    lists = dict(zip(schema.SOURCES, ([], ["wind"], [])))
    row = schema.complete({"youtube_id": "abc", "segment": 2, "clip_start_time": 30.0, **lists})
    assert row["sample_id"] == "abc_02"
    assert (row["segment_start_time"], row["segment_end_time"]) == (3.0, 6.0)
    assert (row["youtube_start_time"], row["youtube_end_time"]) == (33.0, 36.0)
    assert (row["has_visible"], row["has_invisible"], row["has_silent"]) == (False, True, False)
    assert row["segment_type"] == "invisible_only"
    assert row["overall_score"] is None
    assert row["media_status"] == "missing"


def test_nothing_follows_from_lists_that_are_null():
    row = schema.complete({"youtube_id": "abc", "segment": 1, schema.SOURCES[0]: ["man"]})
    assert (row["has_visible"], row["has_invisible"], row["segment_type"]) == (True, None, None)
    assert row[schema.SOURCES[1]] is None


def test_complete_refuses_what_it_cannot_place():
    with pytest.raises(ValueError, match="'scroe' is not in the schema"):
        schema.complete({"youtube_id": "abc", "segment": 1, "scroe": 3})
    with pytest.raises(ValueError, match="youtube_id and segment"):
        schema.complete({"segment": 1})
