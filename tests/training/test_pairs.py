"""Datasets, streams and folders become rows that name the sources of a pair."""

import logging

import datasets
import pytest
import torch
from alignment_parts import sound_bytes, table, write_pairs, write_table

from soundclip_hf.data.media_columns import undecoded
from soundclip_hf.training.arguments import AlignmentArguments, ArgumentsError
from soundclip_hf.training.pairs import Pair, PairRows, PairStream, find_columns, open_pairs, validation_count


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("parquet"))


def settings(dataset, **values) -> AlignmentArguments:
    return AlignmentArguments(dataset=str(dataset), validation_fraction=0.25, validation_rows=3, **values)


def test_a_dataset_is_not_decoded(parquet):
    train, held_out = open_pairs(settings(parquet), seed=0)
    assert isinstance(train, PairRows)
    assert (len(train), len(held_out)) == (9, 3)
    assert sorted([pair.row for pair in train] + [pair.row for pair in held_out]) == list(range(12))
    pair = train[0]
    assert pair.audio == sound_bytes(pair.row)
    assert isinstance(pair.image, bytes)
    assert pair.video is None


def test_the_split_depends_on_the_seed_alone(parquet):
    rows = [[pair.row for pair in open_pairs(settings(parquet), seed=seed)[1]] for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("column", ["audio", "image"])
def test_pairs_that_share_a_sound_or_a_picture_go_to_one_side(tmp_path, column):
    made = undecoded(table(12), ["audio", "image"])
    rows = [{**row, column: made[number // 3][column]} for number, row in enumerate(made)]
    made = datasets.Dataset.from_list(rows).cast_column("audio", datasets.Audio())
    made = made.cast_column("image", datasets.Image())
    made.to_parquet(tmp_path / "train-0.parquet")
    for seed in range(4):
        train, held_out = open_pairs(settings(tmp_path), seed=seed)
        assert (len(train), len(held_out)) == (9, 3)
        (first,) = {pair.row // 3 for pair in held_out}
        assert first not in {pair.row // 3 for pair in train}


def test_a_stream_gives_its_first_rows_for_validation(parquet):
    train, held_out = open_pairs(settings(parquet, streaming=True), seed=0)
    assert isinstance(train, PairStream)
    assert [pair.row for pair in held_out] == [0, 1, 2]
    assert [pair.row for pair in train] == list(range(3, 12))
    assert [pair.row for pair in train.from_row(10)] == [10, 11]
    assert next(iter(train)).audio == sound_bytes(3)


def test_what_save_to_disk_wrote(tmp_path):
    datasets.DatasetDict({"train": table(6), "val": table(4)}).save_to_disk(tmp_path / "saved")
    train, held_out = open_pairs(settings(tmp_path / "saved", eval_split="val"), seed=0)
    assert (len(train), len(held_out)) == (6, 4)
    with pytest.raises(ArgumentsError, match=r"split 'test': .* has train, val"):
        open_pairs(settings(tmp_path / "saved", eval_split="test"), seed=0)


def test_folders(tmp_path, parts):
    train, held_out = open_pairs(settings(parts / "pairs"), seed=0)
    assert (len(train), len(held_out)) == (18, 6)
    assert train[0].audio.removesuffix(".wav") == train[0].image.removesuffix(".png")
    (tmp_path / "deep").mkdir()
    for name in ("b.mp4", "deep/a.webm", ".hidden.mp4", "notes.txt", "c.MP4", "d.mov"):
        (tmp_path / name).write_bytes(b"")
    train, held_out = open_pairs(settings(tmp_path), seed=0)
    assert len(train) + len(held_out) == 4
    assert train[0].video.startswith(str(tmp_path))


def test_columns():
    assert find_columns(["audio", "image", "x"], AlignmentArguments()) == {"audio": "audio", "image": "image"}
    assert find_columns(["video"], AlignmentArguments()) == {"video": "video"}
    assert find_columns(["audio", "image", "video"], AlignmentArguments()) == {"audio": "audio", "video": "video"}
    named = AlignmentArguments(audio_column="wav", image_column="jpg")
    assert find_columns(["wav", "jpg", "video"], named) == {"audio": "wav", "image": "jpg"}


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        (["image", "text"], {}, "no sound: its columns are image, text"),
        (["audio", "text"], {}, "no picture: its columns are audio, text"),
        (["audio", "image"], {"audio_column": "wav"}, "audio_column='wav': the dataset has the columns audio, image"),
    ],
)
def test_missing_columns(names, values, message):
    with pytest.raises(ArgumentsError, match=message):
        find_columns(names, AlignmentArguments(**values))


def test_missing_datasets(tmp_path, parts):
    with pytest.raises(ArgumentsError, match="holds neither a datasets table, nor clips"):
        open_pairs(settings(tmp_path), seed=0)
    with pytest.raises(ArgumentsError, match=f"dataset {tmp_path}/none: "):
        open_pairs(settings(tmp_path / "none"), seed=0)
    with pytest.raises(ArgumentsError, match="has no splits"):
        open_pairs(settings(parts / "pairs", eval_split="test"), seed=0)


def test_too_few_rows():
    assert validation_count(4, 0.01, "x") == 2
    with pytest.raises(ArgumentsError, match=r"3 row\(s\)"):
        validation_count(3, 0.5, "x")


def test_too_few_rows_name_the_dataset(tmp_path):
    folder = write_pairs(tmp_path / "one", 1)
    with pytest.raises(ArgumentsError, match=rf"^dataset {folder}: has 1 row\(s\)"):
        open_pairs(settings(folder), seed=0)
    with pytest.raises(ArgumentsError, match=r"^dataset ~no-such-user/x: ~no-such-user is no home folder"):
        open_pairs(settings("~no-such-user/x"), seed=0)


def test_names_of_files(tmp_path, caplog):
    """A name that is not UTF-8 is a pair like any other. A file that is gone costs its own row and changes the hash."""
    folder = write_pairs(tmp_path / "pairs", 6)
    for ending in ("wav", "png"):
        (folder / f"005.{ending}").rename(folder / f"caf\udce9.{ending}")
    (folder / "._000.wav").write_bytes(b"not a sound")
    (folder / "alone.wav").write_bytes(b"")
    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING, "transformers.soundclip_hf.training"):
        train, validation = open_pairs(settings(folder), seed=0)
    assert f"{folder}: 1 sounds and pictures without a partner" in caplog.text
    assert len(train) + len(validation) == 6
    before = train.identity()
    (folder / "000.wav").unlink()
    assert train.identity() != before


def test_parts_keep_their_row_numbers():
    rows = PairRows([{"a": f"{row}.wav", "i": f"{row}.png"} for row in range(4)], {"audio": "a", "image": "i"})
    part = rows.part(torch.tensor([False, True, False, True]))
    assert [part[0], part[1]] == [Pair(1, "1.wav", "1.png"), Pair(3, "3.wav", "3.png")]


def test_what_a_cache_tells_datasets_apart_by(tmp_path, parquet):
    first, again = (open_pairs(settings(parquet), seed=0)[0] for _ in range(2))
    assert first.identity() == again.identity()
    assert first.identity() != open_pairs(settings(parquet), seed=1)[0].identity()
    assert first.marks().sum() == len(first)
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        (tmp_path / name).write_bytes(b"1")
    before = open_pairs(settings(tmp_path), seed=0)[0].identity()
    (tmp_path / "b.mp4").write_bytes(b"22")
    (tmp_path / "d.mp4").write_bytes(b"22")
    (tmp_path / "a.mp4").write_bytes(b"22")
    assert open_pairs(settings(tmp_path), seed=0)[0].identity() != before
    assert PairStream(None, {}, 3).identity() == "3..None"
