"""Held-out questions with other sounds: what is swapped, what the model is given, and what is counted as right."""

import logging

import numpy as np
import pytest
import torch
from media_files import pcm_wav
from tiny_processors import picture, sound, tiny_sound_processor

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.data.synthetic import FIRST_VALIDATION, scene
from soundclip_hf.data.synthetic.questions import HIDDEN, NOTHING, hearing_questions
from soundclip_hf.evaluation.generation.answering import AnsweringModel, AnswerSettings
from soundclip_hf.training.finetuning.evaluation import answer_questions, readable
from soundclip_hf.training.finetuning.questions import OpenQuestion, find_swaps, read_questions, sounds_for
from soundclip_hf.training.finetuning.rows import Rows, SyntheticRows, answer_with_sound

VIDEO = {"frame": "middle", "num_frames": 1, "load_audio": True}


def question(*parts, answer="x", words="What?", row=0):
    messages = [
        {"role": "user", "content": [*parts, {"type": "text", "text": words}]},
        {"role": "assistant", "content": answer},
    ]
    (found,) = read_questions([{"messages": messages, "row": row}])
    return found


def audio(seed):
    return {"type": "audio", "audio": {"array": sound(seed=seed), "sampling_rate": 16_000}}


def image(seed=0):
    return {"type": "image", "image": picture(seed=seed)}


def nobody(row, other):
    return None


def inputs(processor, messages):
    return processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )


def assert_same_inputs(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)


CASES = {
    "picture and sound": [image(), audio(0)],
    "sound alone": [audio(0)],
    "one sound of two pictures": [image(), audio(0), image(1)],
    "a sound each": [image(), image(1), audio(0), audio(1)],
    "a silent picture": [image(), image(1), audio(0), {"type": "audio", "audio": None}],
    "clip": [{"type": "video", "path": str(CLIP)}],
    "clip without its sound": [{"type": "video", "path": str(CLIP), "load_audio": False}],
    "picture": [image()],
    "text": [],
}


@pytest.mark.parametrize("parts", CASES.values(), ids=CASES)
def test_the_own_sounds_are_put_where_they_were(parts):
    processor = tiny_sound_processor("llava")
    asked = question(*parts)
    opened = OpenQuestion.read(asked, processor, VIDEO)
    assert_same_inputs(inputs(processor, opened.with_sounds(opened.sounds)), inputs(processor, asked.messages))


@pytest.mark.parametrize("parts", CASES.values(), ids=CASES)
def test_without_sounds_nothing_else_changes(parts):
    processor = tiny_sound_processor("llava")
    opened = OpenQuestion.read(question(*parts), processor, VIDEO)
    silent = [{**part, "load_audio": False} for part in parts if part["type"] != "audio"]
    expected = inputs(processor, question(*silent).messages)
    assert "input_features" not in expected
    assert_same_inputs(inputs(processor, opened.with_sounds([])), expected)


def test_sounds_of_another_question():
    processor = tiny_sound_processor("llava")
    own, other = (
        OpenQuestion.read(question(*parts), processor, VIDEO)
        for parts in ([image(), image(1), audio(0), audio(1)], [audio(2)])
    )
    expected = question(image(), image(1), audio(2), audio(2))
    given = own.with_sounds(sounds_for("swapped", own, other))
    assert_same_inputs(inputs(processor, given), inputs(processor, expected.messages))
    silent = sounds_for("silent", own, None)
    assert [len(values) for values in silent] == [len(values) for values in own.sounds]
    assert not np.any(silent)
    assert sounds_for("none", own, None) == []


def test_captions_are_swapped_with_another_caption():
    """Of one question to all rows, the other row's answer is right for its sound."""
    captions = [question(audio(row), answer=text, row=row) for row, text in enumerate(["a", "a", "b", "b"])]
    for seed in range(5):
        swaps = find_swaps(captions, nobody, seed)
        assert [swap.answer for swap in swaps] == ["b", "b", "a", "a"]
        assert all(swap.answer == swap.other.answer for swap in swaps)


