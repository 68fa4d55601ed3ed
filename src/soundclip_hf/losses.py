"""The alignment loss of appendix F.4 and the other losses of Table 7, computed in float32."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

LOSS_TERMS = ("info_nce", "distribution", "cosine", "mse")


def info_nce(
    audio: Tensor,
    vision: Tensor,
    *,
    temperature: float = 0.07,
    logit_scale: Tensor | float | None = None,
    normalize: bool = True,
    chunk_size: int | None = None,
) -> Tensor:
    r"""
    Bidirectional InfoNCE: each sound is matched with its picture among those of the batch, and the reverse.

    `L = -1/(2B) sum_i [log softmax_j(f_i · c_j / tau)_i + log softmax_j(c_i · f_j / tau)_i]`: the mean of the two
    cross-entropies, as in the paper.

    Args:
        audio: `f_a`, `(B, D)`, any float dtype; row i belongs to row i of `vision`.
        vision: `c`, `(B, D)`.
        temperature: `tau`, positive.
        logit_scale: The factor of the cosines, `1 / tau`, instead of `temperature`. It may be the exponential of a
            learnable parameter, which then gets a gradient.
        normalize: L2-normalise the rows first; a zero row stays zero.
        chunk_size: Number of sounds whose logits are in memory at a time. Memory grows with `chunk_size * B` instead of
            `B * B`, and the logits are computed a second time for the gradient. The result is the same up to rounding.
            None: all sounds.

    Returns:
        Scalar, fp32, at least 0.

    Raises:
        ValueError: If the shapes differ, an argument is not positive, or the batch has one pair only: without another
            pair the loss is always 0. Let the loader drop a last batch of one.
    """
    _check_pairs(audio, vision)
    if len(audio) < 2:
        raise ValueError(
            f"a contrastive loss needs at least 2 pairs in the batch, got {len(audio)}: a pair is "
            "contrasted with the others. Raise the batch size, or drop the last batch if it is incomplete "
            "(dataloader_drop_last=True)."
        )
    if logit_scale is None and temperature <= 0:
        raise ValueError(f"temperature={temperature}: must be positive.")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size}: must be at least 1 row, or None.")
    with torch.autocast(audio.device.type, enabled=False):
        audio, vision = audio.float(), vision.float()
        if normalize:
            audio, vision = F.normalize(audio, dim=-1), F.normalize(vision, dim=-1)
        scale = 1 / temperature if logit_scale is None else logit_scale
        if chunk_size is not None and chunk_size < len(audio):
            return _chunked_info_nce(audio, vision, scale, chunk_size)
        logits = audio @ vision.T * scale
        pairs = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def _chunked_info_nce(audio: Tensor, vision: Tensor, scale: Tensor | float, chunk_size: int) -> Tensor:
    def normalizers(part: Tensor, scale: Tensor | float) -> tuple[Tensor, Tensor]:
        logits = part @ vision.T * scale  # (chunk, B)
        return logits.logsumexp(1), logits.logsumexp(0)

    rows, columns = [], []
    for part in audio.split(chunk_size):
        # Without checkpointing, the logits of all chunks would stay in memory until the backward pass.
        of_rows, of_columns = checkpoint(normalizers, part, scale, use_reentrant=False, preserve_rng_state=False)
        rows.append(of_rows)
        columns.append(of_columns)
    true = (audio * vision).sum(1) * scale
    return (torch.cat(rows).mean() + torch.stack(columns).logsumexp(0).mean()) / 2 - true.mean()


def distribution_matching(audio: Tensor, vision: Tensor, weight: float = 0.02) -> Tensor:
    r"""
    `weight * (‖mu_a - mu_v‖² + ‖sigma_a - sigma_v‖²)`, of the mean and standard deviation over the batch.

    The paper does not say which standard deviation it uses. This is the population's (divided by B, not by B - 1). It
    is also defined for a batch of one, where it is 0 and only the means are matched. Constant dimensions, such as the
    padding of a raw embedding, have gradient 0.

    Args:
        audio: `f_a`, `(B, D)`, any float dtype, *not* normalised.
        vision: `c`, `(B, D)`, not normalised.
        weight: `lambda`.

    Returns:
        Scalar, fp32: a sum over the D dimensions, so it grows with their number and with the scale of the features.

    Raises:
        ValueError: If the shapes differ or the batch is empty.
    """
    _check_pairs(audio, vision)
    with torch.autocast(audio.device.type, enabled=False):
        audio, vision = audio.float(), vision.float()
        means = (audio.mean(0) - vision.mean(0)).square().sum()
        deviations = (audio.std(0, correction=0) - vision.std(0, correction=0)).square().sum()
        return weight * (means + deviations)


def cosine(audio: Tensor, vision: Tensor) -> Tensor:
    """
    Mean of `1 - cos(f_a, c)` over the pairs: Table 7's "Cosine Similarity". It does not separate different pairs.

    Args:
        audio: `f_a`, `(B, D)`, any float dtype; a zero row has cosine 0.
        vision: `c`, `(B, D)`; row i belongs to row i of `audio`.

    Returns:
        Scalar, fp32, in 0..2.

    Raises:
        ValueError: If the shapes differ or the batch is empty.
    """
    _check_pairs(audio, vision)
    return 1 - F.cosine_similarity(audio.float(), vision.float(), dim=-1).mean()


def mse(audio: Tensor, vision: Tensor) -> Tensor:
    """
    Mean squared difference over pairs and dimensions, of features that are not normalised: Table 7's "MSE Loss".

    Args:
        audio: `f_a`, `(B, D)`, any float dtype.
        vision: `c`, `(B, D)`; row i belongs to row i of `audio`.

    Returns:
        Scalar, fp32.

    Raises:
        ValueError: If the shapes differ or the batch is empty.
    """
    _check_pairs(audio, vision)
    return F.mse_loss(audio.float(), vision.float())


def loss_terms(name: str) -> tuple[str, ...]:
    """
    Split a sum such as "info_nce+distribution" into its terms.

    Raises:
        ValueError: For an unknown term, or one that occurs twice.
    """
    terms = tuple(term.strip() for term in name.split("+"))
    if unknown := [term for term in terms if term not in LOSS_TERMS]:
        raise ValueError(f"loss={name!r}: {unknown[0]!r} is not one of {', '.join(LOSS_TERMS)}; join several with '+'.")
    if len(set(terms)) < len(terms):
        raise ValueError(f"loss={name!r}: a term occurs twice; name it once.")
    return terms


def alignment_loss(
    audio: Tensor,
    vision: Tensor,
    loss: str = "info_nce+distribution",
    *,
    temperature: float = 0.07,
    logit_scale: Tensor | float | None = None,
    weight: float = 0.02,
    chunk_size: int | None = None,
) -> Tensor:
    """
    A sum of losses: the rows of the paper's Table 7, and other combinations.

    The row "Distribution Matching" of that table cannot be `distribution` alone. This term does not depend on which
    picture belongs to which sound (any order of the pictures gives the same value), so retrieval would stay at chance,
    but the table states mean ranks of 37.8 and 16.6 of 100. The paper does not state the other term;
    "cosine+distribution" is a guess.

    Args:
        audio: `f_a`, `(B, D)`, not normalised.
        vision: `c`, `(B, D)`; row i belongs to row i of `audio`.
        loss: One or more of `LOSS_TERMS`, joined with "+". All have weight 1, except for "distribution".
        temperature, logit_scale, chunk_size: As in [`info_nce`].
        weight: `lambda` of [`distribution_matching`].

    Returns:
        Scalar, fp32.

    Raises:
        ValueError: For an unknown term, and as in the terms.
    """
    values = []
    for term in loss_terms(loss):
        if term == "info_nce":
            values.append(
                info_nce(audio, vision, temperature=temperature, logit_scale=logit_scale, chunk_size=chunk_size)
            )
        elif term == "distribution":
            values.append(distribution_matching(audio, vision, weight))
        else:
            values.append(cosine(audio, vision) if term == "cosine" else mse(audio, vision))
    return torch.stack(values).sum()


def gather_pairs(audio: Tensor, vision: Tensor) -> tuple[Tensor, Tensor]:
    """
    Gather the pairs of all processes, in the order of their ranks, so that those of other processes are negatives too.

    A loss of the result has the same value in every process, and its gradient reaches the features of every process.
    DDP then averages the gradients of the parameters over the processes, which gives the gradients of one process with
    the whole batch.

    Args:
        audio, vision: `(b, D)`; `b` may differ between processes.

    Returns:
        `(sum of b, D)` each; the arguments themselves if there is only one process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return audio, vision
    length = torch.tensor([len(audio)], device=audio.device)
    lengths = [torch.empty_like(length) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, length)
    sizes = [int(size) for size in lengths]
    return _Gather.apply(audio, sizes), _Gather.apply(vision, sizes)


