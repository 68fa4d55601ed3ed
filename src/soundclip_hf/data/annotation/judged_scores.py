"""What every judge's prompt shares: evidence between tags; scores with reasons, as JSON schema and as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..inference.strict_json import check_keys, checked_text, object_schema, type_name


def tagged(evidence: Mapping[str, str | None]) -> str:
    """Texts between tags that they cannot close, one after another.

    Args:
        evidence: Tag -> text; None is empty.
    """
    return "\n".join(f"<{tag}>{_escaped(text or '')}</{tag}>" for tag, text in evidence.items())


def score_schema(allowed: Sequence[int | None]) -> dict[str, Any]:
    """The JSON schema of one score with its reason."""
    # The reason comes first, so that the score follows from it. The scores are an enum, since the strict modes of
    # servers do not know `minimum` and `maximum`.
    return object_schema({"reason": {"type": "string"}, "score": {"enum": [*allowed]}})


def score_columns(
    answer: Mapping[str, Any], dimensions: Iterable[str], allowed: Sequence[int | None]
) -> dict[str, Any]:
    """`<dimension>_score` and `<dimension>_reason` of an answer.

    Args:
        answer: It has every dimension as a key.
        allowed: The scores that fit, in ascending order, then None if null fits, too.

    Raises:
        ValueError: A dimension is no object with reason and score, or its score does not fit.
    """
    columns: dict[str, Any] = {}
    for dimension in dimensions:
        judged = answer[dimension]
        if not isinstance(judged, dict):
            raise ValueError(f"{dimension} is {type_name(judged)}, not an object with reason and score")
        check_keys(judged, ["reason", "score"], dimension)
        score = judged["score"]
        # True equals 1, and 1.0 as well.
        if type(score) not in (int, type(None)) or score not in allowed:
            numbers = [number for number in allowed if number is not None]
            or_null = " or null" if None in allowed else ""
            raise ValueError(
                f"{dimension}.score is {_shown(score)}, not a whole number from {numbers[0]} to {numbers[-1]}{or_null}"
            )
        columns[f"{dimension}_score"] = score
        columns[f"{dimension}_reason"] = checked_text(judged["reason"], f"{dimension}.reason")
    return columns


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shown(value: Any) -> str:
    """A value of JSON in a message; lists and objects may be long and deep."""
    return type_name(value) if isinstance(value, (dict, list)) else f"{json.dumps(value):.80}"


__all__ = ["score_columns", "score_schema", "tagged"]
