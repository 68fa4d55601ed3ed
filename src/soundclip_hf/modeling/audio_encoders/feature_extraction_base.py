"""What every feature extractor does around its own front end: check the sounds that come in, stack the windows."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from transformers.utils import TensorType

from ..checkpoint_names import CheckpointNameMixin


def check_sounds(
    raw_speech: Any, sampling_rate: int | None, *, expected_rate: int, shortest: int, name: str
) -> list[np.ndarray]:
    """
    Take one sound or several, refuse what would be encoded wrongly in silence.

    Args:
        raw_speech: One mono sound, or a list of them, or an array `(sounds, samples)`: floats in [-1, 1].
        sampling_rate: The rate of `raw_speech`; it must be given and equal to `expected_rate`.
        expected_rate: The rate of the encoder.
        shortest: Samples of one frame; a shorter sound has no features.
        name: The feature extractor's class, for the messages.

    Returns:
        One float32 array `(samples,)` per sound.

    Raises:
        ValueError: If the rate is missing or another one; if a sound is not mono, not float, empty, shorter than a
            frame, or holds NaN or Inf.
    """
    if sampling_rate is None:
        raise ValueError(
            f"sampling_rate is missing: {name} needs the rate of the sound it gets and works at {expected_rate} Hz."
        )
    if sampling_rate != expected_rate:
        raise ValueError(
            f"sampling_rate={sampling_rate}: {name} works at {expected_rate} Hz; resample the sound to it first."
        )
    sounds = [np.asarray(_to_numpy(sound)) for sound in _as_list(raw_speech)]
    for index, sound in enumerate(sounds):
        if sound.ndim != 1:
            raise ValueError(f"sound {index} has shape {sound.shape}: expected mono sound of shape (samples,).")
        if sound.size == 0:
            raise ValueError(f"sound {index} is empty: it has no samples.")
        if sound.dtype.kind != "f":
            raise ValueError(
                f"sound {index} has dtype {sound.dtype}: expected floats in [-1, 1] (divide int16 samples by 32768)."
            )
        if not np.isfinite(sound).all():
            raise ValueError(f"sound {index} holds NaN or Inf.")
        if sound.size < shortest:
            raise ValueError(
                f"sound {index} has {sound.size} samples ({1000 * sound.size / expected_rate:.1f} ms): shorter than "
                f"one frame of {shortest} samples ({1000 * shortest / expected_rate:.1f} ms)."
            )
        if not sound.any():
            warnings.warn(f"sound {index} is all zeros (silence).", UserWarning, stacklevel=3)
    return [sound.astype(np.float32, copy=False) for sound in sounds]


@contextmanager
def silence_is_told() -> Iterator[None]:
    """Leave out warnings of sounds of zeros that name no file, for callers who have warned of the file itself."""
    with warnings.catch_warnings():
        for said in (r"\w+ array of shape .* samples are zero", r"sound \d+ is all zeros"):
            warnings.filterwarnings("ignore", said, UserWarning)
        yield


def split_windows(sound: np.ndarray, length: int, shortest: int) -> list[np.ndarray]:
    """
    Cut a sound into consecutive windows of `length` samples, the last one partial.

    A rest of fewer than `shortest` samples has no frame of its own; it is left out unless it is the whole sound.
    """
    count = max(1, math.ceil((len(sound) - shortest + 1) / length))
    return [sound[start * length : (start + 1) * length] for start in range(count)]


def stack_windows(
    windows: Sequence[Sequence[np.ndarray]],
    frames: Sequence[Sequence[int]],
    frame_axis: int = -1,
    num_frames: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Stack the windows of several sounds, zero-padded to the most windows and to the longest one.

    Args:
        windows: Per sound, its windows' features, equal in all axes but `frame_axis`.
        frames: Per sound, the number of real frames of each window.
        frame_axis: The axis of a window that counts frames.
        num_frames: Length of that axis, in place of the longest window's.

    Returns:
        Features `(sounds, windows, *window)` float32 and mask `(sounds, windows, frames)` int64, 1 where real.
    """
    shape = np.max([window.shape for sound in windows for window in sound], axis=0)
    if num_frames is not None:
        shape[frame_axis] = num_frames
    most = max(len(sound) for sound in windows)
    features = np.zeros((len(windows), most, *shape), dtype=np.float32)
    mask = np.zeros((len(windows), most, shape[frame_axis]), dtype=np.int64)
    for row, (sound, counts) in enumerate(zip(windows, frames, strict=True)):
        for column, (window, count) in enumerate(zip(sound, counts, strict=True)):
            inside: Any = (row, column, *(slice(size) for size in window.shape))
            features[inside] = window
            mask[row, column, :count] = 1
    return features, mask


