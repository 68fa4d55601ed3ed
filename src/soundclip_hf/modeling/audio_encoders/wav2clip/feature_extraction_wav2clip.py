"""Feature extractor of `Wav2ClipModel`: normalised log power spectrograms at 16 kHz."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoFeatureExtractor, SequenceFeatureExtractor

from ..feature_extraction_base import SoundFeatureExtractorMixin, split_windows, stack_windows
from .configuration_wav2clip import Wav2ClipConfig


class Wav2ClipFeatureExtractor(SoundFeatureExtractorMixin, SequenceFeatureExtractor):
    r"""
    `log(power + 1e-7)` of a centred STFT with a periodic Hann window, minus its mean, over its standard deviation.

    The original network takes a sound of any length at once, and so do we, up to `max_length_s` seconds; a longer sound
    is cut into consecutive windows of that length, the last one partial, normalised together. A rest shorter than one
    frame is left out. The model averages `z_a` over the windows.

    Args:
        feature_size (`int`, *optional*, defaults to 257):
            Frequency bins: `n_fft // 2 + 1`.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Rate of the sound.
        padding_value (`float`, *optional*, defaults to 0.0):
            Value of the frames that pad a batch; they are masked.
        n_fft (`int`, *optional*, defaults to 512):
            Length of a frame in samples; a sound has at least as many.
        hop_length (`int`, *optional*, defaults to 353):
            Samples from one frame to the next.
        max_length_s (`float`, *optional*, defaults to 30.0):
            Length of a window in seconds.
        statistics (`str`, *optional*, defaults to `"item"`):
            Over what mean and (unbiased) standard deviation are taken. `item`: each sound by itself, which is what the
            original code does with one sound per call. `batch`: all sounds of the call together, which is what it does
            with several, so that an embedding depends on its neighbours (0.5 to 1 %).
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(
        self,
        feature_size: int = 257,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        n_fft: int = 512,
        hop_length: int = 353,
        max_length_s: float = 30.0,
        statistics: Literal["item", "batch"] = "item",
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        if statistics not in ("item", "batch"):
            raise ValueError(f'statistics={statistics!r}: must be "item" or "batch".')
        if feature_size != n_fft // 2 + 1:
            raise ValueError(f"feature_size={feature_size}: n_fft={n_fft} gives {n_fft // 2 + 1} frequency bins.")
        if max_length_s * sampling_rate < n_fft:
            raise ValueError(f"max_length_s={max_length_s}: shorter than one frame of {n_fft} samples.")
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.max_length_s = max_length_s
        self.statistics = statistics

    @property
    def shortest(self) -> int:
        return self.n_fft

    def extract(self, sounds: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `(sounds, windows, bins, frames)` float32 of mean 0 and deviation 1."""
        length = round(self.max_length_s * self.sampling_rate)
        logs = [
            [self._log_spectrogram(window) for window in split_windows(sound, length, self.n_fft)] for sound in sounds
        ]
        groups = logs if self.statistics == "item" else [[window for sound in logs for window in sound]]
        for group in groups:
            values = np.concatenate([window.ravel() for window in group])
            mean, deviation = values.mean(), values.std(ddof=1)
            for window in group:
                window -= mean
                window /= deviation + 1e-9
        features, mask = stack_windows(logs, [[window.shape[-1] for window in sound] for sound in logs])
        return features, mask

    def _log_spectrogram(self, sound: np.ndarray) -> np.ndarray:
        # In double precision from here, in which the deviation of silence is 0 and not a rounding error to divide by.
        return np.log(self.power_spectrogram(sound) + np.float32(1e-7)).astype(np.float64)

    def power_spectrogram(self, sound: np.ndarray) -> np.ndarray:
        """Squared magnitudes `(n_fft // 2 + 1, 1 + samples // hop_length)` float32, the ends padded by reflection."""
        # In single precision, as the original: of quiet bins the logarithm shows the FFT's rounding (2e-4).
        spectrum = torch.stft(
            torch.tensor(sound),
            self.n_fft,
            self.hop_length,
            window=torch.hann_window(self.n_fft),
            pad_mode="reflect",
            return_complex=True,
        )
        return spectrum.abs().square().numpy()


AutoFeatureExtractor.register(Wav2ClipConfig, Wav2ClipFeatureExtractor, exist_ok=True)

__all__ = ["Wav2ClipFeatureExtractor"]
