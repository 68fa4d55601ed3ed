"""Decodes the frames that are asked for as upright RGB pictures."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from PIL import Image

from . import limits
from .decoding import Decoded
from .errors import MediaError
from .opening import check_frame_size, open_decoder

# Display matrices, as MP4 and FFmpeg store them: (a, b, c, d) of x' = ax + cy, y' = bx + dy, with y pointing down.
UPRIGHT = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


def frame_stamps(reading: Decoded, frame: str | float, frames: int) -> list[int]:
    """Timestamps of the frame that `frame` names and, if `frames` > 1, of that many evenly spaced ones after it."""
    if not reading.stamps:
        return []
    first, length = reading.stamps[0], reading.end - reading.stamps[0]
    if isinstance(frame, str):
        moments = [first + length / 2 if frame == "middle" else first]
    else:
        # Timestamps are rounded to ticks of `time_base`, 1 ms in Matroska: there a frame at 1/3 s is stamped 0.333.
        slack = min(0.5, 0.0005 / float(reading.time_base))
        moments = [(frame + reading.start) / float(reading.time_base) + slack]
        if moments[0] > reading.end + 2 * slack:
            raise MediaError(f"frame={frame} s is past the end of its video, {reading.seconds(reading.end):.3f} s")
    if frames > 1:
        moments += [first + length * (2 * part + 1) / (2 * frames) for part in range(frames)]
    return [reading.stamps[max(bisect_right(reading.stamps, moment) - 1, 0)] for moment in moments]


def frames_at(
    media: str | bytes, reading: Decoded, targets: list[int], seek: bool = True
) -> list[tuple[Image.Image, float]]:
    """`(image, seconds)` for each timestamp of `targets`; decoding starts at the keyframe before each."""
    shown: dict[int, tuple[Image.Image, float]] = {}
    if not targets:
        return []
    seek = seek and not reading.untimed
    with open_decoder(media) as container:
        stream = next(s for s in container.streams.video if s.index == reading.video)
        frames, current, ahead = _Frames(container, stream, reading.untimed), None, None
        for target in sorted(set(targets)):
            key = reading.keys[max(bisect_right(reading.keys, target) - 1, 0)] if reading.keys else reading.stamps[0]
            frames.pixels = 0
            if seek and (current is None or stamp_of(ahead or current) < key):
                try:
                    container.seek(key, stream=stream)
                except av.FFmpegError:  # not every format can seek
                    return frames_at(media, reading, targets, seek=False)
                frames, current, ahead = _Frames(container, stream), None, None
            while current is None or stamp_of(current) < target:
                ahead = ahead or next(frames, None)
                if ahead is None or (current is not None and stamp_of(ahead) > target):
                    break
                current, ahead = ahead, None
            if seek and (current is None or stamp_of(current) > target):  # a wrong index led past the target
                return frames_at(media, reading, targets, seek=False)
            if current is None:
                raise MediaError("its video cannot be decoded; encode it again")
            picture = _upright(current, stream.sample_aspect_ratio)
            shown[target] = picture, reading.seconds(stamp_of(current))
    return [shown[target] for target in targets]


class _Frames:
    """The decoded frames of a stream, in order; numbered if they have no timestamps."""

    def __init__(self, container: Any, stream: Any, untimed: bool = False) -> None:
        self.decoded = container.decode(stream)
        self.numbers = itertools.count() if untimed else None
        self.pixels = 0  # decoded on the way to the frame that is looked for

    def __iter__(self) -> _Frames:
        return self

    def __next__(self) -> Any:
        try:
            frame = next(self.decoded)
        except av.EOFError:
            raise StopIteration from None
        except av.ArgumentError as error:  # what decoders say of `max_pixels`, among other things
            raise MediaError(
                f"a frame cannot be decoded ({error.strerror}): it is damaged, or has more than "
                f"{limits.MAX_FRAME_PIXELS} pixels; encode it again, or {limits.raised('MAX_FRAME_PIXELS')}"
            ) from error
        check_frame_size(frame.width, frame.height)
        self.pixels += frame.width * frame.height
        if self.pixels > (most := limits.MAX_DECODED_PIXELS):
            raise MediaError(
                f"its frames have to be decoded one after the other up to the one that is asked for: more than {most} "
                f"pixels; ask for an earlier one, encode it with more keyframes, or "
                f"{limits.raised('MAX_DECODED_PIXELS')}"
            )
        if self.numbers is not None:
            frame.pts = next(self.numbers)
        return frame


def stamp_of(frame: av.VideoFrame) -> int:
    """The frame's timestamp, in ticks of its stream."""
    return frame.pts if frame.pts is not None else frame.dts or 0


def turn_of(frame: av.VideoFrame) -> Image.Transpose | None:
    """What makes a frame upright, as its display matrix says; None if it is upright."""
    side_data: Any = frame.side_data if _knows_side_data(frame) else None
    if side_data is None:
        # PyAV lists no side data at all where it does not know one kind of them, such as EXIF.
        return {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}.get(
            frame.rotation % 360
        )
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return None
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5] / 2**16
    return UPRIGHT.get((round(a), round(b), round(c), round(d)))


def _knows_side_data(frame: Any) -> bool:
    try:
        return frame.side_data is not None
    except ValueError:
        return False


def pixel_ratio(ratio: Fraction | None) -> Fraction:
    """Width of a pixel by its height, as a stream says it; 1 where it does not."""
    return Fraction(1) if not ratio or ratio <= 0 else Fraction(ratio)


def _upright(frame: av.VideoFrame, ratio: Fraction | None) -> Image.Image:
    """The frame as RGB, with square pixels and turned as its display matrix says; no pixel is given up."""
    image, ratio = frame.to_image(threads=1), pixel_ratio(ratio)
    width, height = image.size
    size = (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
    if size != image.size:
        check_frame_size(*size)
        image = image.resize(size, Image.Resampling.BICUBIC)
    turn = turn_of(frame)
    return image if turn is None else image.transpose(turn)
