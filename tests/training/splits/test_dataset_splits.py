"""Splits of data sets: every form that is opened, and one clear error for what is none."""

import datasets
import pytest

from soundclip_hf.training.settings_parser import ArgumentsError
from soundclip_hf.training.splits.dataset_splits import open_split

ROWS = [{"question": "What?", "answer": str(number)} for number in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("sets")
    table = datasets.Dataset.from_list(ROWS)
    table.save_to_disk(made / "one")
    datasets.DatasetDict({"train": table}).save_to_disk(made / "several")
    table.to_json(made / "rows.jsonl")
    table.to_csv(made / "rows.csv")
    (made / "repository").mkdir()
    table.to_parquet(made / "repository" / "train.parquet")
    (made / "rows.txt").write_text("no table")
    return made


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", ["one", "several", "rows.jsonl", "rows.csv", "repository"])
def test_every_form(folder, name, streaming):
    rows, columns = open_split(str(folder / name), "train", streaming=streaming)
    assert columns == ["question", "answer"]
    assert isinstance(rows, datasets.IterableDataset) == streaming
    assert [str(row["answer"]) for row in rows] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("several", "test", "split 'test': .*several has train"),
        ("rows.txt", "train", r"rows.txt: is no .json, .jsonl, .parquet, .csv, .arrow file, data set or folder of one"),
        ("repository", "test", "dataset .*repository: .*test"),
        ("missing", "train", "dataset .*missing: "),
    ],
)
def test_what_cannot_be_opened(folder, name, split, message):
    with pytest.raises(ArgumentsError, match=message):
        open_split(str(folder / name), split)
