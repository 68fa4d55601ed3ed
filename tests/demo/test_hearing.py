"""Did it hear? The numbers are those of the audit, and the sentence says what they say."""

import numpy as np
import pytest

from soundclip_hf.bundled import CLIP
from soundclip_hf.demo.desk import ANY_OTHER, PAIR, Media
from soundclip_hf.demo.desk import CLIP as CLIP_MODE
from soundclip_hf.demo.given import DemoError, Given, read_given
from soundclip_hf.demo.hearing import Hearing, choose_other, did_it_hear
from soundclip_hf.evaluation.audit import SoundLlavaSubject
from soundclip_hf.evaluation.audit.divergence import divergence
from soundclip_hf.evaluation.audit.subject import Prompt
from soundclip_hf.evaluation.generation.answering import AnswerSettings

QUESTION = "What makes the sound?"
SETTINGS = AnswerSettings(top_k=8, patches="zero", alignment="projected", max_new_tokens=16)


@pytest.fixture(scope="module")
def given(desk):
    return read_given(clip=str(CLIP), rate=desk.rate)


@pytest.fixture(scope="module")
def piano(desk, example_folder):
    return read_given(sound=str(example_folder / "dubbed piano.wav"), rate=desk.rate).sound


@pytest.fixture(scope="module")
def hearing(desk, given, piano):
    return did_it_hear(given, ("a piano", piano), QUESTION, SETTINGS, desk.answering)


def test_answers(hearing):
    answers = {condition: found["answer"] for condition, found in hearing.others.items()}
    assert hearing.answer == "The clock."
    assert answers["swapped"] == "The piano."
    assert answers["silent"] == "Nothing makes a sound."


def test_the_share_that_moves(desk, given, piano, hearing):
    """Along the answer to the true sound, from the logits of both prompts, computed here again."""
    subject = SoundLlavaSubject(desk.answering.model, desk.answering.processor, sound_top_k=8, sound_patches="zero")
    true, other = (Prompt(QUESTION, sound, (given.picture,)) for sound in (given.sound, piano))
    (answer,) = subject.generate(subject.inputs([true]), 16)
    (forced,) = subject.logits(subject.inputs([other]), [answer.tokens])
    moved = divergence(answer.logits, forced.logits).moved
    assert hearing.others["swapped"]["moved"] == pytest.approx(moved, abs=1e-4)
    assert moved > 0.5
    assert f"{100 * moved:.0f} % of the probability moves, and it gives another answer" in hearing.sentence
    assert 0 <= hearing.patches <= 1
    assert 0 <= hearing.token <= 1


def test_a_sound_alone_has_no_patches(desk, given, piano):
    found = did_it_hear(Given(None, given.sound, given.rate), ("p", piano), QUESTION, SETTINGS, desk.answering)
    assert found.answer == "The clock."
    assert found.patches is found.token is None
    assert "alone" not in found.sentence


def test_the_sentence_of_a_deaf_model():
    same = {"answer": "A car.", "moved": 0.0, "change": 0.0}
    deaf = Hearing("A car.", {"silent": same, "swapped": same, "none": same}, 0.0, 0.0, "x", 1e-3)
    assert deaf.sentence.startswith("It did not hear")


def test_what_cannot_be_compared(desk, given, piano):
    with pytest.raises(DemoError, match="no sound to hear"):
        did_it_hear(Given(given.picture, None, given.rate), ("p", piano), QUESTION, SETTINGS, desk.answering)
    with pytest.raises(DemoError, match=r"\(own\) is the very same sound"):
        did_it_hear(given, ("own", given.sound), QUESTION, SETTINGS, desk.answering)
    with pytest.raises(DemoError, match="no other sound"):
        choose_other(given, [("own", given.sound), ("silence", np.zeros_like(given.sound))])


def test_the_table_of_the_page(desk, example_folder):
    """Any other example is not the clip itself; an upload takes the place of an example."""
    clip = Media(CLIP_MODE, str(CLIP))
    table = desk.hear(clip, QUESTION, desk.defaults, ANY_OTHER, None)
    assert ">cow<" in table  # the first example after the clip itself
    assert ">bird<" in desk.hear(clip, QUESTION, desk.defaults, "bird", None)
    upload = str(example_folder / "dubbed piano.wav")
    assert "The piano." in desk.hear(clip, QUESTION, desk.defaults, "bird", upload)
    with pytest.raises(DemoError, match="no sound to hear"):
        desk.hear(Media(PAIR, None, str(example_folder / "dubbed piano.png")), QUESTION, desk.defaults, ANY_OTHER, None)
