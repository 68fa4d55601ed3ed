"""Media that name other files or addresses: refused at every place where media are opened."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from media_files import write_media

from soundclip_hf.data.clips.transcoding import transcoded
from soundclip_hf.data.clips.video_source import Encoding, read_source
from soundclip_hf.data.inference.media_parts import MediaOptions, media_parts
from soundclip_hf.data.other_sets.manifest import probe
from soundclip_hf.media import MediaError, load_picture, load_sound, read_clip

TEXTS = {
    "ffconcat": "ffconcat version 1.0\nfile neighbour.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nneighbour.ts\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD><BaseURL>neighbour.mp4</BaseURL></MPD>\n',
}
READERS: dict[str, Callable[[Path], object]] = {
    "file": read_clip,
    "sound": lambda path: load_sound(path, sampling_rate=16000),
    "bytes": lambda path: read_clip(path.read_bytes()),
    "picture": load_picture,
    "cut": read_source,
    "judge": lambda path: media_parts(path, MediaOptions()),
}


@pytest.fixture
def neighbour(tmp_path: Path) -> Path:
    write_media(tmp_path / "neighbour.ts", video="libx264", audio="aac")
    return write_media(tmp_path / "neighbour.mp4", video="libx264", audio="aac")


@pytest.mark.parametrize("ending", ["mp4", "wav", "m3u8", "png"])
@pytest.mark.parametrize("text", TEXTS)
def test_playlists_open_nothing(tmp_path: Path, neighbour: Path, text: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text(TEXTS[text])
    for name, read in READERS.items():
        with pytest.raises(MediaError) as caught:
            read(path)
        assert "cannot be read as a picture" in str(caught.value) if name == "picture" else True
    assert probe(path) == probe(path.read_bytes()) == "decode_error"


def test_playlists_that_hide_their_first_line(tmp_path: Path, neighbour: Path) -> None:
    """FFmpeg is told which containers it may find, whatever the text begins with."""
    path = tmp_path / "a.m3u8"
    path.write_text("\n" * 100 + TEXTS["hls"])
    with pytest.raises(MediaError):
        read_clip(path)


def test_protocols_are_names_of_files(neighbour: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(neighbour.parent)
    for name in (
        "concat:neighbour.ts|neighbour.ts",
        "subfile,,start,0,end,9999,,:neighbour.ts",
        "data:video/mp4;base64,AA",
    ):
        with pytest.raises(MediaError, match="no such file"):
            read_clip(name)
    with pytest.raises(MediaError, match=r"rtsp:// is not supported"):
        read_clip("rtsp://127.0.0.1/a")


def test_the_program_that_cuts_opens_nothing_else(neighbour: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes a playlist after it was looked at is refused by ffmpeg itself."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    source = read_source(neighbour)
    program = imageio_ffmpeg.get_ffmpeg_exe()
    other = neighbour.with_name("other.mp4")
    neighbour.rename(other)
    neighbour.write_text("ffconcat version 1.0\nfile other.mp4\n")
    shown = subprocess.run([program, "-v", "error", "-i", str(neighbour), "-f", "null", "-"], check=False)
    assert shown.returncode == 0  # without the lists it is read
    with pytest.raises(MediaError, match="decode_error"), transcoded(source, 3.0, 0.0, Encoding(), program) as stream:
        for _ in stream.demux():
            pass