# The smallest and the largest value of settings that set how much memory is taken, or how much time.
_COUNTS = {
    "sampling_rate": (1, 6_144_000),
    "mel_sampling_rate": (1, 6_144_000),
    "feature_size": (1, 4096),
    "n_fft": (2, 2**15),
    "fft_window_size": (2, 2**15),
    "win_length": (2, 2**20),
    "hop_length": (1, 2**20),
    "num_frames": (1, 2**20),
    "num_clips": (1, 1000),
    "chunk_length": (1, 3600),
}
_SECONDS = {"max_length_s", "clip_length_s"}
_LONGEST = 3600
_NUMBERS = {"padding_value", "dither", "frequency_min", "frequency_max", "mean", "std"}


def check_settings(settings: Mapping[str, Any], name: str) -> None:
    """
    Check the values of a feature extractor, as they lie in a file.

    Args:
        settings: Names unknown here are allowed.
        name: The feature extractor's class, for the messages.

    Raises:
        ValueError: If a value is of another type, NaN or infinite, or out of any useful range.
    """
    for key, value in settings.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and not math.isfinite(value):
            raise ValueError(f"{name}: {key}={value}: must be a finite number.")
        if key in _COUNTS:
            least, most = _COUNTS[key]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"{name}: {key}={value!r}: must be an int in {least}..{most}.")
        elif key in _SECONDS and not (number and 0 < value <= _LONGEST):
            raise ValueError(f"{name}: {key}={value!r}: must be a number of seconds, above 0 and up to {_LONGEST}.")
        elif key in _NUMBERS and (not number or (key == "std" and value <= 0)):
            raise ValueError(f"{name}: {key}={value!r}: must be a {'positive ' if key == 'std' else ''}number.")


class SoundFeatureExtractorMixin(CheckpointNameMixin):
    """
    The interface of every feature extractor: mono sounds in, windows of features out. A subclass has `shortest` and
    `extract`; it comes before the stock class, whose own `__call__` it may use for one window.

    What transformers' pipelines ask of a feature extractor is answered for sound: the loading of paths and URLs is left
    to the processor, which knows their rates, and the side of the padding to the tokenizer, whose prompts are padded.
    """

    sampling_rate: int

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """
        As in transformers.

        Raises:
            ValueError: If a value is of another type, not finite, or so large that it would take gigabytes.
        """
        changed = {key: value for key, value in kwargs.items() if key in feature_extractor_dict}
        check_settings({**feature_extractor_dict, **changed}, cls.__name__)
        parent: Any = super()
        return parent.from_dict(feature_extractor_dict, **kwargs)

    @property
    def shortest(self) -> int:
        """Samples of one frame; a shorter sound has no features."""
        raise NotImplementedError

    def extract(self, sounds: Sequence[np.ndarray], **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `(sounds, windows, *window)` and mask `(sounds, windows, frames)` of `(samples,)` float32 sounds."""
        raise NotImplementedError

    def __call__(
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
                Those of the class's `extract`. Padding and truncation options that processors hand to everything have
                no effect here.

        Returns:
            `BatchFeature`: `input_features` as the class's `extract` says, and `input_features_mask`
            `(sounds, windows, frames)` int64, 1 where a frame holds sound; all zero for a padding window.

        Raises:
            ValueError: If the rate is missing or wrong, or a sound is not mono float, empty, not finite, or shorter
                than one frame.
        """
        name = type(self).__name__
        sounds = check_sounds(
            raw_speech, sampling_rate, expected_rate=self.sampling_rate, shortest=self.shortest, name=name
        )
        features, mask = self.extract(sounds, **kwargs)
        return BatchFeature({"input_features": features, "input_features_mask": mask}, tensor_type=return_tensors)

    @property
    def padding_side(self) -> None:
        """None: windows are stacked at the end, whatever the tokenizer does; batches of pipelines compare the two."""
        return None

    @padding_side.setter
    def padding_side(self, value: Any) -> None:
        pass  # of stock configurations

    def fetch_audio(self, audio: Any, sampling_rate: int | None = None) -> Any:
        """`audio` as it came: transformers' own `fetch_audio` returns a bare array, its rate forgotten."""
        return audio


def _to_numpy(sound: Any) -> Any:
    if not isinstance(sound, torch.Tensor):
        return sound
    sound = sound.detach().cpu()
    return (sound.float() if sound.dtype == torch.bfloat16 else sound).numpy()


def _as_list(raw_speech: Any) -> list[Any]:
    raw_speech = _to_numpy(raw_speech)
    if isinstance(raw_speech, np.ndarray):
        return list(raw_speech) if raw_speech.ndim > 1 else [raw_speech]
    if isinstance(raw_speech, (list, tuple)) and len(raw_speech) and not isinstance(raw_speech[0], (int, float)):
        return list(raw_speech)
    return [np.asarray(raw_speech, dtype=np.float32 if not len(raw_speech) else None)]


__all__ = [
    "SoundFeatureExtractorMixin",
    "check_settings",
    "check_sounds",
    "silence_is_told",
    "split_windows",
    "stack_windows",
]
