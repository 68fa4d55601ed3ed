"""What the cards of models have in common: text of others made harmless, numbers, and the mark of a written card."""

import hashlib
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

_TEMPLATES = Path(__file__).parent / "templates"
_MARK = re.compile(r"\n<!-- Written by soundclip-hf [^\n]*? \(([0-9a-f]{12})\)[^\n]* -->\n?\Z")
# Cards of transformers, which say nothing about the model.
_BOILERPLATE = (
    "This is the model card of a 🤗 transformers model that has been pushed on the Hub.",
    "<!-- This model card has been generated automatically according to the information the Trainer had access to.",
)


def render(template: str, about: Any, **values: Any) -> str:
    """
    The text of a card, with a mark by which [`is_generated`] knows it again.

    Args:
        template: Name of a file in `templates`.
        about: `huggingface_hub.ModelCardData`, the metadata.
        **values: Of the template.
    """
    from huggingface_hub import ModelCard

    source = (_TEMPLATES / template).read_text(encoding="utf-8")
    card = ModelCard.from_template(about, template_str=source, version=version("soundclip-hf"), **values)
    text = str(card).rstrip() + "\n"
    by = f"Written by soundclip-hf {version('soundclip-hf')} ({_digest(text)})"
    return f"{text}\n<!-- {by}. Later pushes write it again, unless it was edited. -->\n"


def is_generated(text: str) -> bool:
    """Whether a card was written by a program and not edited since, so that it may be written again."""
    if any(words in text for words in _BOILERPLATE):
        return True
    mark = _MARK.search(text)
    return mark is not None and _digest(text[: mark.start()]) == mark[1]


def inline(value: Any) -> str:
    """Text of others inside a line of the card: one line, in which nothing is markup, a link or the end of a cell."""
    text = " ".join(str(value).split())
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "'"), ("[", "&#91;")):
        text = text.replace(mark, shown)
    return text


def size_text(count: int) -> str:
    """A number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} KB"


def number_text(value: float) -> str:
    """A number with four digits; a dash for NaN and infinity."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]


__all__ = ["inline", "is_generated", "number_text", "render", "size_text"]
