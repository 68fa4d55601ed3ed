"""The trade-off of retrieval and generation: points from result files, a line with its interval, and a Pareto front."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..evaluation.results import EvalResult
from .paper_tables import paper_table
from .regression import Correlation, Interval, Line, fit_line, pearson, spearman

ALIGNMENTS = ("raw", "projected")
RETRIEVAL_METRIC, GENERATION_METRIC = "a2v.t1", "gpt4o_overall"
# Five encoders that the paper's trade-off is about; Whisper is WhisperCLIP's last layer.
ENCODERS = ("ImageBind", "WhisperCLIP", "CLAP", "AudioCLIP", "Wav2CLIP")
ICASSP2027_METRICS = ("b1", "b2", "b3")
_LOWER_IS_BETTER = ("rank", "loss", "perplexity", "error")


@dataclass(frozen=True)
class Measured:
    """
    A number and its 95 % interval.

    Attributes:
        value: Higher is better.
        interval: None where the result has none.
    """

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Point:
    """
    One model with raw and with projected embeddings.

    Attributes:
        name: Of the model, or of the paper's encoder.
        retrieval, generation: By "raw" and "projected"; retrieval in percent.
    """

    name: str
    retrieval: dict[str, Measured]
    generation: dict[str, Measured]

    @property
    def gain(self) -> float:
        """What projecting adds to retrieval, in percentage points."""
        # Without the last bits, in which gains that are equal on paper would differ, and have different ranks.
        return round(self.retrieval["projected"].value - self.retrieval["raw"].value, 9)

    @property
    def loss(self) -> float:
        """What projecting takes from generation, in percent of the raw embedding's score."""
        raw = self.generation["raw"].value
        return 100 * (raw - self.generation["projected"].value) / raw


@dataclass(frozen=True)
class Setting:
    """
    A model with one kind of embedding, as one may use it.

    Attributes:
        name: Of the model.
        alignment: "raw" or "projected".
        retrieval, generation: What it reaches.
        pareto: No other setting is at least as good in both and better in one.
    """

    name: str
    alignment: str
    retrieval: Measured
    generation: Measured
    pareto: bool


@dataclass(frozen=True)
class Tradeoff:
    """
    Attributes:
        points: One for each model.
        settings: Two for each model, raw first.
        line: Of `Point.loss` over `Point.gain`; None for fewer than two points or equal gains.
        pearson, spearman: Of the same; None as well where all losses are equal.
        hypervolume: The area of (retrieval, generation) that the settings cover, from `reference` on.
        reference: A retrieval and a generation score that count as nothing.
        retrieval_metric, generation_metric: What was compared.
    """

    points: tuple[Point, ...]
    settings: tuple[Setting, ...]
    line: Line | None
    pearson: Correlation | None
    spearman: Correlation | None
    hypervolume: float
    reference: tuple[float, float]
    retrieval_metric: str
    generation_metric: str

    def report(self) -> dict[str, Any]:
        """Plain values, as for JSON; every correlation with its n and its intervals."""
        return {
            "retrieval_metric": self.retrieval_metric,
            "generation_metric": self.generation_metric,
            "n": len(self.points),
            "points": [{**asdict(point), "gain_pp": point.gain, "loss_percent": point.loss} for point in self.points],
            "settings": [asdict(setting) for setting in self.settings],
            "line": self.line and asdict(self.line),
            "pearson": self.pearson and asdict(self.pearson),
            "spearman": self.spearman and asdict(self.spearman),
            "hypervolume": {"area": self.hypervolume, "reference": list(self.reference)},
        }


@dataclass(frozen=True)
class Recommendation:
    """
    Attributes:
        task: A row of the paper's Table 15.
        encoder, alignment, token_budget: What the paper recommends (label *paper*).
        source: Where it says so.
        note: What the paper contradicts.
        measured: The settings of given results, best first by the score that the task is about.
    """

    task: str
    encoder: str
    alignment: str
    token_budget: int
    source: str
    note: str
    measured: tuple[Setting, ...] = ()


