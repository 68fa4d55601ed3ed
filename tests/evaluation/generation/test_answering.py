"""Batches of questions: padded on the left, and one that fails does not cost the others theirs."""

import pytest

from soundclip_hf.evaluation.generation.answering import (
    AnswerSettings,
    each_or_its_error,
    generate_answers,
    largest_top_k,
    prepare,
    question_about,
)
from soundclip_hf.evaluation.samples import read_sample


def test_each_or_its_error():
    calls = []

    def work(items):
        calls.append([*items])
        if "bad" in items:
            raise ValueError("bad one")
        return [item.upper() for item in items]

    found = each_or_its_error(["a", "bad", "c"], work)
    assert (found[0], found[2]) == ("A", "C")
    assert str(found[1]) == "bad one"
    assert calls == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]
    assert each_or_its_error(["a", "b"], work) == ["A", "B"]
    assert each_or_its_error([], work) == []


def test_a_stop_is_no_error_of_an_item():
    def work(items):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each_or_its_error(["a"], work)


def test_questions_of_several_lengths(answering, scenes):
    media = [read_sample(sample, sampling_rate=16000) for sample in scenes[:2]]
    questions = ["What makes the sound?", "What colour is the thing that makes the sound?"]
    conversations = [question_about(q, one.picture, one.sound, 16000) for q, one in zip(questions, media)]
    settings = AnswerSettings(top_k=8, patches="zero", alignment="projected", alpha=0.0)
    inputs = prepare(conversations, settings, answering)
    assert inputs["attention_mask"][0, 0] == 0
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]
    together = generate_answers(inputs, settings, answering)
    for conversation, answer in zip(conversations, together, strict=True):
        (alone,) = generate_answers(prepare([conversation], settings, answering), settings, answering)
        assert answer.text == alone.text
        assert answer.sound.k == 8


def test_a_picture_alone_is_answered_in_silence(answering, scenes):
    media = read_sample(scenes[0], sampling_rate=16000)
    settings = AnswerSettings(top_k=8, max_new_tokens=4)
    conversation = question_about("What do you see?", media.picture, None, 16000)
    (answer,) = generate_answers(prepare([conversation], settings, answering), settings, answering)
    assert answer.text
    assert answer.sound is None


def test_largest_top_k(answering):
    assert largest_top_k(answering) == 64
