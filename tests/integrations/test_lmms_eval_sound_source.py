"""The task that is made of clips: its files, what it asks and how it counts. lmms-eval runs it in another test file."""

import json
from pathlib import Path

import pytest
import yaml

from soundclip_hf.bundled import CLIP
from soundclip_hf.integrations.lmms_eval.sound_source import (
    QUESTION,
    doc_to_messages,
    doc_to_text,
    process_results,
    write_task,
)


class Loader(yaml.SafeLoader):
    """Leaves `!function` as text."""


Loader.add_constructor("!function", lambda loader, node: node.value)


def test_files_of_a_task(tmp_path):
    path = write_task(tmp_path / 'a "task"', [{"video": CLIP, "answer": "The clock."}], name="clocks", max_new_tokens=8)
    task = yaml.load(path.read_text(), Loader)
    assert task["task"] == path.stem == "clocks"
    assert task["generation_kwargs"] == {"max_new_tokens": 8, "temperature": 0, "do_sample": False}
    (line,) = Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()
    doc = json.loads(line)
    assert doc == {"image": None, "audio": None, "video": str(CLIP), "question": QUESTION, "answer": "The clock."}
    names = {}
    exec((path.parent / "utils.py").read_text(), names)
    for function in (doc_to_messages, doc_to_text, process_results):
        assert task[function.__name__] == f"utils.{function.__name__}"
        assert names[function.__name__] is function
    again = write_task(
        path.parent, [{"audio": CLIP, "image": CLIP, "question": "Where?", "answer": "a"}], name="clocks"
    )
    assert again == path
    assert json.loads((path.parent / "clocks.jsonl").read_text())["question"] == "Where?"


def test_what_is_asked_and_counted():
    doc = {"image": "a.png", "audio": "a.wav", "video": None, "question": "Where?", "answer": "At the top."}
    (message,) = doc_to_messages(doc)
    assert message["role"] == "user"
    assert [part["type"] for part in message["content"]] == ["image", "audio", "text"]
    assert message["content"][1] == {"type": "audio", "url": "a.wav"}
    assert message["content"][2]["text"] == doc_to_text(doc) == "Where?"
    assert process_results(doc, [" At the top.\n"]) == {"exact_match": 1.0}
    assert (
        process_results(doc, ["at the top."]) == process_results(doc, ["At the top. Or not."]) == {"exact_match": 0.0}
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"video": CLIP}, "row 0 has no answer"),
        ({"answer": "a"}, "row 0 has the media none: give video, or image and audio"),
        ({"answer": "a", "video": CLIP, "audio": CLIP}, "row 0 has the media audio, video"),
        ({"answer": "a", "video": "no.mp4"}, "row 0: video .*no.mp4: no such file"),
        ({"answer": "a", "video": CLIP, "sound": CLIP}, "row 0 has 'sound': expected image, audio, video, question"),
    ],
)
def test_rows_that_cannot_be_asked(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        write_task(tmp_path / "task", [row])
    with pytest.raises(ValueError, match="`rows` is empty"):
        write_task(tmp_path / "task", [])
    assert not (tmp_path / "task").exists()
