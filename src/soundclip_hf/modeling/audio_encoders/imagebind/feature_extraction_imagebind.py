"""Feature extractor of `ImageBindAudioModel`: normalised Kaldi filter banks of three clips at 16 kHz."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from transformers import AutoFeatureExtractor, SequenceFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from ..feature_extraction_base import SoundFeatureExtractorMixin, stack_windows
from .configuration_imagebind import ImageBindAudioConfig

FRAME, HOP, FFT, PREEMPHASIS, FLOOR = 400, 160, 512, 0.97, 2.0**-23


class ImageBindFeatureExtractor(SoundFeatureExtractorMixin, SequenceFeatureExtractor):
    r"""
    Log-mel filter banks as Kaldi computes them (25-ms frames, 10-ms shift, symmetric Hann window, DC removal per frame,
    pre-emphasis 0.97, 512-point FFT, power, triangles in the mel domain from 20 Hz to Nyquist, no dither), of
    `num_clips` clips of `clip_length_s` seconds, padded with zeros to `num_frames`, then `(x - mean) / std`.

    The clips begin at equal steps from the start of the sound to `clip_length_s` before its end: there are always three
    of them, at any length, and they overlap up to 6 seconds. A longer sound is heard in parts only, which is said in a
    warning; a sound shorter than a clip is padded, with a warning, and all three clips are equal.

    Args:
        feature_size (`int`, *optional*, defaults to 128):
            Mel bins. One of the 128 triangles lies between two FFT bins: it is empty, and its value the floor.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Rate of the sound.
        padding_value (`float`, *optional*, defaults to 0.0):
            Value of the frames that pad a clip, before the normalisation.
        num_frames (`int`, *optional*, defaults to 204):
            Frames of a clip; 2 seconds have 198.
        num_clips (`int`, *optional*, defaults to 3):
            Clips of a sound.
        clip_length_s (`float`, *optional*, defaults to 2.0):
            Length of a clip in seconds.
        mean (`float`, *optional*, defaults to -4.268), std (`float`, *optional*, defaults to 9.138):
            Normalisation.
        clip_mean (`str`, *optional*, defaults to `"independent"`):
            Each clip's mean is subtracted from it. `independent`: from a copy. `in_place`: from the sound itself, as
            the original loader does, so that a later clip that overlaps sees the earlier subtraction (up to 0.1 in
            0.2 % of the features, 7e-5 of the embedding).
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        num_frames: int = 204,
        num_clips: int = 3,
        clip_length_s: float = 2.0,
        mean: float = -4.268,
        std: float = 9.138,
        clip_mean: Literal["independent", "in_place"] = "independent",
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        if clip_mean not in ("independent", "in_place"):
            raise ValueError(f'clip_mean={clip_mean!r}: must be "independent" or "in_place".')
        self.num_frames = num_frames
        self.num_clips = num_clips
        self.clip_length_s = clip_length_s
        self.mean = mean
        self.std = std
        self.clip_mean = clip_mean
        # Not part of what is saved, by its name.
        self.mel_filters = mel_filters(feature_size, sampling_rate)

    @property
    def shortest(self) -> int:
        return FRAME

    def extract(self, sounds: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `(sounds, clips, 1, mels, frames)` float32."""
        clip = round(self.clip_length_s * self.sampling_rate)
        for index, sound in enumerate(sounds):
            seconds = len(sound) / self.sampling_rate
            if len(sound) < clip:
                warnings.warn(
                    f"sound {index} has {seconds:.2f} s: padded to one clip of {self.clip_length_s:g} s.",
                    UserWarning,
                    stacklevel=3,
                )
            elif len(sound) > self.num_clips * clip:
                warnings.warn(
                    f"sound {index} has {seconds:.1f} s, of which {self.num_clips} clips of {self.clip_length_s:g} s "
                    "are heard; cut it into shorter sounds to hear all of it.",
                    UserWarning,
                    stacklevel=3,
                )
        clips = [[self._clip_features(samples) for samples in self._cut(sound, clip)] for sound in sounds]
        frames = [[count for _, count in sound] for sound in clips]
        features, mask = stack_windows([[x for x, _ in sound] for sound in clips], frames)
        return features, mask

    def clip_samples(self, samples: int) -> list[tuple[int, int]]:
        """First sample of each clip and the one behind its last (which a short sound does not reach)."""
        length = round(self.clip_length_s * self.sampling_rate)
        room = max(samples - length, 0)
        starts = [room * number // max(self.num_clips - 1, 1) for number in range(self.num_clips)]
        return [(start, start + length) for start in starts]

    def _cut(self, sound: np.ndarray, length: int) -> list[np.ndarray]:
        """The clips without their mean."""
        sound = sound.astype(np.float64)
        clips = []
        for start, end in self.clip_samples(len(sound)):
            view = sound[start:end]
            clips.append(view - view.mean())
            if self.clip_mean == "in_place":
                view -= view.mean()
        return clips

    def _clip_features(self, samples: np.ndarray) -> tuple[np.ndarray, int]:
        """Normalised `(1, mels, num_frames)`, and how many of its frames hold sound."""
        bank = log_mel(samples, self.mel_filters).T[:, : self.num_frames]
        padded = np.full((1, len(bank), self.num_frames), self.padding_value)
        padded[0, :, : bank.shape[1]] = bank
        return (padded - self.mean) / self.std, bank.shape[1]


def mel_filters(bins: int, sampling_rate: int) -> np.ndarray:
    """Kaldi's triangles `(FFT // 2 + 1, bins)` from 20 Hz to Nyquist; those too narrow for the FFT are empty."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        return mel_filter_bank(
            num_frequency_bins=FFT // 2 + 1,
            num_mel_filters=bins,
            min_frequency=20.0,
            max_frequency=sampling_rate / 2,
            sampling_rate=sampling_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )


def log_mel(samples: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Kaldi's log-mel filter bank `(frames, mels)` float64 of `(samples,)`, whole frames only."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), FRAME)[::HOP]
    frames = frames - frames.mean(-1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / (FRAME - 1))
    spectrum = np.fft.rfft((frames - PREEMPHASIS * previous) * window, FFT, axis=-1)
    return np.log(np.maximum((spectrum.real**2 + spectrum.imag**2) @ filters, FLOOR))


AutoFeatureExtractor.register(ImageBindAudioConfig, ImageBindFeatureExtractor, exist_ok=True)

__all__ = ["ImageBindFeatureExtractor"]
