"""What the commands that ask a model share: the run over a table, its summary and its file of dead letters."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import typer

from ..output import FAILED, CliError, note, result, with_progress
from .causes import Causes

T = TypeVar("T")


class TableRun:
    """The rows of a table to models, and what they answer into one file.

    Args:
        table: A table, or the dead letters of an earlier run, whose rows are then replaced in `out`.
        out: Parquet file of all rows.
        cache: File of the answers; None for one beside `out`.
        asks: Whether models are asked, so that a row that cannot be written can fail by itself.

    Raises:
        CliError: There are dead letters, but not the table that they belong to.
    """

    def __init__(self, table: Path, out: Path, cache: Path | None, asks: bool = True) -> None:
        from ...data.annotation.dead_letters import earlier_attempts, is_dead_letters
        from ...data.ave2.tables import files

        self.table, self.out, self.asks = table, out, asks
        self.cache = cache or out.with_name(f"{out.name}.answers.sqlite")
        self.letters = out.with_name(f"{out.name}.dead.parquet")
        self.again = is_dead_letters(table)
        if self.again and not out.is_file():
            raise CliError(f"{table} holds dead letters; give --out the table they belong to: {out} does not exist")
        if not self.again:
            files(table)  # says what is wrong with it before anything is made
        self.earlier = earlier_attempts(table) if self.again else {}
        self.failures: Counter[str] = Counter()
        self.causes = Causes()
        self.cached = self.failed = self.asked = 0
        out.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> Iterator[dict[str, Any]]:
        from ...data.annotation.dead_letters import read_dead_letters
        from ...data.ave2.tables import read_rows

        if not self.again:
            # A row with text that cannot be written costs itself: its questions fail, and say why.
            yield from read_rows(self.table, unwritable=self.asks)
            return
        # A row for which several steps failed has several letters, and is asked about once.
        yield from {letter["sample_id"]: letter["row"] for letter in read_dead_letters(self.table)}.values()

    def count(self, cached: bool, failed: bool) -> None:
        self.asked += 1
        self.cached += cached
        self.failed += failed

    def write(self, results: Iterator[T], finished_row: Callable[[T], dict[str, Any]], doing: str) -> None:
        """Write the row of each result, while a progress bar shows how many are done.

        Raises:
            CliError: The table has no rows, or the server cannot be used.
        """
        from ...data.ave2.tables import read_rows, write_parquet
        from ...data.inference.server import ServerError

        if not (total := sum(1 for _ in self.rows())):
            raise CliError(f"{self.table}: has no rows")
        try:
            rows = (finished_row(one) for one in with_progress(results, total, doing))
            if self.again:
                new = {row["sample_id"]: row for row in rows}
                rows = (new.get(row["sample_id"], row) for row in read_rows(self.out))
            self.written = write_parquet(rows, self.out)
        except ServerError as error:
            raise CliError(str(error)) from error

    def summary(self, requests: int, spent: float) -> dict[str, Any]:
        rows: dict[str, Any] = {"rows": self.written, "done": self.asked - self.failed, "cached": self.cached}
        summary = rows | {"failed": dict(self.failures), "requests": requests, "cost": spent}
        if self.failures:
            from ...data.annotation.dead_letters import read_dead_letters

            for letter in read_dead_letters(self.letters):
                self.causes.add(letter)
            summary["cause"] = self.causes.most_frequent()
        return summary

    def finish(self, summary: dict[str, Any], done: str, as_json: bool) -> None:
        """Print the summary, and end with an error code if anything failed."""
        if as_json:
            result(summary)
        else:
            print(f"{summary['done']} of {self.asked} rows {done} with {summary['requests']} requests, in {self.out}")
        if self.failures:
            for line in self.causes.others():
                note(line)
            most = f"most often because: {self.causes.most_frequent()}"
            note(f"failed: {dict(self.failures)}, {most}; see {self.letters}, and give it as TABLE to ask again")
            raise typer.Exit(FAILED)


__all__ = ["TableRun"]
