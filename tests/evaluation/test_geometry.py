"""What embeddings share: against definitions written out in NumPy, known values, and data without any relation."""

import json
import math

import numpy as np
import pytest
import torch

from soundclip_hf.evaluation.embedded_samples import EmbeddedSamples, Entry
from soundclip_hf.evaluation.geometry import (
    cka,
    info_nce_bound,
    label_probe,
    linear_cka,
    linear_predictability,
    measure_geometry,
)
from soundclip_hf.evaluation.geometry.probes import PENALTIES, _Ridge


@pytest.fixture
def pair():
    """`(40, 6)` and `(40, 3)`, related."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    return x, x[:, :3] @ torch.randn(3, 3, generator=generator) + torch.randn(40, 3, generator=generator)


def hsic(k, l, debiased):  # noqa: E741
    """By its definition, with matrices of all pairs."""
    n = len(k)
    if not debiased:
        centre = np.eye(n) - 1 / n
        return np.trace(k @ centre @ l @ centre)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    ones = np.ones(n)
    middle = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (ones @ k @ l @ ones)
    return (np.trace(k @ l) + middle) / (n * (n - 3))


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("width", [3, 70])
def test_cka_is_its_definition(pair, debiased, width):
    x, y = pair[0].double(), torch.nn.functional.pad(pair[1], (0, width - 3), value=0.5).double()
    y[:, 3:] += torch.randn(40, width - 3).double()
    k, l = (part.numpy() @ part.numpy().T for part in (x, y))  # noqa: E741
    expected = hsic(k, l, debiased) / math.sqrt(hsic(k, k, debiased) * hsic(l, l, debiased))
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(expected, abs=1e-9)


def test_cka_of_the_same_features_is_1():
    torch.manual_seed(0)
    x = torch.randn(50, 8).double()
    rotation = torch.linalg.qr(torch.randn(8, 8).double()).Q
    for other in (x, 3 * x @ rotation + 5, torch.nn.functional.pad(-x, (0, 100))):
        assert linear_cka(x, other) == pytest.approx(1)
        assert linear_cka(x, other, debiased=True) == pytest.approx(1)


def test_cka_of_independent_features():
    """Plain CKA is large where n is not much larger than the widths; debiased it is 0 on average."""
    torch.manual_seed(0)
    values = []
    for _ in range(40):
        x, y = torch.randn(60, 40), torch.randn(60, 40)
        values.append((linear_cka(x, y), linear_cka(x, y, debiased=True)))
    plain, debiased = torch.tensor(values).mean(0).tolist()
    assert plain > 0.3
    assert abs(debiased) < 0.01


def test_interval_and_shuffled_pairs_of_cka(pair):
    found = cka(*pair)
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(linear_cka(*pair, debiased=name == "cka_debiased"))
        low, high = estimate.interval
        assert low < estimate.value < high
        assert estimate.shuffled < low
    assert abs(found["cka_debiased"].shuffled) < 0.1
    torch.manual_seed(1)
    low, high = cka(torch.randn(200, 10), torch.randn(200, 10))["cka_debiased"].interval
    assert low < 0 < high


def test_the_interval_is_as_wide_as_new_samples_spread():
    """Of 30 data sets of one population, about 95 % of the intervals hold the value of the whole population."""
    torch.manual_seed(0)
    mixing = torch.randn(6, 6)

    def draw(n):
        x = torch.randn(n, 6)
        return x, x @ mixing + 2 * torch.randn(n, 6)

    truth = linear_cka(*draw(50_000), debiased=True)
    held = 0
    for seed in range(30):
        low, high = cka(*draw(150), seed=seed)["cka_debiased"].interval
        held += low <= truth <= high
    assert 25 <= held <= 30


def test_ridge_is_the_normal_equations_and_its_left_out_errors_are_refits():
    torch.manual_seed(0)
    for n, d in ((12, 5), (7, 9)):
        x, y, new = torch.randn(n, d).double(), torch.randn(n, 2).double(), torch.randn(3, d).double()
        ridge = _Ridge(x)
        part, predicted = ridge.predict(y, new)
        penalty = part * float(ridge.values.mean())

        def fit(rows, penalty, x=x, y=y):
            mean_x, mean_y = x[rows].mean(0), y[rows].mean(0)
            left = (x[rows] - mean_x).T @ (x[rows] - mean_x) + penalty * torch.eye(x.shape[1]).double()
            weights = torch.linalg.solve(left, (x[rows] - mean_x).T @ (y[rows] - mean_y))
            return lambda at: (at - mean_x) @ weights + mean_y

        torch.testing.assert_close(predicted, fit(range(n), penalty)(new))
        errors = {}
        for candidate in PENALTIES:
            left_out = [[row for row in range(n) if row != out] for out in range(n)]
            fits = [fit(rows, candidate * float(ridge.values.mean())) for rows in left_out]
            errors[candidate] = sum(float((y[out] - fits[out](x[out])).square().sum()) for out in range(n))
        # Leaving a row out moves the mean a little, which the closed form neglects.
        assert errors[part] <= 1.05 * min(errors.values())


def test_predictability_of_a_linear_map_of_noise_and_of_too_little():
    torch.manual_seed(0)
    x = torch.randn(120, 10)
    exact = linear_predictability(x, x @ torch.randn(10, 30) + 3)
    assert exact.value > 0.999
    assert exact.shuffled < 0.1
    noise = linear_predictability(x, torch.randn(120, 4))
    assert noise.interval[0] < 0.02
    assert noise.value < 0.05
    # One of two equal parts of the variance can be predicted.
    half = linear_predictability(x, torch.cat([x[:, :5], torch.randn(120, 5)], dim=1))
    assert half.interval[0] < half.value < half.interval[1]
    assert half.value == pytest.approx(0.5, abs=0.1)


def test_groups_stay_on_one_side():
    """Items of a group are equal but for noise: with a foot on both sides, labels of noise could be predicted."""
    torch.manual_seed(0)
    x = torch.randn(30, 40).repeat_interleave(4, 0) + 0.01 * torch.randn(120, 40)
    y = torch.randn(30, 1).repeat_interleave(4, 0)
    names = [str(number // 4) for number in range(120)]
    assert linear_predictability(x, y).value > 0.9
    assert linear_predictability(x, y, groups=names).value < 0.3


def test_probe():
    torch.manual_seed(0)
    labels = ["bell", "dog", "rain"] * 40
    centres = 4 * torch.eye(3)[torch.tensor([0, 1, 2] * 40)]
    clear = label_probe(centres + 0.1 * torch.randn(120, 3), labels)
    assert clear.value == 1
    assert clear.interval == (1, 1)
    assert clear.shuffled == pytest.approx(1 / 3, abs=0.15)
    assert clear.settings == {"folds": 5, "classes": 3, "majority": pytest.approx(1 / 3)}
    blind = label_probe(torch.randn(120, 3), labels)
    # Labels that are rare in one part are frequent in the others, so that knowing nothing may give less than a third.
    assert blind.interval[0] < blind.shuffled + 0.1
    assert blind.value < 0.45


def test_bound_of_one_hot_embeddings():
    """Each row's own cosine is 1 and all others are 0: L = log(1 + (N - 1) exp(-1 / temperature))."""
    rows = torch.eye(16)
    for temperature in (0.05, 0.5):
        found = info_nce_bound(rows, 3 * rows, batch_size=16, temperature=temperature)
        expected = math.log(16) - math.log1p(15 * math.exp(-1 / temperature))
        assert found.value == pytest.approx(expected)
        assert found.interval == pytest.approx((expected, expected))
    assert found.settings == {"temperatures": [0.5], "batch_size": 16, "most": math.log(16)}


