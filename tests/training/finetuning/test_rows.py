"""Data sets of conversations opened as rows, and what is said of those that do not fit."""

import json

import pytest
import torch
from datasets import Audio, Dataset, DatasetDict, Features, List, Value
from media_files import pcm_wav
from tiny_processors import picture, sound, tiny_sound_processor

from soundclip_hf.data.synthetic import FIRST_TRAINING, FIRST_VALIDATION, scene
from soundclip_hf.training.finetuning import SoundLlavaCollator
from soundclip_hf.training.finetuning.rows import RowForm, RowSource, RowStream, SyntheticRows, check_rows, open_rows
from soundclip_hf.training.settings_parser import ArgumentsError


def rows(count):
    return [{"question": f"What is {number}?", "answer": f"{number}."} for number in range(count)]


def answers(part):
    return [row["answer"] for row in (part if isinstance(part, RowStream) else (part[i] for i in range(len(part))))]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(40)))
    return path


def test_rows_are_held_out_by_the_seed(table):
    source = RowSource(str(table), eval_rows=5)
    train, held_out = open_rows(source, seed=0)
    assert (len(train), len(held_out)) == (36, 4)  # no more than a tenth
    assert sorted(answers(train) + answers(held_out)) == sorted(row["answer"] for row in rows(40))
    assert answers(open_rows(source, seed=0)[1]) == answers(held_out)
    assert answers(open_rows(source, seed=1)[1]) != answers(held_out)
    assert train[0]["row"] == int(train.keep[0])


def questions_about(clip, **more):
    return {"question": "What?", "answer": "This.", "video": clip, **more}


@pytest.mark.parametrize("form", ["columns", "messages", "named"])
def test_held_out_questions_are_about_clips_of_no_training_row(tmp_path, form):
    path = tmp_path / "rows.jsonl"
    made = [questions_about(f"clips/{number // 3}.mp4", id=number) for number in range(60)]
    if form == "messages":
        made = [
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "video", "video": row["video"]}, {"type": "text", "text": "?"}],
                    },
                    {"role": "assistant", "content": [{"type": "text", "text": "This."}]},
                ],
                "id": row["id"],
            }
            for row in made
        ]
    if form == "named":
        made = [{"caption": "This.", "file": row["video"], "id": row["id"]} for row in made]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    named = RowForm(None, "caption", video="file") if form == "named" else RowForm()
    for seed in range(4):
        train, held_out = open_rows(RowSource(str(path), form=named), seed)
        again = open_rows(RowSource(str(path), form=named), seed)[1]
        assert (len(train), len(held_out)) == (54, 6)
        assert held_out.keep.tolist() == again.keep.tolist()
        assert not {row // 3 for row in train.keep.tolist()} & {row // 3 for row in held_out.keep.tolist()}


def test_the_rows_that_are_held_out_of_synthetic_questions_stay_the_same():
    train, held_out = open_rows(RowSource("synthetic", eval_rows=200), seed=3)
    assert (len(train), len(held_out)) == (6000, 200)
    assert held_out.keep.tolist() == list(range(200))


def test_a_stream_holds_out_its_first_rows(table):
    train, held_out = open_rows(RowSource(str(table), eval_rows=5, streaming=True), seed=0)
    assert answers(held_out) == [f"{number}." for number in range(5)]
    assert answers(train) == [f"{number}." for number in range(5, 40)]
    assert [row["row"] for row in train][:2] == [5, 6]


def test_a_split_of_its_own(tmp_path):
    DatasetDict({"train": Dataset.from_list(rows(8)), "test": Dataset.from_list(rows(6))}).save_to_disk(tmp_path / "d")
    train, held_out = open_rows(RowSource(str(tmp_path / "d"), eval_split="test", eval_rows=4), seed=0)
    assert (len(train), answers(held_out)) == (8, ["0.", "1.", "2.", "3."])
    with pytest.raises(ArgumentsError, match=r"split 'validation': .* has train, test"):
        open_rows(RowSource(str(tmp_path / "d"), eval_split="validation"), seed=0)


def test_columns_of_sounds_are_not_decoded(tmp_path):
    """Decoding needs torchcodec, which is not installed here, and one broken file would end the run."""
    stored = {"bytes": Value("binary"), "path": Value("string")}
    features = Features({"question": Value("string"), "answer": Value("string"), "audios": List(stored)})
    audio = {"bytes": pcm_wav(sound()[:, None], 16_000), "path": None}
    dataset = Dataset.from_list([{**row, "audios": [audio]} for row in rows(12)], features=features)
    dataset.cast_column("audios", List(Audio())).save_to_disk(tmp_path / "d")
    train, _ = open_rows(RowSource(str(tmp_path / "d")), seed=0)
    batch = SoundLlavaCollator(tiny_sound_processor("llava"))([train[0]])
    assert batch["input_features"].shape[0] == 1


def test_synthetic_questions_are_answered_from_the_scene():
    made = SyntheticRows(9)
    shown = scene(FIRST_TRAINING + 1)
    assert len(made) == 9
    assert [made[index]["question"][:5] for index in range(3)] == ["What ", "What ", "Where"]
    assert torch.equal(torch.as_tensor(made[3]["audio"]["array"]), torch.as_tensor(shown.sound))
    train, held_out = open_rows(RowSource("synthetic", eval_rows=30), seed=0)
    assert len(held_out) == 30
    assert held_out.rows.first == FIRST_VALIDATION
    check_rows(train, "synthetic")
    with pytest.raises(IndexError, match="row 9 of 9"):
        made[9]


def test_relative_paths_are_those_of_the_media_folder(tmp_path):
    picture().save(tmp_path / "a.png")
    row = {"question": "What?", "answer": "This.", "image": "a.png"}
    batch = SoundLlavaCollator(tiny_sound_processor("llava"), media_folder=tmp_path)([row])
    direct = SoundLlavaCollator(tiny_sound_processor("llava"))([{**row, "image": picture()}])
    assert torch.equal(batch["pixel_values"], direct["pixel_values"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"question": "Q", "text": "A"}, "its columns are 'question', 'text':"),
        ({"messages": [{"role": "user", "content": "Q"}]}, "no turn of the role 'assistant'"),
        (
            {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "image": "a.png"},
            "1 in the column of type 'image', but 0 part",
        ),
    ],
)
def test_rows_are_checked_before_anything_is_loaded(tmp_path, content, message):
    (tmp_path / "rows.json").write_text(json.dumps([content] * 4))
    train, _ = open_rows(RowSource(str(tmp_path / "rows.json")), seed=0)
    with pytest.raises(ArgumentsError, match=f"rows.json: row [01]: .*{message}"):
        check_rows(train, str(tmp_path / "rows.json"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "nothing/here",
            None,
            "dataset nothing/here: there is no such file or folder here, and none was read from the Hub",
        ),
        ("rows.txt", "", "is no .json"),
        ("rows.jsonl", '{"question": "Q", "answer": "A"}\n', "has 1 row"),
        ("rows.jsonl", '{"question": "Q"}\n', "row 0: its columns are 'question': give"),
        ("rows.csv", "question,answer\n", "holds no rows"),
        ("rows.json", "{", "dataset"),
    ],
)
def test_data_sets_that_cannot_be_opened(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ArgumentsError, match=message):
        open_rows(RowSource(name), seed=0)


