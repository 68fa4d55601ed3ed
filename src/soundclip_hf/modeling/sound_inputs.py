"""Turns sounds into the features of an audio encoder, for both processors."""

from collections.abc import Iterable
from typing import Any

import torch

from ..media import load_sound
from .slots.slot import EncodedSound


def sound_inputs(
    feature_extractor: Any, sounds: Iterable[tuple[Any, int | None]], audio_kwargs: dict[str, Any]
) -> dict[str, Any]:
    """
    Load sounds and extract their features.

    Args:
        feature_extractor: Of the audio encoder.
        sounds: `(source, sampling rate of a bare array in Hz or None)`; either all of them are [`EncodedSound`]s, or
            none is.
        audio_kwargs: For the feature extractor.

    Returns:
        `input_features` `(sounds, windows, ...)` float32 and `input_features_mask`; of [`EncodedSound`]s,
        `sound_embeds` `(sounds, d_a)` float32.

    Raises:
        ValueError: If a sound cannot be used, naming its place. `MediaError`, one of them, names the file.
    """
    sounds = list(sounds)
    encoded = [source.embedding for source, _ in sounds if isinstance(source, EncodedSound)]
    if encoded:
        if len(encoded) < len(sounds):
            raise ValueError(
                f"{len(encoded)} of {len(sounds)} sounds of a call are encoded already: give the embeddings of all of "
                "them, or of none"
            )
        return {"sound_embeds": torch.stack(encoded).float().numpy()}
    rate, waveforms = feature_extractor.sampling_rate, []
    for index, (source, source_rate) in enumerate(sounds):
        try:
            waveforms.append(load_sound(source, sampling_rate=rate, source_rate=source_rate))
        except ValueError as error:
            raise type(error)(f"sound {index}: {error}") from error
    features = feature_extractor(waveforms, **{**audio_kwargs, "sampling_rate": rate, "return_tensors": "np"})
    # Some extractors call their mask like that of the text, which it would overwrite.
    names = {"attention_mask": "input_features_mask"}
    return {names.get(name, name): value for name, value in features.items()}


__all__ = ["sound_inputs"]
