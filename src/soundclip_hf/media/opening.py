"""Opens local paths and bytes as containers, and chooses their streams.

Every media file that the package reads is opened here: as one of the containers below, and without any way to another
file or address, whatever it says.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import av
import av.container

from . import limits
from .errors import MediaError

# Containers (FFmpeg's demuxers) that hold their media themselves. Left out: playlists and descriptions that name other
# files or addresses (concat, hls, sdp, image2 and more), devices, subtitles, and formats of games.
CONTAINERS = (
    # sound and pictures
    *("asf", "asf_o", "avi", "dhav", "dv", "flv", "gxf", "kux", "live_flv", "matroska", "mov", "mpeg", "mpegts"),
    *("mpegtsraw", "mxf", "nsv", "nut", "nuv", "ogg", "pva", "rm", "swf", "ty", "wtv"),
    # pictures
    *("apng", "apv", "av1", "avs2", "avs3", "cavsvideo", "dirac", "dnxhd", "evc", "gif", "h261", "h263", "h264"),
    *("hevc", "ivf", "jpegxl_anim", "m4v", "mjpeg", "mjpeg_2000", "mpegvideo", "mpjpeg", "obu", "vc1", "vc1test"),
    *("vvc", "webp", "yuv4mpegpipe"),
    # one picture: read by `pictures`
    *("bmp_pipe", "dds_pipe", "dpx_pipe", "exr_pipe", "gif_pipe", "hdr_pipe", "ico", "j2k_pipe", "jpeg_pipe"),
    *("jpegls_pipe", "jpegxl_pipe", "jpegxs_pipe", "pam_pipe", "pbm_pipe", "pcx_pipe", "pfm_pipe", "pgm_pipe"),
    *("pgmyuv_pipe", "pgx_pipe", "png_pipe", "ppm_pipe", "psd_pipe", "qoi_pipe", "sgi_pipe", "sunrast_pipe"),
    *("svg_pipe", "tiff_pipe", "webp_pipe", "xbm_pipe", "xpm_pipe", "xwd_pipe"),
    # sound
    *("aa", "aac", "aax", "ac3", "ac4", "adx", "aea", "aiff", "amr", "amrnb", "amrwb", "ape", "aptx", "aptx_hd", "ast"),
    *("au", "caf", "codec2", "dsf", "dts", "dtshd", "eac3", "flac", "g722", "g726", "g729", "gsm", "iamf", "iff"),
    *("ilbc", "ircam", "lc3", "loas", "mlp", "mp3", "mpc", "mpc8", "nistsphere", "oma", "osq", "qcp", "qoa", "rso"),
    *("sbc", "shn", "sln", "sox", "spdif", "tak", "truehd", "tta", "voc", "vqf", "w64", "wav", "wsd", "wv", "xwma"),
)
# FFmpeg splits the lists at commas. With custom input there is no protocol; "file" is needed by programs that are
# given a path.
FORMAT_WHITELIST = ",".join(CONTAINERS)
PROTOCOL_WHITELIST = "file"

# Tags are often in other encodings than UTF-8. From PyAV 19 on they are never an error, and the argument is gone.
_FOREIGN_TAGS: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
# A file that starts with one of these is opened as that container. FFmpeg also looks at the bytes that follow, and can
# take plain samples for another container: FFmpeg 9 takes a wav file for MPEG-TS where a byte of 0x47 comes regularly.
_SIGNATURES = (  # the first four bytes, what bytes 8 to 12 start with, the container
    (b"RIFF", b"WAVE", "wav"),
    (b"RF64", b"WAVE", "wav"),
    (b"FORM", b"AIFF", "aiff"),
    (b"FORM", b"AIFC", "aiff"),
    (b"caff", b"", "caf"),
    (b".snd", b"", "au"),
)
# How texts begin that name other media: they are refused by their own name.
_PLAYLISTS = (
    (b"ffconcat version", "a list of files (ffconcat)"),
    (b"#EXTM3U", "a playlist (HLS or M3U)"),
    (b"v=0", "a session description (SDP)"),
    (b"[playlist]", "a playlist (PLS)"),
    (b"<?xml", "XML, such as a DASH manifest"),
    (b"<MPD", "a DASH manifest"),
)


def open_media(media: str | Path | bytes) -> av.container.InputContainer:
    """Open a media file, or its bytes, for reading. It is opened as one of `CONTAINERS`, and opens nothing else.

    Raises:
        MediaError: It is a playlist or something else that is not one of `CONTAINERS`.
        av.FFmpegError: It is not a media file, or it cannot be read.
        OSError: There is no such file, or it cannot be read.
    """
    head = _head(media)
    playlist = next((what for start, what in _PLAYLISTS if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(start)), None)
    container = next(
        (name for start, kind, name in _SIGNATURES if head[:4] == start and head[8:12].startswith(kind)), None
    )
    options = {
        "format_whitelist": FORMAT_WHITELIST,
        "protocol_whitelist": "none",
        # For the decoders that look into the file while it is opened.
        "max_pixels": str(limits.MAX_FRAME_PIXELS),
    }
    # The ending of a name helps FFmpeg to recognise a file without a signature. It also makes FFmpeg take the name of a
    # picture for that of a series: then the file is opened once more without the ending.
    endings = dict.fromkeys(("" if isinstance(media, bytes) else Path(media).suffix, ""))
    for ending in endings if playlist is None else ():
        try:
            return av.open(_Input(media, ending), "r", format=container, options=options, **_FOREIGN_TAGS)
        except av.ArgumentError:
            continue
    raise MediaError(
        f"is {playlist or 'not one of the containers that are read'}; pass a file that holds its sound and pictures "
        "itself, such as mp4, webm, wav or mp3"
    )


def _head(media: str | Path | bytes) -> bytes:
    if isinstance(media, bytes):
        return media[:64]
    with open(media, "rb") as file:
        return file.read(64)


class _Input:
    """What PyAV reads: a file, or bytes. FFmpeg sees the attribute `name`, never the file's own. It is closed with the
    container that holds it.
    """

    def __init__(self, media: str | Path | bytes, ending: str) -> None:
        self.file: Any = io.BytesIO(media) if isinstance(media, bytes) else io.FileIO(media, "r")
        self.name = f"media{ending}"
        self.read, self.seek, self.tell = self.file.read, self.file.seek, self.file.tell

    def __del__(self) -> None:
        if (file := getattr(self, "file", None)) is not None:
            file.close()


def open_decoder(media: str | bytes) -> av.container.InputContainer:
    """Open a media file, or its bytes, for decoding in this thread alone, with bounds on what decoders allocate.

    Raises:
        MediaError, av.FFmpegError, OSError: As `open_media`.
        MediaError: A stream is larger than `limits` allow.
    """
    container = open_media(media)
    try:
        for stream in (*container.streams.video, *container.streams.audio):
            if stream.codec_context is None:  # no decoder
                continue
            # A decoder with threads of its own hangs when a forked process garbage-collects it: the threads do not
            # exist there.
            stream.codec_context.thread_count = 1
            bound_decoder(stream)
    except BaseException:
        container.close()
        raise
    return container


def bound_decoder(stream: Any) -> None:
    """Let a stream's decoder allocate no more than `limits` allow.

    Raises:
        MediaError: It would have to.
    """
    context = stream.codec_context
    if stream.type == "video":
        check_frame_size(context.width, context.height)
        context.options = {**context.options, "max_pixels": str(limits.MAX_FRAME_PIXELS)}
    else:
        check_sound_format(context.layout.nb_channels if context.layout else 0, context.sample_rate or 0)


def check_frame_size(width: int, height: int) -> None:
    """
    Raises:
        MediaError: A frame has more than `limits.MAX_FRAME_PIXELS`.
    """
    if width * height > limits.MAX_FRAME_PIXELS:
        raise MediaError(
            f"its frames have {width} x {height} pixels, more than {limits.MAX_FRAME_PIXELS}; make them smaller, or "
            f"{limits.raised('MAX_FRAME_PIXELS')}"
        )


def check_sound_format(channels: int, rate: int) -> None:
    """
    Raises:
        MediaError: There are more channels than `limits.MAX_CHANNELS`, or more samples in a second than
            `limits.MAX_SAMPLING_RATE`.
    """
    for value, what, name in ((channels, "channels", "MAX_CHANNELS"), (rate, "Hz", "MAX_SAMPLING_RATE")):
        if value > (most := getattr(limits, name)):
            raise MediaError(f"its sound has {value} {what}, more than {most}; convert it, or {limits.raised(name)}")


def choose_streams(container: Any, without: Collection[int] = ()) -> tuple[Any, Any]:
    """The first video stream that is not cover art, and the best audio stream of the same programme; each None where
    there is none. Streams that have a decoder go first.

    Args:
        without: Indices of streams that are passed over.
    """
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    pictures = [s for s in container.streams.video if not s.disposition & covers and s.index not in without]
    sounds = [s for s in container.streams.audio if s.index not in without]
    video = next((s for s in pictures if s.codec_context is not None), next(iter(pictures), None))
    best = container.streams.best("audio", related=video) if video is not None else container.streams.best("audio")
    sounds.sort(key=lambda stream: (stream.codec_context is None, best is None or stream.index != best.index))
    return video, next(iter(sounds), None)


def check_decoder(stream: Any) -> None:
    """
    Raises:
        MediaError: This FFmpeg has no decoder for the stream.
    """
    if stream is not None and stream.codec_context is None:
        what = {"audio": "sound", "video": "picture"}[stream.type]
        raise MediaError(f"its {what} (stream {stream.index}) cannot be decoded: there is no decoder; encode it again")


def is_still(container: Any) -> bool:
    """Whether this is a picture and not a film: one that PIL reads."""
    brand = container.metadata.get("major_brand", "").strip()
    return container.format.name.endswith("_pipe") or container.format.name == "ico" or brand in _STILL_BRANDS


_STILL_BRANDS = ("avif", "heic", "heix", "mif1")
