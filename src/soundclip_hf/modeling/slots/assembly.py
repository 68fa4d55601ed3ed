"""Makes the visual tokens of slots from hidden states: Algorithm 1, the projector, LLaVA's layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...kernels import substitute_tokens
from .geometry import SlotGeometry
from .slot import Slot


class SoundInfo(NamedTuple):
    """
    What the sound did to one slot (`return_sound_info=True`).

    Attributes:
        kept (`torch.Tensor` of shape `(N,)` or, for LLaVA-1.6, `(views, N)`, bool):
            The patches that are kept. `None` for a silent image.
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


def sound_info(slot: Slot, tiled: bool) -> SoundInfo:
    """[`SoundInfo`] of a slot from [`visual_tokens`]; `tiled` is True for LLaVA-1.6."""
    if not slot.has_sound:
        return SoundInfo()
    shape = (-1, slot.geometry.num_patches) if tiled else (-1,)
    return SoundInfo(slot.kept.view(shape), slot.similarity.view(shape), slot.k, slot.mode)


def visual_tokens(
    slots: Sequence[Slot],
    views: Tensor | None,
    audio: Tensor | None,
    project: Callable[[Tensor], Tensor],
    newline: Tensor | None,
) -> list[Slot]:
    """
    Substitute the sounds into their slots, project all slots and lay them out as LLaVA does.

    Args:
        slots: From [`settle_slots`].
        views: `(views, N + 1, D)` hidden states of the batch, CLS first; `None` without images.
        audio: `(sounds, D)` aligned embeddings `f_a`; `None` without sounds.
        project: LLaVA's `multi_modal_projector`, `(rows, D)` to `(rows, H)`.
        newline: `(H,)` of LLaVA-1.6, `None` for LLaVA-1.5.

    Returns:
        The slots with `embeds`, and those with a sound also with `tokens`, `kept` and `similarity`.
    """
    filled: list[Slot] = []
    silent = [slot for slot in slots if not slot.has_sound]
    if silent and views is not None:
        filled += _silent_slots(silent, views, project, newline, silent[0].with_first_row)
    if audio is not None:
        with_sound = [slot for slot in slots if slot.has_sound]
        filled += _sound_slots(_substitute(with_sound, views, audio), project, newline)
    return sorted(filled, key=lambda slot: slot.index)


def _substitute(slots: Sequence[Slot], views: Tensor | None, audio: Tensor) -> list[Slot]:
    """Algorithm 1 (appendix G of the paper): the sound takes row 0, the `k` best patches are kept, the others go."""
    rankings = [ranking for slot in slots for ranking in _rankings(slot)]
    results: dict[int, list[tuple[_Ranking, Tensor, Tensor, Tensor]]] = {}
    for group in _same_length(rankings):
        tokens = torch.stack([ranking.gather(views, audio) for ranking in group])
        valid = torch.from_numpy(np.stack([ranking.valid for ranking in group])).to(tokens.device)
        sounds = audio[[ranking.slot.sound for ranking in group]]
        budgets = torch.tensor([ranking.k for ranking in group])
        output = substitute_tokens(tokens, sounds, budgets, mode="drop", valid=valid)
        for ranking, compact, kept, similarity in zip(group, *output):
            results.setdefault(ranking.slot.index, []).append((ranking, compact, kept, similarity))
    return [_join(slot, results[slot.index]) for slot in slots]


def _sound_slots(slots: Sequence[Slot], project: Callable[[Tensor], Tensor], newline: Tensor | None) -> list[Slot]:
    # All zeroed patches share one projected vector (the projector has biases, so it is not zero): rows that are equal
    # before the projector are equal after it, and `N - k` of its rows need not be computed.
    blocks = [slot.tokens for slot in slots]
    blocks.append(torch.zeros_like(blocks[0][:1]))
    *projected, zero = project(torch.cat(blocks)).split([len(block) for block in blocks])
    newline_row = zero if newline is None else newline[None].to(zero)
    filled = []
    for slot, rows in zip(slots, projected):
        num_kept = len(rows) - 1
        place = torch.full((len(slot.kept),), num_kept, device=rows.device)
        place[slot.kept.nonzero()[:, 0].to(rows.device)] = torch.arange(num_kept, device=rows.device)
        order = torch.from_numpy(slot.geometry.order()).to(rows.device)
        # The row after the kept ones is the shared zero patch, the last one the newline.
        order = torch.where(order < 0, num_kept + 1, place[order.clamp(min=0)])
        if slot.mode == "drop":
            # Tiles that are shrunk keep nothing but their newlines, of which there are fewer then.
            order = order[order != num_kept][: num_kept + slot.geometry.newlines]
        if slot.mode == "zero" and slot.geometry.shrunk is not None:
            sequence = _shrunk(torch.cat([rows[1:], zero])[place], newline_row, slot.geometry)
        else:
            sequence = torch.cat([rows[1:], zero, newline_row])[order]
        filled.append(replace(slot, embeds=torch.cat([rows[:1], sequence]) if slot.with_first_row else sequence))
    return filled


