"""Checks the media files that a command line names, before anything large is imported or loaded for them."""

import os
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from ..media import MediaError, shown
from ..media import check_source as _check
from ..media_kinds import kind_of


def check_source(source: str) -> None:
    """
    Check that a path or URL can be a media file. Nothing is read or fetched.

    Raises:
        MediaError: If there is no such file, it is a folder, a device or empty, or the kind of URL is unknown. In place
            of a file that is missing, one of the same kind and of nearly the same name in its folder is offered.
    """
    try:
        _check(source, "a picture" if kind_of(source) == "image" else "a media file")
    except MediaError as error:
        if not isinstance(error.__cause__, FileNotFoundError) or (near := _near(Path(source))) is None:
            raise
        raise MediaError(f"{shown(source)}: no such file; did you mean {shown(near)}?") from error


def _near(path: Path) -> str | None:
    kind = kind_of(path.name)
    try:
        with os.scandir(path.expanduser().parent) as entries:
            # Tens of thousands of names would take seconds to compare.
            found = {Path(one.name).stem: one.name for one in islice(entries, 5000) if kind_of(one.name) == kind}
    except (OSError, ValueError):
        return None
    near = get_close_matches(path.stem, found, 1, 0.7)
    return str(path.with_name(found[near[0]])) if near else None


__all__ = ["check_source"]
