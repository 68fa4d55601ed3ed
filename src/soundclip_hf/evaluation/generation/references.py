"""Which texts of a row are the reference of its caption, and which names are its sources."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..samples import Samples

AUTO = "auto"
_BOTH = "video+audio"
# Columns whose texts are joined into one reference.
COLUMNS = {
    "audio_visual_label": ("audio_visual_label",),
    "video_caption": ("video_caption",),
    "audio_caption": ("audio_caption",),
    _BOTH: ("video_caption", "audio_caption"),
}
REFERENCES = (AUTO, *COLUMNS)
SOURCES = ("visible_active_sources", "invisible_active_sources")


def reference_of(row: Mapping[str, Any], choice: str) -> tuple[str, str] | None:
    """
    The reference text of a row, and the choice that gave it; None where the row has none.

    Args:
        row: By AVE-2's columns.
        choice: A name of `COLUMNS`, or "auto", which takes the audio_visual_label where there is one, otherwise the
            video_caption and the audio_caption, joined by a space.
    """
    for one in ("audio_visual_label", _BOTH) if choice == AUTO else (choice,):
        parts = [row.get(column) for column in COLUMNS[one]]
        if all(isinstance(part, str) and part.strip() for part in parts):
            return " ".join(str(part).strip() for part in parts), one
    return None


def find_references(
    samples: Samples, rows: Sequence[Mapping[str, Any]], choice: str
) -> tuple[list[str], dict[str, int]]:
    """
    The reference of every sample, and how often each choice gave it; none at all where "auto" finds none in any row.

    Raises:
        ValueError: If `choice` is unknown, or a row lacks its reference.
    """
    if choice not in REFERENCES:
        raise ValueError(f"reference={choice!r}: must be one of {', '.join(REFERENCES)}")
    found = [reference_of(row, choice) for row in rows]
    missing = [one for one, reference in zip(samples.ids, found) if reference is None]
    if missing and (choice != AUTO or len(missing) < len(rows)):
        columns = " and ".join(COLUMNS[_BOTH if choice == AUTO else choice])
        wanted = f"audio_visual_label, and no {columns}" if choice == AUTO else columns
        raise ValueError(
            f"reference={choice!r}: {len(missing)} of {len(rows)} rows of {samples.name} have no {wanted}; "
            f"the first is {missing[0]}. Choose another reference, or take these rows out"
        )
    known = [reference for reference in found if reference is not None]
    return [text for text, _ in known], dict(Counter(used for _, used in known))


def sources_of(row: Mapping[str, Any]) -> list[str]:
    """The names of what sounds in a row, in the picture and outside of it."""
    return [str(name) for column in SOURCES for name in row.get(column) or ()]


__all__ = ["AUTO", "COLUMNS", "REFERENCES", "SOURCES", "find_references", "reference_of", "sources_of"]
