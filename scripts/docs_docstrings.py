"""An extension of griffe: docstrings in the form of transformers' become the form that the site's parser reads."""

import re
from typing import Any

from griffe import Class, Extension, Object

# [`Name`] without a target, whose brackets Markdown would show.
NAME = re.compile(r"\[`~?([^`\]]+)`\](?![\[(])")
# "patch_size (`int`, *optional*, defaults to 14):"
FIELD = re.compile(r"^(\s*[\w*, ]+) \((`.+|\*optional\*)\):", flags=re.MULTILINE)


def rewrite(obj: Object, with_defaults: bool) -> None:
    """
    Change a docstring before it is parsed.

    Args:
        with_defaults: Keep the defaults of arguments, where no signature shows them.
    """

    def plain(field: re.Match) -> str:
        kind = field[2].replace("`", "")
        kind, _, default = kind.partition(", *optional*, defaults to ")
        kind = kind.replace("*optional*", "optional") + (f" = {default}" if default and with_defaults else "")
        return f"{field[1]} ({kind}):"

    if obj.docstring is not None:
        obj.docstring.value = FIELD.sub(plain, NAME.sub(r"`\1`", obj.docstring.value))


class PlainDocstrings(Extension):
    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        if not obj.is_class:
            rewrite(obj, with_defaults=False)

    def on_class_members(self, *, cls: Class, **kwargs: Any) -> None:
        rewrite(cls, with_defaults="__init__" not in cls.members)
