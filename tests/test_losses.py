"""The alignment objective against numbers computed by hand."""

import math
import subprocess
import sys

import pytest
import torch

from soundclip_hf import losses
from soundclip_hf.losses import (
    LOSS_TERMS,
    alignment_loss,
    cosine,
    distribution_matching,
    gather_pairs,
    info_nce,
    loss_terms,
    mse,
    soundclip_loss,
)

# Rows (2, 0) and (0, 5): cosines with themselves 1, with each other 0.
APART = torch.tensor([[2.0, 0.0], [0.0, 5.0]])


def test_info_nce_of_two_orthogonal_pairs():
    # Every softmax is over (1/tau, 0): -log(e^(1/tau) / (e^(1/tau) + 1)) = log(1 + e^(-1/tau)).
    for tau in (0.07, 0.5, 1.0):
        expected = math.log1p(math.exp(-1 / tau))
        assert info_nce(APART, APART, temperature=tau).item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_info_nce_of_swapped_pairs():
    expected = 2.0 + math.log1p(math.exp(-2.0))  # log(1 + e^2) with 1/tau = 2
    assert info_nce(APART, APART.flip(0), temperature=0.5).item() == pytest.approx(expected, rel=1e-6)


def test_info_nce_is_the_mean_of_both_directions():
    # Cosines [[1, 0.6], [0, 0.8]]: rows (sound to picture) and columns (picture to sound) differ.
    audio = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    vision = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    rows = math.log(math.exp(1) + math.exp(0.6)) - 1 + math.log(math.exp(0) + math.exp(0.8)) - 0.8
    columns = math.log(math.exp(1) + math.exp(0)) - 1 + math.log(math.exp(0.6) + math.exp(0.8)) - 0.8
    expected = (rows + columns) / 4  # 1 / (2B)
    assert info_nce(audio, vision, temperature=1.0).item() == pytest.approx(expected, rel=1e-6)
    assert info_nce(vision, audio, temperature=1.0).item() == pytest.approx(expected, rel=1e-6)


def test_uninformative_features_cost_log_of_the_batch():
    same = torch.ones(8, 5)
    assert info_nce(same, same).item() == pytest.approx(math.log(8), rel=1e-6)


def test_normalize_and_logit_scale():
    audio, vision = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(info_nce(7 * audio, vision / 3), info_nce(audio, vision))
    assert not torch.isclose(info_nce(7 * audio, vision, normalize=False), info_nce(audio, vision, normalize=False))
    torch.testing.assert_close(info_nce(audio, vision, logit_scale=4.0), info_nce(audio, vision, temperature=0.25))
    log_scale = torch.tensor(1.0, requires_grad=True)
    info_nce(audio, vision, logit_scale=log_scale.exp()).backward()
    assert log_scale.grad is not None
    assert log_scale.grad.abs() > 0


def test_distribution_matching_by_hand():
    audio = torch.tensor([[1.0, 0.0], [3.0, 0.0]])  # means (2, 0), population deviations (1, 0)
    vision = torch.tensor([[0.0, 1.0], [4.0, 1.0]])  # means (2, 1), deviations (2, 0)
    assert distribution_matching(audio, vision, 1.0).item() == pytest.approx(1.0 + 1.0)
    assert distribution_matching(audio, vision).item() == pytest.approx(0.02 * 2)
    assert distribution_matching(audio, audio.flip(0)).item() == 0


def test_constant_dimensions_have_finite_gradients():
    audio = torch.cat([torch.randn(4, 3), torch.zeros(4, 2)], dim=1).requires_grad_()
    distribution_matching(audio, torch.randn(4, 5)).backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_the_sum_is_of_features_that_are_not_normalised():
    audio, vision = 3 * torch.randn(5, 4), torch.randn(5, 4)
    expected = info_nce(audio, vision, temperature=0.1) + distribution_matching(audio, vision, 0.5)
    torch.testing.assert_close(soundclip_loss(audio, vision, temperature=0.1, weight=0.5), expected)
    torch.testing.assert_close(soundclip_loss(audio, vision, weight=0), info_nce(audio, vision))


