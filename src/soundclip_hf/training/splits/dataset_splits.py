"""Opens a split of a data set of `datasets`: of a repository, a folder, a folder of `save_to_disk`, or a file."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...extras import require
from ...files import expand_user
from ..settings_parser import ArgumentsError
from .data_files import LOADERS, fault_of, names_a_file, near_name

if TYPE_CHECKING:
    import datasets

# Bytes of a file that is read in a moment.
_SMALL = 2**26


def open_split(
    name: str, split: str, *, config: str | None = None, revision: str | None = None, streaming: bool = False
) -> tuple[Any, list[str]]:
    """
    A `datasets.Dataset`, or a `datasets.IterableDataset` if `streaming` is set, and the names of its columns.

    Args:
        name: A repository, a folder, or a file (.json, .jsonl, .parquet, .csv, .arrow).
        config, revision: Of a repository; folders and files of this machine have none.

    Raises:
        ArgumentsError: If there is no such data set, file or split.
        NotInstalledError: If `datasets` is not installed.
    """
    require("datasets", what="reading a dataset", extra="train")
    import datasets

    path = expand_user(name)
    if not path.exists() and names_a_file(name):
        near = near_name(path)
        raise ArgumentsError(
            f"dataset {name}: there is no such file or folder" + ("" if near is None else f"; did you mean {near}?")
        )
    try:
        with _quiet(path):
            loaded = _opened(name, path, split, config, revision, streaming)
            if streaming and isinstance(loaded, datasets.Dataset):
                loaded = loaded.to_iterable_dataset()
            names = loaded.column_names or list(next(iter(loaded), {}))
    except ArgumentsError:
        raise
    except (OSError, ValueError, StopIteration, datasets.exceptions.DatasetsError) as error:
        raise ArgumentsError(f"dataset {name}: {_reason(error, name, path)}") from error
    if not names and path.is_file():
        raise ArgumentsError(f"dataset {name}: {fault_of(path) or 'holds no rows'}")
    return loaded, names


def _opened(
    name: str, path: Path, split: str, config: str | None, revision: str | None, streaming: bool
) -> "datasets.Dataset | datasets.IterableDataset":
    import datasets

    if _is_saved(path):
        saved = datasets.load_from_disk(str(path))
        if isinstance(saved, datasets.DatasetDict):
            if split not in saved:
                raise ArgumentsError(f"split {split!r}: {name} has {', '.join(saved)}")
            return saved[split]
        return saved
    if path.is_file():
        if path.suffix not in LOADERS:
            raise ArgumentsError(f"dataset {name}: is no {', '.join(LOADERS)} file, data set or folder of one")
        if path.stat().st_size == 0:
            raise ArgumentsError(f"dataset {name}: {fault_of(path)}")
        return datasets.load_dataset(LOADERS[path.suffix], data_files=str(path), split=split, streaming=streaming)
    # A URL must not become a path, which would lose one of its slashes.
    source = str(path) if path.exists() else name
    return datasets.load_dataset(source, config, split=split, revision=revision, streaming=streaming)


def _reason(error: BaseException, name: str, path: Path) -> str:
    if path.is_file() and (fault := fault_of(path)):
        return fault
    # `datasets` says in the outer error only that there was one.
    is_outer = type(error).__name__ == "DatasetGenerationError"
    inner = (error.__cause__ or error) if is_outer else error
    text = " ".join(str(inner).split()) or type(inner).__name__
    if path.exists() or "://" in name:
        return "holds no rows" if "corresponds to no data" in text else text
    near = near_name(path)
    hint = "" if near is None else f" (did you mean {near}?)"
    return f"there is no such file or folder here{hint}, and none was read from the Hub: {text}"


@contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """
    Without the lines that `datasets` logs before it raises an error, which is told in one line; and without the bar of
    a file that is read in a moment.
    """
    import datasets

    logger = logging.getLogger("datasets")
    level = logger.level
    bars = path.is_file() and path.stat().st_size < _SMALL and not datasets.are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    if bars:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def _is_saved(path: Path) -> bool:
    """Whether this is a folder of `save_to_disk`."""
    return path.is_dir() and any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


__all__ = ["open_split"]
