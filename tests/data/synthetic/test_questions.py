"""Answers about a scene say what its sound and its picture show."""

from itertools import islice

from soundclip_hf.data.synthetic import scene
from soundclip_hf.data.synthetic.questions import HIDDEN, NOTHING, hearing_questions


def first(wanted):
    return next(islice(filter(wanted, map(scene, range(1000))), 1))


def test_a_source_in_the_picture():
    shown = first(lambda one: len(one.sounding) == 2)
    loudest = shown.things[shown.sounding[0]]
    assert [answer for _, answer in hearing_questions(shown)] == [
        f"The {loudest.kind}.",
        f"It is {loudest.colour}.",
        f"At the {loudest.place}.",
    ]


def test_a_source_outside_the_picture():
    shown = first(lambda one: one.offscreen and not one.sounding)
    assert [answer for _, answer in hearing_questions(shown)] == [f"The {shown.offscreen[0]}.", HIDDEN, HIDDEN]


def test_silence():
    shown = first(lambda one: not one.sources)
    assert [answer for _, answer in hearing_questions(shown)] == [NOTHING] * 3
