"""What `transcoding` does, by PyAV: decode, filter and encode into an open container."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType

from ...media import MediaError, bound_decoder, open_media
from .video_source import Encoding, Source, half_frame, output_size, size_filter, sound_filter, x264_options

# Decoding starts this many seconds before the requested time: more than a frame, and too few to cost time.
SEEK_MARGIN = 0.5


def transcode(source: Source, seconds: float, start: float, encoding: Encoding, out: Any) -> None:
    """Write a whole video to `out`, from `start` on; arguments as in `transcoding.transcoded`.

    Raises:
        MediaError, av.FFmpegError: The file cannot be decoded, or a frame is damaged.
    """
    zero, half, clip = source.origin + Fraction(start), half_frame(source), -1
    with open_media(source.path) as container:
        video: Any = container.streams[source.video]
        audio: Any = container.streams[source.audio]
        for stream in (video, audio):
            stream.codec_context.thread_count = encoding.threads
            bound_decoder(stream)
        if start > SEEK_MARGIN:
            container.seek(round((float(zero) - SEEK_MARGIN) * av.time_base))
        encoder = out.add_stream("libx264", rate=source.fps, options=x264_options(encoding))
        encoder.width, encoder.height = output_size(source, encoding)
        encoder.sample_aspect_ratio = source.ratio
        encoder.pix_fmt, encoder.codec_context.thread_count = "yuv420p", encoding.threads
        encoder.time_base = encoder.codec_context.time_base = source.time_base
        pcm = out.add_stream("pcm_f32le", rate=source.rate, layout=source.layout)
        pictures = sounds = None

        def show(frames: Iterator[Any]) -> None:
            nonlocal clip
            for frame in frames:
                time = float(frame.pts * frame.time_base)
                # The type that the frame had in the file would be kept.
                frame.pict_type = PictureType.NONE
                if (number := int((time + half) // seconds)) > clip:
                    frame.pict_type, clip = PictureType.I, number
                out.mux(encoder.encode(frame))

        for packet in container.demux(video, audio):
            frames: list[Any] = packet.decode()
            for frame in frames:
                if frame.pts is None:
                    continue
                if packet.stream is audio:
                    sounds = sounds or _graph(audio, frame, [sound_filter(source)])
                    frame.pts = round((frame.pts * frame.time_base - zero) * source.file_rate)
                    frame.time_base = Fraction(1, source.file_rate)
                    sounds.push(frame)
                    for block in _drain(sounds):
                        out.mux(pcm.encode(block))
                    continue
                frame.pts -= round(zero / source.time_base)
                if frame.pts * source.time_base < -half:
                    continue
                if frame.is_corrupt:
                    raise MediaError(f"its video is damaged at {float(frame.pts * source.time_base + start):.2f} s")
                turned = [source.turn] if source.turn else []
                pictures = pictures or _graph(video, frame, [*turned, *size_filter(source, encoding), "format=yuv420p"])
                pictures.push(frame)
                show(_drain(pictures))
        if sounds is not None:
            sounds.push(None)
            for block in _drain(sounds):
                out.mux(pcm.encode(block))
        if pictures is not None:
            pictures.push(None)
            show(_drain(pictures))
            out.mux(encoder.encode())


def _graph(stream: Any, frame: Any, filters: list[str]) -> Any:
    """A chain of filters behind a source that takes frames like this one."""
    graph = av.filter.Graph()
    if isinstance(frame, av.AudioFrame):
        rate = frame.sample_rate
        head = graph.add_abuffer(
            sample_rate=rate, format=frame.format.name, layout=frame.layout.name, time_base=Fraction(1, rate)
        )
    else:
        head = graph.add_buffer(template=stream, width=frame.width, height=frame.height, format=frame.format)
    nodes = [head]
    for text in ",".join(filters).split(","):
        name, _, arguments = text.partition("=")
        nodes.append(graph.add(name, arguments))
    nodes.append(graph.add("abuffersink" if isinstance(frame, av.AudioFrame) else "buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _drain(graph: Any) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


__all__ = ["SEEK_MARGIN", "transcode"]
