"""Pictures of hand-written results: what is drawn, read from the drawn SVG, and results that cannot be drawn."""

import re

import pytest
from result_files import measured, paper_scores, ranked
from without_extras import block

from soundclip_hf.analysis.pictures.curves import draw_alpha, draw_budget
from soundclip_hf.analysis.pictures.radar import draw_radar
from soundclip_hf.analysis.pictures.ranks import draw_ranks
from soundclip_hf.evaluation.judge import DIMENSIONS
from soundclip_hf.extras import NotInstalledError

pytest.importorskip("matplotlib")
UP_TO = [1, 2, 3, 5, 10]
FOUR = {"raw_a2v": [1, 1, 1, 2, 5], "raw_v2a": [1, 1, 1, 2, 5]}
FOUR |= {"projected_a2v": [6, 2, 1, 1, 0], "projected_v2a": [5, 3, 1, 1, 0]}
SIX = {f"judge_{name}": 2.0 for name in DIMENSIONS}


@pytest.fixture(autouse=True)
def _texts_stay_texts():
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        yield


def texts(path):
    """The words of a drawn .svg file."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_ranks(tmp_path):
    draw_ranks([ranked(UP_TO, **FOUR)], tmp_path / "r.svg")
    words = texts(tmp_path / "r.svg")
    assert {"projected", "raw", "chance", "sound to picture", "picture to sound", "a set, test"} <= set(words)
    assert [word for word in words if word in ("1", "2", "3", "5", "10")][:4] == ["1", "2", "3", "5"]
    two = [ranked(UP_TO, **FOUR), ranked([1, 4], raw_a2v=[1, 3], raw_v2a=[2, 2])]
    draw_ranks(two, tmp_path / "two.svg", "A title")
    assert "A title" in texts(tmp_path / "two.svg")


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "there is no result"),
        ([measured(SIX)], "m: has no histogram of ranks in raw_a2v or projected_a2v .*judge_overall"),
        ([ranked(UP_TO, raw_a2v=FOUR["raw_a2v"])], "in raw_v2a or projected_v2a"),
        ([ranked(UP_TO, **{**FOUR, "raw_a2v": [1, 2]})], "raw_a2v.*as many counts as ascending ranks"),
        ([ranked([1, 3, 2, 5, 10], **FOUR)], "ascending"),
        ([ranked(UP_TO, **{**FOUR, "raw_a2v": [0] * 5})], "at least one query"),
        ([ranked(UP_TO, **{**FOUR, "raw_a2v": [0.5] * 5})], "whole numbers"),
        ([measured({"raw_a2v": {"histogram": 3}})], "whole numbers"),
    ],
)
def test_ranks_that_cannot_be_drawn(tmp_path, results, words):
    with pytest.raises(ValueError, match=words):
        draw_ranks(results, tmp_path / "r.png")
    assert not [*tmp_path.iterdir()]


def test_radar_of_the_papers_scores(tmp_path):
    """AudioCLIP with 150 tokens of Table 11 (label *paper*), whose cells the text has all."""
    pair = [paper_scores("AudioCLIP-150tk", kind, 150) for kind in ("raw", "projected")]
    draw_radar(pair, tmp_path / "r.svg")
    words = texts(tmp_path / "r.svg")
    assert {"raw, n = 100", "projected, n = 100", "2.39 · 2.05", "3.99 · 3.90"} <= set(words)
    assert {"audio quality", "visual accuracy", "fluency"} <= set(words)
    four = [*pair, *(paper_scores("AudioCLIP-15tk", kind, 15) for kind in ("raw", "projected"))]
    draw_radar(four, tmp_path / "four.svg")
    assert "projected k = 15, n = 100" in texts(tmp_path / "four.svg")
    both = measured({f"{kind}_{name}": value for kind in ("raw", "projected") for name, value in SIX.items()})
    draw_radar([both], tmp_path / "both.svg")
    assert {"raw, n = 100", "projected, n = 100"} <= set(texts(tmp_path / "both.svg"))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "0 lines"),
        ([measured(SIX)], "config has no alignment"),
        ([measured({"a2v": {"t1": 1.0}}, alignment="raw")], "has no judge_audio_quality and so on"),
        (
            [measured({"judge_overall": 3.0, "judge_fluency": 3.0}, alignment="raw")],
            "m, raw: has no judge_audio_quality",
        ),
        ([measured({**SIX, "judge_fluency": 7.0}, alignment="raw")], "judge_fluency is 7, expected 1 to 5"),
        ([measured(SIX, str(number), alignment="raw") for number in range(7)], "7 lines"),
    ],
)
def test_radars_that_cannot_be_drawn(tmp_path, results, words):
    with pytest.raises(ValueError, match=words):
        draw_radar(results, tmp_path / "r.png")


def test_budget(tmp_path):
    results = [
        measured({"x": 1.0 + k / 1000}, intervals=True, alignment=kind, k=k)
        for kind in ("raw", "projected")
        for k in (15, 150)
    ]
    draw_budget(results, "x", tmp_path / "b.svg")
    words = texts(tmp_path / "b.svg")
    assert {"raw", "projected", "15", "150", "x", "token budget k (kept patches)"} <= set(words)
    more = [*results, measured({"x": 2.0}, "o", alignment="raw", k=0), measured({"x": 2.0}, "o", alignment="raw", k=15)]
    draw_budget(more, "x", tmp_path / "two.svg")
    assert {"m raw", "m projected", "o raw"} <= set(texts(tmp_path / "two.svg"))


def test_alpha(tmp_path):
    results = [measured({"projected_x": 1.0 - a, "raw_x": 0.2}, intervals=True, alpha=a) for a in (0.0, 0.5, 1.0)]
    draw_alpha(results, "x", tmp_path / "a.svg")
    assert {"projected and raw", "raw alone", "alpha (0: projected, 1: raw)"} <= set(texts(tmp_path / "a.svg"))
    kinds = {"projected": 0, "mixed": 0.5, "raw": None}
    apart = [measured({"x": 1.0}, alignment=kind, alpha=alpha) for kind, alpha in kinds.items()]
    draw_alpha(apart, "x", tmp_path / "b.svg")
    assert "raw alone" not in texts(tmp_path / "b.svg")
    with pytest.raises(ValueError, match="alpha = 1 is in two results"):
        draw_alpha([*apart, measured({"x": 1.0}, alignment="mixed", alpha=1.0)], "x", tmp_path / "c.svg")


def of(k=15, alpha=0.5, alignment="projected", value=1.0, name="x"):
    return measured({name: value}, k=k, alpha=alpha, alignment=alignment)


@pytest.mark.parametrize("draw", [draw_budget, draw_alpha])
def test_curves_that_cannot_be_drawn(tmp_path, draw):
    setting = "k" if draw is draw_budget else "alpha"
    for results, words in [
        ([], "needs two .*none"),
        ([of(name="y")], "m: has no x of raw or projected embeddings; there are y"),
        ([of(alignment=None)], "its config has alignment = None"),
        ([of(**{setting: None})], rf"config\['{setting}'\] is None, expected a number"),
        ([of(**{setting: True})], "is True"),
        ([of(), of()], "is in two results"),
        ([of()], "needs two"),
        ([of(value=float("nan"))], "expected a finite number"),
    ]:
        with pytest.raises(ValueError, match=words):
            draw(results, "x", tmp_path / "c.png")
    if draw is draw_alpha:
        with pytest.raises(ValueError, match=r"alpha is 1\.5, expected 0 to 1"):
            draw([of(alpha=1.5)], "x", tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"a picture is a \.png"):
        draw([of()], "x", tmp_path / "c.jpg")
    assert not [*tmp_path.iterdir()]


def test_without_matplotlib(monkeypatch, tmp_path):
    block(monkeypatch, "matplotlib")
    with pytest.raises(NotInstalledError, match=r"drawing ranks needs matplotlib"):
        draw_ranks([ranked(UP_TO, **FOUR)], tmp_path / "r.png")
