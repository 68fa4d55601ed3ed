"""Checks of what metrics are given: captions, and the reference texts of each."""

from collections.abc import Sequence
from typing import Any


def check_predictions(predictions: Any) -> list[str]:
    """
    Captions as a list. An empty caption is allowed beside others: it scores 0.

    Raises:
        ValueError: If there is none, one is no text, or all are empty.
    """
    if isinstance(predictions, str) or not isinstance(predictions, Sequence):
        raise ValueError(f"predictions={predictions!r:.60}: expected a list of texts, one for each item")
    if not predictions:
        raise ValueError("0 predictions: give at least one")
    wrong = [index for index, text in enumerate(predictions) if not isinstance(text, str)]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(predictions)} predictions are no text; the first is item {wrong[0]}: "
            f"{predictions[wrong[0]]!r:.60}"
        )
    if not any(text.strip() for text in predictions):
        raise ValueError(f"all {len(predictions)} predictions are empty: there is nothing to score")
    return list(predictions)


def check_texts(predictions: Any, references: Any) -> tuple[list[str], list[list[str]]]:
    """
    Captions, and 1..n reference texts of each; a text stands for a list of one.

    Raises:
        ValueError: As `check_predictions`; if the numbers of items differ, or an item has no reference, an empty one,
            or one that is no text.
    """
    texts = check_predictions(predictions)
    if isinstance(references, str) or not isinstance(references, Sequence):
        raise ValueError(f"references={references!r:.60}: expected a list, with the text or texts of each item")
    if len(references) != len(texts):
        raise ValueError(f"{len(texts)} predictions, but references of {len(references)} items: give one for each")
    grouped, missing = [], []
    for index, group in enumerate(references):
        group = [group] if isinstance(group, str) else group
        if group is None or (isinstance(group, Sequence) and not group):
            missing.append(index)
            continue
        if not isinstance(group, Sequence) or not all(isinstance(text, str) for text in group):
            raise ValueError(f"references of item {index}: expected a text or a list of texts, got {group!r:.60}")
        if not all(text.strip() for text in group):
            missing.append(index)
        grouped.append(list(group))
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(texts)} items have no reference, or an empty one; the first is item {missing[0]}"
        )
    return texts, grouped


__all__ = ["check_predictions", "check_texts"]
