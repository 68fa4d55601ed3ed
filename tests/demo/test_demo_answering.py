"""Answers come word by word, and are those of `soundclip describe`."""

import threading
from itertools import pairwise

import pytest

from soundclip_hf.bundled import CLIP
from soundclip_hf.demo.answering import MAX_QUESTION, check_question, stream_answer, what_was_heard
from soundclip_hf.demo.desk import CLIP as CLIP_MODE
from soundclip_hf.demo.desk import PAIR, Choices, Media
from soundclip_hf.demo.given import DemoError, read_given
from soundclip_hf.evaluation.generation.answering import Answer, AnswerSettings

QUESTION = "Describe what you see and hear."
SETTINGS = AnswerSettings(top_k=16, patches="zero", alignment="projected", alpha=0.0, max_new_tokens=64)


@pytest.fixture(scope="module")
def given(desk):
    return read_given(clip=str(CLIP), rate=desk.rate)


def test_an_answer_grows_word_by_word(desk, given):
    *parts, last = stream_answer(given, QUESTION, SETTINGS, desk.answering)
    # The answer that the README shows for this clip, question and k.
    assert last.text == "A blue clock and a purple car. The clock makes the sound."
    assert parts[-1] == last.text
    assert len(parts) >= len(last.text.split())
    assert all(later.startswith(earlier) for earlier, later in pairwise(parts))
    assert "16 of 64 patches are kept, the others are zero · projected embedding" in what_was_heard(
        given, last, SETTINGS
    )


def test_nobody_waits_any_more(desk, given):
    running = threading.active_count()
    words = stream_answer(given, QUESTION, SETTINGS, desk.answering)
    next(words)
    assert threading.active_count() == running + 1
    words.close()
    assert threading.active_count() == running


def test_an_error_of_the_model_reaches_the_reader(desk, given):
    wrong = AnswerSettings(top_k=8, patches="zero", alignment="sideways")
    with pytest.raises(ValueError, match="sideways"):
        list(stream_answer(given, QUESTION, wrong, desk.answering))


@pytest.mark.parametrize(("question", "error"), [("  ", "no question"), ("?" * (MAX_QUESTION + 1), "2001 characters")])
def test_a_question_that_cannot_be_asked(question, error):
    with pytest.raises(DemoError, match=error):
        check_question(question)


def last_of(desk, media, question="What makes the sound?", **changed):
    choices = Choices(**{"top_k": 8, "alignment": "projected", "alpha": 0.0, "patches": "zero"} | changed)
    return list(desk.answer(media, question, choices))[-1]


def test_what_a_visitor_may_give(desk, example_folder):
    """A clip, a picture with another sound, a picture alone, a sound alone; zeroed or dropped patches, raw or mixed."""
    clip = Media(CLIP_MODE, str(CLIP))
    assert last_of(desk, clip)[0] == "The clock."
    assert last_of(desk, clip, patches="drop")[0] == "The clock."
    assert "raw embedding" in last_of(desk, clip, alignment="raw")[1]
    assert "projected embedding, alpha 0.5" in last_of(desk, clip, alpha=0.5)[1]
    picture, sound = str(example_folder / "dubbed piano.png"), str(example_folder / "dubbed piano.wav")
    assert last_of(desk, Media(PAIR, None, picture, sound))[0] == "The piano."
    text, about = last_of(desk, Media(PAIR, None, None, sound))
    assert text == "The piano."
    assert "k = 0" in about
    text, about = last_of(desk, Media(PAIR, None, picture, None))
    assert text
    assert "described without sound" in about


def test_files_of_the_other_mode_do_not_count(desk, example_folder):
    media = Media(CLIP_MODE, str(CLIP), str(example_folder / "no such.png"), str(example_folder / "dubbed piano.wav"))
    assert last_of(desk, media)[0] == "The clock."


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"top_k": 65}, "64 patches"),
        ({"top_k": -1}, "64 patches"),
        ({"alignment": "x"}, "projected or raw"),
        ({"patches": "x"}, "zero or drop"),
        ({"alpha": 2.0}, "0 to 1"),
    ],
)
def test_settings_that_do_not_fit(desk, changed, error):
    with pytest.raises(DemoError, match=error):
        last_of(desk, Media(CLIP_MODE, str(CLIP)), **changed)


def test_an_empty_answer_is_said(desk, given, monkeypatch):
    monkeypatch.setattr("soundclip_hf.demo.desk.stream_answer", lambda *_: iter([Answer("", None)]))
    assert last_of(desk, Media(CLIP_MODE, str(CLIP)))[0] == "(The model gave an empty answer.)"
