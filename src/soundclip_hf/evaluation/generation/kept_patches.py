"""Which patches of a picture a sound keeps, without asking the language model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .answering import AnsweringModel, AnswerSettings, prepare, question_about

# What of a processor's output the vision tower and the sound need; the words are not looked at.
_MEDIA = ("pixel_values", "image_sizes", "input_features", "input_features_mask", "sound_slots", "sound_budget")


class KeptPatches(NamedTuple):
    """
    Attributes:
        kept: bool `(N,)`: the patches that are kept.
        similarity: float32 `(N,)`: cosine between the sound's embedding and each patch.
    """

    kept: NDArray[np.bool_]
    similarity: NDArray[np.float32]


def kept_patches(
    picture: Image.Image,
    sound: np.ndarray,
    sampling_rate: int,
    answering: AnsweringModel,
    alignments: Sequence[str],
    *,
    top_k: int | None = None,
    alpha: float | None = None,
) -> dict[str, KeptPatches]:
    """
    What a sound keeps of the one view of LLaVA-1.5, or of the base view of LLaVA-1.6.

    Args:
        sound: `(samples,)` float32.
        alignments: Of "raw" and "projected": which embeddings of the sound to take.
        top_k, alpha: As in [`AnswerSettings`].

    Returns:
        By alignment, the N = `patches_per_side ** 2` patches of the view, row by row.
    """
    # The other patches are set to zero or dropped after the choice, which is the same for both.
    settings = AnswerSettings(top_k=top_k, patches="zero")
    inputs = prepare([question_about("", picture, sound, sampling_rate)], settings, answering)
    media = {name: inputs[name] for name in _MEDIA if name in inputs}
    count = answering.model.config.patches_per_side**2
    found = {}
    for alignment in alignments:
        mixed = alpha if alignment == "projected" else None
        with torch.inference_mode():
            output = answering.model.get_image_features(**media, sound_alignment=alignment, sound_alpha=mixed)
        assert output.sound_info is not None
        info = output.sound_info[0]
        assert info.kept is not None
        assert info.similarity is not None
        # Of LLaVA-1.6 the first view is the base view.
        kept, similarity = (part.flatten()[:count].cpu() for part in (info.kept, info.similarity.float()))
        found[alignment] = KeptPatches(kept.numpy(), similarity.numpy())
    return found


__all__ = ["KeptPatches", "kept_patches"]
