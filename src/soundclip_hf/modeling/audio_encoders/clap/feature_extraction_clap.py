"""Feature extractor of `SoundClapModel`: log-mel windows of ten seconds at 48 kHz."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoFeatureExtractor, ClapFeatureExtractor

from ..feature_extraction_base import SoundFeatureExtractorMixin, split_windows, stack_windows
from .configuration_clap import SoundClapConfig


class SoundClapFeatureExtractor(SoundFeatureExtractorMixin, ClapFeatureExtractor):
    r"""
    The features of LAION's unfused CLAP, without its randomness: a sound shorter than `max_length_s` is repeated and
    zero-padded (`repeatpad`), a longer one is cut into consecutive windows, the last one partial and then repeated,
    where the original takes one window at a random place. A rest shorter than one frame (`fft_window_size` samples) is
    left out. The model averages `z_a` over the windows.

    Args:
        frequency_min (`float`, *optional*, defaults to 50):
            Lowest frequency of the mel filters.
        truncation (`str`, *optional*, defaults to `"rand_trunc"`):
            Kept for the repositories' sake: the name of the unfused checkpoints' mode. `"fusion"` is refused.
        **kwargs: Those of `ClapFeatureExtractor`.
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(self, frequency_min: float = 50, truncation: str = "rand_trunc", **kwargs: Any) -> None:
        super().__init__(frequency_min=frequency_min, truncation=truncation, **kwargs)
        if truncation != "rand_trunc":
            raise ValueError(
                f'truncation={truncation!r}: only "rand_trunc", that of the unfused checkpoints, is supported; '
                '"fusion" embeds random crops.'
            )

    @property
    def shortest(self) -> int:
        return self.fft_window_size

    def extract(self, sounds: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `(sounds, windows, frames, mels)` float32."""
        cut = [split_windows(sound, self.nb_max_samples, self.fft_window_size) for sound in sounds]
        windows = [[self._log_mel(window) for window in sound] for sound in cut]
        frames = [[self._count_frames(len(window)) for window in sound] for sound in cut]
        features, mask = stack_windows(windows, frames, frame_axis=0)
        return features, mask

    def _log_mel(self, sound: np.ndarray) -> np.ndarray:
        """Log-mel (frames, mels) of one window; nothing is random where it is no longer than the maximum."""
        features = super(SoundFeatureExtractorMixin, self).__call__(
            sound, "rand_trunc", sampling_rate=self.sampling_rate
        )
        return features["input_features"][0][0]

    def _count_frames(self, samples: int) -> int:
        if self.padding == "repeatpad":
            samples *= self.nb_max_samples // samples
        elif self.padding == "repeat":
            samples = self.nb_max_samples
        return min(samples, self.nb_max_samples) // self.hop_length + 1


AutoFeatureExtractor.register(SoundClapConfig, SoundClapFeatureExtractor, exist_ok=True)

__all__ = ["SoundClapFeatureExtractor"]
