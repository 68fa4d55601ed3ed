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
        ("missing", "train", "dataset .*missing: there is no such file or folder$"),
        ("row.jsonl", "train", "dataset .*row.jsonl: there is no such file or folder; did you mean .*rows.jsonl"),
        ("severl", "train", "dataset .*severl: there is no such file or folder; did you mean .*several"),
    ],
)
def test_what_cannot_be_opened(folder, name, split, message):
    with pytest.raises(ArgumentsError, match=message):
        open_split(str(folder / name), split)


@pytest.mark.parametrize("name", ["nope", "org/nope"])
def test_a_name_that_may_be_a_repository_is_looked_for_on_the_hub(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    message = f"dataset {name}: there is no such file or folder here, and none was read from the Hub: .*{name}"
    with pytest.raises(ArgumentsError, match=message):
        open_split(name, "train")
    (tmp_path / "nopes").mkdir()
    with pytest.raises(ArgumentsError, match=r"here \(did you mean nopes\?\), and none"):
        open_split("nope", "train")
    (tmp_path / "org" / "rows").mkdir(parents=True)
    with pytest.raises(ArgumentsError, match=r"dataset org/rowz: there is no such .*; did you mean org/rows"):
        open_split("org/rowz", "train")


GOOD = '{"question": "What?", "answer": "0"}\n'


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.jsonl", "", "is empty; write one row a line"),
        ("empty.csv", "", "is empty; write one row a line"),
        ("empty.parquet", "", "is empty$"),
        ("blank.jsonl", "\n\n", "holds no rows; write one JSON object a line"),
        ("none.json", "[]", "holds no rows; write a list of JSON objects"),
        ("broken.jsonl", f'{GOOD}\n{{"question": "a", "answer":\n{GOOD}', r"line 3: is no JSON \(Expecting value"),
        ("number.jsonl", f"{GOOD}3\n", "line 2: is a number, no row"),
        ("broken.json", '[{"question": "a"},\n{"question" "b"}]', r"line 2: is no JSON \(Expecting ':' delimiter, col"),
        ("lines.json", f"{GOOD}{{\n", "line 2: is no JSON"),
        ("short.parquet", "x", "Parquet file size is 1 bytes"),
        ("other.jsonl", "\xe9".encode("latin-1"), "is not UTF-8 text"),
    ],
)
def test_files_that_cannot_be_read_name_the_line(tmp_path, capfd, name, text, message, streaming):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ArgumentsError, match=f"^dataset {path}: {message}") as raised:
        open_split(str(path), "train", streaming=streaming)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_list_and_lines_are_read_under_either_name(tmp_path, name):
    for text in (f"{GOOD}{GOOD}", f"[{GOOD},{GOOD}]"):
        (tmp_path / name).write_text(text)
        assert len(open_split(str(tmp_path / name), "train")[0]) == 2
