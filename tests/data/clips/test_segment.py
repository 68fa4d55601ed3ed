"""Clips are exact to a frame and a sample, by ffmpeg and by PyAV; what is not kept is recorded with its reason."""

import hashlib
import os
from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import QUADRANTS, frame_number, grey_frames, rotate_mp4, write_media
from processes import without_space
from shared_data import shared_path

from soundclip_hf.data.clips import segment
from soundclip_hf.data.clips.cuts import Cutting, Job, Reject, read_record, records
from soundclip_hf.data.clips.segment import cut, cut_all
from soundclip_hf.data.clips.video_source import Encoding
from soundclip_hf.media import read_clip


@pytest.fixture(scope="module", params=["pyav", "ffmpeg"])
def backend(request, tmp_path_factory):
    """Both ways of cutting; the static ffmpeg of imageio-ffmpeg serves where there is none on PATH."""
    if request.param == "ffmpeg" and segment.find_ffmpeg() is None:
        program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
        folder = tmp_path_factory.mktemp("bin")
        (folder / "ffmpeg").symlink_to(program)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
            yield request.param
        return
    yield request.param


def noise(seconds, rate, channels=1, seed=0):
    """Low-passed noise: codecs keep it well enough for its delay to be found to the sample."""
    random = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
    kernel = np.hanning(9) / np.hanning(9).sum()
    smooth = np.stack([np.convolve(channel, kernel, "same") for channel in random])
    return (0.3 * smooth / np.abs(smooth).max()).astype(np.float32)


def numbered(seconds, fps):
    """Frames whose grey level is their number, which wraps at 80."""
    levels = grey_frames(80, (32, 32))
    return [levels[number % 80] for number in range(round(seconds * fps))]


def lag(sound, reference, reach=200):
    """Samples by which `sound` comes later than `reference`."""
    middle = reference[reach:-reach]
    scores = [float(np.dot(sound[shift : shift + len(middle)], middle)) for shift in range(2 * reach + 1)]
    return int(np.argmax(scores)) - reach


@pytest.mark.parametrize(
    ("suffix", "fps", "rate", "layout", "codec"),
    [
        ("mp4", 25, 44100, "stereo", "aac"),
        ("mp4", 30, 16000, "mono", "aac"),
        ("mkv", 24, 48000, "mono", "flac"),
        ("webm", 15, 48000, "mono", "libopus"),
    ],
)
def test_clips_are_exact(tmp_path, backend, suffix, fps, rate, layout, codec):
    sound = noise(10, rate, 2 if layout == "stereo" else 1)
    source = write_media(
        tmp_path / f"long.{suffix}",
        video="libvpx" if suffix == "webm" else "libx264",
        audio=codec,
        samples=sound,
        rate=rate,
        layout=layout,
        frames=numbered(10, fps),
        fps=fps,
        video_options={"g": "250"},
    )
    made = cut(Job(str(source), "video"), tmp_path / "out", Cutting(backend=backend))
    assert made.rejects == ()
    assert made.left_over == pytest.approx(1.0, abs=0.03)
    assert [s.sample_id for s in made.segments] == ["video_01", "video_02", "video_03"]
    mono = sound.mean(0)
    for number, clip in enumerate(made.segments):
        path = tmp_path / "out" / clip.path
        assert (clip.start, clip.end) == (3.0 * number, 3.0 * number + 3)
        assert clip.written.frames == 3 * fps
        assert clip.written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        heard = read_clip(path, frames=3 * fps)
        assert heard.sampling_rate == clip.written.sampling_rate == rate
        assert abs(len(heard.waveform) - 3 * rate) <= rate / 1000
        assert abs(lag(heard.waveform, mono[3 * number * rate :][: 3 * rate])) <= rate / 1000
        assert heard.duration == pytest.approx(3.0, abs=0.001)
        shown = [frame_number(image) for image in heard.frames]
        assert shown == [(3 * fps * number + frame) % 80 for frame in range(3 * fps)]
        with av.open(str(path)) as container:
            assert container.streams.video[0].start_time == 0
            assert container.streams.audio[0].layout.name == layout


