"""Answers and references from files, and every kind of file that cannot be used."""

import json

import numpy as np
import pytest
from answer_judge import line, write_lines

from soundclip_hf.data.synthetic import scene
from soundclip_hf.evaluation.judge import GivenAnswer, Known, read_answers, references
from soundclip_hf.evaluation.judge.references import reference_texts


def test_answers_with_their_settings(tmp_path):
    rows = [line("a", " yes \n"), line("b", k=150), line(7, None, error="no audio stream")]
    rows.append({"id": "c", "question": "q", "answer": "text", "settings": {"k": 3, "other": 1}})
    found = read_answers([write_lines(tmp_path / "a.jsonl", rows)])
    assert [given.id for given in found] == ["a", "b", "7", "c"]
    assert [given.answer for given in found] == ["yes", "A dog barks.", "", "text"]
    assert found[1].settings == {"model": "m", "alignment": "raw", "k": 150}
    assert found[3].settings == {"k": 3}
    assert found[2].source == f"{tmp_path / 'a.jsonl'}, line 3"


def test_the_id_of_an_answer_hangs_on_what_it_is(tmp_path):
    """By it two raters are compared: not by the order of fields or by the captions beside them."""
    write_lines(tmp_path / "a.jsonl", [line("a")])
    write_lines(tmp_path / "b.jsonl", [dict(reversed(line("a", audio_caption="else").items()))])
    (one,), (other,) = read_answers([tmp_path / "a.jsonl"]), read_answers([tmp_path / "b.jsonl"])
    assert one.answer_id == other.answer_id
    changed = [line("b"), line("a", "Another."), line("a", k=16), line("a", alignment="projected")]
    more = read_answers([write_lines(tmp_path / "c.jsonl", changed)])
    assert len({one.answer_id, *(given.answer_id for given in more)}) == 5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no answers"),
        ([["a"]], "line 1: is no JSON object"),
        ([line("a"), {"id": "b", "question": "q"}], "line 2: 'answer' is None"),
        ([{"question": "q", "answer": "x"}], "line 1: 'id' is None"),
        ([line("a", question=None)], "line 1: 'question' is None"),
        ([line("a", ["x"])], "line 1: 'answer' is \\['x'\\]"),
        ([line("a", ""), line("b", None, error="e")], "all 2 answers are empty"),
        ([line("a"), line("b"), line("a", "Another.")], "line 3: .*'a' .* as .*line 1"),
    ],
)
def test_answers_that_cannot_be_judged(tmp_path, rows, words):
    with pytest.raises(ValueError, match=words):
        read_answers([write_lines(tmp_path / "a.jsonl", rows)])


def test_a_line_that_is_cut_off_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(line("a")) + '\n{"id": "b", "ans')
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: is no JSON"):
        read_answers([tmp_path / "a.jsonl"])


def test_what_is_known_goes_between_the_tags_of_the_prompt():
    row = {
        "audio_caption": "a bark",
        "environmental_audio": "wind",
        "video_caption": " a dog ",
        "speech_content": "",
        "visible_active_sources": ["dog"],
        "visible_silent_objects": ["chair", "table"],
        "references": ["A dog barks.", "Barking."],
    }
    assert reference_texts(row) == {
        "known_sound": "a bark\nwind",
        "known_picture": "a dog",
        "known_sources": "heard and seen: dog; seen but silent: chair, table",
        "reference_answers": "A dog barks.\nBarking.",
    }
    with pytest.raises(ValueError, match="'audio_caption' is 3"):
        reference_texts({"audio_caption": 3})


def test_references_of_the_lines_and_of_a_data_set(tmp_path):
    given = read_answers([write_lines(tmp_path / "a.jsonl", [line("v_01"), line("w_01", youtube_id="w")])])
    own = references(given)
    assert [one.texts for one in own] == [{"known_sound": f"the sound of {name}"} for name in ("v_01", "w_01")]
    assert [one.group for one in own] == ["v_01", "w"]
    rows = [{"sample_id": name, "youtube_id": name[0], "video_caption": f"{name} seen"} for name in ("w_01", "v_01")]
    known = Known.open(str(write_lines(tmp_path / "t.jsonl", rows)))
    found = references(given, known)
    assert [(one.group, dict(one.texts)) for one in found] == [
        ("v", {"known_picture": "v_01 seen"}),
        ("w", {"known_picture": "w_01 seen"}),
    ]
    assert [one.picture for one in found] == [None, None]


def test_frames_of_synthetic_scenes():
    known = Known.open("synthetic", frames=True)
    name = next(iter(known.ids))
    (found,) = references([GivenAnswer(name, "q", "a", {"frame": "middle"})], known)
    assert found.texts["known_sound"]
    assert found.picture is not None
    assert np.array_equal(found.picture(), scene(int(name.removeprefix("synthetic-"))).picture)


def test_references_that_are_missing(tmp_path):
    given = read_answers([write_lines(tmp_path / "a.jsonl", [line("a"), line("b"), line("c")])])
    table = write_lines(tmp_path / "t.jsonl", [{"id": "b", "reference": "x"}])
    with pytest.raises(ValueError, match=r"has no sample 'a' \(.*a\.jsonl, line 1\); 2 of 3 answers"):
        references(given, Known.open(str(table)))
    silent = write_lines(tmp_path / "u.jsonl", [{"id": name} for name in "abc"])
    with pytest.raises(ValueError, match=r"u\.jsonl: its rows have no reference"):
        references(given, Known.open(str(silent)))
    plain = read_answers([write_lines(tmp_path / "p.jsonl", [{"id": "a", "question": "q", "answer": "x"}])])
    with pytest.raises(ValueError, match="give --data"):
        references(plain)
    for name, rows, words in [
        ("v", [{"reference": "x"}], "row 1: has neither"),
        ("w", [{"id": 1}, {"id": "1"}], "row 2: has the id '1'"),
        ("x", [], "has no rows"),
        ("y", [3], "line 1: is no JSON object"),
    ]:
        with pytest.raises(ValueError, match=words):
            Known.open(str(write_lines(tmp_path / f"{name}.jsonl", rows)))
