"""How fast AVE-2 is read: streaming clips against bare PyAV on the same bytes, memory over many rows, statistics.

Part of bench_ave2.py, which runs it. CPU seconds count, best of several rounds: a busy machine distorts them less.
"""

import gc
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from media_files import write_media

from soundclip_hf import read_clip
from soundclip_hf.data import with_audio
from soundclip_hf.data.ave2.schema import SCORES, SOURCES, complete
from soundclip_hf.data.ave2.shards import write_shards
from soundclip_hf.data.ave2.tables import read_batches
from soundclip_hf.data.stats.statistics import COLUMNS, PAPER, statistics

ROUNDS = 3
RATE = 16000
# As many distinct names as the paper counts of silent objects.
NAMES = 300_265
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def make_media(folder: Path, count: int, distinct: int = 24, rate: int = 44100, layout: str = "stereo") -> Path:
    """Shards with `count` rows: clips of 3 s, 320x240 at 30 fps with noise."""
    random = np.random.default_rng(0)
    clips = []
    for number in range(distinct):
        picture = np.kron(random.integers(0, 255, (40, 54, 3), np.uint8), np.ones((6, 6, 1), np.uint8))[:240, :320]
        frames = [np.roll(picture, (2 * step, 3 * step), (0, 1)) for step in range(90)]
        sound = (0.1 * random.standard_normal((1 + (layout == "stereo"), 3 * rate))).astype(np.float32)
        options = {"rate": rate, "layout": layout, "fps": 30, "samples": sound, "frames": frames}
        path = write_media(folder / f"{number}.mp4", video="libx264", audio="aac", **options)
        clips.append(path.read_bytes())
    hashes = [sha256(clip).hexdigest() for clip in clips]
    rows = (
        complete({"youtube_id": f"v{n:06d}", "segment": 1, "split": "train", "media_sha256": hashes[n % distinct]})
        for n in range(count)
    )
    write_shards(rows, folder / "set", media=lambda row: clips[int(row["youtube_id"][1:]) % distinct])
    return folder / "set" / "media"


def stream(media: Path) -> Any:
    from datasets import load_dataset

    files = sorted(str(path) for path in media.glob("*.parquet"))
    return load_dataset("parquet", data_files=files, split="train", streaming=True)


def stored_bytes(media: Path) -> Iterator[bytes]:
    for path in sorted(media.glob("*.parquet")):
        with pyarrow.parquet.ParquetFile(path) as opened:
            for batch in opened.iter_batches(32, columns=["video"]):
                yield from (video["bytes"].as_py() for video in batch.column("video"))


def ours_sound(media: Path) -> Iterator[int]:
    from datasets import Video

    # Only the sound: pictures are not decoded, as bare PyAV does not either.
    rows = with_audio(stream(media).cast_column("video", Video(decode=False)), RATE)
    yield from (len(row["audio"]["array"]) for row in rows)


def ours_clip(media: Path) -> Iterator[int]:
    from datasets import Video

    for row in stream(media).cast_column("video", Video(decode=False)):
        clip = read_clip(row["video"]["bytes"], sampling_rate=RATE)
        yield len(clip.waveform)


def bare_sound(media: Path) -> Iterator[int]:
    yield from (len(_bare_sound(content)) for content in stored_bytes(media))


def bare_clip(media: Path) -> Iterator[int]:
    """Sound, and the frame at half of the video: 45 of 90 frames are decoded to get there."""
    for content in stored_bytes(media):
        sound = _bare_sound(content)
        with av.open(io.BytesIO(content)) as container:
            container.streams.video[0].thread_count = 1
            for number, frame in enumerate(container.decode(video=0)):
                if number == 45:
                    frame.to_ndarray(format="rgb24")
                    break
        yield len(sound)


def _bare_sound(content: bytes) -> np.ndarray:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts = []
    with av.open(io.BytesIO(content)) as container:
        for frame in container.decode(audio=0):
            parts += [piece.to_ndarray() for piece in resampler.resample(frame)]
    parts += [piece.to_ndarray() for piece in resampler.resample(None)]
    return np.concatenate(parts, 1)[0]


def bench_streaming(count: int) -> None:
    kinds: dict[str, tuple[Callable[[Path], Iterator[int]], Callable[[Path], Iterator[int]]]] = {
        "sound": (ours_sound, bare_sound),
        "sound and middle frame": (ours_clip, bare_clip),
    }
    with tempfile.TemporaryDirectory() as folder:
        media = make_media(Path(folder), count)
        for kind, readers in kinds.items():
            best = [float("inf")] * 2
            for _ in range(ROUNDS):
                for place, reader in enumerate(readers):
                    start = time.process_time()
                    lengths = [*reader(media)]
                    best[place] = min(best[place], time.process_time() - start)
                    # AAC pads the last frame, and resamplers round.
                    if len(lengths) != count or not all(abs(length - 3 * RATE) < 2000 for length in lengths):
                        raise RuntimeError(f"{reader.__name__} read {len(lengths)} of {count} clips, or wrong ones")
            ours, bare = (count / seconds for seconds in best)
            rates = {"rows": count, "rows_per_core_second": ours, "bare_pyav": bare, "of_bare_pyav": ours / bare}
            print(json.dumps({"bench": f"stream, {kind}", **rates}), flush=True)


def bench_memory(count: int) -> None:
    """Resident memory of this process while it streams and decodes the sound of `count` rows."""
    with tempfile.TemporaryDirectory() as folder:
        # Sound that is quick to decode: memory depends on the bytes, not on it.
        media = make_media(Path(folder), count, rate=RATE, layout="mono")
        size = sum(path.stat().st_size for path in media.glob("*.parquet"))
        gc.collect()
        before, sampled = _resident_mb(), []
        for number, _ in enumerate(ours_sound(media), 1):
            if number % (count // 20) == 0:
                sampled.append(round(_resident_mb()))
    # A row group is there or not at the moment that is looked at: peaks are compared, not single values.
    growth = max(sampled[10:]) - max(sampled[:10])
    found = {"rows": count, "shards_mb": size / 1e6, "before_mb": before, "samples_mb": sampled}
    print(json.dumps({"bench": "memory", **found, "growth_of_second_half_mb": growth}), flush=True)


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE / 1e6


def bench_statistics(count: int = int(PAPER["rows"])) -> None:
    random = np.random.default_rng(0)
    columns = {name: pyarrow.array(random.integers(0, 11, count), pyarrow.int8()) for name in SCORES}
    for name in SOURCES:
        lengths = random.integers(0, 3, count)
        offsets = pyarrow.array(np.concatenate([[0], np.cumsum(lengths)]), pyarrow.int32())
        values = pyarrow.array([f"name {number}" for number in random.integers(0, NAMES, lengths.sum())])
        columns[name] = pyarrow.ListArray.from_arrays(offsets, values)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")
        start, busy = time.perf_counter(), time.process_time()
        numbers = statistics(read_batches(path, COLUMNS)).numbers()
        spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - busy}
    if numbers["rows"] != count:
        raise RuntimeError(f"counted {numbers['rows']} of {count} rows")
    print(json.dumps({"bench": "statistics", "rows": count, **spent}), flush=True)
