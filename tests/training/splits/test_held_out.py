"""Rows that share media stay together when some are held out, and media are told apart without being decoded."""

import json
import logging

import pytest
import torch
from datasets import Audio, Dataset, Features, Image, List, Value, load_dataset

from soundclip_hf.training.splits.held_out import held_out_rows, media_of_rows

SOUNDS = [bytes([number]) * 20_000 for number in range(3)]


@pytest.fixture
def warnings_of(caplog):
    logging.getLogger("transformers").propagate = True
    caplog.set_level(logging.WARNING, "transformers.soundclip_hf.training")
    return lambda: [record.getMessage() for record in caplog.records]


def held(media, count, seed=0, least=1):
    return held_out_rows(media, count, seed, dataset="rows", least=least).nonzero().flatten().tolist()


def test_rows_with_media_of_their_own_are_drawn_as_rows_without_media(warnings_of):
    drawn = torch.randperm(50, generator=torch.Generator().manual_seed(7))[:5]
    expected = sorted(drawn.tolist())
    assert held([[]] * 50, 5, 7) == expected
    assert held([[f"{row}.wav", f"{row}.png"] for row in range(50)], 5, 7) == expected
    assert not warnings_of()


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_medium_go_together_and_their_number_stays_near(seed, warnings_of):
    media = [[f"{row // 4}.mp4"] for row in range(100)]
    rows = held(media, 10, seed)
    assert len(rows) in (8, 12)
    assert not {row // 4 for row in rows} & {row // 4 for row in range(100) if row not in rows}
    assert rows == held(media, 10, seed)
    assert not warnings_of()


def test_rows_are_bound_through_other_rows():
    """Row 1 has the sound of row 0 and the picture of row 2."""
    media = [["a.wav"], ["a.wav", "b.png"], ["b.png"], ["c.wav"], ["d.wav"], ["e.wav"]]
    for seed in range(20):
        rows = held(media, 2, seed)
        assert len({0, 1, 2} & set(rows)) in (0, 3)


def test_a_group_larger_than_asked_for_is_held_out_where_there_is_no_other():
    assert len(held([["a"]] * 5 + [["b"]] * 5, 1)) == 5
    assert held([["a"]] * 9 + [["b"]], 1, least=1) == [9]


def test_one_file_for_all_rows_is_split_by_row_with_a_warning(warnings_of):
    assert held([["a.mp4"]] * 30, 3) == held([[]] * 30, 3)
    (message,) = warnings_of()
    assert message.startswith("dataset rows: a.mp4 is in 30 of 30 rows, and in training and held-out rows")
    assert "--eval_split" in message


def test_a_silent_sound_of_all_rows_does_not_hide_the_pictures(warnings_of):
    media = [["silence.wav", f"{row // 3}.png"] for row in range(30)]
    rows = held(media, 3)
    assert len(rows) == 3
    assert len({row // 3 for row in rows}) == 1
    assert "silence.wav is in 30 of 30 rows" in warnings_of()[0]


def test_a_chain_through_all_rows_is_split_by_row_with_a_warning(warnings_of):
    media = [[f"{row}.wav", f"{row + 1}.wav"] for row in range(20)]
    assert len(held(media, 2)) == 2
    assert len(warnings_of()) == 1


def test_each_side_keeps_the_rows_that_it_needs():
    rows = held([["a"]] * 6 + [["b"]] + [["c"]], 2, least=2)
    assert rows == [6, 7]


def stored(sounds, path=None):
    return [{"bytes": sound, "path": path} for sound in sounds]


@pytest.mark.parametrize("kind", [Audio, Image])
def test_bytes_are_told_apart_by_their_content(kind):
    """They are no real files: nothing decodes them."""
    features = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
    rows = Dataset.from_dict({"audio": stored([*SOUNDS, SOUNDS[0]], "one name for all.wav")}, features)
    names = media_of_rows(rows.cast_column("audio", kind(decode=False)), ["audio"])
    assert [len(name) for name in names] == [1, 1, 1, 1]
    assert names[0] == names[3]
    assert len({name for (name,) in names}) == 3
    assert media_of_rows(rows.select([3, 1]), ["audio"]) == [names[3], names[1]]


def test_paths_lists_and_empty_places():
    features = Features(
        {
            "image": {"bytes": Value("binary"), "path": Value("string")},
            "audios": List({"bytes": Value("binary"), "path": Value("string")}),
            "video": Value("string"),
        }
    )
    rows = Dataset.from_list(
        [
            {"image": {"bytes": None, "path": "a/./b.png"}, "audios": stored(SOUNDS[:2]), "video": ""},
            {"image": None, "audios": [], "video": "a/b.mp4"},
            {"image": {"bytes": b"", "path": "a/b.png"}, "audios": None, "video": None},
            {"image": None, "audios": stored(SOUNDS[1:2]), "video": "https://example.org//x.mp4"},
        ],
        features=features,
    )
    names = media_of_rows(rows, ["image", "audios", "video"])
    assert [len(row) for row in names] == [3, 1, 1, 2]
    assert names[0][0] == names[2][0] == "a/b.png"
    assert names[0][2] == names[3][0]
    assert names[1] == ["a/b.mp4"]
    assert names[3][1] == "https://example.org//x.mp4"


def test_arrays_in_memory_are_no_shared_medium():
    wave = {"array": [0.0, 0.5], "sampling_rate": 16_000}
    assert media_of_rows(Dataset.from_list([{"audio": wave}] * 2), ["audio"]) == [[], []]
    assert media_of_rows(Dataset.from_list([{"audio": [0.0, 0.5]}] * 2), ["audio"]) == [[], []]
    assert media_of_rows([{"audio": wave}, {"audio": "a.wav"}], ["audio"]) == [[], ["a.wav"]]
    assert media_of_rows(Dataset.from_list([{"text": "a"}] * 2), []) == [[], []]


def test_media_in_the_parts_of_messages():
    def message(part):
        return [{"role": "user", "content": [part, {"type": "text", "text": "a.wav"}]}]

    parts = [
        {"type": "audio", "path": "a.wav"},
        {"type": "audio", "audio": "./a.wav"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "audio"},
        {"type": "odd", "path": "a.wav"},
    ]
    for part, expected in zip(parts, (["a.wav"], ["a.wav"], ["https://example.org/a.png"], [], [])):
        assert media_of_rows(Dataset.from_list([{"messages": message(part)}]), [], ["messages"]) == [expected]
    assert media_of_rows(Dataset.from_list([{"prompt": "a.wav"}]), [], ["prompt"]) == [[]]


def test_columns_whose_rows_differ(tmp_path):
    """`datasets` holds them as JSON."""
    values = ["a.png", ["a.png", "b.png"], {"path": "c.png"}, None]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"image": value}) + "\n" for value in values))
    rows = load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), split="train")
    assert media_of_rows(rows, ["image"]) == [["a.png"], ["a.png", "b.png"], ["c.png"], []]