class _Gather(torch.autograd.Function):
    # The backward pass of torch.distributed.nn's all_gather does not work with gloo for every dtype and size.
    @staticmethod
    def forward(ctx: Any, features: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = F.pad(features, (0, 0, 0, max(sizes) - len(features))).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total.split(ctx.sizes)[dist.get_rank()], None


def soundclip_loss(
    audio: Tensor,
    vision: Tensor,
    *,
    temperature: float = 0.07,
    logit_scale: Tensor | float | None = None,
    weight: float = 0.02,
) -> Tensor:
    """
    The paper's whole loss, `info_nce + distribution_matching`, of features that are not normalised.

    Args:
        audio: `f_a`, `(B, D)`, B at least 2.
        vision: `c`, `(B, D)`; row i belongs to row i of `audio`.
        temperature, logit_scale: As in [`info_nce`].
        weight: As in [`distribution_matching`]; 0 leaves this term out.

    Returns:
        Scalar, fp32.

    Raises:
        ValueError: As in [`info_nce`].
    """
    loss = info_nce(audio, vision, temperature=temperature, logit_scale=logit_scale)
    return loss + distribution_matching(audio, vision, weight) if weight else loss


def _check_pairs(audio: Tensor, vision: Tensor) -> None:
    if audio.ndim != 2 or audio.shape != vision.shape or not len(audio):
        raise ValueError(
            f"audio {tuple(audio.shape)} and vision {tuple(vision.shape)}: expected two tensors of the same "
            "shape (batch, dim), where row i of one belongs to row i of the other."
        )


__all__ = [
    "LOSS_TERMS",
    "alignment_loss",
    "cosine",
    "distribution_matching",
    "gather_pairs",
    "info_nce",
    "loss_terms",
    "mse",
    "soundclip_loss",
]