def _silent_slots(
    slots: Sequence[Slot],
    views: Tensor,
    project: Callable[[Tensor], Tensor],
    newline: Tensor | None,
    keep_first_row: bool,
) -> list[Slot]:
    # Stock LLaVA's operations, one by one and in the order of the images: the result is equal bit for bit.
    counts = [slot.geometry.num_views for slot in slots]
    rows = [slot.first_view + view for slot, count in zip(slots, counts) for view in range(count)]
    if rows != list(range(len(views))):
        views = views[rows]
    if newline is None:
        sequences = list(project(views if keep_first_row else views[:, 1:]))
    else:
        projected = project(views[:, 1:])
        newline_row = newline[None].to(projected)
        sequences = [
            _laid_out(patches.flatten(0, 1), newline_row, slot.geometry)
            for slot, patches in zip(slots, projected.split(counts))
        ]
        if keep_first_row:
            # LLaVA-1.6's tile packing has no place for CLS; the base view's goes in front, as its processor counts it.
            starts = [sum(counts[:index]) for index in range(len(counts))]
            first_rows = project(views[:, :1][starts])
            sequences = [torch.cat([row, rest]) for row, rest in zip(first_rows, sequences)]
    return [replace(slot, embeds=sequence) for slot, sequence in zip(slots, sequences)]


def _laid_out(patches: Tensor, newline_row: Tensor, geometry: SlotGeometry) -> Tensor:
    """The tokens after row 0 of an image from its projected `(views * N, H)` patches, all of which stay."""
    if geometry.shrunk is not None:
        return _shrunk(patches, newline_row, geometry)
    return torch.cat([patches, newline_row])[torch.from_numpy(geometry.order()).to(patches.device)]


def _shrunk(patches: Tensor, newline_row: Tensor, geometry: SlotGeometry) -> Tensor:
    """LLaVA-OneVision's tokens of a large picture: base view, then the joined tiles, interpolated, with newlines."""
    order = geometry.order()
    in_tiles = torch.from_numpy(order[geometry.num_patches :]).to(patches.device)
    joined = patches[in_tiles[in_tiles >= 0]].view(geometry.tile_rows, geometry.tile_columns, -1)
    # Stock LLaVA-OneVision's operations, one by one.
    joined = joined.permute(2, 0, 1).contiguous()[None]
    joined = nn.functional.interpolate(joined, list(geometry.shrunk or ()), mode="bilinear")[0]
    newlines = newline_row[0][:, None, None].expand(*joined.shape[:-1], 1)
    joined = torch.cat([joined, newlines], dim=-1).flatten(1, 2).transpose(0, 1)
    return torch.cat([patches[: geometry.num_patches], joined])


@dataclass(eq=False)
class _Ranking:
    """The patches of a slot that compete for one budget."""

    slot: Slot
    first_view: int  # row of `views`, -1 without image
    num_views: int
    k: int
    valid: np.ndarray

    def gather(self, views: Tensor | None, audio: Tensor) -> Tensor:
        if views is None or self.first_view < 0:
            like = audio if views is None else views
            return like.new_zeros(1 + len(self.valid), like.shape[-1])
        chosen = views[self.first_view : self.first_view + self.num_views]
        if self.num_views == 1:
            return chosen[0]
        return torch.cat([chosen[0, :1], chosen[:, 1:].flatten(0, 1)])


def _rankings(slot: Slot) -> list[_Ranking]:
    geometry, n = slot.geometry, slot.geometry.num_patches
    if not slot.has_image:
        return [_Ranking(slot, -1, 1, 0, np.ones(n, dtype=bool))]
    valid = np.concatenate([np.ones((1, n), dtype=bool), geometry.survivors()])
    if slot.scope == "image":
        return [_Ranking(slot, slot.first_view, len(valid), min(slot.k, valid.size), valid.reshape(-1))]
    budgets = [slot.k] + [slot.k if slot.scope == "tile" else 0] * (len(valid) - 1)
    return [_Ranking(slot, slot.first_view + i, 1, k, valid[i]) for i, k in enumerate(budgets)]


def _same_length(rankings: Sequence[_Ranking]) -> list[list[_Ranking]]:
    groups: dict[int, list[_Ranking]] = {}
    for ranking in rankings:
        groups.setdefault(len(ranking.valid), []).append(ranking)
    return list(groups.values())


def _join(slot: Slot, parts: list[tuple[_Ranking, Tensor, Tensor, Tensor]]) -> Slot:
    tokens = [parts[0][1][:1]]
    for ranking, compact, _, _ in parts:
        tokens.append(compact[1 : 1 + min(ranking.k, int(ranking.valid.sum()))])
    kept = torch.cat([part[2] for part in parts])
    similarity = torch.cat([part[3] for part in parts])
    return replace(slot, tokens=torch.cat(tokens), kept=kept, similarity=similarity)


__all__ = ["SoundInfo", "sound_info", "visual_tokens"]
