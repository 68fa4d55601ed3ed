"""One sample, a sound and its picture: where they are, what is known about them, and how to read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ...data.synthetic import RATE, scene
from ...media import MediaError, load_picture, load_sound, read_clip, resample


@dataclass(frozen=True)
class Sample:
    """
    Attributes:
        id: Unique in its data set.
        group: The video that it was cut from. Two samples of one group are no wrong answers for each other.
        row: What is known about it, by the columns of AVE-2 (`data.ave2.schema`); may be empty.
        audio, image, video: Paths, URLs or bytes, as `media` opens them: a video, or an audio with an image or a video.
            An audio beside a video takes the place of its sound.
        scene: Number of a synthetic scene, in place of media.
    """

    id: str
    group: str
    row: Mapping[str, Any] = field(default_factory=dict)
    audio: Any = None
    image: Any = None
    video: Any = None
    scene: int | None = None


@dataclass(frozen=True)
class Media:
    """
    What a sample shows and plays.

    Attributes:
        pictures: Its frames, or its one picture; empty where it has none.
        sound: `(samples,)` float32 mono at `sampling_rate`; None where it has none.
        sampling_rate: In Hz.
        frame_time: Seconds at which the picture comes on; None unless it is one frame of a clip.
    """

    pictures: tuple[Image.Image, ...]
    sound: np.ndarray | None
    sampling_rate: int
    frame_time: float | None = None

    @property
    def picture(self) -> Image.Image | None:
        """The first of `pictures`."""
        return self.pictures[0] if self.pictures else None


def read_sample(sample: Sample, *, sampling_rate: int, frame: str | float = "middle", frames: int = 1) -> Media:
    """
    Args:
        sampling_rate: Of the sound, in Hz.
        frame: "middle", "first", or seconds; see `media.read_clip`.
        frames: With n > 1, n evenly spaced frames of a video in place of `frame`.

    Raises:
        MediaError: If a file cannot be used; the message begins with the id of the sample.
    """
    try:
        return _read(sample, sampling_rate, frame, frames)
    except MediaError as error:
        raise MediaError(f"{sample.id}: {error}") from error


def _read(sample: Sample, rate: int, frame: str | float, frames: int) -> Media:
    if sample.scene is not None:
        shown = scene(sample.scene)
        return Media((Image.fromarray(shown.picture),), resample(shown.sound, RATE, rate), rate)
    pictures: tuple[Image.Image, ...] = ()
    sound, when = None, None
    if sample.video is not None:
        clip = read_clip(sample.video, frame=frame, sampling_rate=rate, frames=frames)
        pictures, sound = clip.frames, clip.waveform
        when = clip.frame_time if frames == 1 else None
    elif sample.image is not None:
        pictures = (load_picture(sample.image),)
    if sample.audio is not None:
        sound = load_sound(sample.audio, sampling_rate=rate)
    return Media(pictures, sound, rate, when)


__all__ = ["Media", "Sample", "read_sample"]
