"""Answers to judge, and what a judge says about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from soundclip_hf.evaluation.judge import DIMENSIONS


def verdict(*scores: int) -> dict[str, Any]:
    """A reply of the judge: one score for all dimensions, or six."""
    six = scores * 6 if len(scores) == 1 else scores
    return {name: {"reason": f"about {name}", "score": score} for name, score in zip(DIMENSIONS, six, strict=True)}


def line(name: str, answer: str | None = "A dog barks.", **more: Any) -> dict[str, Any]:
    """A line of `soundclip describe --manifest --out`, with what is known about the clip."""
    row = {"id": name, "question": "What makes the sound?", "answer": answer, "model": "m", "alignment": "raw", "k": 15}
    return {**row, "audio_caption": f"the sound of {name}", **more}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer_in(body: dict[str, Any]) -> str:
    """The answer that a request is about."""
    content = body["messages"][1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return text.split("<answer>")[1].split("</answer>")[0]
