"""A folder that is there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import replacing_folder


def check_free(path: Path, overwrite: bool) -> None:
    """
    Raise unless a new folder can be put at `path`.

    Raises:
        NotADirectoryError: If there is a file.
        FileExistsError: If there is a folder with something in it and `overwrite` is false, or something that no
            conversion has written.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise NotADirectoryError(f"{path}: is a file, no folder")
    found = sorted(path.iterdir())
    if found and not overwrite:
        raise FileExistsError(f"{path}: is not empty; give another folder, or overwrite=True")
    # A slip of the pen must not remove somebody's home, or a repository's history.
    strange = [entry.name for entry in found if not entry.is_file()]
    if found and (strange or not (path / "config.json").is_file()):
        what = f"has {strange[0]} in it" if strange else "has no config.json"
        raise FileExistsError(f"{path}: {what}, so no conversion wrote it: it stays; give another folder")


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """
    Give a temporary folder beside `path` that takes its place when the block ends; after an error, nothing is there
    that was not there before.
    """
    path = path.resolve()
    check_free(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(path, overwrite=overwrite) as temporary:
        yield temporary
        check_free(path, overwrite)


__all__ = ["check_free", "new_folder"]
