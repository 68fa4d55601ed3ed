"""The paper's tables as data: cells by table, row and column, with their units and sources (label *paper*)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..text_tables import csv_rows

FOLDER = Path(__file__).parent / "paper"
COLUMNS = ("table", "row", "column", "value", "unit", "source", "note")


@dataclass(frozen=True)
class Cell:
    """
    Attributes:
        table: Number of the paper's table, "figure 6", "figure 9", "text" or "icassp2027".
        row, column: Their names, see the README in `FOLDER`.
        value: As it is printed; empty where the text has lost it, or the paper has none.
        unit: Of the value; empty for words.
        source: Where in the paper it stands.
        note: What is odd about it; `[^name]` is explained in the README.
    """

    table: str
    row: str
    column: str
    value: str
    unit: str
    source: str
    note: str

    @property
    def number(self) -> float:
        """
        Raises:
            ValueError: If the cell is empty or holds words.
        """
        try:
            return float(self.value)
        except ValueError:
            reason = f"no number: {self.value!r}" if self.value else "empty"
            raise ValueError(f"table {self.table}, {self.row}, {self.column}: the cell is {reason}") from None


@dataclass(frozen=True)
class PaperTable:
    """
    One of the paper's tables.

    Attributes:
        name: As `Cell.table`.
        cells: In the order of the paper, row by row.
    """

    name: str
    cells: tuple[Cell, ...]

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def cell(self, row: str, column: str) -> Cell:
        """
        Raises:
            ValueError: If there is no such row or column.
        """
        for cell in self.cells:
            if (cell.row, cell.column) == (row, column):
                return cell
        columns = dict.fromkeys(cell.column for cell in self.cells if cell.row == row)
        kind, given, known = ("column", column, columns) if columns else ("row", row, self.rows)
        raise ValueError(f"table {self.name}: has no {kind} {given!r}; its {kind}s are {', '.join(known)}")

    def number(self, row: str, column: str) -> float:
        """
        Raises:
            ValueError: If there is no such cell, or it holds no number.
        """
        return self.cell(row, column).number

    def numbers(self) -> Iterator[Cell]:
        """The cells that hold a number, without those that say how far it spreads (`_plus_minus`)."""
        for cell in self.cells:
            if cell.unit and cell.value and not cell.column.endswith("_plus_minus"):
                yield cell


@cache
def paper_table(name: int | str) -> PaperTable:
    """
    Args:
        name: 1 to 16, "figure 6", "figure 9", "text" (numbers that the paper states in sentences and figures), or
            "icassp2027" (what its authors reported for a later version).

    Raises:
        ValueError: If there is no such table.
    """
    path = FOLDER / (f"table-{name:02}.csv" if isinstance(name, int) else f"{name.replace(' ', '-')}.csv")
    if not path.is_file() or path.stem == "expected":
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.csv") if file.stem != "expected"))
        raise ValueError(f"table {name!r}: there is none; there are {known}")
    cells = tuple(Cell(**{column: row[column] for column in COLUMNS}) for row in csv_rows(path, COLUMNS))
    return PaperTable(str(name), cells)


__all__ = ["COLUMNS", "FOLDER", "Cell", "PaperTable", "paper_table"]
