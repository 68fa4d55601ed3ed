"""A task for lmms-eval, made of your own clips: it asks what makes the sound, and counts the true answers."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files import write_text

QUESTION = "What makes the sound?"
_MEDIA = ("image", "audio", "video")
# JSON is YAML, in which a path may hold anything. lmms-eval reads !function from the module beside the file.
_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_messages: !function utils.doc_to_messages
doc_to_text: !function utils.doc_to_text
doc_to_target: answer
process_results: !function utils.process_results
generation_kwargs:
  max_new_tokens: {max_new_tokens}
  temperature: 0
  do_sample: false
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 1.0
"""
_UTILS = '"""What `{name}.yaml` calls."""\n\nfrom {module} import doc_to_messages, doc_to_text, process_results\n'


def write_task(
    folder: str | os.PathLike,
    rows: Iterable[Mapping[str, Any]],
    *,
    name: str = "sound_source",
    max_new_tokens: int = 64,
) -> Path:
    """
    Write a task that `lmms_eval --tasks NAME --include_path FOLDER` runs.

    Args:
        folder: A new one, or one whose task is replaced.
        rows: For each question the paths of its media, `video`, or `image` and `audio` or one of them; its `answer`;
            and a `question`, "What makes the sound?" if there is none.
        name: Of the task.
        max_new_tokens: Of an answer.

    Returns:
        The task's YAML file.

    Raises:
        ValueError: If there are no rows, or one has no answer, no medium, one that is not a file, or another column.
    """
    checked = [_row(row, f"row {index}") for index, row in enumerate(rows)]
    if not checked:
        raise ValueError("`rows` is empty: a task needs at least one question.")
    root = Path(folder).absolute()
    root.mkdir(parents=True, exist_ok=True)
    data, task = root / f"{name}.jsonl", root / f"{name}.yaml"
    write_text(data, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in checked))
    write_text(root / "utils.py", _UTILS.format(name=name, module=__name__))
    write_text(task, _TASK.format(name=json.dumps(name), rows=json.dumps(str(data)), max_new_tokens=max_new_tokens))
    return task


def _row(row: Mapping[str, Any], where: str) -> dict[str, str | None]:
    unknown = row.keys() - {*_MEDIA, "question", "answer"}
    if unknown:
        raise ValueError(f"{where} has {min(unknown)!r}: expected {', '.join(_MEDIA)}, question and answer.")
    if not row.get("answer"):
        raise ValueError(f"{where} has no answer: it could not be scored.")
    media = {kind: row[kind] for kind in _MEDIA if row.get(kind) is not None}
    if not media or ("video" in media and len(media) > 1):
        raise ValueError(f"{where} has the media {', '.join(media) or 'none'}: give video, or image and audio.")
    paths = {kind: Path(path).absolute() for kind, path in media.items()}
    for kind, path in paths.items():
        if not path.is_file():
            raise ValueError(f"{where}: {kind} {path}: no such file")
    question = str(row.get("question") or QUESTION)
    # Every row has every column: `datasets` takes the columns from the first rows.
    values = {kind: str(paths[kind]) if kind in paths else None for kind in _MEDIA}
    return {**values, "question": question, "answer": str(row["answer"])}


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """The question of a row."""
    return doc["question"]


def doc_to_messages(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> list[dict[str, Any]]:
    """The media of a row and its question as one message."""
    media = [{"type": kind, "url": doc[kind]} for kind in _MEDIA if doc.get(kind) is not None]
    return [{"role": "user", "content": [*media, {"type": "text", "text": doc["question"]}]}]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 where the answer is the true one, letter by letter, without space around it; otherwise 0."""
    return {"exact_match": float(results[0].strip() == doc["answer"].strip())}


__all__ = ["QUESTION", "doc_to_messages", "doc_to_text", "process_results", "write_task"]
