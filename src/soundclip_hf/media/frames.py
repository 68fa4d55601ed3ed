"""Decodes the frames that are asked for as upright RGB pictures."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from PIL import Image

from .decoding import Decoded
from .errors import MediaError
from .opening import open_decoder

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
    with open_decoder(media) as container:
        stream = next(s for s in container.streams.video if s.index == reading.video)
        frames, current, ahead = container.decode(stream), None, None
        for target in sorted(set(targets)):
            key = reading.keys[max(bisect_right(reading.keys, target) - 1, 0)] if reading.keys else reading.stamps[0]
            if seek and (current is None or stamp_of(ahead or current) < key):
                try:
                    container.seek(key, stream=stream)
                except av.FFmpegError:  # not every format can seek
                    return frames_at(media, reading, targets, seek=False)
                frames, current, ahead = container.decode(stream), None, None
            while current is None or stamp_of(current) < target:
                ahead = ahead or next(frames, None)
                if ahead is None or (current is not None and stamp_of(ahead) > target):
                    break
                current, ahead = ahead, None
            if seek and (current is None or stamp_of(current) > target):  # a wrong index led past the target
                return frames_at(media, reading, targets, seek=False)
            if current is None:
                raise MediaError("its video cannot be decoded; encode it again")
            shown[target] = _upright(current), reading.seconds(stamp_of(current))
    return [shown[target] for target in targets]


def stamp_of(frame: av.VideoFrame) -> int:
    """The frame's timestamp, in ticks of its stream."""
    return frame.pts if frame.pts is not None else frame.dts or 0


def _upright(frame: av.VideoFrame) -> Image.Image:
    """The frame as RGB, turned as its display matrix says."""
    image = frame.to_image(threads=1)
    side_data: Any = frame.side_data
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5] / 2**16
    turn = UPRIGHT.get((round(a), round(b), round(c), round(d)))
    return image if turn is None else image.transpose(turn)
