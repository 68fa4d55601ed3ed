"""Shards: every row and every clip's bytes, twice the same, whatever happened in between."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.shards import Sizes, read_manifest, write_shards
from soundclip_hf.files import sha256

parquet = pytest.importorskip("pyarrow.parquet")
SMALL = Sizes(data_rows=20, data_group_rows=8, media_bytes=20_000, media_group_bytes=7_000)


def with_clips(folder, count=60):
    """Rows with random bytes as clips; every seventh clip was removed, the last rows are for evaluation."""
    folder.mkdir()
    made, random = rows(count), np.random.default_rng(0)
    for number, row in enumerate(made):
        clip = random.bytes(1000 + number)
        row["split"] = "eval" if number >= count - 9 else "train"
        row["media_status"] = "ok" if number % 7 else "removed"
        row["media_sha256"] = hashlib.sha256(clip).hexdigest()
        if number % 7:
            (folder / f"{row['sample_id']}.mp4").write_bytes(clip)
    return made


def contents(folder):
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def clips(tmp_path):
    return tmp_path / "clips"


def test_rows_and_bytes_come_back(tmp_path, clips):
    given = with_clips(clips)
    manifest = write_shards(given, tmp_path / "out", media=clips, sizes=SMALL)
    assert manifest == read_manifest(tmp_path / "out")
    assert manifest["rows"] == 60
    # 60 rows, of which the 9th, 18th ... of 7 are gone; the last 9 hold number 56.
    counts = {name: (split["data_rows"], split["media_rows"]) for name, split in manifest["splits"].items()}
    assert counts == {"eval": (9, 8), "train": (51, 43)}
    loose = [row for row in given if row["split"] == "train" and (row["overall_score"] or 0) >= 8]
    strict = [row for row in loose if row["overall_score"] > 8]
    assert manifest["splits"]["train"]["subsets"]["filtered"] == {
        "data": len(strict),
        "media": sum(row["media_status"] == "ok" for row in strict),
        "data_inclusive": len(loose),
        "media_inclusive": sum(row["media_status"] == "ok" for row in loose),
    }
    names = [shard["path"] for shard in manifest["shards"] if shard["kind"] == "data"]
    assert names == ["data/eval-00000-of-00001.parquet"] + [f"data/train-{n:05d}-of-00003.parquet" for n in range(3)]
    for shard in manifest["shards"]:
        path = tmp_path / "out" / shard["path"]
        assert (sha256(path), path.stat().st_size) == (shard["sha256"], shard["bytes"])
        file = parquet.ParquetFile(path).metadata
        assert file.num_rows == shard["rows"]
        if shard["kind"] == "data":
            assert shard["rows"] <= 20
            assert max(file.row_group(n).num_rows for n in range(file.num_row_groups)) <= 8
    data = [row for name in names[1:] for row in parquet.read_table(tmp_path / "out" / name).to_pylist()]
    assert [row["sample_id"] for row in data] == [row["sample_id"] for row in given if row["split"] == "train"]
    media = [
        row
        for shard in manifest["shards"]
        if shard["kind"] == "media"
        for row in parquet.read_table(tmp_path / "out" / shard["path"]).to_pylist()
    ]
    assert len(media) == 51
    for row in media:
        assert row["video"]["bytes"] == (clips / row["video"]["path"]).read_bytes()
        assert sum(map(len, (row["video"]["bytes"],))) <= 20_000


def test_clips_are_stored_plain_in_bounded_groups(tmp_path, clips):
    manifest = write_shards(with_clips(clips), tmp_path / "out", media=clips, sizes=SMALL)
    shards = [shard for shard in manifest["shards"] if shard["path"].startswith("media/train")]
    assert len(shards) == 3  # 43 clips of 1,001 to 1,050 bytes, at most 20,000 each
    for shard in shards:
        file = parquet.ParquetFile(tmp_path / "out" / shard["path"])
        (index,) = [n for n in range(file.metadata.num_columns) if file.schema.column(n).path == "video.bytes"]
        for number in range(file.metadata.num_row_groups):
            column = file.metadata.row_group(number).column(index)
            assert column.compression == "UNCOMPRESSED"
            assert "RLE_DICTIONARY" not in column.encodings
            assert column.total_uncompressed_size < 7_000 + 200


def test_the_same_rows_give_the_same_bytes_and_are_written_once(tmp_path, clips):
    given = with_clips(clips)
    for name in ("a", "b"):
        write_shards(iter(given), tmp_path / name, media=clips, sizes=SMALL)
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}


def test_a_stopped_run_goes_on_after_its_last_whole_shard(tmp_path, clips):
    given, asked = with_clips(clips), []

    def media(row):
        asked.append(row["sample_id"])
        return clips / f"{row['sample_id']}.mp4"

    def stopped():
        yield from given[:40]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(stopped(), tmp_path / "a", media=media, sizes=SMALL)
    assert not (tmp_path / "a" / "manifest.json").exists()
    assert not list((tmp_path / "a").rglob("*.partial"))
    first = len(asked)
    write_shards(given, tmp_path / "a", media=media, sizes=SMALL)
    assert len(asked) - first == 51 - 19  # the first media shard holds 19 clips
    write_shards(given, tmp_path / "b", media=clips, sizes=SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


KILLED = """
import json, sys, time
from pathlib import Path
from soundclip_hf.data.ave2.shards import Sizes, write_shards
rows, clips, out, shards = sys.argv[1:]
records = Path(out) / ".unfinished" / "records"
def slow():
    for row in json.load(open(rows)):
        while len(list(records.glob("*.json"))) >= int(shards):
            time.sleep(1)  # until it is killed, however late that is
        yield row
