"""What the commands that ask a model share: a table in, a table out, dead letters, and a server's limits."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..output import FAILED, CliError, UsageError, note, result, with_progress

if TYPE_CHECKING:
    from ...data.inference.client import Server


class Run:
    """One table through a model, into one file; or dead letters of an earlier run, into the file of that run."""

    def __init__(self, table: Path, out: Path, cache: Path | None) -> None:
        from ...data.annotation.dead_letters import earlier_attempts, is_dead_letters
        from ...data.ave2.tables import files

        self.table, self.out = table, out
        self.cache = cache or out.with_name(f"{out.name}.answers.sqlite")
        self.letters = out.with_name(f"{out.name}.dead.parquet")
        self.again = is_dead_letters(table)
        if self.again and not out.is_file():
            raise CliError(f"{table} has dead letters; give --out the table they belong to: {out} does not exist")
        if not self.again:
            files(table)  # says what is wrong with it before anything is made
        self.earlier = earlier_attempts(table) if self.again else {}
        self.failures: Counter[str] = Counter()
        self.cached = self.failed = self.asked = 0
        out.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> Iterator[dict[str, Any]]:
        from ...data.annotation.dead_letters import read_dead_letters
        from ...data.ave2.tables import read_rows

        if not self.again:
            yield from read_rows(self.table)
            return
        # A row with several letters comes once; the last one knows the most.
        yield from {letter["sample_id"]: letter["row"] for letter in read_dead_letters(self.table)}.values()

    def count(self, cached: bool, failed: bool) -> None:
        self.asked += 1
        self.cached += cached
        self.failed += failed

    def write(self, made: Iterator[Any], keep: Any, doing: str) -> None:
        from ...data.ave2.tables import read_rows, write_parquet
        from ...data.inference.client import ServerError

        if not (total := sum(1 for _ in self.rows())):
            raise CliError(f"{self.table}: has no rows")
        try:
            shown = (keep(done) for done in with_progress(made, total, doing))
            if self.again:
                mended = {row["sample_id"]: row for row in shown}
                self.written = write_parquet(
                    (mended.get(row["sample_id"], row) for row in read_rows(self.out)), self.out
                )
            else:
                self.written = write_parquet(shown, self.out)
        except ServerError as error:
            raise CliError(str(error)) from error

    def report(self, requests: int, spent: float) -> dict[str, Any]:
        found: dict[str, Any] = {"rows": self.written, "done": self.asked - self.failed, "cached": self.cached}
        return found | {"failed": dict(self.failures), "requests": requests, "cost": spent}

    def finish(self, found: dict[str, Any], done: str, as_json: bool) -> None:
        if as_json:
            result(found)
        else:
            print(f"{found['done']} of {self.asked} rows {done} with {found['requests']} requests, in {self.out}")
        if self.failures:
            from ...data.annotation.dead_letters import read_dead_letters

            first = next((letter["detail"] for letter in read_dead_letters(self.letters)), None)
            why = f", the first because: {first}" if first else ""
            note(f"failed: {dict(self.failures)}{why}; see {self.letters}, and give it as TABLE to try again")
            raise typer.Exit(FAILED)


def limits_of(
    key_variable: str,
    concurrency: int,
    requests: float | None,
    tokens: float | None,
    timeout: float,
    attempts: int,
    seed: int,
    cost: float | None,
    input_price: float,
    output_price: float,
) -> dict[str, Any]:
    if cost is not None and not (input_price or output_price):
        raise UsageError("--max-cost needs --input-price and --output-price, per million tokens")
    limits = {"concurrency": concurrency, "requests_per_minute": requests, "tokens_per_minute": tokens}
    limits |= {"timeout": timeout, "attempts": attempts, "seed": seed, "budget": cost}
    return limits | {"input_price": input_price, "output_price": output_price, "api_key": os.environ.get(key_variable)}


def server_of(url: str | None, model: str | None, limits: Mapping[str, Any]) -> "Server":
    from ...data.inference.client import Server

    return Server(str(url), str(model), **limits)


__all__ = ["Run", "limits_of", "server_of"]
