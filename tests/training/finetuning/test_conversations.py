"""Rows of datasets as conversations, and the rows that are refused."""

import pytest
from datasets import Dataset

from soundclip_hf.training.finetuning.conversations import RowError, read_conversation

ANSWER = {"role": "assistant", "content": "A bell."}


def asked(*parts):
    return {"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}


IMAGE, AUDIO = {"type": "image", "image": "a.png"}, {"type": "audio", "audio": "a.wav"}
EXPECTED = [asked(IMAGE, AUDIO), {"role": "assistant", "content": [{"type": "text", "text": "A bell."}]}]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "What?", "answer": "A bell.", "image": "a.png", "audio": "a.wav"},
        {"question": "What?", "answer": "A bell.", "images": ["a.png"], "sound": "a.wav", "video": None, "videos": []},
        {"prompt": "What?", "completion": "A bell.", "image": "a.png", "audios": ["a.wav"]},
        {
            "prompt": [asked({"type": "image"}, {"type": "audio"})],
            "completion": [EXPECTED[1]],
            "image": "a.png",
            "audio": "a.wav",
        },
        {"messages": [asked(IMAGE, AUDIO), EXPECTED[1]]},
        {"messages": [asked({"type": "image"}, {"type": "audio"}), EXPECTED[1]], "image": "a.png", "audio": "a.wav"},
        {
            "conversations": [
                {"from": "human", "value": "<image>\n<audio>\nWhat?"},
                {"from": "gpt", "value": "A bell."},
            ],
            "image": "a.png",
            "audio": "a.wav",
        },
    ],
)
def test_all_forms_of_rows_become_the_same_conversation(row):
    assert read_conversation(row) == EXPECTED


def test_keys_that_arrow_adds_are_taken_out():
    """A dataset gives each part the keys of all parts, with None for those that it did not have."""
    messages = [asked({"type": "image", "path": "a.png"}, {"type": "audio", "url": "b.wav"}), EXPECTED[1]]
    (row,) = Dataset.from_list([{"messages": messages}])
    assert "url" in row["messages"][0]["content"][0]
    assert read_conversation(row) == messages


def test_a_silent_image_stays_silent():
    silent = {"type": "audio", "audio": None}
    messages = read_conversation({"messages": [asked(IMAGE, IMAGE, silent, AUDIO), ANSWER]})
    assert messages[0]["content"][2] == silent


def test_media_fill_the_parts_in_order_over_all_turns():
    row = {
        "messages": [asked({"type": "image"}), ANSWER, asked({"type": "image"}), ANSWER],
        "images": ["first.png", "second.png"],
    }
    messages = read_conversation(row)
    assert [messages[place]["content"][0]["image"] for place in (0, 2)] == ["first.png", "second.png"]


def test_the_given_row_is_not_changed():
    row = {"messages": [asked({"type": "image"}), ANSWER], "image": "a.png"}
    read_conversation(row)
    assert row == {"messages": [asked({"type": "image"}), ANSWER], "image": "a.png"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "hello", "audio": "a.wav"}, "its columns are 'text', 'audio': give 'messages'"),
        ({"messages": [asked(IMAGE)]}, "no turn of the role 'assistant' .* its roles are 'user'"),
        ({"messages": [asked(IMAGE), {"role": "assistant", "content": " "}]}, "every turn .* is empty"),
        ({"messages": []}, "no messages"),
        ({"messages": "What?"}, "'messages' is a str"),
        ({"messages": [{"content": "What?"}, ANSWER]}, "message 0 has no `role`"),
        (
            {"messages": [asked(), ANSWER], "images": ["a.png", "b.png"]},
            r'2 in the column of type \'image\', but 0 part\(s\) .* add {"type": "image"}',
        ),
        (
            {"messages": [asked({"type": "image"}, {"type": "image"}), ANSWER], "image": "a.png"},
            "message 0, part 1 of type 'image' has no source, and the column holds only 1",
        ),
        ({"question": "What?", "answer": "A bell.", "audio": "a.wav", "sound": "b.wav"}, "'audio' and 'sound'"),
        ({"question": "What?", "answer": ""}, "is empty"),
        ({"messages": [asked({"type": "picture", "image": "a.png"}), ANSWER]}, "has the type 'picture'"),
        ({"conversations": [{"role": "user"}]}, "turn 0 of 'conversations'"),
    ],
)
def test_rows_that_cannot_be_trained_on(row, message):
    with pytest.raises(RowError, match=message):
        read_conversation(row)