def test_a_stream_of_which_every_row_is_held_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    for row, message in (({"question": "Q"}, "row 0: its columns are"), (rows(1)[0], "no row is left to train on")):
        path.write_text(json.dumps(row) + "\n")
        train, _ = open_rows(RowSource(str(path), streaming=True), seed=0)
        with pytest.raises(ArgumentsError, match=message):
            check_rows(train, "rows")


def test_captions_become_questions_with_answers():
    form = RowForm("What do you hear?", "caption", audio="wav")
    row = {"caption": "A bell.", "wav": "a.wav", "audio": "other.wav", "id": 3, "image": "a.png"}
    assert form.read(row) == {"question": "What do you hear?", "answer": "A bell.", "audio": "a.wav", "image": "a.png"}
    assert RowForm().read(row) == row


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_of_captions(tmp_path, streaming):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"caption": f"{number}.", "mp4": "a.mp4"}) + "\n" for number in range(12)))
    source = RowSource(str(path), streaming=streaming, eval_rows=2, form=RowForm(None, "caption", video="mp4"))
    train, held_out = open_rows(source, seed=0)
    first = next(iter(train)) if streaming else train[0]
    assert first["question"] == "Describe what you see and hear."
    assert (first["video"], first["answer"]) == ("a.mp4", f"{first['row']}.")
    assert len(answers(held_out)) == (2 if streaming else 1)
    with pytest.raises(ArgumentsError, match=r"answer_column='text': .* has the columns caption, mp4"):
        open_rows(RowSource(str(path), streaming=streaming, form=RowForm(None, "text")), seed=0)


def test_a_few_rows_without_an_answer_do_not_end_a_run_before_it_starts(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*rows(9), *[{"question": "Q", "answer": None}] * 3]))
    train, _ = open_rows(RowSource(str(path), eval_rows=1), seed=0)
    check_rows(train, "rows")
    path.write_text(json.dumps([*rows(3), *[{"question": "Q", "answer": None}] * 9]))
    train, _ = open_rows(RowSource(str(path), eval_rows=1), seed=0)
    with pytest.raises(ArgumentsError, match=r"dataset rows: row \d+: .* of the first 11 rows are no conversations"):
        check_rows(train, "rows")
