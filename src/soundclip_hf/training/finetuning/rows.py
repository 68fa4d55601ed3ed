"""Opens a data set of conversations, and the synthetic questions, as rows for the collator; media stay closed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset, IterableDataset

from ...data.media_columns import undecoded
from ...data.synthetic import FIRST_TRAINING, FIRST_VALIDATION, RATE, scene
from ...data.synthetic.questions import hearing_questions
from ..settings_parser import ArgumentsError
from ..splits.dataset_splits import open_split
from ..splits.held_out import held_out_rows, media_of_rows
from .conversations import MEDIA_COLUMNS, RowError, read_conversation

SYNTHETIC = "synthetic"
QUESTION = "Describe what you see and hear."
SYNTHETIC_ROWS, SYNTHETIC_HELD_OUT = 6000, 300


@dataclass(frozen=True)
class RowForm:
    """
    How a data set that holds no conversations is asked about, such as one of captions.

    Attributes:
        question: Put to every row; the answer is in `answer_column`.
        audio, image, video: Columns of media under other names than those of [`read_conversation`].
    """

    question: str | None = None
    answer_column: str | None = None
    audio: str | None = None
    image: str | None = None
    video: str | None = None

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as a question with its answer and media; other rows as they are."""
        media = {kind: column for kind in MEDIA_COLUMNS if (column := getattr(self, kind)) is not None}
        found = dict(row)
        for kind, column in media.items():
            for name in MEDIA_COLUMNS[kind]:
                found.pop(name, None)
            found[kind] = row.get(column)
        if self.answer_column is None:
            return found
        kept = {name: found[name] for names in MEDIA_COLUMNS.values() for name in names if name in found}
        return {**kept, "question": self.question or QUESTION, "answer": row.get(self.answer_column) or ""}

    def check(self, columns: Sequence[str], dataset: str) -> None:
        """
        Raises:
            ArgumentsError: If a column that is named is not there.
        """
        for setting, name in (
            ("answer_column", self.answer_column),
            *((f"{kind}_column", getattr(self, kind)) for kind in MEDIA_COLUMNS),
        ):
            if name is not None and name not in columns:
                raise ArgumentsError(f"{setting}={name!r}: {dataset} has the columns {', '.join(columns)}")


@dataclass(frozen=True)
class RowSource:
    """
    Where rows come from.

    Attributes:
        dataset: A `datasets` repository or folder, a file (.json, .jsonl, .parquet, .csv), a folder of `save_to_disk`,
            or "synthetic": questions about the scenes of `data.synthetic`.
        train_split, eval_split: None holds out about `eval_rows` of the training rows, with media that no training row
            has; of a stream, whose media are not known before it is read, the first `eval_rows`.
        eval_rows: How many are held out, at most a tenth of the rows, or used at most of `eval_split`.
        form: Of the rows.
    """

    dataset: str
    dataset_config: str | None = None
    dataset_revision: str | None = None
    train_split: str = "train"
    eval_split: str | None = None
    eval_rows: int = 200
    streaming: bool = False
    form: RowForm = RowForm()


