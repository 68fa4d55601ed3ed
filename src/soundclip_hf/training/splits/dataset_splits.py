"""Opens a split of a data set of `datasets`: of a repository, a folder, a folder of `save_to_disk`, or a file."""

from pathlib import Path
from typing import Any

from ...extras import require
from ...files import expand_user
from ..settings_parser import ArgumentsError

# Suffix of a single file -> the loader of `datasets`.
_FILES = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}


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
    try:
        if _is_saved(path):
            loaded: Any = datasets.load_from_disk(str(path))
            if isinstance(loaded, datasets.DatasetDict):
                if split not in loaded:
                    raise ArgumentsError(f"split {split!r}: {name} has {', '.join(loaded)}")
                loaded = loaded[split]
        elif path.is_file():
            if path.suffix not in _FILES:
                raise ArgumentsError(f"dataset {name}: is no {', '.join(_FILES)} file, data set or folder of one")
            loaded = datasets.load_dataset(_FILES[path.suffix], data_files=str(path), split=split, streaming=streaming)
        else:
            # A URL must not become a path, which would lose one of its slashes.
            source = str(path) if path.exists() else name
            loaded = datasets.load_dataset(source, config, split=split, revision=revision, streaming=streaming)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, ArgumentsError):
            raise
        raise ArgumentsError(f"dataset {name}: {' '.join(str(error).split())}") from error
    if streaming and isinstance(loaded, datasets.Dataset):
        loaded = loaded.to_iterable_dataset()
    return loaded, loaded.column_names or list(next(iter(loaded), {}))


def _is_saved(path: Path) -> bool:
    """Whether this is a folder of `save_to_disk`."""
    return path.is_dir() and any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


__all__ = ["open_split"]
