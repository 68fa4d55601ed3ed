"""The authors' JSON: shards of any size, their names for things, and the four published rows."""

import json

import pytest
from ave2_rows import rows
from shared_data import shared_path

from soundclip_hf.data.ave2 import upstream
from soundclip_hf.data.ave2.schema import SCORES, SOURCES
from soundclip_hf.data.ave2.upstream import from_upstream, read_array
from soundclip_hf.data.ave2.validation import faults, validate

RELEASED = {
    "sample_id": "-fUNb4eiu1w_02",
    "youtube_id": "-fUNb4eiu1w",
    "segment": "02",
    "segment_start_time": 3.0,
    "segment_end_time": 6.0,
    "split": "train",
    "folder": "part_003",
    "video_caption": "A band.\n\nOn stage.",
    "speech_content": "",
    "environmental_audio": "Rich and full -> Musical instrument",
    **dict(zip(SCORES, (10, 10.0, "8", 10, 10))),
    "temporal_alignment_rationale": "The chords match the hands.",
    "visible_active_sources": "['Band', 'Singer']",
    "invisible_active_sources": "None",
    "visible_silent_sources": "Chair, Table",
}


def test_a_released_row(tmp_path):
    (tmp_path / "train_00000.json").write_text(json.dumps([RELEASED]))
    (row,) = from_upstream(tmp_path)
    assert faults(row) == []
    assert row["sample_id"] == "-fUNb4eiu1w_02"
    assert row["segment"] == 2
    assert [row[name] for name in SCORES] == [10, 10, 8, 10, 10]
    assert row["overall_score"] == 9.6
    assert [row[name] for name in SOURCES] == [["Band", "Singer"], [], ["Chair", "Table"]]
    assert row["segment_type"] == "visible_silent"
    assert row["temporal_alignment_reason"] == "The chords match the hands."
    assert json.loads(row["extra"]) == {"folder": "part_003"}
    assert row["youtube_start_time"] is None  # the release has no offset into the video


def test_what_cannot_be_read_is_left_for_the_validator(tmp_path):
    odd = RELEASED | {
        "temporal_alignment_score": 8.5,
        "spatial_coherence_score": "high",
        "physical_causality_score": None,
    }
    (tmp_path / "train_00000.json").write_text(json.dumps([odd]))
    (bad,) = validate([{**next(from_upstream(tmp_path)), "overall_score": None}])
    assert [reason.split("=")[0] for reason in bad.reasons] == ["temporal_alignment_score", "spatial_coherence_score"]


def test_the_published_rows():
    made = list(from_upstream(shared_path("clips/annotations.json")))
    assert list(validate(made)) == []
    assert [row["sample_id"] for row in made] == [
        "rvbmYs4Kl3Y_01",
        "IwqD859w2_E_02",
        "EQHrQIaQNv8_03",
        "AVL7Kbpw13U_01",
    ]
    for row in made:
        assert json.loads(row["extra"])["alignment_total"] == pytest.approx(5 * row["overall_score"])
        assert row["sound_source_visibility_score"] == 8
        assert row["media_status"] == "ok"
    assert [row["segment_type"] for row in made] == [
        "visible_only",
        "visible_silent",
        "visible_invisible",
        "visible_invisible",
    ]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_arrays_are_read_in_pieces_of_any_size(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(upstream, "CHUNK", chunk)
    values = [{"a": "ü]},[{\\", "b": [1, 2.5, -3e7]}, 12345, "x", [], None, True, 17]
    for indent in (None, 2):
        (tmp_path / "a.json").write_text(json.dumps(values, ensure_ascii=indent is None, indent=indent) + "\n")
        assert list(read_array(tmp_path / "a.json")) == values
    (tmp_path / "a.json").write_text('[{"a": NaN, "b": 1e400}]')  # as Python writes what is no number
    assert str(list(read_array(tmp_path / "a.json"))) == "[{'a': nan, 'b': inf}]"
    (tmp_path / "a.json").write_text(" [ ] ")
    assert list(read_array(tmp_path / "a.json")) == []


@pytest.mark.parametrize("text", ["", "{}", "[", "[1", "[1,", "[1 2]", '["a', "[1] [2]", "[1]]", '[{"a": 1}'])
def test_broken_arrays_are_errors(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json"):
        list(read_array(tmp_path / "a.json"))


def test_shards_come_in_order_and_errors_name_the_row(tmp_path):
    given = rows(6)
    for number, part in enumerate((given[:4], given[4:])):
        shard = [{name: value for name, value in row.items() if value is not None} for row in part]
        (tmp_path / f"train_{number:05d}.json").write_text(json.dumps(shard))
    assert [row["sample_id"] for row in from_upstream(tmp_path)] == [row["sample_id"] for row in given]
    (tmp_path / "train_00001.json").write_text('[{"youtube_id": "abc"}]')
    with pytest.raises(ValueError, match=r"train_00001.json, row 0: .*segment"):
        list(from_upstream(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no \.json files"):
        list(from_upstream(tmp_path / "empty"))


def test_a_missing_file_is_not_looked_for_on_a_hub(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data/train\.json"):
        list(from_upstream("data/train.json"))
    assert capsys.readouterr().err == ""
    (tmp_path / "train.json").write_text("[]")
    with pytest.raises(ValueError, match="is not on a Hub, and has no revision 'v1'"):
        list(from_upstream("train.json", revision="v1"))