class Table(Protocol):
    """What can be indexed by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


class Rows(Dataset):
    """
    Rows that can be indexed, each with its place in the data set as `row`.

    Args:
        rows: Has a length; `rows[i]` is a dictionary.
        keep: `(n,)` int64, the rows of this part; None: all.
        form: Of the rows.
    """

    def __init__(self, rows: Table, keep: torch.Tensor | None = None, form: RowForm | None = None) -> None:
        self.rows, self.form = rows, form or RowForm()
        self.keep = torch.arange(len(rows)) if keep is None else keep

    def __len__(self) -> int:
        return len(self.keep)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.keep[index])
        return {**self.form.read(self.rows[row]), "row": row}

    def part(self, marked: torch.Tensor) -> "Rows":
        """The rows that are true in `marked`, `(n,)` bool."""
        return Rows(self.rows, self.keep[marked], self.form)


class RowStream(IterableDataset):
    """
    Rows of a stream, each with its place as `row`.

    Args:
        rows: A `datasets.IterableDataset`.
        start, stop: The rows of this part, counted from 0; stop None: to the end.
        form: Of the rows.
    """

    def __init__(self, rows: Any, start: int = 0, stop: int | None = None, form: RowForm | None = None) -> None:
        self.rows, self.start, self.stop, self.form = rows, start, stop, form or RowForm()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        source = self.rows.skip(self.start) if self.start else self.rows
        if self.stop is not None:
            source = source.take(self.stop - self.start)
        for row, values in enumerate(source, self.start):
            yield {**self.form.read(values), "row": row}

    def part(self, start: int = 0, stop: int | None = None) -> "RowStream":
        """The rows from `start` to `stop` of the data set."""
        return RowStream(self.rows, start, stop, self.form)


class SyntheticRows:
    """
    Questions about scenes with a sound and a picture, made when they are asked for.

    Args:
        count: How many rows: three questions to each scene.
        first: Number of the first scene.
    """

    def __init__(self, count: int, first: int = FIRST_TRAINING) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.count:
            raise IndexError(f"row {index} of {self.count}")
        shown = scene(self.scene_of(index))
        question, answer = hearing_questions(shown)[index % 3]
        return {
            "question": question,
            "answer": answer,
            "image": shown.picture,
            "audio": {"array": shown.sound, "sampling_rate": RATE},
        }

    def scene_of(self, index: int) -> int:
        """The number of the scene that a row asks about."""
        return self.first + index // 3

    def answer_with_sound(self, index: int, other: int) -> str:
        """The true answer to row `index` if the sound of row `other` came with its picture."""
        seen, heard = (scene(self.scene_of(row)) for row in (index, other))
        return hearing_questions(seen, heard)[index % 3][1]


def open_rows(source: RowSource, seed: int) -> tuple[Rows | RowStream, Rows | RowStream]:
    """
    The training and the held-out rows. Without `eval_split`, rows that share a sound, picture or clip go to one side
    together, see [`held_out_rows`].

    Args:
        seed: Draws the rows that are held out of the training rows.

    Raises:
        ArgumentsError: If there is no such data set or split, it is too small, or its first row is no conversation.
    """
    if source.dataset == SYNTHETIC:
        rows = SyntheticRows(SYNTHETIC_ROWS)
        return Rows(rows), Rows(SyntheticRows(min(source.eval_rows, SYNTHETIC_HELD_OUT), FIRST_VALIDATION))
    train = _split(source, source.train_split)
    if source.eval_split is not None:
        held_out = _split(source, source.eval_split)
        if isinstance(held_out, RowStream):
            return train, held_out.part(stop=source.eval_rows)
        return train, held_out.part(torch.arange(len(held_out)) < source.eval_rows)
    if isinstance(train, RowStream):
        return train.part(source.eval_rows), train.part(stop=source.eval_rows)
    if len(train) < 2:
        check_rows(train, source.dataset)  # a column that is missing matters more than the number of rows
        raise ArgumentsError(f"dataset {source.dataset}: has {len(train)} row(s), and one of them is held out: give 2")
    count = min(source.eval_rows, max(1, len(train) // 10))
    marked = held_out_rows(_media(train, source.form), count, seed, dataset=source.dataset)
    return train.part(~marked), train.part(marked)


def answer_with_sound(rows: Rows | RowStream, row: int, other: int) -> str | None:
    """
    The right answer to a row if it had the sound of another one. Only of synthetic rows it is known.

    Args:
        row, other: Their `row`s.
    """
    table = rows.rows
    return table.answer_with_sound(row, other) if isinstance(table, SyntheticRows) else None


def check_rows(rows: Rows | RowStream, name: str, most: int = 64) -> None:
    """
    Read the first rows as conversations, without opening their media. A few that cannot be trained on, such as those
    whose captions are missing, are left out later.

    Raises:
        ArgumentsError: If there are none, or most of them cannot be trained on; the message names the first and says
            why.
    """
    faults: list[str] = []
    checked = 0
    first: Iterable[dict[str, Any]] = (
        islice(rows, most) if isinstance(rows, RowStream) else map(rows.__getitem__, range(min(most, len(rows))))
    )
    for row in first:
        checked += 1
        try:
            read_conversation(row)
        except RowError as error:
            faults.append(f"row {row['row']}: {error}")
    if not checked:
        if isinstance(rows, RowStream) and rows.start:
            check_rows(rows.part(stop=rows.start), name, most)
            raise ArgumentsError(
                f"dataset {name}: no row is left to train on: the first {rows.start} rows of a stream are held out; "
                "give a smaller eval_rows, or an eval_split"
            )
        raise ArgumentsError(f"dataset {name}: has no rows")
    if 2 * len(faults) > checked:
        others = f" ({len(faults)} of the first {checked} rows are no conversations)" if len(faults) > 1 else ""
        raise ArgumentsError(f"dataset {name}: {faults[0]}{others}")


def _media(rows: Rows, form: RowForm) -> list[list[str]]:
    names = rows.rows.column_names  # type: ignore[attr-defined]
    columns = [
        name
        for kind, usual in MEDIA_COLUMNS.items()
        for name in ((getattr(form, kind),) if getattr(form, kind) is not None else usual)
        if name in names
    ]
    messages = [name for name in ("messages", "prompt") if name in names and form.answer_column is None]
    return media_of_rows(rows.rows, columns, messages)


def _split(source: RowSource, split: str) -> Rows | RowStream:
    name = source.dataset
    loaded, names = open_split(
        name, split, config=source.dataset_config, revision=source.dataset_revision, streaming=source.streaming
    )
    source.form.check(names, name)
    media = {column for columns in MEDIA_COLUMNS.values() for column in columns}
    media |= {column for kind in MEDIA_COLUMNS if (column := getattr(source.form, kind)) is not None}
    loaded = undecoded(loaded, sorted(media & set(names)))
    return RowStream(loaded, form=source.form) if source.streaming else Rows(loaded, form=source.form)


__all__ = [
    "SYNTHETIC",
    "RowSource",
    "RowStream",
    "Rows",
    "SyntheticRows",
    "answer_with_sound",
    "check_rows",
    "open_rows",
]
