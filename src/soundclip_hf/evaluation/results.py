"""A measurement as data: numbers, their error bars and what they were measured with, written to and read from JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from ..files import write_text
from ..text_tables import json_value, open_table

_NEEDED: dict[str, Any] = {
    "task": str,
    "model": str,
    "dataset": str,
    "n": int,
    "seed": int,
    "metrics": dict,
    "error_bars": dict,
}
_OPTIONAL: dict[str, Any] = {
    "config": dict,
    "versions": dict,
    "revision": str | None,
    "dataset_revision": str | None,
    "created": str | None,
}
_KINDS: dict[Any, str] = {str: "text", int: "a whole number", dict: "a JSON object"}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class EvalResult:
    """
    Attributes:
        task: What was measured, such as "retrieval".
        model: Id or folder.
        revision: Revision of the model; None for a folder.
        dataset: Id or folder, with its split behind a comma.
        dataset_revision: Branch, tag or commit of the data set on the Hub; None where none was named.
        n: Number of samples.
        seed: Seed of the random draws.
        metrics: Finite numbers by name; nested dictionaries are fine.
        error_bars: By the names of `metrics`.
        config: Settings that are needed to repeat the measurement.
        versions: Versions of the packages; empty for a file that does not say.
        created: Time of the measurement in UTC as ISO 8601, "2026-11-26T04:48:15+00:00"; None for a file of format 1.
            Two results that differ in nothing else are equal.
        format: Version of the JSON form. Format 2 has added `format`, `dataset_revision` and `created`; files without
            `format` are of format 1, and are read.

    Raises:
        ValueError: If `created` is no such time.
    """

    format: ClassVar[int] = 2

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
    dataset_revision: str | None = None
    created: str | None = field(default_factory=_now, compare=False)

    def __post_init__(self) -> None:
        if self.created is not None and not _is_utc(self.created):
            raise ValueError(
                f"created={self.created!r}: must be a time in UTC as ISO 8601, such as '2026-11-26T04:48:15+00:00'"
            )

    def save(self, path: str | Path) -> None:
        """
        Write JSON; a reader never sees half of it.

        Raises:
            ValueError: If a number is not finite.
        """
        path = Path(path)
        values = {"format": self.format, **asdict(self)}
        text = json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    @classmethod
    def load(cls, path: str | Path) -> "EvalResult":
        """
        Raises:
            ValueError: If the file is no such result, naming the fields that are missing, unknown or of a wrong kind,
                or if it is of a later format, naming both versions.
        """
        with open_table(path) as file:
            text = file.read()
        try:
            values = json_value(text)
        except ValueError as error:
            raise ValueError(f"{path} is not a result: it {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path} is not a result: it is JSON, but no object")
        written = values.pop("format", 1)
        if isinstance(written, bool) or not isinstance(written, int) or written < 1:
            raise ValueError(f"{path} is not a result: its format is {written!r}, expected a whole number from 1 on")
        if written > cls.format:
            raise ValueError(
                f"{path} is a result of format {written}; soundclip-hf {version('soundclip-hf')} reads formats up to "
                f"{cls.format}. Install a newer soundclip-hf."
            )
        missing = sorted(set(_NEEDED) - set(values))
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if missing or unknown:
            raise ValueError(f"{path} is not a result: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}.")
        for name, kind in {**_NEEDED, **_OPTIONAL}.items():
            if name in values and (isinstance(values[name], bool) or not isinstance(values[name], kind)):
                expected = _KINDS.get(kind, "text or null")
                raise ValueError(f"{path} is not a result: {name} is {values[name]!r:.60}, expected {expected}")
        # What the file does not say must not be filled in with the versions and the time of now.
        values.setdefault("versions", {})
        values.setdefault("created", None)
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{path} is not a result: {error}") from error

    def numbers(self) -> dict[str, float]:
        """The numbers in `metrics`, with the names of nested ones joined by dots: `{"projected_a2v.t1": 45.2}`."""
        return dict(_flat(self.metrics))

    def interval(self, name: str) -> tuple[float, float] | None:
        """
        The 95 % interval of a number, if `error_bars` holds one.

        Args:
            name: As in `numbers`. For "projected_a2v.t1" the interval stands in
                `error_bars["projected_a2v"]["interval_95"]["t1"]`, or in `error_bars["projected_a2v"]["t1"]`.
        """
        *groups, last = name.split(".")
        found: Any = self.error_bars
        for group in groups:
            found = found.get(group) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return None
        inner = found.get("interval_95")
        pair = inner.get(last) if isinstance(inner, Mapping) else found.get(last)
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_number(edge) for edge in pair):
            return float(pair[0]), float(pair[1])
        return None

    def to_model_index(self) -> list[dict[str, Any]]:
        """
        The `model-index` of a model card on the Hub: a list with one model, one task, one data set, and one metric for
        each of `numbers`. `huggingface_hub.ModelCardData(**{"model-index": ...})` reads it.

        The type of the data set is what stands before the comma in `dataset`. `args` of a metric holds `n`, `seed` and
        the 95 % interval, where there is one.

        Raises:
            ValueError: If there is no number in `metrics`, or one is not finite.
        """
        found = self.numbers()
        if not found:
            raise ValueError("metrics: holds no number, so there is nothing for a model card")
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(f"metrics: {bad[0]} is {found[bad[0]]}, and a model card takes finite numbers only")
        dataset: dict[str, Any] = {"name": self.dataset, "type": self.dataset.split(",")[0].strip()}
        if self.dataset_revision is not None:
            dataset["revision"] = self.dataset_revision
        metrics = []
        for name, value in found.items():
            pair = self.interval(name)
            args = {"n": self.n, "seed": self.seed} | ({"interval_95": list(pair)} if pair else {})
            metrics.append({"type": name, "name": name, "value": value, "args": args})
        return [
            {"name": self.model, "results": [{"task": {"type": self.task}, "dataset": dataset, "metrics": metrics}]}
        ]


def _is_utc(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif _is_number(value):
            yield f"{prefix}{name}", value


__all__ = ["EvalResult"]
