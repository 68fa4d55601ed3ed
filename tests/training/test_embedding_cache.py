"""Embeddings are computed once, survive a stop, and come back as they were."""

import errno
import json
import os
import shutil

import pytest
import torch

from soundclip_hf.training import embedding_cache
from soundclip_hf.training.embedding_cache import CachedPairs, CacheError, build_cache, cache_folder, finish_cache
from soundclip_hf.training.pairs import Pair, PairRows, PairStream

ROWS = PairRows([{"a": row} for row in range(11)], {"audio": "a"})


class Stream(list):
    def skip(self, count):
        return Stream(self[count:])


class Embedder:
    """Row i becomes (i, i) and (i, -i, 1); it counts what it was asked for."""

    def __init__(self, bad=(), stop_at=None, infinite=()):
        self.seen, self.bad, self.stop_at, self.infinite = [], set(bad), stop_at, set(infinite)

    def __call__(self, pairs):
        if self.stop_at is not None and pairs[0].row >= self.stop_at:
            raise KeyboardInterrupt
        self.seen += [pair.row for pair in pairs]
        rows = torch.tensor([pair.row for pair in pairs if pair.row not in self.bad], dtype=torch.int64)
        values = rows.float()
        audio = torch.stack([values, values], 1)
        audio[[row in self.infinite for row in rows.tolist()]] = torch.inf
        return rows, audio, torch.stack([values, -values, torch.ones_like(values)], 1), len(pairs) - len(rows)


def build(folder, embed, rows=ROWS, **values):
    build_cache(rows, folder, {"encoder": "e"}, list, embed, **{"shard_rows": 4, "batch_size": 3, **values})


def test_what_goes_in_comes_out(tmp_path):
    build(tmp_path, Embedder())
    finish_cache(tmp_path)
    cache = CachedPairs(tmp_path)
    assert len(cache) == 11
    assert len(cache.shards) == 3
    batch = cache.__getitems__([10, 0, 4, 3])
    assert batch["rows"].tolist() == [10, 0, 4, 3]
    assert batch["audio_embeddings"].tolist() == [[10, 10], [0, 0], [4, 4], [3, 3]]
    assert batch["vision_embeddings"].tolist() == [[10, -10, 1], [0, 0, 1], [4, -4, 1], [3, -3, 1]]
    assert cache[7]["rows"].tolist() == [7]
    assert json.loads((tmp_path / "index.json").read_text())["pairs"] == 11
    kept = CachedPairs(tmp_path, torch.arange(11) % 2 == 0)
    assert kept.__getitems__([1, 5])["rows"].tolist() == [2, 10]
    assert len(kept) == 6


def test_a_single_shard(tmp_path):
    build(tmp_path, Embedder(), shard_rows=100)
    finish_cache(tmp_path)
    assert CachedPairs(tmp_path).__getitems__([9, 1])["rows"].tolist() == [9, 1]


@pytest.mark.parametrize("rows", [ROWS, PairStream(Stream({"a": row} for row in range(11)), {"audio": "a"})])
def test_a_stopped_run_goes_on_with_the_next_shard(tmp_path, rows):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Embedder(stop_at=7), rows)
    with pytest.raises(CacheError, match="not complete; run again"):
        CachedPairs(tmp_path)
    (tmp_path / ".shard-000001.safetensors.0.tmp").write_bytes(b"half")
    rest = Embedder()
    build(tmp_path, rest, rows)
    assert rest.seen == [4, 5, 6, 7, 8, 9, 10]
    finish_cache(tmp_path)
    assert CachedPairs(tmp_path).__getitems__(range(11))["rows"].tolist() == list(range(11))
    assert not list(tmp_path.glob(".*"))


def test_media_are_read_by_workers(tmp_path):
    build(tmp_path, Embedder(), workers=2)
    finish_cache(tmp_path)
    assert CachedPairs(tmp_path).__getitems__(range(11))["rows"].tolist() == list(range(11))


def test_several_processes_share_the_shards(tmp_path):
    embedders = [Embedder(), Embedder()]
    for part, embed in enumerate(embedders):
        build(tmp_path, embed, part=part, parts=2)
    assert embedders[0].seen == [0, 1, 2, 3, 8, 9, 10]
    assert embedders[1].seen == [4, 5, 6, 7]
    finish_cache(tmp_path)
    assert len(CachedPairs(tmp_path)) == 11


def test_rows_that_are_left_out(tmp_path):
    build(tmp_path, Embedder(bad=[2, 4, 5, 6, 7], infinite=[9]), max_bad_rows=6)
    finish_cache(tmp_path)
    cache = CachedPairs(tmp_path)
    assert cache.__getitems__(range(5))["rows"].tolist() == [0, 1, 3, 8, 10]
    assert cache.index["left_out"] == 6
    shutil.rmtree(tmp_path)
    with pytest.raises(CacheError, match="6 rows cannot be used, more than max_bad_rows=5, and this is only shard 2"):
        build(tmp_path, Embedder(bad=[2, 4, 5, 6, 7], infinite=[9]), max_bad_rows=5)
    build(tmp_path / "none", Embedder(bad=range(11)))
    with pytest.raises(CacheError, match="no row of the dataset could be used"):
        finish_cache(tmp_path / "none")


def test_a_full_disk(tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(embedding_cache, "save_file", full)
    with pytest.raises(CacheError, match=r"No space left on device\. Free some space and run again"):
        build(tmp_path, Embedder())
    assert not list(tmp_path.glob("*shard*"))
    monkeypatch.undo()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CacheError, match="0 MiB are free"):
        build(tmp_path, Embedder())


def test_a_damaged_shard(tmp_path):
    build(tmp_path, Embedder())
    finish_cache(tmp_path)
    (tmp_path / "shard-000001.safetensors").write_bytes(b"x")
    with pytest.raises(CacheError, match=r"cannot be read .*; delete it and run again"):
        CachedPairs(tmp_path)


def test_the_key_tells_caches_apart(tmp_path):
    key = {"encoder": "org/whisper base", "revision": "a", "window": "pad30"}
    folder = cache_folder(tmp_path, key)
    assert folder.name.startswith("org-whisper-base-")
    assert folder == cache_folder(tmp_path, dict(reversed(key.items())))
    for name in key:
        assert cache_folder(tmp_path, {**key, name: "other"}) != folder


def test_reading_maps_the_file(tmp_path):
    big = PairRows([{"a": row} for row in range(4)], {"audio": "a"})

    def embed(pairs):
        rows = torch.tensor([pair.row for pair in pairs])
        return rows, torch.zeros(len(rows), 4_000_000), torch.zeros(len(rows), 1), 0

    build(tmp_path, embed, big, batch_size=1)
    finish_cache(tmp_path)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    before = resident()
    cache = CachedPairs(tmp_path)
    assert resident() - before < 8e6  # of 64 MB
    assert cache[2]["audio_embeddings"].shape == (1, 4_000_000)
    assert isinstance(big[0], Pair)
