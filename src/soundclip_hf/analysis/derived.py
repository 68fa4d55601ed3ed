"""The arithmetic on the paper's tables: gains, losses, the fitted line, sums and impossible percentages."""

from collections.abc import Iterable, Mapping, Sequence

from .paper_tables import Cell, PaperTable, paper_table
from .regression import Correlation, Line, fit_line, pearson, spearman
from .tradeoff import ENCODERS, paper_points, tradeoff

SIX_ENCODERS = ("Whisper", *ENCODERS)
QUERIES = 500  # 5 draws of 100, appendix E


def gains(table: int, metric: str = "a2v_t1") -> dict[str, float]:
    """Percentage points that projecting adds, by encoder, in a retrieval table (1, 3, 4, 5 or 6)."""
    found = paper_table(table)
    return {row: found.number(row, f"{metric}_projected") - found.number(row, f"{metric}_raw") for row in found.rows}


def relative_losses(metric: str = "gpt4o_overall") -> dict[str, float]:
    """Percent of its score that each of six encoders loses by projecting, in Figure 6."""
    found = paper_table("figure 6")
    return {
        row: 100 * (1 - found.number(row, f"{metric}_projected") / found.number(row, f"{metric}_raw"))
        for row in found.rows
    }


def drops(metric: str) -> dict[str, float]:
    """The score that each of six encoders loses by projecting, in Figure 6."""
    found = paper_table("figure 6")
    return {row: found.number(row, f"{metric}_raw") - found.number(row, f"{metric}_projected") for row in found.rows}


def fit(
    table: int = 1, encoders: Sequence[str] = ENCODERS, rounded: bool = True
) -> tuple[Line, Correlation, Correlation]:
    """
    The line of the GPT-4o score's loss in percent over the gain in Top-1, its Pearson and its Spearman correlation.

    Args:
        table: Of retrieval, 1 (AudioCaps) or 4 (AVE-2).
        encoders: The points.
        rounded: Round the losses to one digit first, which gives the authors' line.
    """
    points = paper_points(table, encoders)
    x, y = [point.gain for point in points], [round(point.loss, 1) if rounded else point.loss for point in points]
    return fit_line(x, y), pearson(x, y, None), spearman(x, y, None)


def loss_per_point() -> dict[str, float]:
    """Percent of the GPT-4o score lost for each percentage point of Top-1 won, by encoder, on AudioCaps."""
    losses, won = relative_losses(), gains(1)
    return {name: losses[name] / won[name] for name in losses}


def budget_gains() -> dict[str, float]:
    """Percent that 150 tokens add to the score of 15 tokens, in Table 14: means over its encoders."""
    found = paper_table(14)
    names = dict.fromkeys(row.rsplit("-", 1)[0] for row in found.rows)
    return {
        kind: mean(
            100
            * (found.number(f"{name}-150tk", f"overall_{kind}") / found.number(f"{name}-15tk", f"overall_{kind}") - 1)
            for name in names
        )
        for kind in ("raw", "projected")
    }


def grim(value: str, n: int = QUERIES) -> bool:
    """Whether a printed percentage can be a share of `n` queries (the GRIM test of Brown and Heathers)."""
    half = 0.5 * 10.0 ** -_digits(value) + 1e-9
    nearest = round(float(value) * n / 100)
    return any(abs(100 * count / n - float(value)) <= half for count in (nearest - 1, nearest, nearest + 1))


def grim_failures(table: int) -> list[Cell]:
    """Cells of a retrieval table (1 to 6) that no result of 500 queries can give."""
    return [cell for cell in paper_table(table).numbers() if not grim(cell.value)]


def projector_parameters(width: int, visual: int = 1024) -> int:
    """Parameters of the projector of appendix F.2: three linear layers with biases, and two layer norms."""
    return width * visual + visual + 2 * (visual * visual + visual) + 2 * 2 * visual


def segment_counts() -> dict[str, float]:
    """Table 16 summed: all segments, and those with visible sources, invisible sources and silent objects."""
    found = paper_table(16)
    counts = {row: found.number(row, "count") for row in found.rows}
    whole = counts["All three types present"]
    v, i, s = (counts[f"{name} only"] for name in ("Visible sources", "Invisible sources", "Silent objects"))
    vi, vs = counts["Visible and invisible sources"], counts["Visible sources and silent objects"]
    also = counts["Invisible sources and silent objects"]
    return {
        "all": sum(counts.values()),
        "visible": v + vi + vs + whole,
        "invisible": i + vi + also + whole,
        "silent": s + vs + also + whole,
    }


def front(table: int) -> list[tuple[str, str]]:
    """Encoder and alignment of the settings on the Pareto front of Top-1 (table 1 or 4) and GPT-4o score."""
    made = tradeoff(paper_points(table))
    found = sorted((one for one in made.settings if one.pareto), key=lambda one: one.retrieval.value)
    return [(one.name, one.alignment) for one in found]


def differing(one: PaperTable, other: PaperTable, columns: Mapping[str, str] | None = None) -> int:
    """
    Cells that two tables print differently.

    Args:
        columns: Names in `one` by those in `other`; None compares the columns with the same name. Rows and cells that
            only one of them has are left out.
    """
    theirs = {(cell.row, cell.column): cell for cell in other.numbers()}
    names = columns or {cell.column: cell.column for cell in one.numbers()}
    pairs = [
        (cell, theirs[cell.row, names[cell.column]])
        for cell in one.numbers()
        if cell.column in names and (cell.row, names[cell.column]) in theirs
    ]
    if not pairs:
        raise ValueError(f"tables {one.name} and {other.name}: have no cell in common")
    return sum(mine.number != theirs.number for mine, theirs in pairs)


def _digits(printed: str) -> int:
    return len(printed.partition(".")[2])


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


__all__ = [
    "QUERIES",
    "SIX_ENCODERS",
    "budget_gains",
    "differing",
    "drops",
    "fit",
    "front",
    "gains",
    "grim",
    "grim_failures",
    "loss_per_point",
    "mean",
    "projector_parameters",
    "relative_losses",
    "segment_counts",
]
