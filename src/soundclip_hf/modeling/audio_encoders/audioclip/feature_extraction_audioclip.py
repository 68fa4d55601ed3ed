"""Feature extractor of `AudioClipModel`: framed waveforms at 44.1 kHz, in int16 units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoFeatureExtractor, SequenceFeatureExtractor

from ..feature_extraction_base import SoundFeatureExtractorMixin, split_windows
from .configuration_audioclip import AudioClipConfig
from .fbsp import frame_count
from .modeling_audioclip import FIXED_POINT

# What the network's map from int16 to [-1, 1] makes zero.
_ZERO = -FIXED_POINT // 2


class AudioClipFeatureExtractor(SoundFeatureExtractorMixin, SequenceFeatureExtractor):
    r"""
    The waveform itself, since the spectrogram of this encoder is learned: scaled to int16 units, as fixed-point numbers
    (int32, 1 / 4096 of an int16 step), extended to whole frames, the smaller half before the sound.

    The original network takes a sound of any length at once, and so do we, up to `max_length_s` seconds; a longer sound
    is cut into consecutive windows of that length, the last one partial. A rest shorter than one frame is left out. The
    model averages `z_a` over the windows. Nothing is padded to a fixed length (the original's loader does, to 5 s).

    Args:
        feature_size (`int`, *optional*, defaults to 1):
            Channels.
        sampling_rate (`int`, *optional*, defaults to 44100):
            Rate of the sound.
        padding_value (`float`, *optional*, defaults to 0.0):
            Of the original's int16 range; the batch is padded with what becomes zero in the network, and masked.
        win_length (`int`, *optional*, defaults to 1654):
            Length of a frame in samples; a sound has at least as many.
        hop_length (`int`, *optional*, defaults to 561):
            Samples from one frame to the next.
        max_length_s (`float`, *optional*, defaults to 30.0):
            Length of a window in seconds.
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 44100,
        padding_value: float = 0.0,
        win_length: int = 1654,
        hop_length: int = 561,
        max_length_s: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        if max_length_s * sampling_rate < win_length:
            raise ValueError(f"max_length_s={max_length_s}: shorter than one frame of {win_length} samples.")
        self.win_length = win_length
        self.hop_length = hop_length
        self.max_length_s = max_length_s

    @property
    def shortest(self) -> int:
        return self.win_length

    def extract(self, sounds: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """
        Features `(sounds, windows, 1, samples)` int32, fixed-point.

        Raises:
            ValueError: If a sound is 16 times as loud as a float sound can be (which int16 samples as floats are).
        """
        for index, sound in enumerate(sounds):
            peak = float(np.abs(sound).max())
            if peak >= 16:
                raise ValueError(f"sound {index} has a peak of {peak:g}: expected floats in [-1, 1].")
        length = round(self.max_length_s * self.sampling_rate)
        cut = [split_windows(sound, length, self.win_length) for sound in sounds]
        frames = [[frame_count(len(window), self.win_length, self.hop_length) for window in sound] for sound in cut]
        longest = max(count for counts in frames for count in counts)
        shape = (len(cut), max(len(sound) for sound in cut))
        features = np.full((*shape, 1, self._span(longest)), _ZERO, dtype=np.int32)
        mask = np.zeros((*shape, longest), dtype=np.int64)
        for row, (windows, counts) in enumerate(zip(cut, frames, strict=True)):
            for column, (window, count) in enumerate(zip(windows, counts, strict=True)):
                before = (self._span(count) - len(window)) // 2
                samples = np.rint(window.astype(np.float64) * (32768 * FIXED_POINT)).astype(np.int32)
                features[row, column, 0, before : before + len(window)] = samples
                mask[row, column, :count] = 1
        return features, mask

    def _span(self, frames: int) -> int:
        return self.win_length + (frames - 1) * self.hop_length


AutoFeatureExtractor.register(AudioClipConfig, AudioClipFeatureExtractor, exist_ok=True)

__all__ = ["AudioClipFeatureExtractor"]
