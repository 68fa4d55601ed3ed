"""Feature extractor of `PeAvAudioModel`: sound at 48 kHz in frames of 40 ms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoFeatureExtractor, PeAudioFeatureExtractor

from ..feature_extraction_base import SoundFeatureExtractorMixin, split_windows, stack_windows
from .configuration_peav import PeAvAudioConfig


class PeAvFeatureExtractor(SoundFeatureExtractorMixin, PeAudioFeatureExtractor):
    r"""
    Raw sound, reflected at its end to a multiple of `hop_length` samples and cut into frames of that length.

    A sound longer than `max_length_s` is cut into consecutive windows, the last one partial; a rest shorter than one
    frame (`hop_length` samples) is left out. The model averages `z_a` over the windows. (The original takes a sound of
    any length at once; the limit keeps memory bounded.)

    Args:
        max_length_s (`float`, *optional*, defaults to 30):
            Length of a window in seconds, a multiple of a frame.
        **kwargs: Those of `PeAudioFeatureExtractor`.
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(self, max_length_s: float = 30, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_length_s = max_length_s
        if not self.max_samples or self.max_samples % self.hop_length:
            raise ValueError(
                f"max_length_s={max_length_s}: must be a multiple of one frame, "
                f"{self.hop_length} / {self.sampling_rate} s."
            )

    @property
    def max_samples(self) -> int:
        """Samples of a full window."""
        return round(self.max_length_s * self.sampling_rate)

    @property
    def shortest(self) -> int:
        return self.hop_length

    def extract(self, sounds: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `(sounds, windows, frames, hop_length)` float32: raw samples."""
        windows = [
            [self._frames(window) for window in split_windows(sound, self.max_samples, self.hop_length)]
            for sound in sounds
        ]
        counts = [[len(window) for window in sound] for sound in windows]
        features, mask = stack_windows(windows, counts, frame_axis=0)
        return features, mask

    def _frames(self, sound: np.ndarray) -> np.ndarray:
        return np.pad(sound, (0, -len(sound) % self.hop_length), "reflect").reshape(-1, self.hop_length)


AutoFeatureExtractor.register(PeAvAudioConfig, PeAvFeatureExtractor, exist_ok=True)

__all__ = ["PeAvFeatureExtractor"]
