"""The alignment objective of appendix F.4: paired audio and vision features in, a scalar out; fp32 inside."""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    audio: Tensor,
    vision: Tensor,
    *,
    temperature: float = 0.07,
    logit_scale: Tensor | float | None = None,
    normalize: bool = True,
) -> Tensor:
    r"""
    Bidirectional InfoNCE: each sound has to find its picture among those of the batch, and the reverse.

    `L = -1/(2B) sum_i [log softmax_j(f_i · c_j / tau)_i + log softmax_j(c_i · f_j / tau)_i]`: the mean of the two
    cross-entropies, as printed.

    Args:
        audio: `f_a`, `(B, D)`, any float dtype; row i belongs to row i of `vision`.
        vision: `c`, `(B, D)`.
        temperature: `tau`, positive.
        logit_scale: What the cosines are multiplied by, `1 / tau`, in place of `temperature`: the exponential of a
            learnable parameter gets its gradient here.
        normalize: L2-normalise the rows first; a zero row stays zero.

    Returns:
        Scalar, fp32, at least 0.

    Raises:
        ValueError: If the shapes differ, or for a batch of one: without another pair there is nothing to contrast, the
            loss would be 0 and teach nothing. Let the loader drop a last batch of one.
    """
    _check_pairs(audio, vision)
    if len(audio) < 2:
        raise ValueError(
            f"a contrastive loss needs at least 2 pairs in the batch, got {len(audio)}: there is nothing to tell a "
            "pair from. Raise the batch size, or drop the last, incomplete batch (dataloader_drop_last=True)."
        )
    if logit_scale is None and temperature <= 0:
        raise ValueError(f"temperature={temperature}: must be positive.")
    with torch.autocast(audio.device.type, enabled=False):
        audio, vision = audio.float(), vision.float()
        if normalize:
            audio, vision = F.normalize(audio, dim=-1), F.normalize(vision, dim=-1)
        logits = audio @ vision.T * (1 / temperature if logit_scale is None else logit_scale)
        pairs = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def distribution_matching(audio: Tensor, vision: Tensor, weight: float = 0.02) -> Tensor:
    r"""
    `weight * (‖mu_a - mu_v‖² + ‖sigma_a - sigma_v‖²)`, mean and standard deviation of each dimension over the batch.

    The paper does not say which standard deviation; this is the population's (divided by B, not by B - 1): it is
    defined for a batch of one, where it is 0 and the means alone are matched. Constant dimensions, such as the padding
    of a raw embedding, have gradient 0.

    Args:
        audio: `f_a`, `(B, D)`, any float dtype, *not* normalised.
        vision: `c`, `(B, D)`, not normalised.
        weight: `lambda`.

    Returns:
        Scalar, fp32: a sum over the D dimensions, so its size grows with the width and the scale of the features.

    Raises:
        ValueError: If the shapes differ or the batch is empty.
    """
    _check_pairs(audio, vision)
    with torch.autocast(audio.device.type, enabled=False):
        audio, vision = audio.float(), vision.float()
        means = (audio.mean(0) - vision.mean(0)).square().sum()
        deviations = (audio.std(0, correction=0) - vision.std(0, correction=0)).square().sum()
        return weight * (means + deviations)


def soundclip_loss(
    audio: Tensor,
    vision: Tensor,
    *,
    temperature: float = 0.07,
    logit_scale: Tensor | float | None = None,
    weight: float = 0.02,
) -> Tensor:
    """
    The whole objective, `info_nce + distribution_matching`, of features that are not normalised.

    Args:
        audio: `f_a`, `(B, D)`, B at least 2.
        vision: `c`, `(B, D)`; row i belongs to row i of `audio`.
        temperature, logit_scale: Of [`info_nce`].
        weight: Of [`distribution_matching`]; 0 leaves it out.

    Returns:
        Scalar, fp32.

    Raises:
        ValueError: As [`info_nce`].
    """
    loss = info_nce(audio, vision, temperature=temperature, logit_scale=logit_scale)
    return loss + distribution_matching(audio, vision, weight) if weight else loss


def _check_pairs(audio: Tensor, vision: Tensor) -> None:
    if audio.ndim != 2 or audio.shape != vision.shape or not len(audio):
        raise ValueError(
            f"audio {tuple(audio.shape)} and vision {tuple(vision.shape)}: expected two tensors of one shape "
            "(batch, dim), row i of one belonging to row i of the other."
        )


__all__ = ["distribution_matching", "info_nce", "soundclip_loss"]
