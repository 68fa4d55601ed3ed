"""Counts the causes of failed requests, from their dead letters."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

MOST_LINES, MOST_CHARACTERS = 5, 400


class Causes:
    """Counts failures by their reason. Numbers and names in a reason do not make it another one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, letter: Mapping[str, Any]) -> None:
        """
        Args:
            letter: As of `dead_letters.read_dead_letters`.
        """
        detail, name = str(letter["detail"] or letter["error"]), str(letter["sample_id"])
        kind = re.sub(r"\d+", "0", detail.replace(name, ""))
        self.counts[kind] += 1
        self.examples.setdefault(kind, f"{detail[:MOST_CHARACTERS]} ({name})")

    def most_frequent(self) -> str | None:
        """The most frequent cause, and a row that has it; None if nothing failed."""
        return next((self.examples[kind] for kind, _ in self.counts.most_common(1)), None)

    def others(self) -> Iterator[str]:
        """A line for each of the next causes."""
        for kind, count in self.counts.most_common(MOST_LINES + 1)[1:]:
            yield f"failed: {count} because: {self.examples[kind]}"


__all__ = ["Causes"]
