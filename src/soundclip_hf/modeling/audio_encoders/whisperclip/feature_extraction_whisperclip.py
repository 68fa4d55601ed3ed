"""Sound at 16 kHz in, log-mel windows for `WhisperClipModel` out."""

import math
import os
from typing import Any, Literal

import numpy as np
from transformers import AutoFeatureExtractor, BatchFeature, WhisperFeatureExtractor
from transformers.utils import TensorType

from ..feature_extraction_base import UnfetchedSoundMixin, check_sounds, split_windows, stack_windows
from .configuration_whisperclip import WhisperClipConfig


class WhisperClipFeatureExtractor(UnfetchedSoundMixin, WhisperFeatureExtractor):
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

    def __call__(  # type: ignore[override]
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        return_tensors: str | TensorType | None = None,
        device: str = "cpu",
        padding: Any = None,
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
            device (`str`, *optional*, defaults to `"cpu"`):
                Where the spectrogram is computed.
            padding (`str`, *optional*):
                `"max_length"` gives each window of `window="short"` the `nb_max_frames` frames of a full one, masked,
                so that sounds that were prepared one by one can be concatenated, as pipelines do with `batch_size`.
                Other values have no effect.
            kwargs:
                Further options that processors hand to everything have no effect here.

        Returns:
            `BatchFeature`: `input_features` `(sounds, windows, mels, frames)` float32 and `input_features_mask`
            `(sounds, windows, frames)` int64, 1 where a frame holds sound; all zero for a padding window.

        Raises:
            ValueError: If the rate is missing or wrong, or a sound is not mono float, empty, not finite, or shorter
                than one frame.
        """
        sounds = check_sounds(
            raw_speech,
            sampling_rate,
            expected_rate=self.sampling_rate,
            shortest=self.n_fft,
            name=type(self).__name__,
        )
        cut = [split_windows(sound, self.n_samples, self.n_fft) for sound in sounds]
        frames = [[math.ceil(len(window) / self.hop_length) for window in sound] for sound in cut]
        windows = [[self._log_mel(window, device) for window in sound] for sound in cut]
        features, mask = stack_windows(
            windows, frames, num_frames=self.nb_max_frames if padding == "max_length" else None
        )
        return BatchFeature({"input_features": features, "input_features_mask": mask}, tensor_type=return_tensors)

    def _log_mel(self, sound: np.ndarray, device: str) -> np.ndarray:
        """Log-mel `(mels, frames)` of one window: `nb_max_frames` frames (pad30), or the real ones of them (short)."""
        frames, length = math.ceil(len(sound) / self.hop_length), self.n_samples
        if self.window == "short":
            # Frames up to half an FFT beyond the end still see sound. With them, the frames (and the maximum that the
            # floor is relative to) are those of pad30.
            length = min(length, self.hop_length * (frames + math.ceil(self.n_fft / 2 / self.hop_length)))
        padded = np.pad(sound, (0, length - len(sound)))
        features = super().__call__(padded, False, padding="longest", sampling_rate=self.sampling_rate, device=device)
        log_mel = features["input_features"][0]
        return log_mel[:, :frames] if self.window == "short" else log_mel


AutoFeatureExtractor.register(WhisperClipConfig, WhisperClipFeatureExtractor, exist_ok=True)

__all__ = ["WhisperClipFeatureExtractor"]
