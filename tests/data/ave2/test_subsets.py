"""Subsets and splits."""

from collections import Counter

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.subsets import SUBSETS, filters, matches, split_of

datasets = pytest.importorskip("datasets")


def test_null_scores_and_the_threshold_itself_stay_out():
    row = rows(1)[0]
    strict, loose = filters("filtered"), filters("filtered", inclusive=True)
    assert [matches(row | {"overall_score": score}, strict) for score in (None, 7.8, 8.0, 8.2)] == [False] * 3 + [True]
    assert [matches(row | {"overall_score": score}, loose) for score in (None, 7.8, 8.0)] == [False, False, True]
    with pytest.raises(ValueError, match="'best' is none of default, filtered"):
        filters("best")
    with pytest.raises(ValueError, match="operator '<'"):
        matches(row, [("segment", "<", 2)])


@pytest.mark.parametrize("name", SUBSETS)
@pytest.mark.parametrize("inclusive", [False, True])
def test_filters_mean_the_same_to_parquet(tmp_path, name, inclusive):
    import pyarrow.parquet as parquet

    from soundclip_hf.data.ave2.schema import features

    given = rows(240)
    datasets.Dataset.from_list(given, features=features()).to_parquet(tmp_path / "a.parquet")
    conditions = filters(name, inclusive=inclusive)
    read = parquet.read_table(tmp_path / "a.parquet", filters=conditions or None)
    expected = [row["sample_id"] for row in given if matches(row, conditions)]
    assert read["sample_id"].to_pylist() == expected
    assert expected
    assert name == "default" or len(expected) < len(given)


def test_splits_follow_the_video_alone():
    names = [f"video{number}" for number in range(20000)]
    split = {name: split_of(name) for name in names}
    counts = Counter(split.values())
    # Binomial: 400 expected, standard deviation 20.
    assert abs(counts["eval"] - 400) < 100
    assert set(counts) == {"train", "eval"}
    assert split_of("rvbmYs4Kl3Y") == split_of("rvbmYs4Kl3Y", {"train": 0.98, "eval": 0.02})
    grown = {name: split_of(name, {"train": 0.99, "eval": 0.01}) for name in names}
    assert {grown[name] for name in names if split[name] == "train"} == {"train"}


def test_shares_must_sum_to_one():
    assert split_of("a", {"all": 1.0}) == "all"
    with pytest.raises(ValueError, match="do not sum to 1"):
        split_of("a", {"train": 0.5, "eval": 0.4})
