"""How fast AVE-2 is built and read: cutting against one bare pass of ffmpeg, judging against what the server can do,
streaming against bare PyAV on the same bytes, memory over many rows, and statistics of as many rows as the paper has.

    python scripts/bench_ave2.py [--only cut,judge,stream,memory,stats] [--minutes 1] [--rows 640] [--clips 400]

Needs an ffmpeg on PATH (or the `imageio-ffmpeg` package) and the `data` extra. Prints one JSON object per measurement.
CPU seconds count, so that a busy machine does not distort; only judging is measured in time, and is mostly waiting.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from bench_ave2_reading import bench_memory, bench_statistics, bench_streaming
from chat_server import chat_server, completion, good
from media_files import write_media

from soundclip_hf.data.annotation.judge import Judge
from soundclip_hf.data.clips.cuts import Cutting, Job
from soundclip_hf.data.clips.segment import cut, find_ffmpeg
from soundclip_hf.data.inference.client import Server

# 250 tokens take a large model a few seconds.
CONCURRENCY, LATENCY = 64, 2.0
BENCHES = ("cut", "judge", "stream", "memory", "stats")


def cpu_seconds() -> float:
    return sum(os.times()[:4])


def bench_cutting(minutes: float, folder: Path) -> None:
    """20 clips per minute of 320x240 at 30 fps with stereo noise."""
    random = np.random.default_rng(0)
    picture = np.kron(random.integers(0, 255, (40, 54, 3), np.uint8), np.ones((6, 6, 1), np.uint8))[:240, :320]
    frames = [np.roll(picture, (2 * number, 3 * number), (0, 1)) for number in range(round(minutes * 1800))]
    sound = (0.1 * random.standard_normal((2, round(minutes * 60 * 44100)))).astype(np.float32)
    options = {"rate": 44100, "layout": "stereo", "fps": 30}
    source = write_media(folder / "long.mp4", video="libx264", audio="aac", samples=sound, frames=frames, **options)
    program = find_ffmpeg()
    if program is None:
        import imageio_ffmpeg

        (folder / "bin").mkdir()
        (folder / "bin" / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        os.environ["PATH"] += f"{os.pathsep}{folder / 'bin'}"
        program = str(folder / "bin" / "ffmpeg")
    bare = [program, "-nostdin", "-v", "error", "-threads", "1", "-i", str(source), "-c:v", "libx264", "-crf", "23"]
    bare += [
        "-preset",
        "veryfast",
        "-threads:v",
        "1",
        "-pix_fmt",
        "yuv420p",
        "-force_key_frames",
        "expr:gte(t,n_forced*3)",
    ]
    bare += ["-c:a", "aac", "-b:a", "128k", "-f", "segment", "-segment_time", "3", "-reset_timestamps", "1"]
    spent: dict[str, list[float]] = {"bare": [], "ffmpeg": [], "pyav": []}
    clips = 0
    for _ in range(3):
        for name, seconds in spent.items():
            out = folder / name
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            start = cpu_seconds()
            if name == "bare":
                subprocess.run([*bare, str(out / "%03d.mp4")], check=True)
            else:
                clips = len(cut(Job(str(source), "a"), out, Cutting(backend=name)).segments)
            seconds.append(cpu_seconds() - start)
    best = {name: min(seconds) for name, seconds in spent.items()}
    for name in ("ffmpeg", "pyav"):
        rates = {"clips": clips, "cpu_seconds": best[name], "clips_per_core_second": clips / best[name]}
        print(json.dumps({"bench": f"cut, {name}", **rates, "of_bare_ffmpeg": best["bare"] / best[name]}), flush=True)


def bench_judging(count: int) -> None:
    """A server in this process that takes two seconds for an answer, 64 at a time."""

    def reply(number, body):
        time.sleep(LATENCY)
        return completion(good())

    rows = [{"youtube_id": str(n), "segment": 1, "audio_caption": f"sound {n}"} for n in range(count)]
    with chat_server(reply) as asked:
        start = time.perf_counter()
        done = list(Judge(Server(asked.url, "m", concurrency=CONCURRENCY)).judge(rows))
        seconds = time.perf_counter() - start
    limit = CONCURRENCY / LATENCY
    rate = {"rows": len(done), "per_second": len(done) / seconds, "server_limit": limit}
    print(json.dumps({"bench": "judge", **rate, "of_limit": len(done) / seconds / limit}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHES), help="which of them, with commas")
    parser.add_argument("--minutes", type=float, default=1.0, help="of video that are cut")
    parser.add_argument("--rows", type=int, default=640, help="that are judged")
    parser.add_argument("--clips", type=int, default=400, help="that are streamed for their speed")
    parser.add_argument("--many", type=int, default=10_000, help="clips that are streamed to watch memory")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := sorted(set(wanted) - set(BENCHES)):
        parser.error(f"--only {unknown[0]}: is none of {', '.join(BENCHES)}")
    if "cut" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            bench_cutting(arguments.minutes, Path(folder))
    if "judge" in wanted:
        bench_judging(arguments.rows)
    if "stream" in wanted:
        bench_streaming(arguments.clips)
    if "memory" in wanted:
        bench_memory(arguments.many)
    if "stats" in wanted:
        bench_statistics()


if __name__ == "__main__":
    main()
