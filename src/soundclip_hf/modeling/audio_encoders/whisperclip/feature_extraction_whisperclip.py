"""Feature extractor of `WhisperClipModel`: log-mel windows at 16 kHz."""

import math
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from transformers import AutoFeatureExtractor, WhisperFeatureExtractor

from ..feature_extraction_base import SoundFeatureExtractorMixin, split_windows, stack_windows
from .configuration_whisperclip import WhisperClipConfig


class WhisperClipFeatureExtractor(SoundFeatureExtractorMixin, WhisperFeatureExtractor):
    r"""
    Whisper's log-mel features, in windows of `chunk_length` seconds.

    A sound longer than one window is cut into consecutive windows, the last one partial; a rest shorter than one frame
    (400 samples, 25 ms) is left out. The model averages `z_a` over the windows.

    Args:
        window (`str`, *optional*, defaults to `"pad30"`):
            `pad30` pads each window to `chunk_length` seconds, as Whisper was trained. `short` gives the same frames
            without the padding; within a batch they are padded to its longest window and masked.
        **kwargs: Those of `WhisperFeatureExtractor`.
    """

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(self, feature_size: int = 80, window: Literal["pad30", "short"] = "pad30", **kwargs: Any) -> None:
        super().__init__(feature_size=feature_size, **kwargs)
        if window not in ("pad30", "short"):
            raise ValueError(f'window={window!r}: must be "pad30" or "short".')
        self.window = window

    def to_dict(self) -> dict[str, Any]:
        # The base class leaves out "window", which to it is an analysis window.
        return {**super().to_dict(), "window": self.window}

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> Any:
        # The base class takes only those arguments that the file has, and a Whisper repository has no window.
        given = {"window": kwargs.pop("window")} if "window" in kwargs else {}
        return super().from_dict({**feature_extractor_dict, **given}, **kwargs)

    @classmethod
    def from_whisper(
        cls, feature_extractor: WhisperFeatureExtractor | str | os.PathLike, **kwargs: Any
    ) -> "WhisperClipFeatureExtractor":
        """Take the settings of a Whisper feature extractor or repository; `kwargs` set ours (`window`)."""
        if isinstance(feature_extractor, (str, os.PathLike)):
            return cls.from_pretrained(feature_extractor, **kwargs)
        values = feature_extractor.to_dict()
        values.pop("feature_extractor_type")
        return cls(**{**values, **kwargs})

    @property
    def shortest(self) -> int:
        return self.n_fft

    def extract(
        self, sounds: Sequence[np.ndarray], device: str = "cpu", padding: Any = None, **kwargs: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Features `(sounds, windows, mels, frames)` float32.

        Args:
            sounds: `(samples,)` float32 each.
            device (`str`, *optional*, defaults to `"cpu"`):
                Where the spectrogram is computed.
            padding (`str`, *optional*):
                `"max_length"` gives each window of `window="short"` the `nb_max_frames` frames of a full one, masked,
                so that sounds that were prepared one by one can be concatenated, as pipelines do with `batch_size`.
                Other values have no effect.
        """
        cut = [split_windows(sound, self.n_samples, self.n_fft) for sound in sounds]
        frames = [[math.ceil(len(window) / self.hop_length) for window in sound] for sound in cut]
        windows = [[self._log_mel(window, device) for window in sound] for sound in cut]
        features, mask = stack_windows(
            windows, frames, num_frames=self.nb_max_frames if padding == "max_length" else None
        )
        return features, mask

    def _log_mel(self, sound: np.ndarray, device: str) -> np.ndarray:
        """Log-mel `(mels, frames)` of one window: `nb_max_frames` frames (pad30), or the real ones of them (short)."""
        frames, length = math.ceil(len(sound) / self.hop_length), self.n_samples
        if self.window == "short":
            # Frames up to half an FFT beyond the end still see sound. With them, the frames (and the maximum that the
            # floor is relative to) are those of pad30.
            length = min(length, self.hop_length * (frames + math.ceil(self.n_fft / 2 / self.hop_length)))
        padded = np.pad(sound, (0, length - len(sound)))
        features = super(SoundFeatureExtractorMixin, self).__call__(
            padded, False, padding="longest", sampling_rate=self.sampling_rate, device=device
        )
        log_mel = features["input_features"][0]
        return log_mel[:, :frames] if self.window == "short" else log_mel


AutoFeatureExtractor.register(WhisperClipConfig, WhisperClipFeatureExtractor, exist_ok=True)

__all__ = ["WhisperClipFeatureExtractor"]
