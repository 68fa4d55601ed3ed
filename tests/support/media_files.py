"""Small media files for the tests, written with PyAV: tones, and frames whose grey level is their number."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

GREY_STEP = 3  # between successive frames: survives lossy coding, and 80 frames fit into 8 bits
QUADRANTS = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]], np.uint8)
# Clockwise turn that a player applies -> (a, b, c, d) of x' = ax + cy, y' = bx + dy with y pointing down.
MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def noise(samples: int, channels: int = 1) -> np.ndarray:
    """`(samples, channels)` int16."""
    return np.random.default_rng(0).integers(-(2**15), 2**15, (samples, channels)).astype(np.int16)


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """`(channels, samples)` float32: 440 Hz at amplitude 0.5."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def grey_frames(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    return [np.full((size[1], size[0], 3), 8 + GREY_STEP * number, np.uint8) for number in range(count)]


def frame_number(image: Any) -> int:
    return round((float(np.asarray(image).mean()) - 8) / GREY_STEP)


def write_media(
    path: Path,
    *,
    video: str | None = None,
    audio: str | None = None,
    samples: np.ndarray | None = None,
    rate: int = 48000,
    layout: str = "mono",
    audio_start: float = 0.0,
    frames: list[np.ndarray] | None = None,
    stamps: list[int] | None = None,
    fps: int = 25,
    video_options: dict[str, str] | None = None,
    pixel_ratio: Fraction | None = None,
    cover: bool = False,
    options: dict[str, str] | None = None,
    format: str | None = None,  # noqa: A002
) -> Path:
    """Write `samples` and `frames`; `stamps` are in ms.

    Samples are `(channels, n)` float32 or interleaved `(1, n * channels)` int16; frames `(height, width, 3)` uint8.
    """
    samples = tone(3, rate) if samples is None else samples
    frames = grey_frames(3 * fps) if frames is None else frames
    packets: list[tuple[float, Any]] = []
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        streams: list[Any] = []
        if video:
            stream: Any = container.add_stream(video, rate=fps, options=video_options or {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
            if pixel_ratio is not None:
                stream.sample_aspect_ratio = pixel_ratio
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000) if stamps else Fraction(1, fps)
            streams.append(stream)
        if audio:
            sound: Any = container.add_stream(audio, rate=rate, layout=layout, options={"strict": "experimental"})
            streams.append(sound)
        if cover:
            picture: Any = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            art = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            art.pts = 0
            for packet in [*picture.encode(art), *picture.encode()]:
                container.mux(packet)
        if video:
            encoded = []
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = stamps[number] if stamps else number, stream.codec_context.time_base
                encoded += stream.encode(frame)
            encoded += stream.encode()
            packets += [(float(packet.dts * packet.time_base), packet) for packet in encoded]
        if audio:
            kind = "s16" if samples.dtype == np.int16 else "fltp"
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=kind, layout=layout)
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), round(audio_start * rate)
            resampler = av.AudioResampler(format=sound.codec_context.format, layout=layout, rate=rate)
            blocks = [*resampler.resample(block), *resampler.resample(None)]
            encoded = [packet for part in blocks for packet in sound.encode(part)] + sound.encode()
            packets += [(float(packet.dts * packet.time_base), packet) for packet in encoded]
        for _, packet in sorted(packets, key=lambda item: item[0]):
            container.mux(packet)
    return path


def pcm_wav(samples: np.ndarray, rate: int) -> bytes:
    """A RIFF file of `(n, channels)` samples, bit for bit: uint8, int16, int32 or float32; `(n, channels, 3)` uint8 is
    24-bit little endian."""
    channels, bits = samples.shape[1], 8 * samples.dtype.itemsize * (samples.shape[2] if samples.ndim == 3 else 1)
    width = channels * bits // 8
    kind = 3 if samples.dtype.kind == "f" else 1
    chunk = struct.pack("<HHIIHH", kind, channels, rate, rate * width, width, bits)
    data = np.ascontiguousarray(samples).tobytes()
    body = b"WAVEfmt " + struct.pack("<I", len(chunk)) + chunk + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def rotate_mp4(path: Path, degrees: int) -> Path:
    """Give the first track of an mp4 the display matrix of a clockwise turn, as phones do."""
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4
    matrix = header + (40 if data[header] == 0 else 52)  # version 0 has 32-bit times
    a, b, c, d = MATRICES[degrees]
    struct.pack_into(">9i", data, matrix, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    turned = path.with_name(f"turned{degrees}.mp4")
    turned.write_bytes(data)
    return turned