def test_ntsc_frames_each_belong_to_one_clip(tmp_path, backend):
    """29.97 frames per second: 3 seconds are 89.91 frames, so that most clips have 90."""
    source = tmp_path / "ntsc.mp4"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(30000, 1001))
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = container.add_stream("aac", rate=48000, layout="mono")
        for number, pixels in enumerate(numbered(12.1, 29.97)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1001, 30000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        block = av.AudioFrame.from_ndarray(noise(12.1, 48000), format="fltp", layout="mono")
        block.sample_rate = 48000
        container.mux(audio.encode(block))
        container.mux(audio.encode())
    made = cut(Job(str(source), "ntsc"), tmp_path / "out", Cutting(backend=backend))
    assert made.rejects == ()
    starts = []
    for clip in made.segments:
        heard = read_clip(tmp_path / "out" / clip.path, frame="first")
        assert len(heard.waveform) == 3 * 48000
        starts.append(frame_number(heard.frame))
    # The first frames after 0, 3, 6 and 9 s, or half a frame before.
    expected = [int(np.ceil(3 * clip * 30000 / 1001 - 0.5)) for range_ in [range(4)] for clip in range_]
    assert starts == [number % 80 for number in expected]
    assert [clip.written.frames for clip in made.segments] == list(np.diff([*expected, 360]))


def test_a_late_sound_stays_in_step(tmp_path, backend):
    rate = 16000
    sound = noise(5.5, rate)
    source = write_media(
        tmp_path / "late.mp4",
        video="libx264",
        audio="aac",
        samples=sound,
        rate=rate,
        audio_start=0.5,
        frames=numbered(6, 25),
    )
    made = cut(Job(str(source), "late"), tmp_path / "out", Cutting(backend=backend))
    assert made.rejects == ()
    whole = np.concatenate([np.zeros(rate // 2, np.float32), sound[0]])
    for number, clip in enumerate(made.segments):
        heard = read_clip(tmp_path / "out" / clip.path, frame="first")
        assert frame_number(heard.frame) == (75 * number) % 80
        assert lag(heard.waveform, whole[3 * number * rate :][: 3 * rate]) == 0
    assert len(made.segments) == 2


def test_a_part_of_a_video(tmp_path, backend):
    rate, fps = 16000, 10
    sound = noise(20, rate)
    source = write_media(
        tmp_path / "long.mp4", video="libx264", audio="aac", samples=sound, rate=rate, frames=numbered(20, fps), fps=fps
    )
    job = Job(str(source), "part", start=7.0, end=14.0)
    made = cut(job, tmp_path / "out", Cutting(backend=backend))
    assert made.rejects == ()
    assert [(clip.start, clip.end) for clip in made.segments] == [(7.0, 10.0), (10.0, 13.0)]
    for clip in made.segments:
        heard = read_clip(tmp_path / "out" / clip.path, frame="first")
        assert frame_number(heard.frame) == (clip.start * fps) % 80
        first = round(clip.start * rate)
        assert lag(heard.waveform, sound[0, first : first + 3 * rate]) == 0
    beyond = cut(Job(str(source), "beyond", start=15.0, end=25.0), tmp_path / "out", Cutting(backend=backend))
    assert len(beyond.segments) == 1
    assert beyond.rejects[0].reason == "too_short"


def test_rejects_have_reasons(tmp_path, backend):
    rate = 16000
    sound = noise(9, rate)
    sound[:, 3 * rate - 100 : 6 * rate + 2000] = 0
    options = {"video": "libx264", "audio": "aac", "rate": rate, "fps": 10}
    write_media(tmp_path / "silent.mp4", samples=sound, frames=numbered(9, 10), **options)
    write_media(tmp_path / "short.mp4", samples=noise(2, rate), frames=numbered(2, 10), **options)
    write_media(tmp_path / "mute.mp4", frames=numbered(3, 10), **options | {"audio": None})
    write_media(tmp_path / "sound.m4a", samples=noise(3, rate), **options | {"video": None})
    write_media(tmp_path / "late.mp4", samples=noise(3.5, rate), frames=numbered(9, 10), **options)
    (tmp_path / "broken.mp4").write_bytes(b"no media at all")
    whole = (tmp_path / "silent.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])

    def reasons(name):
        made = cut(Job(str(tmp_path / name), name), tmp_path / "out", Cutting(backend=backend))
        return len(made.segments), [(reject.segment, reject.reason) for reject in made.rejects]

    assert reasons("silent.mp4") == (2, [(2, "silent")])
    assert reasons("short.mp4") == (0, [(None, "too_short")])
    assert reasons("mute.mp4") == (0, [(None, "no_audio")])
    assert reasons("sound.m4a") == (0, [(None, "no_video")])
    assert reasons("broken.mp4") == (0, [(None, "decode_error")])
    assert reasons("cut.mp4") == (0, [(None, "decode_error")])  # its index is gone
    assert reasons("none.mp4") == (0, [(None, "unreadable")])
    assert reasons("late.mp4")[0] == 1
    assert not list((tmp_path / "out").glob(".*"))


def test_damage_in_the_middle_costs_only_what_comes_after(tmp_path):
    """The header is at the front, so what was stored before the damage can still be cut."""
    source = write_media(
        tmp_path / "whole.mp4",
        video="libx264",
        audio="aac",
        samples=noise(12, 16000),
        rate=16000,
        frames=numbered(12, 10),
        fps=10,
        options={"movflags": "faststart"},
    )
    content = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    made = cut(Job(str(tmp_path / "cut.mp4"), "cut"), tmp_path / "out")
    assert 1 <= len(made.segments) <= 2
    (reject,) = made.rejects
    assert reject.reason == "decode_error"
    for clip in made.segments:
        assert len(read_clip(tmp_path / "out" / clip.path).waveform) == 48000


@pytest.mark.parametrize(
    ("size", "max_side", "expected"), [((63, 47), None, (62, 46)), ((96, 54), 48, (48, 26)), ((64, 48), 100, (64, 48))]
)
def test_size(tmp_path, backend, size, max_side, expected):
    source = tmp_path / "a.mkv"
    options = {"audio": "aac", "samples": noise(3, 16000), "rate": 16000, "fps": 10}
    write_media(source, video="ffv1", frames=grey_frames(30, size), **options)
    made = cut(Job(str(source), "a"), tmp_path / "out", Cutting(backend=backend, encoding=Encoding(max_side=max_side)))
    clip = made.segments[0]
    assert (clip.written.width, clip.written.height) == expected
    assert read_clip(tmp_path / "out" / clip.path).frame.size == expected


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_videos_come_out_upright(tmp_path, backend, degrees):
    picture = np.kron(QUADRANTS, np.ones((24, 32, 1), np.uint8))
    plain = write_media(
        tmp_path / "a.mp4",
        video="libx264",
        audio="aac",
        samples=noise(3, 16000),
        rate=16000,
        frames=[picture] * 30,
        fps=10,
    )
    source = rotate_mp4(plain, degrees)
    made = cut(Job(str(source), "a"), tmp_path / "out", Cutting(backend=backend))
    expected, found = read_clip(source).frame, read_clip(tmp_path / "out" / made.segments[0].path).frame
    assert found.size == expected.size
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).mean() < 12


@pytest.mark.parametrize(("degrees", "max_side"), [(0, None), (90, None), (0, 32)])
def test_pixels_that_are_not_square_keep_their_ratio(tmp_path, backend, degrees, max_side):
    """Kind: the shape of pixels is lost. 64 x 48 pixels, twice as wide as high, are shown as 8:3, or turned as 3:8."""
    plain = write_media(
        tmp_path / "a.mp4",
        video="libx264",
        audio="aac",
        samples=noise(3, 16000),
        rate=16000,
        frames=grey_frames(30),
        fps=10,
        pixel_ratio=Fraction(2),
    )
    source = rotate_mp4(plain, degrees)
    made = cut(Job(str(source), "a"), tmp_path / "out", Cutting(backend=backend, encoding=Encoding(max_side=max_side)))
    width, height = read_clip(tmp_path / "out" / made.segments[0].path).frame.size
    assert width / height == (3 / 8 if degrees else 8 / 3)
    assert max(width, height) == (128 if max_side is None else 64)


def test_a_finished_video_is_not_cut_again(tmp_path):
    source = write_media(
        tmp_path / "a.mp4",
        video="libx264",
        audio="aac",
        samples=noise(7, 16000),
        rate=16000,
        frames=numbered(7, 10),
        fps=10,
    )
    out, job = tmp_path / "out", Job(str(source), "a")
    first = cut(job, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert cut(job, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert list(records(out)) == [first]
    (out / "a_02.mp4").unlink()
    assert read_record(out / "a.json") is None
    (out / ".a_02.mp4.123.partial").write_bytes(b"left by a run that was killed")
    (out / ".a.begun").touch()
    assert cut(job, out).segments[1].written == first.segments[1].written
    assert sorted(path.name for path in out.iterdir()) == ["a.json", "a_01.mp4", "a_02.mp4"]
    smaller = cut(job, out, Cutting(encoding=Encoding(max_side=16)))
    assert smaller.segments[0].written.width == 16
    (out / "a.json").write_text("{")
    assert cut(job, out) == first


def test_a_full_disk_is_an_error_and_no_reject(tmp_path, backend):
    source = write_media(
        tmp_path / "a.mp4",
        video="libx264",
        audio="aac",
        samples=noise(7, 16000),
        rate=16000,
        frames=numbered(7, 10),
        fps=10,
    )
    job, path = Job(str(source), "a"), os.environ["PATH"]
    error = without_space(2000, _cut_with_path, path, job, tmp_path / "out", Cutting(backend=backend))
    assert error.startswith("OSError: [Errno 27]")
    assert not list((tmp_path / "out").iterdir())


def _cut_with_path(path, *arguments):
    os.environ["PATH"] = path  # which has the backend's ffmpeg
    cut(*arguments)


def test_many_videos_in_worker_processes(tmp_path):
    jobs = []
    for number in range(3):
        path = tmp_path / f"{number}.mp4"
        options = {"rate": 16000, "frames": numbered(4, 10), "fps": 10}
        write_media(path, video="libx264", audio="aac", samples=noise(4, 16000, seed=number), **options)
        jobs.append(Job(str(path), f"video{number}"))
    (tmp_path / "broken.mp4").write_bytes(b"no media")
    jobs.insert(1, Job(str(tmp_path / "broken.mp4"), "broken"))
    made = {each.job.video_id: each for each in cut_all(jobs, tmp_path / "out", workers=2)}
    assert [len(made[job.video_id].segments) for job in jobs] == [1, 0, 1, 1]
    assert made["broken"].rejects[0].reason == "decode_error"
    assert {each.job.video_id for each in records(tmp_path / "out")} == set(made)
    with pytest.raises(ValueError, match="more than once"):
        list(cut_all([jobs[0], jobs[0]], tmp_path / "out"))


def test_real_clips(tmp_path, backend):
    """The authors' own clips are one segment each: cut again, they keep their frames."""
    for path in sorted(shared_path("clips").glob("*.mp4")):
        made = cut(
            Job(str(path), path.stem), tmp_path / "out", Cutting(backend=backend, encoding=Encoding(max_side=160))
        )
        assert [reject for reject in made.rejects if reject.reason != "too_short"] == []
        with av.open(str(path)) as container:
            frames = sum(1 for packet in container.demux(video=0) if packet.size)
        for clip in made.segments:
            assert abs(clip.written.frames - frames) <= 1


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="cannot be a file name"):
        cut(Job("a.mp4", "a/b"), tmp_path)
    assert Reject("a", None, "silent", "").reason in segment.REASONS
