"""Reads what sentence-transformers calls an input: a sound, a picture, a video, or several of them in a dictionary."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..media import Clip, MediaError, load_pictures, read_clip, shown
from ..media_kinds import kind_of
from ..modeling.prompts.message_parts import MISSING, read_part
from ..modeling.slots.pairing import is_sound

MODALITIES = ("audio", "image", "video")
_NO_TEXT = "a dual encoder has no text tower. Give sounds, pictures and videos"


@dataclass
class Media:
    """
    The media of a batch of samples.

    Attributes:
        sounds: What the processor takes as `audio`, one each.
        sound_rows: The sample that each of them belongs to.
        pictures: The frames of each picture or video, at least one; what the processor takes as `images`.
        picture_rows: The sample that each of them belongs to.
    """

    sounds: list[Any] = field(default_factory=list)
    sound_rows: list[int] = field(default_factory=list)
    pictures: list[list[Any]] = field(default_factory=list)
    picture_rows: list[int] = field(default_factory=list)


def read_samples(samples: Sequence[Any], *, frame: str | float = "middle", num_frames: int = 1) -> Media:
    """
    Sort the media of samples. Pictures and videos are opened; sounds are left to the processor.

    Args:
        samples: Each is a dictionary by modality, such as `{"audio": ..., "image": ...}`, or one medium:
            a sound (an array or tensor of one or two axes, a dictionary with `array` and `sampling_rate`, a torchcodec
            decoder); a picture (PIL, or an array of three axes); a video (a list of pictures or an array of four axes,
            which are its frames; a dictionary with `array` and `video_metadata`; a torchcodec decoder); the path or URL
            of a file, whose ending says what it is; or a chat message, or a list of them, with such parts. Of a video
            only the pictures are taken: its sound is `{"audio": ...}` of the same file.
        frame, num_frames: Which pictures of a video file or decoder are taken; see [`~media.read_clip`].

    Raises:
        ValueError: If a sample is of no known kind, is a text or has one, or has two media of one modality.
            `MediaError`, one of them, names the file that cannot be read.
    """
    media = Media()
    for row, sample in enumerate(samples):
        where = _named(sample)
        for modality, value in _by_modality(sample, where).items():
            if modality == "audio":
                media.sounds.append(_sound(value, where))
                media.sound_rows.append(row)
                continue
            frames = [_picture(value, where)] if modality == "image" else _frames(value, where, frame, num_frames)
            media.pictures.append([load_pictures(one) for one in frames])
            media.picture_rows.append(row)
    return media


def _named(sample: Any) -> str:
    """What messages call a sample: its place would not help, since sentence-transformers sorts what it is given."""
    if isinstance(sample, (str, Path)):
        return shown(repr(str(sample)))
    if isinstance(sample, Mapping):
        return f"the input with the keys {', '.join(map(str, sample))}"
    return f"the input of type {type(sample).__name__}"


def _by_modality(sample: Any, where: str) -> dict[str, Any]:
    if _is_message(sample) or (isinstance(sample, list) and sample and _is_message(sample[0])):
        return _of_messages([sample] if isinstance(sample, Mapping) else sample, where)
    if not isinstance(sample, Mapping) or "array" in sample:
        return {_modality(sample, where): sample}
    unknown = [name for name in sample if name not in MODALITIES]
    if "text" in unknown:
        raise ValueError(f"{where} has a text, and {_NO_TEXT}.")
    if unknown or not sample:
        raise ValueError(
            f'{where}: expected a dictionary with some of the keys {", ".join(MODALITIES)}, such as {{"audio": ...}}.'
        )
    return {name: _only(value, name, where) for name, value in sample.items()}


def _of_messages(messages: Iterable[Mapping[str, Any]], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for message in messages:
        content = message["content"]
        for index, one in enumerate([content] if isinstance(content, str) else content):
            part = read_part(one, f"{where}: part {index}")
            if part.kind == "text":
                raise ValueError(f"{where} has a text, and {_NO_TEXT}.")
            if part.source is None or part.source is MISSING:
                raise ValueError(f"{where}: part {index} of type {part.kind!r} has no source.")
            if part.kind in found:
                raise ValueError(f"{where} has two parts of type {part.kind!r}: give one of each type.")
            is_array = part.sampling_rate is not None
            found[part.kind] = (part.source, part.sampling_rate) if is_array else part.source
    if not found:
        raise ValueError(f"{where} is a message without sound, picture or video.")
    return found


def _modality(value: Any, where: str) -> str:
    """What a medium is that stands alone."""
    if isinstance(value, Image.Image):
        return "image"
    if callable(getattr(value, "get_all_samples", None)):
        return "audio"
    if callable(getattr(value, "get_frame_at", None)):
        return "video"
    if isinstance(value, Mapping) and ("sampling_rate" in value or "video_metadata" in value):
        return "audio" if "sampling_rate" in value else "video"
    if isinstance(value, (str, Path)):
        if "://" in str(value) or Path(value).is_file():
            return kind_of(str(value))
        raise ValueError(f"{where} is neither a file nor a URL, and {_NO_TEXT}.")
    if isinstance(value, (list, tuple)) and value and not is_sound(value):
        return "video"
    axes = getattr(value, "ndim", None)
    found = {1: "audio", 2: "audio", 3: "image", 4: "video"}.get(axes) if axes is not None else None
    if found is None:
        what = f" has {axes} axes" if axes is not None else ""
        raise ValueError(f"{where}{what}: say what it is, with a dictionary by modality such as {{'audio': ...}}.")
    return found


def _only(value: Any, modality: str, where: str) -> Any:
    """A value, or the only one of a list; the frames of a video stay a list."""
    if modality == "video" or not isinstance(value, (list, tuple)) or is_sound(value):
        return value
    if len(value) != 1:
        hint = ' Frames of one video are {"video": [...]}.' if modality == "image" else ""
        raise ValueError(f"{where} has {len(value)} media of type {modality!r}: give one.{hint}")
    return value[0]


def _sound(value: Any, where: str) -> Any:
    if not isinstance(value, Clip):
        return value
    if value.waveform is None:
        raise MediaError(f"{where}: {value.path} has no audio stream")
    return value.waveform, value.sampling_rate


def _picture(value: Any, where: str) -> Any:
    if isinstance(value, Clip):
        raise ValueError(f'{where}: a Clip is not a picture: give {{"video": clip}}.')
    return _content(value)


def _frames(value: Any, where: str, frame: str | float, num_frames: int) -> list[Any]:
    value = _content(value)
    if isinstance(value, (str, Path, bytes, bytearray, memoryview)):
        value = read_clip(value if isinstance(value, (str, Path)) else bytes(value), frame=frame, frames=num_frames)
    if isinstance(value, Clip):
        if not value.frames:
            raise MediaError(f'{where}: {value.path} has no video stream; give its sound as {{"audio": ...}}')
        return list(value.frames)
    if callable(getattr(value, "get_frame_at", None)):
        return _decoded(value, frame, num_frames)
    if isinstance(value, (list, tuple)) and value:
        return list(value)
    if getattr(value, "ndim", None) in (3, 4) and len(value):
        return [value] if value.ndim == 3 else [np.asarray(one) for one in value]
    raise ValueError(
        f"{where}: a video is a path, URL, bytes, a Clip, a decoder, a list of pictures or an array (frames, height, "
        f"width, 3) or (frames, 3, height, width); this is a {type(value).__name__}."
    )


def _decoded(decoder: Any, frame: str | float, num_frames: int) -> list[Any]:
    count = len(decoder)
    if num_frames > 1:
        found = [decoder.get_frame_at(int((index + 0.5) * count / num_frames)) for index in range(num_frames)]
    elif isinstance(frame, str):
        found = [decoder.get_frame_at(0 if frame == "first" else count // 2)]
    else:
        found = [decoder.get_frame_played_at(frame)]
    return [one.data.cpu().numpy() for one in found]


def _content(value: Any) -> Any:
    """What is in a row of `datasets` that was not decoded, or in a dictionary with metadata."""
    if not isinstance(value, Mapping):
        return value
    return next((value[key] for key in ("array", "bytes", "path") if value.get(key) is not None), value)


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and {"role", "content"} <= value.keys()


__all__ = ["MODALITIES", "Media", "read_samples"]
