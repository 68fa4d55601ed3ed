"""The trade-off from result files: points, line, Pareto front, area, recommendations and pictures."""

import json

import numpy as np
import pytest
from matplotlib import rc_context
from PIL import Image

from soundclip_hf.analysis.pictures.tradeoff import draw_tradeoff
from soundclip_hf.analysis.tradeoff import (
    hypervolume,
    icassp2027_points,
    paper_points,
    pareto_mask,
    read_points,
    recommend,
    tradeoff,
)
from soundclip_hf.evaluation.results import EvalResult


def result(model, metrics, task="retrieval", error_bars=None, **config):
    return EvalResult(
        task=task, model=model, dataset="d", n=9, seed=0, metrics=metrics, error_bars=error_bars or {}, config=config
    )


def retrieval(model, raw, projected):
    """As `soundclip align` writes it."""
    return result(
        model,
        {"chance": {"t1": 1.0}, "raw_a2v": {"t1": raw, "t1_sd": None}, "projected_a2v": {"t1": projected}},
        error_bars={"projected_a2v": {"interval_95": {"t1": [projected - 1, projected + 2]}}},
    )


def generation(model, raw, projected):
    return result(model, {"raw": {"gpt4o_overall": raw}, "projected": {"gpt4o_overall": projected}}, "generation")


ALL = [
    retrieval("a", 1.0, 11.0), retrieval("b", 2.0, 22.0), retrieval("c", 1.0, 41.0),
    generation("c", 4.0, 3.0), generation("a", 4.0, 3.8), generation("b", 2.0, 1.8),
]  # fmt: skip


def test_results_are_put_together_by_model():
    a, b, c = read_points(ALL)
    assert [point.name for point in (a, b, c)] == ["a", "b", "c"]
    assert [point.gain for point in (a, b, c)] == [10, 20, 40]
    assert [point.loss for point in (a, b, c)] == pytest.approx([5, 10, 25])
    assert a.retrieval["projected"].interval == (10.0, 13.0)
    assert a.retrieval["raw"].interval is None


def test_one_file_for_each_alignment():
    metrics = {"raw": (1.0, 4.0), "projected": (11.0, 3.8)}
    files = [
        result("a", {"a2v": {"t1": t1}, "gpt4o_overall": score}, "all", alignment=kind)
        for kind, (t1, score) in metrics.items()
    ]
    assert read_points(files)[0].gain == 10
    assert read_points(files)[0].loss == pytest.approx(5)


def test_other_metrics():
    files = [
        result("a", {"raw_v2a": {"t10": 10.0}, "projected_v2a": {"t10": 30.0}}),
        result("a", {"raw_bleu": 0.5, "projected_bleu": 0.4}),
    ]
    (point,) = read_points(files, "v2a.t10", "bleu")
    assert (point.gain, point.loss) == (20, pytest.approx(20))


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (ALL[:1], "a: no result has gpt4o_overall of raw, gpt4o_overall of projected; the results have chance.t1"),
        ([*ALL, retrieval("a", 1, 2)], "a: two results have a2v.t1 of raw; give one of them"),
        ([retrieval("a", 1, 2), generation("a", 0, 1)], "a: the raw generation score is 0; a relative loss needs"),
        ([retrieval("a", 1, float("nan")), generation("a", 1, 1)], "a: projected_a2v.t1 is nan, expected a finite"),
        ([result("a", {})], "the results have no number"),
    ],
)
def test_results_that_do_not_fit(results, words):
    with pytest.raises(ValueError, match=words):
        read_points(results)


def test_metrics_of_which_lower_is_better():
    with pytest.raises(ValueError, match=r"metric 'a2v.mean_rank': lower is better"):
        read_points(ALL, "a2v.mean_rank")


def test_line_and_correlation_of_the_points():
    made = tradeoff(read_points(ALL))
    slope, intercept = np.polyfit([10, 20, 40], [5, 10, 25], 1)
    assert (made.line.slope, made.line.intercept, made.line.n) == (pytest.approx(slope), pytest.approx(intercept), 3)
    assert made.pearson.r == pytest.approx(np.corrcoef([10, 20, 40], [5, 10, 25])[0, 1])
    assert made.spearman.r == 1
    assert made.pearson.n == made.spearman.n == 3
    json.dumps(made.report(), allow_nan=False)


def test_too_few_or_equal_points():
    (point,) = read_points([ALL[0], ALL[4]])
    one = tradeoff([point])
    assert (one.line, one.pearson, one.spearman) == (None, None, None)
    same = tradeoff(
        read_points([retrieval("a", 1, 2), retrieval("b", 1, 3), generation("a", 1, 1), generation("b", 1, 1)])
    )
    assert same.line.slope == 0
    assert same.pearson is None
    with pytest.raises(ValueError, match="there is none"):
        tradeoff([])