def test_what_cannot_be_swapped():
    mute, heard, same = question(image()), question(audio(0)), question(audio(0), answer="other")
    assert find_swaps([mute, heard, same], nobody, 0) == [None, None, None]
    (mine, _) = find_swaps([heard, question(audio(1), words="Where?")], nobody, 0)
    assert mine.answer is None  # of a question in other words nobody knows it
    assert mine.other.messages[0]["content"][-1]["text"] == "Where?"
    (mine, _) = find_swaps([heard, question(audio(1))], nobody, 0)
    assert mine.answer is None  # it is right for both


def test_answers_to_a_picture_with_the_sound_of_another_scene():
    rows = Rows(SyntheticRows(60, FIRST_VALIDATION))
    seen = set()
    for row in range(0, 60, 3):
        for other in range(0, 60, 3):
            shown, heard = scene(FIRST_VALIDATION + row // 3), scene(FIRST_VALIDATION + other // 3)
            answers = [answer_with_sound(rows, row + place, other) for place in range(3)]
            kinds = {thing.kind: thing for thing in shown.things}
            if not heard.sources:
                expected = [NOTHING] * 3
            elif heard.sources[0] in kinds:
                thing = kinds[heard.sources[0]]
                expected = [f"The {thing.kind}.", f"It is {thing.colour}.", f"At the {thing.place}."]
            else:
                expected = [f"The {heard.sources[0]}.", HIDDEN, HIDDEN]
            assert answers == expected
            if row == other:
                assert answers == [answer for _, answer in hearing_questions(shown)]
            seen.add(expected[1] if expected[1] in (NOTHING, HIDDEN) else "seen")
    assert seen == {NOTHING, HIDDEN, "seen"}


@pytest.fixture(scope="module")
def answering():
    model = SoundLlava.from_pretrained("tiny", dtype="float32").eval()
    return AnsweringModel(model, SoundLlavaProcessor.from_pretrained(TINY), "tiny", None, "")


def test_answers_follow_the_sound_that_is_heard(answering):
    rows = Rows(SyntheticRows(24, FIRST_VALIDATION))
    questions = read_questions([rows[index] for index in range(24)])
    swaps = find_swaps(questions, lambda row, other: answer_with_sound(rows, row, other), 0)
    assert all(swap.answer not in (None, asked.answer) for swap, asked in zip(swaps, questions, strict=True))

    def ask(kind):
        scores, told = answer_questions(
            questions, answering, AnswerSettings(max_new_tokens=12), video=VIDEO, kind=kind, swaps=swaps, batch_size=12
        )
        return {name: score.value for name, score in scores.items()}, told

    true, said = ask("true")
    swapped, other = ask("swapped")
    assert {"exact"} <= true.keys() <= {"exact", "rouge_l"}
    assert true["exact"] == np.mean([text == asked.answer for text, asked in zip(said, questions)])
    assert swapped["exact_swapped"] == np.mean([text == asked.answer for text, asked in zip(other, questions)])
    assert swapped["exact_swapped_heard"] == np.mean([text == swap.answer for text, swap in zip(other, swaps)])
    # The bundled model hears.
    assert swapped["exact_swapped_heard"] > 0.4 > swapped["exact_swapped"]
    for kind in ("silent", "none"):
        scores, _ = ask(kind)
        assert scores[f"exact_{kind}"] < true["exact"]


def test_a_question_whose_media_cannot_be_read_is_not_asked(answering, tmp_path, caplog):
    (tmp_path / "good.wav").write_bytes(pcm_wav(sound(seed=0)[:, None], 16_000))
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    asked = [
        question({"type": "audio", "path": str(tmp_path / f"{name}.wav")}, row=row)
        for row, name in enumerate(("good", "bad", "missing"))
    ]
    with caplog.at_level(logging.WARNING):
        assert readable(asked, answering, VIDEO) == asked[:1]
    assert [text.split(" is not asked")[0] for text in caplog.messages] == ["row 1", "row 2"]
