"""Makes batches of tensors from pairs. A pair that cannot be read is logged, counted and left out."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..media import MediaError, load_picture, load_sound, read_clip
from .pairs import Pair

logger = logging.getLogger("transformers.soundclip_hf.training")


class PairCollator:
    """
    Reads the media of [`Pair`]s and processes them.

    Args:
        processor: A `SoundClipProcessor`.
        frame: Of a clip: "middle", "first" or seconds.
    """

    def __init__(self, processor: Any, frame: str | float = "middle") -> None:
        self.processor, self.frame = processor, frame

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, Tensor]:
        """
        Returns:
            `rows` `(b,)` int64, the indices in the dataset; `bad`, int64, the indices of the pairs that were left out;
            and, if b > 0, the tensors that the processor returns for the `b` pairs.
        """
        opened: list[tuple[int, np.ndarray, Image.Image]] = []
        for pair in pairs:
            try:
                opened.append((pair.row, *self._open(pair)))
            except Exception as error:  # decoders raise many kinds of errors, and one bad row must not end the run
                _log(pair.row, error)
        try:
            features = self._process(opened)
        except Exception:
            # One of the sounds or pictures cannot be processed: find it, and continue without it.
            opened = [entry for entry in opened if self._can_process(entry)]
            features = self._process(opened)
        rows = [row for row, *_ in opened]
        bad = [pair.row for pair in pairs if pair.row not in rows]
        return {
            "rows": torch.tensor(rows, dtype=torch.int64),
            "bad": torch.tensor(bad, dtype=torch.int64),
            **features,
        }

    def _open(self, pair: Pair) -> tuple[np.ndarray, Image.Image]:
        rate = self.processor.feature_extractor.sampling_rate
        sound, picture = None, None
        if pair.video is not None:
            clip = read_clip(pair.video, frame=self.frame, sampling_rate=rate)
            sound, picture = clip.waveform, clip.frame
        if pair.image is not None:
            picture = load_picture(pair.image)
        if pair.audio is not None:
            sound = load_sound(pair.audio, sampling_rate=rate)
        if sound is None or picture is None:
            raise MediaError(f"has no {'sound' if sound is None else 'picture'}")
        return sound, picture

    def _process(self, opened: Sequence[tuple[int, np.ndarray, Image.Image]]) -> dict[str, Tensor]:
        if not opened:
            return {}
        rate = self.processor.feature_extractor.sampling_rate
        sounds, pictures = [(sound, rate) for _, sound, _ in opened], [picture for *_, picture in opened]
        return dict(self.processor(audio=sounds, images=pictures, return_tensors="pt"))

    def _can_process(self, entry: tuple[int, np.ndarray, Image.Image]) -> bool:
        try:
            self._process([entry])
        except Exception as error:
            _log(entry[0], error)
            return False
        return True


def collate_cached(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `batch`: the cache makes whole batches itself."""
    return batch


def _log(row: int, error: Exception) -> None:
    logger.warning("row %d is left out: %s", row, " ".join(f"{type(error).__name__}: {error}".split()))


__all__ = ["PairCollator", "collate_cached"]
