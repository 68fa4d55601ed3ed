"""A measurement as data: numbers, their error bars and what they were measured with, written to and read from JSON."""

import json
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..files import write_text


@dataclass(frozen=True)
class EvalResult:
    """
    Attributes:
        task: What was measured, such as "retrieval".
        model: Id or folder.
        revision: Of the model; None for a folder without one.
        dataset: Id or folder, with its split.
        n: Samples.
        seed: Of what was drawn.
        metrics: Numbers by name; nested dictionaries are fine.
        error_bars: By the names of `metrics`.
        config: Settings that a repetition needs.
        versions: Of the packages.
    """

    task: str
    model: str
    dataset: str
    n: int
    seed: int
    metrics: dict[str, Any]
    error_bars: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    revision: str | None = None
    versions: dict[str, str] = field(
        default_factory=lambda: {name: version(name) for name in ("soundclip-hf", "torch", "transformers")}
    )

    def save(self, path: str | Path) -> None:
        """
        Write JSON; a reader never sees half of it.

        Raises:
            ValueError: If a number is not finite.
        """
        path = Path(path)
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    @classmethod
    def load(cls, path: str | Path) -> "EvalResult":
        """
        Raises:
            ValueError: If the file is no such result; it names the fields that are missing or unknown.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        names = {entry.name for entry in fields(cls)}
        needed = {"task", "model", "dataset", "n", "seed", "metrics", "error_bars"}
        found = set(values) if isinstance(values, dict) else set()
        if needed - found or found - names:
            raise ValueError(
                f"{path} is not a result: missing {sorted(needed - found) or 'nothing'}, unknown "
                f"{sorted(found - names) or 'nothing'}."
            )
        return cls(**values)


__all__ = ["EvalResult"]
