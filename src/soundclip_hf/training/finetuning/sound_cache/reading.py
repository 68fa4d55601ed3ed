"""Opens sounds and extracts their features; one that cannot be read is logged and left out."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....media import Clip, MediaError, load_sound, read_clip
from ....modeling.slots.slot import VideoSound
from ....modeling.sound_inputs import sound_inputs
from ..questions import SILENCE
from .distinct_sounds import Sound

logger = logging.getLogger("transformers.soundclip_hf.training")


class SoundReader:
    """
    Opens [`Sound`]s and extracts their features.

    Args:
        feature_extractor: Of the audio encoder.
    """

    def __init__(self, feature_extractor: Any) -> None:
        self.feature_extractor = feature_extractor

    def __call__(self, sounds: Sequence[Sound]) -> dict[str, Any]:
        """
        Returns:
            `numbers` `(b,)` int64, of the sounds that could be read; `bad`, how many could not; and, if b > 0, the
            tensors of the feature extractor.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=SILENCE, category=UserWarning)
            opened = [(sound, samples) for sound in sounds if (samples := self._open(sound)) is not None]
            try:
                features = self._extract(opened)
            except Exception:
                # One of the sounds cannot be processed: find it, and go on without it.
                opened = [entry for entry in opened if self._can_extract(entry)]
                features = self._extract(opened)
        numbers = torch.tensor([sound.number for sound, _ in opened], dtype=torch.int64)
        return {"numbers": numbers, "bad": len(sounds) - len(opened), **features}

    def _open(self, sound: Sound) -> np.ndarray | None:
        rate = self.feature_extractor.sampling_rate
        try:
            if not isinstance(sound.source, VideoSound):
                return load_sound(sound.source, sampling_rate=rate, source_rate=sound.rate)
            clip = sound.source.source
            if not isinstance(clip, Clip):
                clip = read_clip(clip, sampling_rate=rate)
            if clip.waveform is None:
                raise MediaError(f"{clip.path}: has no audio stream")
            return load_sound(clip.waveform, sampling_rate=rate, source_rate=clip.sampling_rate)
        except Exception as error:  # decoders raise many kinds of errors, and one bad sound must not end the run
            _log(sound, error)
            return None

    def _extract(self, opened: Sequence[tuple[Sound, np.ndarray]]) -> dict[str, Tensor]:
        if not opened:
            return {}
        rate = self.feature_extractor.sampling_rate
        features = sound_inputs(self.feature_extractor, [(samples, rate) for _, samples in opened], {})
        return {name: torch.as_tensor(values) for name, values in features.items()}

    def _can_extract(self, entry: tuple[Sound, np.ndarray]) -> bool:
        try:
            self._extract([entry])
        except Exception as error:
            _log(entry[0], error)
            return False
        return True


def _log(sound: Sound, error: Exception) -> None:
    logger.warning("a sound of row %d is left out: %s", sound.row, " ".join(f"{type(error).__name__}: {error}".split()))


__all__ = ["SoundReader"]
