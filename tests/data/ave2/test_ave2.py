"""Subsets of a folder of shards: the rows that pass the filters, whether a card or `Ave2` names them."""

import pytest
from ave2_rows import rows
from publishing_folder import shards

from soundclip_hf.data.ave2 import loading as ave2
from soundclip_hf.data.ave2.schema import COLUMNS
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.subsets import SUBSETS, filters, matches
from soundclip_hf.publishing.ave2_card import ave2_card

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def given(folder):
    return shards(folder)


def ids(found):
    """Split -> ids, in order."""
    return {split: [row["sample_id"] for row in part.select_columns(["sample_id"])] for split, part in found.items()}


def expected(given, name, inclusive=False, clips=False):
    conditions = [] if name == "media" else filters(name, inclusive=inclusive)
    kept = [row for row in given if matches(row, conditions)]
    kept = [row for row in kept if not (clips or name == "media") or row["media_status"] == "ok"]
    splits = sorted({row["split"] for row in kept})
    return {split: [row["sample_id"] for row in kept if row["split"] == split] for split in splits}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
def test_a_card_and_the_class_name_the_same_rows(folder, given, tmp_path, inclusive, streaming):
    (folder / "README.md").write_text(ave2_card(folder, "org/ave2", inclusive=inclusive))
    one = ave2.Ave2(folder)
    for name in ave2.NAMES:
        by_card = datasets.load_dataset(str(folder), name, streaming=streaming, cache_dir=str(tmp_path / "a"))
        by_class = one.subset(name, inclusive=inclusive, streaming=streaming, cache_dir=tmp_path / "b")
        assert ids(by_card) == ids(by_class) == expected(given, name, inclusive)
        for split, part in by_card.items():
            columns = set(COLUMNS) | {"video"} if name == "media" else set(ave2.COLUMNS.get(name, COLUMNS))
            assert set(part.column_names) == set(by_class[split].column_names) == columns
            if name != "media":
                assert list(part) == list(by_class[split])
    (folder / "README.md").unlink()


def test_filters_find_something(given):
    """The comparison above would also hold for filters that let everything or nothing through."""
    for name in SUBSETS:
        count = sum(map(len, expected(given, name).values()))
        assert count > 0
        assert name == "default" or count < 60


def test_a_subset_with_its_clips(folder, given, tmp_path):
    found = ave2.Ave2(folder).subset("offscreen", media=True, streaming=True)
    assert ids(found) == expected(given, "offscreen", clips=True)
    row = next(iter(found["train"].cast_column("video", datasets.Video(decode=False))))
    assert len(row["video"]["bytes"]) == 32 * 40


def test_one_split(folder, given, tmp_path):
    found = ave2.Ave2(folder).subset("offscreen", split="eval", cache_dir=tmp_path)
    assert found["sample_id"][:] == expected(given, "offscreen")["eval"]


def test_what_is_empty_is_left_out(folder, given, tmp_path):
    assert "eval" not in expected(given, "filtered")  # so `datasets` could not read it
    with pytest.raises(ValueError, match="no row of split 'eval' is in subset 'filtered'"):
        ave2.Ave2(folder).subset("filtered", split="eval")
    low = [row for row in rows(30) if not matches(row, filters("filtered", inclusive=True))]
    write_shards(low, tmp_path / "low")
    one = ave2.Ave2(tmp_path / "low")
    with pytest.raises(ValueError, match="no row of any split is in subset 'filtered'"):
        one.subset("filtered")
    with pytest.raises(ValueError, match="'media': the shards were written without media"):
        one.subset("media")
    names = [config["config_name"] for config in ave2.configs(one.manifest)]
    assert names == ["default", "localization", "offscreen"]


def test_bad_arguments(folder, tmp_path):
    with pytest.raises(ValueError, match="subset 'best' is none of default, filtered"):
        ave2.Ave2(folder).subset("best")
    with pytest.raises(ValueError, match="split 'test' is none of eval, train"):
        ave2.Ave2(folder).subset(split="test")
    with pytest.raises(ValueError, match="is a folder, which has no revision 'v1'"):
        ave2.Ave2(folder, revision="v1")
    with pytest.raises(ValueError, match=r"manifest\.json: no such file"):
        ave2.Ave2(tmp_path)
    with pytest.raises(ValueError, match="no such folder, and no org/name"):
        ave2.Ave2(tmp_path / "none")