def test_a_batch_of_one():
    one = torch.randn(1, 4)
    for loss in (info_nce, soundclip_loss):
        with pytest.raises(ValueError, match="at least 2 pairs in the batch, got 1"):
            loss(one, one)
    other = torch.randn(1, 4, requires_grad=True)
    value = distribution_matching(one, other, 1.0)
    torch.testing.assert_close(value, (one - other).square().sum())
    value.backward()
    assert other.grad is not None
    assert other.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fp32_inside(dtype):
    # In half precision the squares of these overflow, or the logits lose their low digits.
    audio, vision = (200 * torch.randn(16, 64)).to(dtype), torch.randn(16, 64).to(dtype)
    expected = soundclip_loss(audio.float(), vision.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = soundclip_loss(audio, vision)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("loss", [info_nce, distribution_matching, soundclip_loss])
def test_shapes_must_agree(loss):
    with pytest.raises(ValueError, match=r"audio \(3, 4\) and vision \(2, 4\)"):
        loss(torch.randn(3, 4), torch.randn(2, 4))
    with pytest.raises(ValueError, match="expected two tensors of the same shape"):
        loss(torch.randn(4), torch.randn(4))
    with pytest.raises(ValueError, match="expected two tensors of the same shape"):
        loss(torch.randn(0, 4), torch.randn(0, 4))


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature=0: must be positive"):
        info_nce(APART, APART, temperature=0)


def test_gradients():
    audio = torch.randn(4, 3, dtype=torch.float32, requires_grad=True)
    vision = torch.randn(4, 3)
    soundclip_loss(audio, vision, temperature=0.5).backward()
    step, direction = 1e-2, torch.randn(4, 3)
    with torch.no_grad():
        ends = [soundclip_loss(audio + sign * step * direction, vision, temperature=0.5) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((audio.grad * direction).sum(), slope, rtol=1e-2, atol=1e-4)


def test_cosine_and_mse_by_hand():
    audio = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    vision = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    assert cosine(audio, vision).item() == pytest.approx(1 - (0.6 - 1) / 2)
    assert mse(audio, vision).item() == pytest.approx((4 + 16 + 9 + 0) / 4)
    assert cosine(torch.zeros(1, 2), vision[:1]).item() == 1


def test_every_row_of_table_7():
    audio, vision = torch.randn(6, 4), torch.randn(6, 4)
    terms = {
        "info_nce": info_nce(audio, vision),
        "distribution": distribution_matching(audio, vision),
        "cosine": cosine(audio, vision),
        "mse": mse(audio, vision),
    }
    assert set(terms) == set(LOSS_TERMS)
    for name, expected in terms.items():
        assert torch.equal(alignment_loss(audio, vision, name), expected)
    for name in ("info_nce+distribution", "cosine + distribution", "info_nce+mse+cosine"):
        expected = torch.stack([terms[term] for term in loss_terms(name)]).sum()
        torch.testing.assert_close(alignment_loss(audio, vision, name), expected)
    torch.testing.assert_close(alignment_loss(audio, vision), soundclip_loss(audio, vision))


def test_distribution_matching_does_not_know_the_pairs():
    audio, vision = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(
        alignment_loss(audio, vision.flip(0), "distribution"), alignment_loss(audio, vision, "distribution")
    )


def test_unknown_and_repeated_terms():
    with pytest.raises(ValueError, match="'infonce' is not one of info_nce, distribution, cosine, mse"):
        loss_terms("infonce+mse")
    with pytest.raises(ValueError, match="a term occurs twice"):
        loss_terms("mse+mse")


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 8, 9, 100])
def test_chunked_logits_change_neither_loss_nor_gradients(chunk_size):
    def run(size):
        torch.manual_seed(1)
        audio, vision = torch.randn(9, 5, requires_grad=True), torch.randn(9, 5, requires_grad=True)
        scale = torch.tensor(2.0, requires_grad=True)
        loss = info_nce(audio, vision, logit_scale=scale.exp(), chunk_size=size)
        loss.backward()
        return loss.detach(), audio.grad, vision.grad, scale.grad

    for found, expected in zip(run(chunk_size), run(None)):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_chunk_size_must_be_positive():
    with pytest.raises(ValueError, match="chunk_size=0"):
        info_nce(APART, APART, chunk_size=0)


def test_one_process_has_nothing_to_gather():
    audio, vision = torch.randn(2, 3), torch.randn(2, 3)
    gathered = gather_pairs(audio, vision)
    assert gathered[0] is audio
    assert gathered[1] is vision


# A program of its own, which imports nothing but torch and the losses, and forks: importing transformers twice is slow.
TWO_PROCESSES = """
import importlib.util, os, sys
import torch
import torch.distributed as dist

source, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location("losses", source)
losses = importlib.util.module_from_spec(spec)
spec.loader.exec_module(losses)
torch.set_num_threads(1)
rank = 0 if os.fork() else 1
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
audio, vision = torch.load(f"{folder}/pairs.pt")
own = slice(0, 3) if rank == 0 else slice(3, 5)  # unequal shares
weight = torch.nn.Parameter(torch.eye(4))
pairs = losses.gather_pairs(audio[own] @ weight, vision[own])
loss = losses.soundclip_loss(*pairs)
loss.backward()
dist.all_reduce(weight.grad)  # what DDP does: the mean over processes
torch.save((loss.detach(), weight.grad / 2), f"{folder}/{rank}.pt")
dist.destroy_process_group()
if rank == 0:
    os.wait()
"""


def test_negatives_of_other_processes_with_their_gradient(tmp_path):
    audio, vision = torch.randn(5, 4), torch.randn(5, 4)
    torch.save((audio, vision), tmp_path / "pairs.pt")
    arguments = [sys.executable, "-c", TWO_PROCESSES, losses.__file__, str(tmp_path)]
    subprocess.run(arguments, check=True, timeout=300)
    weight = torch.nn.Parameter(torch.eye(4))
    loss = soundclip_loss(audio @ weight, vision)
    loss.backward()
    for rank in range(2):
        found, gradient = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found, loss.detach())
        torch.testing.assert_close(gradient, weight.grad)
