"""Opens a dataset with sounds and pictures, or a folder of clips, as rows that name the sources of each pair."""

import hashlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset

from ..data.media_columns import source_of, undecoded
from ..files import expand_user
from ..media_kinds import CLIPS, PICTURES, SOUNDS, media_files, paired
from .arguments import AlignmentArguments, ArgumentsError
from .splits.dataset_splits import open_split
from .splits.held_out import held_out_rows, media_of_rows

logger = logging.getLogger("transformers.soundclip_hf.training")

_TABLES = ("*.parquet", "*.arrow", "metadata.*", "dataset_info.json", "dataset_dict.json", "*.jsonl", "*.csv", "*.tar")


@dataclass(frozen=True)
class Pair:
    """
    The sources of one sound and its picture: `video` alone, or `audio` with `image` or `video`.

    Attributes:
        row: Index in the dataset, for messages.
        audio, image, video: Anything that `media.load_sound`, `media.load_picture` and `media.read_clip` accept: paths,
            bytes, arrays with their rate in a dict, PIL images.
    """

    row: int
    audio: Any = None
    image: Any = None
    video: Any = None


class PairRows(Dataset):
    """
    Rows of a dataset that can be indexed.

    Args:
        rows: Has a length; `rows[i]` is a dict with the `columns`.
        columns: Field of [`Pair`] -> key of the row.
        keep: `(n,)` int64, the rows of this part; None: all.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], columns: dict[str, str], keep: torch.Tensor | None = None):
        self.rows, self.columns = rows, columns
        self.keep = torch.arange(len(rows)) if keep is None else keep

    def __len__(self) -> int:
        return len(self.keep)

    def __getitem__(self, index: int) -> Pair:
        row = int(self.keep[index])
        return _pair(row, self.rows[row], self.columns)

    def part(self, keep: torch.Tensor) -> "PairRows":
        """The rows of this part that are true in `keep`, `(rows of the dataset,)` bool."""
        return PairRows(self.rows, self.columns, self.keep[keep[self.keep]])

    def marks(self) -> torch.Tensor:
        """`(rows of the dataset,)` bool: which of them are in this part."""
        marked = torch.zeros(len(self.rows), dtype=torch.bool)
        marked[self.keep] = True
        return marked

    def identity(self) -> str:
        """A hash that changes with the rows, and with the size and time of the files of a folder."""
        digest = hashlib.sha256(self.keep.numpy().tobytes())
        fingerprint = getattr(self.rows, "_fingerprint", None)
        if fingerprint is not None:
            digest.update(fingerprint.encode())
        else:
            for name in (name for row in self.rows for name in row.values() if isinstance(name, str)):
                try:
                    state: Any = os.stat(name)
                except OSError as error:  # the row is left out when it is read
                    state = error.errno
                else:
                    state = f"{state.st_size} {state.st_mtime_ns}"
                digest.update(os.fsencode(name) + f" {state}\n".encode())
        return digest.hexdigest()


class PairStream(IterableDataset):
    """
    Rows of a stream.

    Args:
        rows: A `datasets.IterableDataset`.
        columns: As of [`PairRows`].
        start, stop: The rows of this part, counted from 0; stop None: to the end.
    """

    def __init__(self, rows: Any, columns: dict[str, str], start: int = 0, stop: int | None = None) -> None:
        self.rows, self.columns, self.start, self.stop = rows, columns, start, stop

    def __iter__(self) -> Iterator[Pair]:
        source: Iterable[dict[str, Any]] = self.rows.skip(self.start) if self.start else self.rows
        count = None if self.stop is None else self.stop - self.start
        for row, values in zip(itertools.count(self.start), itertools.islice(source, count)):
            yield _pair(row, values, self.columns)

    def from_row(self, start: int) -> "PairStream":
        """The rest of this part."""
        return PairStream(self.rows, self.columns, start, self.stop)

    def identity(self) -> str:
        """The range of rows. Their content is not known before the stream is read."""
        return f"{self.start}..{self.stop}"


def open_pairs(arguments: AlignmentArguments, seed: int) -> tuple[PairRows | PairStream, PairRows | PairStream]:
    """
    The training and the validation rows, without decoding any media. Without `eval_split`, pairs that share a sound,
    picture or clip go to one side together, see [`held_out_rows`].

    Raises:
        ArgumentsError: If there is no such dataset or split, or it has no sound or no picture.
    """
    name = str(arguments.dataset)
    try:
        folder = expand_user(name)
    except ValueError as error:
        raise ArgumentsError(f"dataset {error}") from error
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in _TABLES) and not _has_tables(folder):
        files = _files(folder)
        columns: dict[str, str] = {key: key for key in ("audio", "image", "video") if key in files[0]}
        train: PairRows | PairStream = PairRows(files, columns)
        if arguments.eval_split is not None:
            raise ArgumentsError(f"eval_split={arguments.eval_split!r}: {name} is a folder of clips and has no splits")
    else:
        train = _of_dataset(arguments, arguments.train_split)
    if arguments.eval_split is not None:
        return train, _of_dataset(arguments, arguments.eval_split)
    if isinstance(train, PairStream):
        rows = arguments.validation_rows
        return PairStream(train.rows, train.columns, rows), PairStream(train.rows, train.columns, 0, rows)
    count = validation_count(len(train), arguments.validation_fraction, name)
    media = media_of_rows(train.rows, list(train.columns.values()))
    held_out = held_out_rows(media, count, seed, dataset=name, least=2)
    return train.part(~held_out), train.part(held_out)


def validation_count(count: int, fraction: float, dataset: str) -> int:
    """
    How many of `count` rows are to be held out: at least 2.

    Args:
        dataset: Its name, for messages.

    Raises:
        ArgumentsError: If fewer than 2 would be left.
    """
    held_out = max(2, round(count * fraction))
    if count - held_out < 2:
        raise ArgumentsError(f"dataset {dataset}: has {count} row(s), and training and validation need at least 2 each")
    return held_out


def find_columns(names: Sequence[str], arguments: AlignmentArguments) -> dict[str, str]:
    """
    The columns that a pair is read from, by field of [`Pair`].

    Raises:
        ArgumentsError: If a named column is missing, or there is no sound or no picture; it lists the columns.
    """
    found = {}
    for key in ("audio", "image", "video"):
        given = getattr(arguments, f"{key}_column")
        if given is not None and given not in names:
            raise ArgumentsError(f"{key}_column={given!r}: the dataset has the columns {', '.join(names)}")
        if given is not None or key in names:
            found[key] = given or key
    if "image" in found and "video" in found:
        found.pop("image" if arguments.image_column is None else "video")
    if "video" not in found:
        for key, other in (("audio", "sound"), ("image", "picture")):
            if key not in found:
                raise ArgumentsError(
                    f"the dataset has no {other}: its columns are {', '.join(names)}. It needs 'audio' with 'image' or "
                    f"'video', or 'video' alone; name another column with --{key}_column"
                )
    return found


def _of_dataset(arguments: AlignmentArguments, split: str) -> PairRows | PairStream:
    loaded, names = open_split(
        str(arguments.dataset),
        split,
        config=arguments.dataset_config,
        revision=arguments.dataset_revision,
        streaming=arguments.streaming,
    )
    columns = find_columns(names, arguments)
    loaded = undecoded(loaded, columns.values()).select_columns(list(columns.values()))
    return PairStream(loaded, columns) if arguments.streaming else PairRows(loaded, columns)


def _has_tables(folder: Path) -> bool:
    return any(any(folder.rglob(pattern)) for pattern in ("*.parquet", "*.arrow", "metadata.*"))


def _files(folder: Path) -> list[dict[str, str]]:
    walked = media_files(folder, CLIPS | PICTURES | SOUNDS)
    # A name that is not UTF-8 is no obstacle here: no table is made of the names.
    found = sorted([*walked.paths, *walked.unnamed])
    pairs = paired(found)
    if not pairs:
        raise ArgumentsError(
            f"dataset {folder}: holds neither a datasets table, nor clips ({', '.join(sorted(CLIPS))}), nor sounds and "
            "pictures with the same names"
        )
    if alone := len(found) - sum(map(len, pairs)):
        why = "beside the clips" if "video" in pairs[0] else "without a partner of the same name"
        logger.warning("%s: %d sounds and pictures %s are not used", folder, alone, why)
    return [{key: str(path) for key, path in pair.items()} for pair in pairs]


def _pair(row: int, values: dict[str, Any], columns: dict[str, str]) -> Pair:
    return Pair(row, **{key: source_of(values.get(column)) for key, column in columns.items()})


__all__ = ["Pair", "PairRows", "PairStream", "find_columns", "open_pairs", "validation_count"]