write_shards(slow(), out, media=clips, sizes=Sizes(20, 8, 20_000, 7_000))
"""


@pytest.mark.parametrize("shards", [1, 4])
def test_a_killed_run_loses_nothing(tmp_path, clips, shards):
    given = with_clips(clips)
    (tmp_path / "rows.json").write_text(json.dumps(given))
    arguments = [tmp_path / "rows.json", clips, tmp_path / "a", shards]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *map(str, arguments)])
    records = tmp_path / "a" / ".unfinished" / "records"
    deadline = time.monotonic() + 300
    while len(list(records.glob("*.json"))) < shards and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert len(kept) >= shards
    write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    write_shards(given, tmp_path / "b", media=clips, sizes=SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("renamed", range(1, 12))
def test_a_run_killed_between_its_last_renamings_is_mended(tmp_path, clips, monkeypatch, renamed):
    given, count, replace = with_clips(clips), 0, os.replace

    def last(source, target):
        nonlocal count
        finishing = "-of-" in str(target) or Path(target).name in ("data", "media", "manifest.json")
        count += finishing
        if finishing and count == renamed:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", last)
    with pytest.raises(KeyboardInterrupt):
        write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    monkeypatch.undo()
    write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    write_shards(given, tmp_path / "b", media=clips, sizes=SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def changed(given, number, **values):
    return [row | values if at == number else row for at, row in enumerate(given)]


def test_other_rows_are_never_mixed_in(tmp_path, clips):
    given = with_clips(clips)
    other = changed(given, 5, audio_caption="another")
    write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    before = contents(tmp_path / "a")
    for rows_ in (other, given[:-1], [*given, given[0] | {"sample_id": "v_01", "youtube_id": "v"}], []):
        with pytest.raises(ValueError, match="overwrite=True"):
            write_shards(rows_, tmp_path / "a", media=clips, sizes=SMALL)
    for options in ({"sizes": Sizes()}, {"sizes": SMALL, "source": {"prompt": 2}}):
        with pytest.raises(ValueError, match="made with other settings"):
            write_shards(given, tmp_path / "a", media=clips, **options)
    assert contents(tmp_path / "a") == before
    write_shards(other, tmp_path / "a", sizes=SMALL, overwrite=True)
    write_shards(other, tmp_path / "b", sizes=SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")  # without media, which are gone


def test_an_unfinished_run_does_not_go_on_with_other_rows(tmp_path, clips):
    given = with_clips(clips)
    broken = changed(given, 45, media_sha256="0" * 64)
    with pytest.raises(ValueError, match="its clip has changed"):
        write_shards(broken, tmp_path / "a", media=clips, sizes=SMALL)
    with pytest.raises(ValueError, match="was made of other rows"):
        write_shards(changed(given, 2, audio_caption="x"), tmp_path / "a", media=clips, sizes=SMALL)
    write_shards(given, tmp_path / "a", media=clips, sizes=SMALL, source={"prompt": 2})  # anew
    assert read_manifest(tmp_path / "a")["source"] == {"prompt": 2}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"split": None}, r"row 8 \(video-00002_03\): split=None is no name"),
        ({"split": "a/b"}, "split='a/b' is no name"),
        ({"temporal_alignment_score": 11}, "temporal_alignment_score=11 is outside 0..10"),
        ({"youtube_id": "video-00000", "segment": 1, "sample_id": "video-00000_01"}, "already that of row 0"),
        ({"media_sha256": None}, "there is no media_sha256"),
        ({"media_sha256": "0" * 64}, "video-00002_03: its clip has changed: SHA-256"),
    ],
    ids=str,
)
def test_bad_rows_are_named(tmp_path, clips, values, reason):
    given = with_clips(clips)
    bad = given[8] | values
    bad |= {"segment_start_time": 0.0, "segment_end_time": 3.0, "clip_start_time": None}
    bad |= {"youtube_start_time": None, "youtube_end_time": None}
    with pytest.raises(ValueError, match=reason):
        write_shards([*given[:8], bad], tmp_path / "a", media=clips)
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_a_row_without_its_clip(tmp_path, clips):
    given = with_clips(clips)
    (clips / "video-00002_03.mp4").unlink()
    with pytest.raises(ValueError, match=r"video-00002_03: has no clip at .*media_status to 'missing'"):
        write_shards(given, tmp_path / "a", media=clips)
    with pytest.raises(ValueError, match="video-00000_02: has no clip; fetch it"):
        write_shards(given, tmp_path / "a", media={})


def test_media_from_a_function_and_a_mapping(tmp_path, clips):
    given = with_clips(clips)
    paths = {row["sample_id"]: clips / f"{row['sample_id']}.mp4" for row in given}
    write_shards(given, tmp_path / "a", media=paths)
    write_shards(given, tmp_path / "b", media=lambda row: paths[row["sample_id"]].read_bytes())
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_full_disk_keeps_what_is_finished(tmp_path, clips, monkeypatch):
    given, write, count = with_clips(clips), parquet.ParquetWriter.write_table, 0

    def full(self, *arguments, **options):
        nonlocal count
        count += 1
        if count == 12:
            raise OSError(28, "No space left on device")
        write(self, *arguments, **options)

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    assert not list((tmp_path / "a").rglob("*.partial"))
    monkeypatch.undo()
    write_shards(given, tmp_path / "a", media=clips, sizes=SMALL)
    assert read_manifest(tmp_path / "a")["rows"] == 60


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(ValueError, match=r"manifest\.json: no such file"):
        read_manifest(tmp_path)
