"""What the paper derives from its own numbers: each claim as printed, and the arithmetic that recomputes it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .derived import (
    SIX_ENCODERS,
    budget_gains,
    differing,
    drops,
    fit,
    front,
    gains,
    grim_failures,
    loss_per_point,
    mean,
    projector_parameters,
    relative_losses,
    segment_counts,
)
from .paper_tables import paper_table
from .regression import Correlation

GENERATION = ("bleu", "rouge_l", "bertscore", "clipscore", "gpt4o_overall")
Values = Mapping[str, float | str]


@dataclass(frozen=True)
class Claim:
    """
    Attributes:
        name: Short and unique.
        source: Where the paper makes it.
        paper: As printed, by the parts of the claim. A number counts as met if it rounds to what is printed.
        compute: The same parts from the tables, and possibly others that explain them; None where the paper has no
            numbers to compute them from.
        note: Why it differs or cannot be computed.
        withdrawn: The authors have withdrawn it.
        tolerance: For numbers that the paper gives only roughly; None takes half a unit of the last printed digit.
    """

    name: str
    source: str
    paper: Mapping[str, str]
    compute: Callable[[], Values] | None = None
    note: str = ""
    withdrawn: bool = False
    tolerance: float | None = None


def _text(row: str, *columns: str) -> dict[str, str]:
    """What the text prints, by column; all columns of a row if none is named."""
    cells = [cell for cell in paper_table("text").cells if cell.row == row and (not columns or cell.column in columns)]
    return {cell.column: cell.value for cell in cells}


def _mean_rank_ratios() -> Values:
    text = paper_table("text")
    found = [
        text.number("mean rank", f"{name}_raw") / text.number("mean rank", f"{name}_projected")
        for name in ("CLAP", "ImageBind")
    ]
    return {"least": min(found), "most": max(found)}


def _finding_2() -> Values:
    found = paper_table(1)
    won = {
        column: found.number("WhisperCLIP", column) - found.number("Whisper", column)
        for column in (f"{way}_{top}_projected" for top in ("t1", "t3", "t10") for way in ("a2v", "v2a"))
    }
    return {"least": min(won.values()), "most of Top-1": max(won["a2v_t1_projected"], won["v2a_t1_projected"]), **won}


def _most_severe() -> Values:
    worst = {metric: drops(metric) for metric in ("bleu", "rouge_l", "bertscore", "gpt4o_overall")}
    return {metric: max(found, key=lambda name: round(found[name], 3)) for metric, found in worst.items()}


def _abstract() -> Values:
    claimed = {metric: float(value) for metric, value in _text("abstract").items()}
    met = {metric: [n for n, v in drops(metric).items() if abs(v - value) < 5e-4] for metric, value in claimed.items()}
    common = set.intersection(*map(set, met.values()))
    words = {metric: ", ".join(names) or "nobody" for metric, names in met.items()}
    return {"encoders with all three": float(len(common)), **words}


def _gpt_range() -> Values:
    found = drops("gpt4o_overall").values()
    return {"least": min(found), "most": max(found)}


def _figure_7() -> Values:
    found = paper_table(11)
    raw, projected = (found.number("ImageBind-150tk", f"reasoning_{kind}") for kind in ("raw", "projected"))
    return {"reasoning": 100 * (projected / raw - 1)}


def _finding_4() -> Values:
    found = paper_table("figure 6")
    return {name: found.number(name, "gpt4o_overall_raw") for name in _text("finding 4")}


def _leaders(kind: str) -> Callable[[], Values]:
    def compute() -> Values:
        found = paper_table("figure 6")
        return {
            metric: max(found.rows, key=lambda name: found.number(name, f"{metric}_{kind}")) for metric in GENERATION
        }

    return compute


def _finding_5() -> Values:
    found = paper_table("figure 6")
    return {column: found.number("WhisperCLIP", column) for column in _text("finding 5")}


def _correlation() -> Values:
    (_, r, rho), exact, six, ave2 = (
        fit(),
        fit(rounded=False)[1],
        fit(1, SIX_ENCODERS, rounded=False)[1],
        fit(4, rounded=False)[1],
    )
    low, high = r.interval or (math.nan, math.nan)
    return {
        "r": r.r,
        "interval low": low,
        "interval high": high,
        "n": float(r.n),
        "p": math.nan if r.p is None else r.p,
        "of unrounded losses": _words(exact),
        "spearman": _words(rho),
        "with Whisper, unrounded": _words(six),
        "on AVE-2, unrounded": _words(ave2),
    }


def _words(found: Correlation) -> str:
    low, high = found.interval or (math.nan, math.nan)
    return f"{found.r:.4f} [{low:.3f}, {high:.3f}], n = {found.n}"


def _line() -> Values:
    line, exact = fit()[0], fit(rounded=False)[0]
    six, ave2 = fit(1, SIX_ENCODERS, rounded=False)[0], fit(4, rounded=False)[0]
    return {
        "slope": line.slope,
        "intercept": line.intercept,
        "slope of unrounded losses": exact.slope,
        "intercept of unrounded losses": exact.intercept,
        "slope with Whisper, unrounded": six.slope,
        "intercept with Whisper, unrounded": six.intercept,
        "slope on AVE-2, unrounded": ave2.slope,
        "intercept on AVE-2, unrounded": ave2.intercept,
    }


def _efficiency() -> Values:
    found = loss_per_point()
    return {"least": min(found.values()), "most": max(found.values()), **found}


def _bleu_as_bertscore() -> Values:
    found = paper_table(13)
    values: dict[str, float | str] = {
        metric: 100
        * (found.number("CLAP-15tk", f"{metric}_projected") / found.number("CLAP-15tk", f"{metric}_raw") - 1)
        for metric in ("bertscore", "rouge_l", "bleu")
    }
    for metric in ("bertscore", "rouge_l"):
        values[f"{metric}, mean of six encoders"] = -mean(relative_losses(metric).values())
    return values


def _finding_7() -> Values:
    found, ave2 = front(1), front(4)
    return {
        "retrieval": " ".join(found[-1]),
        "generation": " ".join(found[0]),
        "front": ", ".join(map(" ".join, found)),
        "front on AVE-2": ", ".join(map(" ".join, ave2)),
    }


def _percentages() -> Values:
    found, whole = paper_table(16), segment_counts()["all"]
    return {row: 100 * found.number(row, "count") / float(whole) for row in found.rows}


def _falls() -> Values:
    fallen = [
        f"{name} {metric} of Table {table}"
        for table in (1, 4, 5, 6)
        for metric in ("a2v_t1", "v2a_t1")
        for name, gain in gains(table, metric).items()
        if gain < 0
    ]
    return {"cells that fall": float(len(fallen)), "which": ", ".join(fallen)}


def _table_2(dataset: str, other: int) -> Callable[[], Values]:
    columns = {
        f"{dataset}_{way}_t1_{kind}": f"{way}_t1_{kind}" for way in ("a2v", "v2a") for kind in ("raw", "projected")
    }
    return lambda: {"cells that differ": float(differing(paper_table(2), paper_table(other), columns))}


def _renamed() -> Values:
    """Tables 11, 13 and 14 against Figure 6: their WhisperCLIP is its Whisper."""
    figure, nlp = paper_table("figure 6"), paper_table(13)
    shared = ("bleu", "rouge_l", "bertscore", "clipscore")
    columns = [f"{metric}_{kind}" for metric in shared for kind in ("raw", "projected")]
    return {
        "cells that differ": float(
            sum(nlp.number("WhisperCLIP-150tk", name) != figure.number("WhisperCLIP", name) for name in columns)
        ),
        "cells that differ from Whisper's": float(
            sum(nlp.number("WhisperCLIP-150tk", name) != figure.number("Whisper", name) for name in columns)
        ),
    }


def _grim(table: int) -> Callable[[], Values]:
    def compute() -> Values:
        cells = len(list(paper_table(table).numbers()))
        return {"impossible cells": float(len(grim_failures(table))), "cells": float(cells)}

    return compute


def _budgets() -> Values:
    one, other = paper_table(15), paper_table("figure 9")
    different = [
        row for row in one.rows if one.cell(row, "token_budget").value != other.cell(row, "token_budget").value
    ]
    return {"rows that differ": float(len(different)), "which": ", ".join(different)}


def _cells(table: int, cells: Mapping[str, tuple[str, str]]) -> Callable[[], Values]:
    return lambda: {name: paper_table(table).number(*place) for name, place in cells.items()}


NONE_DIFFERS = {"cells that differ": "0"}
CLAIMS: tuple[Claim, ...] = (
    Claim("Finding 1: gains in Top-1", "section 4.2", _text("finding 1"), lambda: gains(1)),
    Claim(
        "mean rank improves 4 to 10 times", "section 4.2", _text("mean rank improvement"), _mean_rank_ratios,
        "from the two encoders whose mean ranks are given; the paper rounds freely", tolerance=1.0,
    ),
    Claim(
        "Finding 2: least gain over Whisper", "section 4.2", _text("finding 2", "least"), _finding_2,
        "only AudioCaps has a row of plain Whisper",
    ),
    Claim(
        "Finding 2: most gain over Whisper", "section 4.2", _text("finding 2", "most"), None,
        "4.9 is in no table; only AudioCaps has a row of plain Whisper",
    ),
    Claim("gain over the final layer", "section 3.2", _text("final layer"), None, "no table has these Top-1 values"),
    Claim("gains are consistent", "appendix A.1", {"cells that fall": "0"}, _falls),
    Claim(
        "appendix A.1: ImageBind", "appendix A.1", _text("A.1"),
        lambda: {
            f"{name}_{kind}": paper_table(table).number("ImageBind", f"a2v_t1_{kind}")
            for name, table in (("audiocaps", 1), ("tvsum", 5)) for kind in ("raw", "projected")
        },
    ),
    Claim(
        "Finding 3: Whisper's drops", "section 4.3", _text("finding 3"),
        lambda: {metric: drops(metric)["Whisper"] for metric in _text("finding 3")},
    ),
    Claim(
        "Finding 3: Whisper falls most", "section 4.3",
        dict.fromkeys(("bleu", "rouge_l", "bertscore", "gpt4o_overall"), "Whisper"), _most_severe,
        "in the GPT-4o score Whisper and CLAP fall alike",
    ),
    Claim(
        "abstract: drops of one encoder", "abstract", {"encoders with all three": "1"}, _abstract,
        "the three drops are those of different encoders",
    ),
    Claim("abstract: range of the GPT-4o drop", "abstract, section 1", _text("gpt4o drop"), _gpt_range),
    Claim("Figure 7: reasoning", "section 4.3", _text("figure 7", "reasoning"), _figure_7),
    Claim(
        "Figure 7: audio quality", "section 4.3", _text("figure 7", "audio_quality"), None,
        "the raw score is lost in the text of Table 11; -14.0 % needs 1.50",
    ),
    Claim(
        "Finding 4: text exposure helps", "section 4.3", _text("finding 4"), _finding_4,
        "the scores are those of Figure 6; the conclusion was withdrawn", withdrawn=True,
    ),
    Claim("Finding 5: WhisperCLIP's scores", "section 4.3", _text("finding 5"), _finding_5),
    Claim(
        "Finding 5: WhisperCLIP is best, raw", "section 4.3", dict.fromkeys(GENERATION, "WhisperCLIP"), _leaders("raw")
    ),
    Claim(
        "Finding 5: WhisperCLIP is best, projected", "section 4.3", dict.fromkeys(GENERATION, "WhisperCLIP"),
        _leaders("projected"),
    ),
    Claim("gain by 150 tokens", "section 4.3", _text("token budget"), budget_gains),
    Claim(
        "Finding 6: r", "section 4.4, Figure 8", _text("finding 6", "r"), _correlation,
        "of the fit that gives the authors' line; no definition that was tried gives both",
    ),
    Claim(
        "the authors' line", "README of the authors' repository", _text("authors' README"), _line,
        "losses rounded to 0.1 % give it", withdrawn=True,
    ),
    Claim(
        "Finding 6: loss per percentage point", "section 4.4", _text("finding 6", "least", "most"), _efficiency,
        "0.65 is Wav2CLIP's; 0.05 is nobody's",
    ),
    Claim(
        "BERTScore falls more than ROUGE-L", "section 4.4", _text("information"), _bleu_as_bertscore,
        "-23.9 % is the BLEU of CLAP with 15 tokens",
    ),
    Claim(
        "Finding 7: Pareto front", "section 4.5",
        {"retrieval": "ImageBind projected", "generation": "WhisperCLIP raw"}, _finding_7,
        "raw Top-1 accuracies are at chance, so their order means nothing", withdrawn=True,
    ),
    Claim(
        "B.2: highest GPT-4o score", "appendix B.2", _text("B.2"),
        lambda: {
            "best_gpt4o_overall": max(
                paper_table("figure 6").number(name, "gpt4o_overall_raw") for name in paper_table("figure 6").rows
            )
        },
        "WhisperCLIP's in Figure 6",
    ),
    Claim(
        "projector: parameters in millions", "sections 3.1 to 4.5", _text("projector", "parameters"),
        lambda: {
            "parameters": projector_parameters(512) / 1e6, "of a 1024-wide encoder": projector_parameters(1024) / 1e6
        },
        "of a 512-wide encoder, by appendix F.2", withdrawn=True,
    ),
    Claim(
        "projector: less than 2 MB", "section 3.3", _text("projector", "memory"),
        lambda: {"memory": 2 * paper_table("text").number("projector", "parameters")},
        "1.9 million parameters of 2 bytes",
    ),
    Claim(
        "projector: share of LLaVA-1.6", "section 4.5", _text("projector", "share"),
        lambda: {"share": 100 * paper_table("text").number("projector", "parameters") / 7570},
        "LLaVA-1.6-Mistral has 7.57 billion parameters",
    ),
    Claim("projector: latency", "section 3.3", _text("projector", "latency"), None, "a measurement of unknown setting"),
    Claim("Table 16: number of segments", "abstract", {"all": _text("segments")["abstract"]}, segment_counts),
    Claim("number of segments again", "sections 1, 4.1", {"all": _text("segments")["introduction"]}, segment_counts),
    Claim(
        "section 2.2: kinds of sources", "section 2.2", _text("segments", "visible", "invisible", "silent"),
        segment_counts,
    ),
    Claim(
        "Table 16: percentages", "appendix D.1",
        {row: paper_table(16).cell(row, "percentage").value for row in paper_table(16).rows}, _percentages,
    ),
    Claim(
        "filter above 8.0", "appendix D.3", _text("filter"),
        lambda: {"threshold": mean(float(value) for value in _text("mean score").values())},
        "the mean of the five mean scores: these are not the segments above 8.0", withdrawn=True,
    ),
    Claim("size of the media", "the data set's earlier README", _text("media"), None, "needs the data", withdrawn=True),
    Claim("kappa", "section 2.3", _text("kappa"), None, "needs the ratings"),
    Claim("segments above 8.0", "appendix D.2", _text("above 8.0"), None, "needs the data"),
    Claim("sources per segment", "appendix D.2", _text("sources per segment"), None, "needs the data"),
    Claim("interpolation of embeddings", "appendix B.1", {"finding": "no middle ground"}, None, "no numbers are given"),
    Claim(
        "A.3.1: InfoNCE against cosine", "appendix A.3.1", _text("A.3.1"),
        _cells(7, {
            f"{way}_{name}": (row, f"{way}_mean_rank")
            for way in ("a2v", "v2a") for name, row in (("cosine", "Cosine Similarity"), ("info_nce", "InfoNCE"))
        }),
    ),
    Claim(
        "A.3.2: pooling", "appendix A.3.2", _text("A.3.2"),
        _cells(8, {
            "average_all": ("Average-all layers", "a2v_mean_rank"), "final": ("Final-layer only", "a2v_mean_rank"),
            "middle": ("Middle-layer only", "a2v_mean_rank"),
        }),
    ),
    Claim(
        "A.3.3: size of Whisper", "appendix A.3.3", _text("A.3.3"),
        _cells(9, {"tiny": ("Tiny", "a2v_mean_rank"), "medium": ("Medium", "a2v_mean_rank")}),
    ),
    Claim(
        "last two layers: Table 10 is Table 8", "appendices A.3.2, A.3.4",
        {way: paper_table(8).cell("Last-n layers (n=2)", f"{way}_mean_rank").value for way in ("a2v", "v2a")},
        _cells(10, {way: ("2", f"{way}_mean_rank") for way in ("a2v", "v2a")}),
    ),
    Claim(
        "Table 3 is Table 1", "appendix A.1", NONE_DIFFERS,
        lambda: {"cells that differ": float(differing(paper_table(3), paper_table(1)))},
    ),
    Claim(
        "Table 12 is Figure 6", "appendix A.5", NONE_DIFFERS,
        lambda: {"cells that differ": float(differing(paper_table(12), paper_table("figure 6")))},
    ),
    Claim(
        "Table 14 is Table 11, overall", "appendix A.7", NONE_DIFFERS,
        lambda: {"cells that differ": float(differing(paper_table(14), paper_table(11)))},
    ),
    Claim(
        "Table 13, WhisperCLIP is Figure 6's", "appendix A.6", NONE_DIFFERS, _renamed,
        "Tables 11, 13 and 14 call Whisper WhisperCLIP",
    ),
    Claim("Table 2 is Table 1, AudioCaps", "appendix A.1", NONE_DIFFERS, _table_2("audiocaps", 1)),
    Claim("Table 2 is Table 5, TVSum", "appendix A.1", NONE_DIFFERS, _table_2("tvsum", 5)),
    Claim("Table 2 is Table 6, Ego4D", "appendix A.1", NONE_DIFFERS, _table_2("ego4d", 6)),
    *(
        Claim(
            f"Table {table}: shares of 500 queries", "appendix E", {"impossible cells": "0"}, _grim(table),
            "5 draws of 100 queries make multiples of 0.2 %",
        )
        for table in (1, 2, 4, 5, 6)
    ),
    Claim("Table 15 is Figure 9, token budgets", "appendix C", {"rows that differ": "0"}, _budgets),
    Claim(
        "edge of a patch", "appendix H.1", _text("patch", "edge"),
        lambda: {"edge": 336 / paper_table("text").number("patch", "count") ** 0.5},
        "of CLIP ViT-L/14 at 336 pixels",
    ),
)  # fmt: skip


__all__ = ["CLAIMS", "Claim"]
