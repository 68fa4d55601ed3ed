"""`ave2 segment` stopped, twice at once, over odd files. Kinds of fault: failures of ours; one item ends the run."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from media_files import write_media

from soundclip_hf.data.clips.cuts import Cutting, Job
from soundclip_hf.data.clips.segment import cut, find_ffmpeg
from soundclip_hf.files import locked_folder

SEGMENT = [sys.executable, "-c", "from soundclip_command import main; main()", "ave2", "segment"]


@pytest.fixture(params=["pyav", "ffmpeg"])
def backend(request, tmp_path, monkeypatch):
    """The static ffmpeg of imageio-ffmpeg serves where there is none on PATH."""
    if request.param == "ffmpeg" and find_ffmpeg() is None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "ffmpeg").symlink_to(pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe())
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return request.param


def video(path, seconds, size=(64, 48)):
    random = np.random.default_rng(0)
    samples = (0.1 * random.standard_normal((1, 16000 * seconds))).astype(np.float32)
    frames = [random.integers(0, 255, (*size, 3)).astype(np.uint8) for _ in range(20)]
    frames = (frames * (seconds * 10 // 20 + 1))[: seconds * 10]
    return write_media(path, video="libx264", audio="aac", samples=samples, rate=16000, frames=frames, fps=10)


def segment(*words):
    return subprocess.run([*SEGMENT, *map(str, words)], capture_output=True, text=True, timeout=300)


def test_an_interrupted_run_loses_no_clip(tmp_path, backend):
    """Ctrl-C reaches the whole group of processes; it is no fault of the video, and the next run makes all clips."""
    source = video(tmp_path / "a.mp4", 60, (256, 192))
    command = [*map(str, SEGMENT), str(source), "-o", str(tmp_path / "out"), "--backend", backend, "--workers", "1"]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 120
    while not list((tmp_path / "out").glob(".*.partial")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert not list((tmp_path / "out").glob("*.json*"))  # nothing is recorded of a video that was not finished
    again = segment(source, "-o", tmp_path / "out", "--backend", backend)
    assert again.returncode == 0, again.stderr
    assert len((tmp_path / "out" / "segments.jsonl").read_text().splitlines()) == 20
    assert not list((tmp_path / "out").glob(".*"))


def test_two_runs_in_one_folder_are_refused(tmp_path):
    source = video(tmp_path / "a.mp4", 3)
    out = tmp_path / "out"
    out.mkdir()
    with locked_folder(out):
        second = segment(source, "-o", out, "--backend", "pyav")
    assert second.returncode == 1
    assert str(out) in second.stderr
    assert not list(out.glob("*.mp4"))
    assert segment(source, "-o", out, "--backend", "pyav").returncode == 0


def test_odd_names_cost_at_most_themselves(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    content = video(tmp_path / "made.mp4", 3).read_bytes()
    good = ["-b", "a%03d", "q'uote\"", "two\nlines", "né " + "x" * 100]
    for name in good:
        (folder / f"{name}.mp4").write_bytes(content)
    (folder / "._a.mp4").write_bytes(b"what macOS leaves")
    (folder / "broken.mp4").write_bytes(b"no video")
    done = segment(folder, "-o", tmp_path / "out", "--backend", "pyav")
    rows = [json.loads(line) for line in (tmp_path / "out" / "segments.jsonl").read_text().splitlines()]
    cut_names = {row["youtube_id"] for row in rows if row["media_status"] == "ok"}
    named = {name for name in good if name in cut_names or repr(name)[1:-1] in done.stderr or name in done.stderr}
    assert named == set(good), done.stderr  # each is cut, or the reason is printed with its name
    assert {"-b", "a%03d"} <= cut_names
    assert "broken" in done.stderr
    assert "._a" not in done.stderr.replace("._a.mp4", "")


def test_a_clip_is_cut_into_the_same_bytes_again(tmp_path, backend):
    """Encoders choose their code by the processor; a resumed run must make what the first one would have made."""
    source = video(tmp_path / "a.mp4", 4, (128, 96))
    made = {
        tuple(
            clip.written.sha256
            for clip in cut(Job(str(source), "a"), tmp_path / str(n), Cutting(backend=backend)).segments
        )
        for n in range(4)
    }
    assert len(made) == 1


def test_a_video_that_is_gone_is_tried_again(tmp_path):
    """It cannot be recorded as a fault of the video: the drive may only have been away."""
    here, gone = video(tmp_path / "a.mp4", 3), tmp_path / "b.mp4"
    jobs = [Job(str(here), "a"), Job(str(gone), "b")]
    first = [cut(job, tmp_path / "out", Cutting(backend="pyav")) for job in jobs]
    assert [len(made.segments) for made in first] == [1, 0]
    gone.write_bytes(here.read_bytes())
    again = [cut(job, tmp_path / "out", Cutting(backend="pyav")) for job in jobs]
    assert [len(made.segments) for made in again] == [1, 1]