def test_bound_is_a_lower_bound():
    """Angles with wrapped noise of a known entropy: the mutual information is log(2 pi) minus that entropy."""
    torch.manual_seed(0)
    angle, spread = 2 * math.pi * torch.rand(4000), 0.5
    other = angle + spread * torch.randn(4000)
    truth = math.log(2 * math.pi) - 0.5 * math.log(2 * math.pi * math.e * spread**2)
    x, y = (torch.stack([part.cos(), part.sin()], dim=1) for part in (angle, other))
    found = info_nce_bound(x, y)
    assert 0.8 * truth < found.value < truth
    assert found.interval[0] < found.value < found.interval[1]
    assert found.shuffled < 0.05
    assert len(found.settings["temperatures"]) == 2
    # The best temperature of a von Mises density near this normal one is its variance.
    assert all(0.1 < one < 0.7 for one in found.settings["temperatures"])
    blind = info_nce_bound(torch.randn(400, 8), torch.randn(400, 8))
    assert blind.value < 0.1


def samples(n, labelled=True):
    torch.manual_seed(0)
    pictures = torch.randn(n, 6)
    labels = [{"source": "ab"[int(row[0] > 0)]} if labelled else {} for row in pictures]
    entries = [Entry(f"s{number}", f"s{number}", "", labels[number]) for number in range(n)]
    return EmbeddedSamples(entries, torch.randn(n, 4), pictures + 0.3 * torch.randn(n, 6), pictures, {})


def test_all_measurements():
    told = []
    metrics, error_bars, config = measure_geometry(samples(80), progress=told.append)
    assert sum(told) == 8
    keys = {"cka", "cka_debiased", "cls_r2", "infonce_nats", "probe_accuracy"}
    expected = {f"{name}_{key}" for name in ("raw", "projected") for key in keys}
    assert set(metrics) == expected | {"shuffled"}
    assert set(metrics["shuffled"]) == set(error_bars["interval_95"]) == set(config["chosen"]) == expected
    for key in keys:
        assert metrics[f"projected_{key}"] > metrics[f"raw_{key}"]
    assert config["labels"] == "source"
    assert config["labelled"] == 80
    json.dumps([metrics, error_bars, config], allow_nan=False)
    metrics, _, config = measure_geometry(samples(20, labelled=False))
    assert "raw_probe_accuracy" not in metrics
    assert config["labels"] is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_cka(torch.randn(3, 2), torch.randn(4, 2)), r"x \(3, 2\) and y \(4, 2\)"),
        (lambda: linear_cka(torch.randn(3, 2), torch.randn(3, 2), debiased=True), "3 samples: at least 4"),
        (lambda: linear_cka(torch.randn(5, 2), torch.full((5, 2), 0.1)), "all rows of one side are the same"),
        (lambda: cka(torch.randn(9, 2) / 0, torch.randn(9, 2)), "x: holds NaN or Inf"),
        (lambda: linear_predictability(torch.randn(20, 2), torch.full((20, 2), 0.1)), "nothing to predict"),
        (lambda: linear_predictability(torch.randn(9, 2), torch.randn(9, 2)), "9 samples: at least 10"),
        (
            lambda: linear_predictability(torch.randn(12, 2), torch.randn(12, 2), groups=list("abc") * 4),
            "folds=5: must be 2 to 3, the number of groups",
        ),
        (lambda: label_probe(torch.randn(20, 2), ["a"] * 20), "20 labels of 1 kinds for 20 items"),
        (lambda: info_nce_bound(torch.randn(8, 2), torch.randn(8, 3)), "other widths"),
        (lambda: info_nce_bound(torch.randn(8, 2), torch.randn(8, 2), batch_size=1), "batch_size=1"),
        (lambda: measure_geometry(samples(5)), "5 samples: at least 8"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
