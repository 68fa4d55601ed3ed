"""The text of an answer as it is sent, whole or in pieces: without space around it, and up to a stop sequence."""

from collections.abc import Sequence


class AnswerText:
    """
    Cuts the text of an answer, which comes in pieces. The pieces that come back, joined, do not depend on where the
    text was broken.

    Args:
        stop: The text ends before the first of these that it has.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stop = stop
        self._held, self._begun, self._ended = "", False, False

    def feed(self, text: str) -> str:
        """What can be sent after this piece: all but what may be space at the end, or the start of a stop sequence."""
        if self._ended:
            return ""
        self._held += text
        found = [at for one in self.stop if (at := self._held.find(one)) >= 0]
        if found:
            self._held, self._ended = self._held[: min(found)], True
        safe = self._held.rstrip()
        if not self._ended:
            longest = max((_overlap(self._held, one) for one in self.stop), default=0)
            safe = self._held[: len(self._held) - longest].rstrip()
        if not self._begun and not safe:
            return ""  # space that may begin a stop sequence
        self._held = self._held[len(safe) :]
        if not self._begun:
            safe, self._begun = safe.lstrip(), True
        return safe

    def finish(self) -> str:
        """What is left at the end of the text."""
        rest = "" if self._ended else self._held.rstrip()
        self._held, self._ended = "", True
        return rest if self._begun else rest.lstrip()


def _overlap(text: str, stop: str) -> int:
    """How many letters at the end of `text` begin `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def cut(text: str, stop: Sequence[str] = ()) -> str:
    """A whole text, cut as [`AnswerText`] does."""
    answer = AnswerText(stop)
    return answer.feed(text) + answer.finish()


__all__ = ["AnswerText", "cut"]
