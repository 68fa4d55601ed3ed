"""Sound at 48 kHz in, the same sound in frames of 40 ms for `PeAvAudioModel` out."""

from typing import Any

import numpy as np
from transformers import AutoFeatureExtractor, BatchFeature, PeAudioFeatureExtractor
from transformers.utils import TensorType

from ..feature_extraction_base import UnfetchedSoundMixin, check_sounds, split_windows, stack_windows
from .configuration_peav import PeAvAudioConfig


class PeAvFeatureExtractor(UnfetchedSoundMixin, PeAudioFeatureExtractor):
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

    def __call__(  # type: ignore[override]
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        r"""
        Args:
            raw_speech (`np.ndarray`, `torch.Tensor` or a list of them or of floats):
                Mono sound `(samples,)`, or several: a list, or an array `(sounds, samples)`. Floats in [-1, 1].
            sampling_rate (`int`):
                The rate of `raw_speech`: required, and equal to `self.sampling_rate`.
            return_tensors (`str`, *optional*):
                `"pt"` or `"np"`.
            kwargs:
                Padding and truncation options that processors hand to everything have no effect here.

        Returns:
            `BatchFeature`: `input_features` `(sounds, windows, frames, hop_length)` float32, raw samples, and
            `input_features_mask` `(sounds, windows, frames)` int64, 1 where a frame holds sound; all zero for a padding
            window.

        Raises:
            ValueError: If the rate is missing or wrong, or a sound is not mono float, empty, not finite, or shorter
                than one frame.
        """
        sounds = check_sounds(
            raw_speech,
            sampling_rate,
            expected_rate=self.sampling_rate,
            shortest=self.hop_length,
            name=type(self).__name__,
        )
        windows = [
            [self._frames(window) for window in split_windows(sound, self.max_samples, self.hop_length)]
            for sound in sounds
        ]
        counts = [[len(window) for window in sound] for sound in windows]
        features, mask = stack_windows(windows, counts, frame_axis=0)
        return BatchFeature({"input_features": features, "input_features_mask": mask}, tensor_type=return_tensors)

    def _frames(self, sound: np.ndarray) -> np.ndarray:
        return np.pad(sound, (0, -len(sound) % self.hop_length), "reflect").reshape(-1, self.hop_length)


AutoFeatureExtractor.register(PeAvAudioConfig, PeAvFeatureExtractor, exist_ok=True)

__all__ = ["PeAvFeatureExtractor"]
