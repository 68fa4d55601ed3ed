"""An extension of griffe: names in brackets, as in transformers' docstrings, lose their brackets on the site."""

import re
from typing import Any

from griffe import Extension, Object

NAME = re.compile(r"\[`~?([^`\]]+)`\](?![\[(])")


class PlainNames(Extension):
    """In Markdown, [`Name`] without a target would show its brackets."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = NAME.sub(r"`\1`", obj.docstring.value)