def measured_values(result: EvalResult, metric: str) -> dict[str, Measured]:
    """
    What a result says about a metric, by "raw" and "projected"; a kind that it does not have is left out.

    A result may hold both kinds of embeddings, as `raw_<metric>` and `projected_<metric>` (as `soundclip align` writes
    them) or as `raw.<metric>` and `projected.<metric>`; or one kind, as `<metric>`, which `config["alignment"]` names.

    Args:
        metric: Nested names are joined by dots.

    Raises:
        ValueError: If one kind has two numbers, or a number is not finite.
    """
    numbers = result.numbers()
    found: dict[str, Measured] = {}
    for alignment in ALIGNMENTS:
        names = [f"{alignment}_{metric}", f"{alignment}.{metric}"]
        if result.config.get("alignment") == alignment:
            names.append(metric)
        for name in names:
            if name not in numbers:
                continue
            if alignment in found:
                raise ValueError(f"{result.model}: a result has two numbers for {metric} of {alignment}")
            if not np.isfinite(numbers[name]):
                raise ValueError(f"{result.model}: {name} is {numbers[name]}, expected a finite number")
            found[alignment] = Measured(numbers[name], result.interval(name))
    return found


def read_points(
    results: Iterable[EvalResult],
    retrieval_metric: str = RETRIEVAL_METRIC,
    generation_metric: str = GENERATION_METRIC,
) -> list[Point]:
    """
    Put results together by their `model`; [`measured_values`] says how a result names its numbers.

    Args:
        results: Of retrieval and of generation, in one file or in several; of the latter only the metric is looked at.
        retrieval_metric: In percent, higher is better; nested names are joined by dots.
        generation_metric: Higher is better.

    Raises:
        ValueError: If a model has only some of the four numbers, or two for one of them; if a number is not finite, or
            a raw generation score is not positive; or for a metric of which lower is better.
    """
    for name in (retrieval_metric, generation_metric):
        if any(word in name for word in _LOWER_IS_BETTER):
            raise ValueError(f"metric {name!r}: lower is better; take one of which higher is better, such as a2v.t1")
    found: dict[str, dict[tuple[str, str], Measured]] = {}
    known: set[str] = set()
    for result in results:
        known |= set(result.numbers())
        of_model = found.setdefault(result.model, {})
        for metric in (retrieval_metric, generation_metric):
            for alignment, value in measured_values(result, metric).items():
                if (metric, alignment) in of_model:
                    raise ValueError(f"{result.model}: two results have {metric} of {alignment}; give one of them")
                of_model[metric, alignment] = value
    points = []
    for model, values in found.items():
        missing = [
            f"{metric} of {alignment}"
            for metric in (retrieval_metric, generation_metric)
            for alignment in ALIGNMENTS
            if (metric, alignment) not in values
        ]
        if missing:
            have = ", ".join(sorted(known)) or "no number"
            raise ValueError(f"{model}: no result has {', '.join(missing)}; the results have {have}")
        retrieval, generation = (
            {alignment: values[metric, alignment] for alignment in ALIGNMENTS}
            for metric in (retrieval_metric, generation_metric)
        )
        points.append(_checked(Point(model, retrieval, generation)))
    return points


def paper_points(table: int = 1, encoders: Sequence[str] = ENCODERS) -> list[Point]:
    """
    The paper's encoders: Top-1 from sound to video, and GPT-4o's overall score (label *paper*).

    Args:
        table: Of retrieval: 1 (AudioCaps), 4 (AVE-2), 5 (TVSum) or 6 (Ego4D).
        encoders: Rows of that table and of Figure 6.
    """
    retrieval, generation = paper_table(table), paper_table("figure 6")
    return [
        Point(
            name,
            {kind: Measured(retrieval.number(name, f"a2v_t1_{kind}")) for kind in ALIGNMENTS},
            {kind: Measured(generation.number(name, f"gpt4o_overall_{kind}")) for kind in ALIGNMENTS},
        )
        for name in encoders
    ]


def icassp2027_points(generation: str = "b1") -> list[Point]:
    """
    The five encoders of the authors' later version: Top-1 in the full pool, and one of its scores of generation.

    Args:
        generation: "b1" (caption and sound by CLAP), "b2" (caption and frame by CLIP) or "b3" (sources named).

    Raises:
        ValueError: If there is no such score.
    """
    if generation not in ICASSP2027_METRICS:
        raise ValueError(f"generation={generation!r}: must be one of {', '.join(ICASSP2027_METRICS)}")
    table = paper_table("icassp2027")
    return [
        Point(
            name,
            {kind: Measured(table.number(name, f"r1_{kind}")) for kind in ALIGNMENTS},
            {kind: Measured(table.number(name, f"{generation}_{kind}")) for kind in ALIGNMENTS},
        )
        for name in table.rows
    ]


