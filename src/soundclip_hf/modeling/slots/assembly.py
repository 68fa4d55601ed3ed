"""Algorithm 1 over the visual slots of a batch: row 0 becomes the sound, the `k` best patches stay, the rest goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...kernels import substitute_tokens
from .verification import Slot


class SoundInfo(NamedTuple):
    """
    What the sound did to one slot (`return_sound_info=True`).

    Attributes:
        kept (`torch.Tensor` of shape `(N,)` or, for LLaVA-1.6, `(views, N)`, bool):
            The patches that stayed. `None` for a silent image.
        similarity (`torch.Tensor`, same shape, float32):
            Cosine between `f_a` and each patch. `None` for a silent image.
        k (`int`):
            Patch budget; -1 for a silent image.
        mode (`str`):
            "zero", "drop" or "silent".
    """

    kept: Tensor | None = None
    similarity: Tensor | None = None
    k: int = -1
    mode: str = "silent"


@dataclass
class SubstitutedSlot:
    """
    One sounding slot after Algorithm 1, rows that became zero left out.

    Attributes:
        slot: What it holds.
        tokens: `(1 + kept, D)`: `f_a`, then the kept patches of base view and tiles in ascending order.
        kept: bool `(max(views, 1) * N,)`.
        similarity: float32, same shape.
    """

    slot: Slot
    tokens: Tensor
    kept: Tensor
    similarity: Tensor

    def info(self, tiled: bool) -> SoundInfo:
        shape = (-1, self.slot.geometry.num_patches) if tiled else (-1,)
        return SoundInfo(self.kept.view(shape), self.similarity.view(shape), self.slot.k, self.slot.mode)


def substitute_slots(slots: Sequence[Slot], views: Tensor | None, audio: Tensor, scope: str) -> list[SubstitutedSlot]:
    """
    Apply Algorithm 1 (appendix G of the paper) to every sounding slot.

    Args:
        slots: The sounding ones.
        views: `(views, N + 1, D)` hidden states of the batch, CLS first; `None` without images.
        audio: `(sounds, D)` aligned embeddings `f_a`.
        scope: What shares a budget: "tile" (each view), "image" (base and tiles), "base" (tiles keep nothing).
    """
    rows: list[_Row] = []
    for slot in slots:
        rows += _ranking_rows(slot, scope)
    results: dict[int, list[tuple[_Row, Tensor, Tensor, Tensor]]] = {}
    for group in _same_length(rows):
        tokens = torch.stack([row.gather(views, audio) for row in group])
        valid = torch.from_numpy(np.stack([row.valid for row in group])).to(tokens.device)
        sounds = audio[[row.slot.sound for row in group]]
        output = substitute_tokens(tokens, sounds, torch.tensor([row.k for row in group]), mode="drop", valid=valid)
        for row, compact, kept, similarity in zip(group, *output):
            results.setdefault(row.slot.index, []).append((row, compact, kept, similarity))
    return [_join(slot, results[slot.index]) for slot in slots]


def assemble_slots(
    substituted: Sequence[SubstitutedSlot],
    project: Callable[[Tensor], Tensor],
    newline: Tensor | None,
    keep_first_row: bool,
) -> list[Tensor]:
    """
    Project the substituted tokens and lay them out as LLaVA does.

    All zeroed patches share one projected vector (the projector has biases, so it is not zero): rows that are equal
    before the projector are equal after it, and `N - k` of its rows need not be computed.

    Args:
        substituted: From [`substitute_slots`].
        project: LLaVA's `multi_modal_projector`, `(rows, D)` to `(rows, H)`.
        newline: `(H,)` of LLaVA-1.6.
        keep_first_row: False drops `f_a`'s row ("default" strategy).

    Returns:
        One `(slot.num_tokens, H)` tensor per slot.
    """
    blocks = [item.tokens for item in substituted]
    blocks.append(torch.zeros_like(blocks[0][:1]))
    *projected, zero = project(torch.cat(blocks)).split([len(block) for block in blocks])
    newline_row = zero if newline is None else newline[None].to(zero)
    sequences = []
    for item, rows in zip(substituted, projected):
        num_kept = len(rows) - 1
        place = torch.full((len(item.kept),), num_kept, device=rows.device)
        place[item.kept.nonzero()[:, 0].to(rows.device)] = torch.arange(num_kept, device=rows.device)
        order = torch.from_numpy(item.slot.geometry.order()).to(rows.device)
        # The row after the kept ones is the shared zero patch, the last one the newline.
        order = torch.where(order < 0, num_kept + 1, place[order.clamp(min=0)])
        if item.slot.mode == "drop":
            order = order[order != num_kept]
        sequence = torch.cat([rows[1:], zero, newline_row])[order]
        sequences.append(torch.cat([rows[:1], sequence]) if keep_first_row else sequence)
    return sequences


@dataclass(eq=False)
class _Row:
    """One ranking: the patches that compete for one budget."""

    slot: Slot
    start: int  # first patch in the slot's flat `(views * N)` order
    first_view: int  # row of `views`, -1 without image
    num_views: int
    k: int
    valid: np.ndarray

    def gather(self, views: Tensor | None, audio: Tensor) -> Tensor:
        if views is None or self.first_view < 0:
            width = audio.shape[-1] if views is None else views.shape[-1]
            like = audio if views is None else views
            return like.new_zeros(1 + len(self.valid), width)
        chosen = views[self.first_view : self.first_view + self.num_views]
        if self.num_views == 1:
            return chosen[0]
        return torch.cat([chosen[0, :1], chosen[:, 1:].flatten(0, 1)])


def _ranking_rows(slot: Slot, scope: str) -> list[_Row]:
    geometry, n = slot.geometry, slot.geometry.num_patches
    if not geometry.has_image:
        return [_Row(slot, 0, -1, 1, 0, np.ones(n, dtype=bool))]
    valid = np.concatenate([np.ones((1, n), dtype=bool), geometry.survivors()])
    if scope == "image":
        return [_Row(slot, 0, slot.view, len(valid), min(slot.k, valid.size), valid.reshape(-1))]
    budgets = [slot.k] + [slot.k if scope == "tile" else 0] * (len(valid) - 1)
    return [_Row(slot, i * n, slot.view + i, 1, k, valid[i]) for i, k in enumerate(budgets)]


def _same_length(rows: Sequence[_Row]) -> list[list[_Row]]:
    groups: dict[int, list[_Row]] = {}
    for row in rows:
        groups.setdefault(len(row.valid), []).append(row)
    return list(groups.values())


def _join(slot: Slot, parts: list[tuple[_Row, Tensor, Tensor, Tensor]]) -> SubstitutedSlot:
    tokens = [parts[0][1][:1]]
    for row, compact, _, _ in parts:
        tokens.append(compact[1 : 1 + min(row.k, int(row.valid.sum()))])
    kept = torch.cat([part[2] for part in parts])
    similarity = torch.cat([part[3] for part in parts])
    return SubstitutedSlot(slot, torch.cat(tokens), kept, similarity)
