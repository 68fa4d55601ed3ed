"""Labels stand on exactly the characters that a person would mark as the assistant's."""

from functools import partial

import pytest
from jinja2 import Environment
from tiny_processors import picture, sound, tiny_sound_processor

from soundclip_hf.training.finetuning import SoundLlavaCollator
from soundclip_hf.training.finetuning.conversations import RowError
from soundclip_hf.training.finetuning.labels import IGNORED, answer_mask, render

TURNS = "{% for m in messages %}{{ open(m) }}{{ m.content }}{{ close(m) }}{% endfor %}"
# What the families of templates write before and after a turn, and where an answer is asked for.
SHAPES = {
    # Without an end token, as the templates of LLaVA-1.5: what a person marks has one.
    "vicuna": (lambda m: m["role"].upper() + ": ", lambda m: " ", "ASSISTANT:", "</s>"),
    "mistral": (
        lambda m: "[INST] " if m["role"] == "user" else " ",
        lambda m: " [/INST]" if m["role"] == "user" else "</s> ",
        "",
        "</s>",
    ),
    "chatml": (
        lambda m: f"<|im_start|>{m['role']}\n",
        lambda m: "<|im_end|>\n",
        "<|im_start|>assistant\n",
        "<|im_end|>",
    ),
}
MARKED = {
    "vicuna": "USER: A? ASSISTANT:« B. »USER: C? ASSISTANT:« D.</s>»",
    "mistral": "[INST] A? [/INST]« B.</s>» [INST] C? [/INST]« D.</s>» ",
    "chatml": (
        "<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\n«B.<|im_end|>»\n"
        "<|im_start|>user\nC?<|im_end|>\n<|im_start|>assistant\n«D.<|im_end|>»\n"
    ),
}
CONVERSATION = [
    {"role": "user", "content": "A?"},
    {"role": "assistant", "content": "B."},
    {"role": "user", "content": "C?"},
    {"role": "assistant", "content": "D."},
]


def write(messages, shape, add_generation_prompt=False):
    opening, closing, request, _ = SHAPES[shape]
    text = Environment().from_string(TURNS).render(messages=messages, open=opening, close=closing)
    return text + (request if add_generation_prompt else "")


def marked(rendered):
    text = rendered.text
    for start, end in reversed(rendered.answers):
        text = f"{text[:start]}«{text[start:end]}»{text[end:]}"
    return text


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_of_every_family_of_templates(shape):
    rendered = render(CONVERSATION, partial(write, shape=shape), SHAPES[shape][3])
    assert marked(rendered) == MARKED[shape]


def test_a_turn_of_the_user_at_the_end_gets_no_end_token():
    rendered = render(CONVERSATION[:3], partial(write, shape="vicuna"), "</s>")
    assert marked(rendered) == "USER: A? ASSISTANT:« B. »USER: C? "


def test_without_an_end_token_the_text_stays_as_it_is():
    assert marked(render(CONVERSATION[:2], partial(write, shape="vicuna"), None)) == "USER: A? ASSISTANT:« B. »"


def test_a_template_that_rewrites_earlier_turns_is_refused():
    def last_only(messages, add_generation_prompt=False):
        return write(messages[-1:], "vicuna", add_generation_prompt)

    with pytest.raises(RowError, match="message 1"):
        render(CONVERSATION, last_only, "</s>")


def test_a_token_belongs_to_an_answer_that_it_begins_in():
    # Characters: a start token, "x", "x:", " B", "." and one that begins before an answer and ends in it.
    offsets = [(0, 0), (0, 1), (1, 3), (3, 5), (5, 6), (2, 4)]
    assert answer_mask(offsets, [(3, 6)]) == [False, False, False, True, True, False]


HEARD = {"type": "audio", "audio": (sound(), 16_000)}
SEEN = {"type": "image", "image": picture()}
ANSWER = {"role": "assistant", "content": "A bell."}


@pytest.mark.parametrize("variant", ["llava", "llava_next"])
@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("patches", ["zero", "drop"])
def test_labels_equal_a_conversation_that_was_marked_by_hand(variant, padding_side, patches):
    """The tokenizer has a token for each byte, so that labels can be compared with marked characters."""
    processor = tiny_sound_processor(variant)
    collator = SoundLlavaCollator(processor, padding_side=padding_side, sound_patches=patches)
    question = {"type": "text", "text": "What?"}
    rows = [
        {"messages": [{"role": "user", "content": [SEEN, HEARD, question]}, ANSWER]},
        {
            "messages": [
                {"role": "user", "content": [HEARD, question]},
                ANSWER,
                {"role": "user", "content": "Sure?"},
                ANSWER,
            ]
        },
        {"messages": [{"role": "user", "content": [SEEN, question]}, ANSWER]},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}, ANSWER]},
    ]
    by_hand = [
        "<s>USER: #\nWhat? ASSISTANT:« A bell.</s>»",
        "<s>USER: #\nWhat? ASSISTANT:« A bell.</s>»USER: Sure? ASSISTANT:« A bell.</s>»",
        "<s>USER: #\nWhat? ASSISTANT:« A bell.</s>»",
        "<s>Be brief. USER: Why? ASSISTANT:« A bell.</s>»",
    ]
    batch = collator(rows)
    for index, expected in enumerate(by_hand):
        keep = batch["attention_mask"][index].bool()
        ids, labels = batch["input_ids"][index][keep], batch["labels"][index][keep]
        assert (batch["labels"][index][~keep] == IGNORED).all()
        learned, text = False, ""
        for token, label in zip(ids.tolist(), labels.tolist()):
            assert label in (IGNORED, token)
            if (label != IGNORED) != learned:
                text, learned = text + ("»" if learned else "«"), not learned
            if token == processor.image_token_id:
                text += "" if text.endswith("#") else "#"
            else:
                text += processor.tokenizer.decode([token])
        assert text + "»" * learned == expected
