"""Which JSON object of an answer counts: the last complete one after the reasoning, and never a part of one."""

import json
import time
from contextlib import suppress

import pytest

from soundclip_hf.data.inference.strict_json import MAX_ANSWER, last_object

DRAFT, FINAL = '{"score": 2}', '{"score": 9}'


@pytest.mark.parametrize(
    "text",
    [
        "<think>first {draft}, but no</think>{final}",
        "first {draft}, but no\n</think>\n\n```json\n{final}\n```",
        "<thinking>\n{draft}\n</thinking>\n{final}",
        "<THINK>a <think> b </think> {draft} </THINK> {final}",
        "[THINK]{draft}[/THINK]{final}",
        "◁think▷{draft}◁/think▷{final}",
        "<|START_THINKING|>{draft}<|END_THINKING|><|START_RESPONSE|>{final}<|END_RESPONSE|>",
        "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{final}<|return|>",
        "analysisI say {draft} first.assistantfinal{final}",
        "{draft}\n\nWait, corrected:\n{final}",
        "{draft} is wrong, and so is {bro,ken}. {final} So I keep {these, words}.",
        "a :-{ b {final}",
        'Cut off: {"score": 3 </think>{final}',
        'Broken: {"score": 3,} Again: {final}',
        "[{final}]",
    ],
)
def test_the_last_word_counts(text):
    assert last_object(text.replace("{draft}", DRAFT).replace("{final}", FINAL)) == {"score": 9}


def test_tags_inside_of_texts_are_texts():
    answer = {"text": "a screen shows </think> and <think> and {"}
    assert last_object(f"<think>{DRAFT}</think>{json.dumps(answer)}") == answer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I cannot.", "has no complete JSON object"),
        (f"<think>{DRAFT}", "reasoning has no end"),
        (f"<think>{DRAFT}</think>", "no complete JSON object after its reasoning"),
        ('{"a": {"reason": "x", "score": 3},}', "has a trailing comma"),
        ('{"a": [1, 2,], "b": {"score": 3}}', "has a trailing comma"),
        ('{"a": {"reason": "x", "score": 3}, "b', "is cut off"),
        (f'{DRAFT} Corrected: {{"score": 9,}}', "has a trailing comma"),
        (f'{{"outer": {FINAL}', "is cut off"),
        (f"{{outer: {FINAL}}}", "broken at character 2"),
        (f"{{{FINAL}}}", "broken at character 2"),
        ('{"a": "b\nc"}', "has a line break inside a text"),
        ("{'score': 9}", "broken at character 2"),
        (f"[{DRAFT}, {FINAL}]", "a list of JSON objects"),
        ('{"a": "half \\ud83d"}', "half of a surrogate pair"),
        ('{"a": ' * 5000, "nested too deeply"),
        ("x" * (MAX_ANSWER + 1), "more than 1000000"),
    ],
)
def test_what_is_wrong_is_said_and_no_part_is_taken(text, words):
    with pytest.raises(ValueError, match=words):
        last_object(text)


@pytest.mark.parametrize("part", ["{", "{}", '{"a":', '{"a" x}', "{dog, ", '{"a </think>\n', '{"', '"{'])
def test_the_time_is_linear(part):
    """Twice the text takes about twice the time, where it once took four times as long; 200 kB took 6 s."""

    def seconds(count):
        begin = time.process_time()
        with suppress(ValueError):
            last_object(part * count)
        return time.process_time() - begin

    seconds(1000)
    assert seconds(40_000) < 12 * max(seconds(10_000), 0.01)
