"""Source recall: how many of the things that sound a caption names."""

import re
from collections.abc import Sequence

from .scores import MetricScore, mean_score
from .texts import check_predictions

_WORD = re.compile(r"[^\W_]+")
_ARTICLES = {"a", "an", "the"}
_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "knives": "knife",
    "leaves": "leaf",
    "men": "man",
    "mice": "mouse",
    "people": "person",
    "wolves": "wolf",
    "women": "woman",
}


def source_recall(
    predictions: Sequence[str], sources: Sequence[Sequence[str]], *, seed: int = 0
) -> dict[str, MetricScore]:
    """
    The share of an item's sources that its caption names, in 0..1, averaged over the items that have sources.

    The definition: names and captions are lowercased and cut into words, which are runs of letters and digits. Articles
    (a, an, the) are left out of names. A caption names a source if the words of the name stand in it side by side, in
    this order. Two words are the same if they are equal, or if one is the plural of the other: with "s" or "es" at its
    end, with "ies" in place of a final "y", or one of ten irregular plurals ("men", "people", "mice" and the like). Two
    names of an item that are the same in this way count once. So "church bell" is named by "two church bells" and by "a
    Church-Bell", but not by "the bell of a church", and "car" is not named by "carpet". Synonyms do not count.

    The idea is that of metric B3 in the later protocol of the paper's authors. Their code is not public, so numbers of
    theirs may follow another definition.

    Args:
        predictions: n captions; an empty one scores 0.
        sources: Names of the sources of each item, such as `visible_active_sources` and `invisible_active_sources` of
            AVE-2 together. An item without names has no score, and does not count.
        seed: Of the bootstrap.

    Returns:
        `{"source_recall": score}`; `config` holds `n_sources`, the number of all names, and `n_without_sources`, the
        number of items that do not count.

    Raises:
        ValueError: If predictions are missing or no texts, the numbers differ, a name is no text, or no item has any.
    """
    texts = check_predictions(predictions)
    if len(sources) != len(texts):
        raise ValueError(f"{len(texts)} predictions, but sources of {len(sources)} items: give a list for each")
    values: list[float | None] = []
    total = 0
    for index, (text, group) in enumerate(zip(texts, sources)):
        if isinstance(group, str) or not all(isinstance(name, str) for name in group):
            raise ValueError(f"sources of item {index}: expected a list of texts, got {group!r:.60}")
        names = _distinct_names(group)
        total += len(names)
        said = _words(text)
        values.append(sum(_names(said, name) for name in names) / len(names) if names else None)
    if not total:
        raise ValueError(f"none of {len(texts)} items has a source: there is nothing to recall")
    config = {"n_sources": total, "n_without_sources": values.count(None)}
    return {"source_recall": mean_score(values, config, seed=seed)}


def same_word(one: str, other: str) -> bool:
    """Whether two lowercase words are equal, or one is the plural of the other, as `source_recall` defines it."""
    short, long = sorted((_IRREGULAR.get(one, one), _IRREGULAR.get(other, other)), key=len)
    return long in (short, f"{short}s", f"{short}es") or (short.endswith("y") and long == f"{short[:-1]}ies")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _distinct_names(names: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for name in names:
        words = [word for word in _words(name) if word not in _ARTICLES]
        if words and not any(_same(words, other) for other in found):
            found.append(words)
    return found


def _names(said: Sequence[str], name: Sequence[str]) -> bool:
    places = range(len(said) - len(name) + 1)
    return any(_same(said[place : place + len(name)], name) for place in places)


def _same(words: Sequence[str], others: Sequence[str]) -> bool:
    return len(words) == len(others) and all(map(same_word, words, others))


__all__ = ["same_word", "source_recall"]
