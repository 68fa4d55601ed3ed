"""Algorithm 1 transcribed to NumPy from the paper, sharing no code with the package, and the contract built on it."""

import numpy as np
import torch
from torch import Tensor

BOUNDARY_GAP = 2e-6


def cosines(tokens: Tensor, audio: Tensor) -> np.ndarray:
    """`(B, N)` fp64 cosines of the patches with the sound in the dtype of the tokens."""
    f = audio.to(tokens.dtype).double().numpy()
    v = tokens[:, 1:].double().numpy()
    result = np.empty(v.shape[:2])
    with np.errstate(invalid="ignore", over="ignore"):
        for b in range(v.shape[0]):
            for i in range(v.shape[1]):
                norm = np.sqrt(np.sum(v[b, i] * v[b, i])) * np.sqrt(np.sum(f[b] * f[b]))
                result[b, i] = 0.0 if norm == 0 else np.sum(v[b, i] * f[b]) / norm
    return result


def keep(similarity: np.ndarray, k: int, valid: np.ndarray | None = None) -> np.ndarray:
    """The `k` best of one image as `(N,)` bool: NaN first, then descending, ties to the lower index."""
    candidates = [i for i in range(len(similarity)) if valid is None or valid[i]]
    candidates.sort(key=lambda i: (0, 0.0, i) if np.isnan(similarity[i]) else (1, -similarity[i], i))
    kept = np.zeros(len(similarity), dtype=bool)
    kept[candidates[:k]] = True
    return kept


def budgets_of(k: int | Tensor, batch: int) -> list[int]:
    return [k] * batch if isinstance(k, int) else k.tolist()


def rows(tokens: Tensor, audio: Tensor, kept: np.ndarray, k: int | Tensor, mode: str) -> Tensor:
    """The resulting tokens for a given kept set, row by row."""
    batch, length, dim = tokens.shape
    width = length if mode == "zero" else 1 + max(budgets_of(k, batch), default=0)
    result = torch.zeros(batch, width, dim, dtype=tokens.dtype)
    for b in range(batch):
        result[b, 0] = audio[b].to(tokens.dtype)
        for slot, i in enumerate(np.flatnonzero(kept[b])):
            result[b, 1 + (i if mode == "zero" else slot)] = tokens[b, 1 + i]
    return result


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().view(torch.uint8)


def check(output, tokens: Tensor, audio: Tensor, k: int | Tensor, mode: str = "zero", valid: Tensor | None = None):
    """Assert that `output` keeps every promise of `substitute_tokens` for CPU copies of these arguments."""
    exact = cosines(tokens, audio)
    similarity = output.similarity.cpu().numpy()
    np.testing.assert_array_equal(np.isnan(similarity), np.isnan(exact))
    np.testing.assert_allclose(similarity, exact, rtol=0, atol=1e-6)

    kept = output.kept.cpu().numpy()
    for b, budget in enumerate(budgets_of(k, tokens.shape[0])):
        allowed = None if valid is None else valid[b].numpy()
        np.testing.assert_array_equal(kept[b], keep(similarity[b], budget, allowed))
        ideal = keep(exact[b], budget, allowed)
        inside, outside = exact[b][ideal], exact[b][~ideal if allowed is None else ~ideal & allowed]
        gap = np.inf if not len(inside) or not len(outside) else inside.min() - outside.max()
        if gap > BOUNDARY_GAP:
            np.testing.assert_array_equal(kept[b], ideal)
    torch.testing.assert_close(
        bits(output.tokens), bits(rows(tokens, audio, kept, k, mode)), rtol=0, atol=0, msg="tokens differ bitwise"
    )


def draw_case(seed: int, dtype: torch.dtype, batch: int, patches: int, dim: int, kind: str):
    """Tokens and sound of one kind: heavy tailed as CLIP's, small integers (many exact ties), or with odd values."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, patches + 1, dim, generator=generator)
    audio = torch.randn(batch, dim, generator=generator)
    if kind == "clip":
        tokens[..., : max(1, dim // 64)] *= 30
    elif kind == "integers":
        tokens, audio = tokens.round(), audio.round()
    elif kind == "odd" and patches:
        where = torch.randint(patches, (4,), generator=generator) + 1
        tokens[0, where[0]] = float("nan")
        tokens[0, where[1], 0] = float("inf")
        tokens[0, where[2]] = 0.0
        tokens[0, where[3]] = -0.0
    return tokens.to(dtype), audio