def tradeoff(
    points: Sequence[Point],
    *,
    retrieval_metric: str = RETRIEVAL_METRIC,
    generation_metric: str = GENERATION_METRIC,
    reference: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> Tradeoff:
    """
    Args:
        points: As [`read_points`] or [`paper_points`] gives them.
        retrieval_metric, generation_metric: Their names, for the report.
        reference: Of the hypervolume.
        seed: Of the bootstrap.

    Raises:
        ValueError: If there is no point, or a raw generation score is not positive.
    """
    if not points:
        raise ValueError("points: there is none, so there is no trade-off")
    x, y = [point.gain for point in map(_checked, points)], [point.loss for point in points]
    flat = [(point, kind) for point in points for kind in ALIGNMENTS]
    scores = [(point.retrieval[kind].value, point.generation[kind].value) for point, kind in flat]
    line_possible = len(set(x)) > 1
    related = line_possible and len(set(y)) > 1
    return Tradeoff(
        points=tuple(points),
        settings=tuple(
            Setting(point.name, kind, point.retrieval[kind], point.generation[kind], bool(best))
            for (point, kind), best in zip(flat, pareto_mask(scores))
        ),
        line=fit_line(x, y) if line_possible else None,
        pearson=pearson(x, y, seed) if related else None,
        spearman=spearman(x, y, seed) if related else None,
        hypervolume=hypervolume(scores, reference),
        reference=reference,
        retrieval_metric=retrieval_metric,
        generation_metric=generation_metric,
    )


def pareto_mask(scores: ArrayLike) -> NDArray[np.bool_]:
    """
    Args:
        scores: `(n, 2)`, higher is better in both.

    Returns:
        `(n,)`, true where no other row is at least as good in both columns and better in one; equal rows are alike.
    """
    found = np.asarray(scores, dtype=float)
    as_good = (found[:, None] >= found[None]).all(-1)  # row i against row j
    better = (found[:, None] > found[None]).any(-1)
    return np.asarray(~(as_good & better).any(0))


def hypervolume(scores: ArrayLike, reference: tuple[float, float] = (0.0, 0.0)) -> float:
    """
    The area between a reference point and the Pareto front.

    Args:
        scores: `(n, 2)`, higher is better in both; what is not above `reference` in both adds nothing.
        reference: The corner from which the area counts.
    """
    found = np.asarray(scores, dtype=float) - np.asarray(reference, dtype=float)
    found = found[(found > 0).all(-1)]
    area = top = 0.0
    # From the right: each point adds the strip that rises above those before it.
    for x, y in sorted(map(tuple, found), reverse=True):
        if y > top:
            area, top = area + float(x) * (float(y) - top), float(y)
    return area


def recommend(task: str, measured: Tradeoff | None = None) -> Recommendation:
    """
    What the paper recommends for a task, and what was measured.

    Args:
        task: A row of Table 15, such as "dense captioning"; upper and lower case are alike.
        measured: Its settings are put beside the paper's, ordered by retrieval for the tasks that the paper gives a
            projected encoder, else by generation.

    Raises:
        ValueError: For another task; it names those that there are.
    """
    table = paper_table(15)
    row = next((name for name in table.rows if name.lower() == task.strip().lower()), None)
    if row is None:
        raise ValueError(f"task {task!r}: must be one of {', '.join(name.lower() for name in table.rows)}")
    alignment, budget = table.cell(row, "alignment").value, table.cell(row, "token_budget")
    by = "retrieval" if alignment == "projected" else "generation"
    settings = sorted(measured.settings if measured else (), key=lambda one: -getattr(one, by).value)
    note = "Figure 9 gives no token budget" if budget.note else ""
    encoder = table.cell(row, "encoder").value
    return Recommendation(row, encoder, alignment, int(budget.value), budget.source, note, tuple(settings))


def _checked(point: Point) -> Point:
    raw = point.generation["raw"].value
    if raw <= 0:
        raise ValueError(f"{point.name}: the raw generation score is {raw:g}; a relative loss needs one above 0")
    return point


__all__ = [
    "ENCODERS",
    "GENERATION_METRIC",
    "ICASSP2027_METRICS",
    "RETRIEVAL_METRIC",
    "Measured",
    "Point",
    "Recommendation",
    "Setting",
    "Tradeoff",
    "hypervolume",
    "icassp2027_points",
    "paper_points",
    "pareto_mask",
    "read_points",
    "recommend",
    "tradeoff",
]