def test_gains_that_are_equal_on_paper_are_equal():
    """6.8 - 1.4 and 6.4 - 1.0 differ in their last bits; their ranks must not."""
    assert len({point.gain for point in paper_points() if point.name in ("CLAP", "AudioCLIP")}) == 1


def test_pareto_mask_by_hand():
    assert pareto_mask([(1, 3), (2, 2), (3, 1), (1, 2), (2, 2), (0, 3)]).tolist() == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]
    assert pareto_mask([(5, 5)]).tolist() == [True]


def test_pareto_mask_is_its_definition():
    scores = np.random.default_rng(0).integers(0, 6, (40, 2))
    expected = [not any((other >= one).all() and (other > one).any() for other in scores) for one in scores]
    assert pareto_mask(scores).tolist() == expected


def test_hypervolume_by_hand():
    scores = [(1, 3), (2, 2), (3, 1), (1, 1)]
    assert hypervolume(scores) == 3 + 2 + 1
    assert hypervolume(scores, (1, 1)) == 1
    assert hypervolume(scores, (3, 3)) == 0
    assert hypervolume([(2, 2)], (-1, 0)) == 6


def test_hypervolume_is_the_share_of_a_grid():
    scores = np.random.default_rng(1).random((12, 2))
    grid = (np.indices((400, 400)).reshape(2, -1).T + 0.5) / 400
    covered = (grid[:, None] < scores[None]).all(-1).any(1).mean()
    assert hypervolume(scores) == pytest.approx(covered, abs=0.005)


def test_the_report_names_the_reference_point():
    made = tradeoff(read_points(ALL), reference=(1.0, 1.0))
    # Above (1, 1): (10, 2.8), (1, 1) and (21, 0.8), (40, 2).
    assert made.report()["hypervolume"] == {"area": pytest.approx(40 * 2 + 10 * 0.8), "reference": [1.0, 1.0]}


def test_recommendations_are_table_15():
    advice = recommend("dense captioning")
    assert (advice.task, advice.encoder, advice.alignment) == ("Dense captioning", "WhisperCLIP", "raw")
    assert (advice.token_budget, advice.note, advice.measured) == (150, "", ())
    advice = recommend("Audio-visual search")
    assert (advice.encoder, advice.alignment, advice.token_budget) == ("ImageBind", "projected", 15)
    assert "Figure 9" in advice.note
    with pytest.raises(ValueError, match="task 'singing': must be one of cross-modal retrieval, audio-visual search"):
        recommend("singing")


def test_recommendations_with_what_was_measured():
    made = tradeoff(read_points(ALL))
    best = recommend("cross-modal retrieval", made).measured[0]
    assert (best.name, best.alignment) == ("c", "projected")
    names = [(one.name, one.alignment) for one in recommend("dense captioning", made).measured]
    assert names[:3] == [("a", "raw"), ("c", "raw"), ("a", "projected")]
    assert len(names) == 6


@pytest.mark.parametrize("points", ["paper", "three", "one"])
def test_pictures(tmp_path, points):
    given = {"paper": paper_points(), "three": read_points(ALL), "one": read_points([ALL[0], ALL[4]])}[points]
    report = json.loads(json.dumps(tradeoff(given).report()))
    draw_tradeoff(report, tmp_path / "t.png", "title")
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.size == (1200, 1350)
        colours = len(picture.convert("RGB").getcolors(maxcolors=1 << 20))
    assert colours > 20


def test_a_picture_needs_a_report_and_a_kind(tmp_path):
    report = tradeoff(read_points(ALL)).report()
    with pytest.raises(ValueError, match=r"a picture is a .png, .svg or .pdf file"):
        draw_tradeoff(report, tmp_path / "t.gif", "title")
    with pytest.raises(ValueError, match="no points"):
        draw_tradeoff({}, tmp_path / "t.png", "title")
    assert not [*tmp_path.iterdir()]


def test_the_words_on_a_picture(tmp_path):
    """The correlation stands with its interval and n."""
    with rc_context({"svg.fonttype": "none"}):
        draw_tradeoff(tradeoff(paper_points()).report(), tmp_path / "t.svg", "title")
    assert "r = 0.46 [-0.71, 0.95], n = 5" in (tmp_path / "t.svg").read_text()


def test_the_later_version_gains_retrieval_and_loses_all_three_scores():
    """By hand, from the authors' figures: ImageBind gains 15.61 points and loses 54/132 of b1 and 75/169 of b3."""
    found = {point.name: point for point in icassp2027_points("b1")}
    assert found["ImageBind"].gain == pytest.approx(15.61)
    assert found["ImageBind"].loss == pytest.approx(100 * 54 / 132)
    assert {point.name: point for point in icassp2027_points("b3")}["ImageBind"].loss == pytest.approx(100 * 75 / 169)
    assert {point.name: point for point in icassp2027_points("b2")}["Wav2CLIP"].loss == 0
    with pytest.raises(ValueError, match="must be one of b1, b2, b3"):
        icassp2027_points("gpt4o_overall")
