"""`soundclip eval retrieval`: what is in the result, which samples it is about, and how failures are told."""

import json
import shutil
import subprocess
import sys

import pytest

from soundclip_hf.evaluation.results import EvalResult

GROUPS = {"chance", "raw_a2v", "projected_a2v", "raw_v2a", "projected_v2a"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory, files):
    """Five readable clips of three videos, one that is corrupt, and one without sound."""
    folder = tmp_path_factory.mktemp("clips")
    for name, source in (("v_01", "a"), ("v_02", "b"), ("v_03", "a"), ("w_01", "b"), ("x_01", "a")):
        shutil.copy(files / f"{source}.mp4", folder / f"{name}.mp4")
    shutil.copy(files / "corrupt.mp4", folder / "y_01.mp4")
    shutil.copy(files / "silent.mp4", folder / "z_01.mp4")
    return folder


def test_the_result(soundclip, clips, tmp_path):
    out = tmp_path / "new" / "r.json"
    done = soundclip("eval", "retrieval", "--data", clips, "--all-segments", "--out", out, "--json")
    assert done.code == 0
    found = EvalResult.load(out)
    assert set(found.metrics) == GROUPS
    assert set(found.error_bars) == GROUPS - {"chance"}
    assert found.task == "retrieval"
    assert found.dataset == str(clips)
    assert found.model == "soundclip_hf/bundled/tiny"
    assert found.n == found.config["sample"] == 5
    assert found.metrics["chance"]["mean_rank"] == 3
    assert found.interval("projected_v2a.t1") is not None
    assert set(found.error_bars["raw_a2v"]) == {"interval_95", "sd", "optimistic"}
    # Three of five clips are the same, and so are two: their true matches share ranks.
    assert found.metrics["raw_a2v"]["mean_rank"] >= 1 + (3 * 1 + 2 * 0.5) / 5
    assert found.error_bars["raw_a2v"]["optimistic"]["mean_rank"] < found.metrics["raw_a2v"]["mean_rank"]
    assert sum(found.metrics["raw_a2v"]["histogram"]["counts"]) == 5 * 5
    assert {name: found.config[name] for name in ("failed", "left_out", "unique_video", "repeats")} == {
        "failed": 2,
        "left_out": 0,
        "unique_video": False,
        "repeats": 5,
    }
    assert "y_01: " in done.stderr
    assert "z_01: has no sound" in done.stderr
    assert "2 of 7 samples cannot be used; the result is about the 5 others" in done.stderr
    (row,) = done.rows
    assert row["metrics"] == found.metrics
    assert row["out"] == str(out)


def test_one_segment_of_each_video_and_the_ids(soundclip, clips, tmp_path):
    hashes = set()
    for seed in (0, 1, 1):
        out = tmp_path / "r.json"
        done = soundclip("eval", "retrieval", "--data", clips, "--out", out, "--seed", seed, "--full-pool")
        assert done.code == 0
        found = EvalResult.load(out)
        assert found.n == 3
        assert (found.config["repeats"], found.config["pool"], found.config["sample"]) == (1, 3, 3)
        hashes.add(found.config["ids_sha256"])
    assert len(hashes) == 2
    assert "retrieval of 3 pairs" in done.stdout
    assert "chance" in done.stdout
    assert done.stdout.count("sound to picture") == done.stdout.count("picture to sound") == 2
    assert "only 3 candidates" in done.stderr


def test_presets_and_the_draws(soundclip, tmp_path):
    cache = tmp_path / "cache.safetensors"
    common = ["eval", "retrieval", "--data", "synthetic", "--limit", 12, "--cache", cache, "--out", tmp_path / "r.json"]
    for options, expected in (
        ([], (None, 12, 12, 5)),
        (["--preset", "paper"], ("paper", 12, 12, 5)),
        (["--preset", "avva"], ("avva", 12, 12, 100)),
        (["--preset", "full"], ("full", 12, 12, 1)),
        (["--pool", 8, "--sample", 4, "--repeats", 3], (None, 8, 4, 3)),
    ):
        assert soundclip(*common, *options).code == 0
        found = EvalResult.load(tmp_path / "r.json")
        assert tuple(found.config[name] for name in ("preset", "pool", "sample", "repeats")) == expected
        assert found.n == 12
        assert found.metrics["chance"]["mean_rank"] == (expected[2] + 1) / 2
    for options, message in (
        (["--preset", "avva", "--pool", 8], "--preset avva and --pool: give one of them"),
        (["--preset", "full", "--full-pool"], "--preset full and --full-pool"),
        (["--full-pool", "--repeats", 2], "--full-pool and --repeats"),
        (["--pool", 1], "1"),
    ):
        done = soundclip(*common, *options)
        assert done.code == 2
        assert message in done.error if len(options) > 2 or message != "1" else done.stderr


def test_an_encoder_of_its_own_is_near_chance(soundclip, whisper, tmp_path):
    """Random weights know nothing: chance is in the interval of the mean rank."""
    out = tmp_path / "r.json"
    words = ["--data", "synthetic", "--limit", 16, "--encoder", whisper, "--full-pool", "--out", out]
    done = soundclip("eval", "retrieval", *words)
    assert done.code == 0
    assert "what is called projected is a random projection" in done.stderr
    found = EvalResult.load(out)
    for name in GROUPS - {"chance"}:
        low, high = found.interval(f"{name}.mean_rank")
        assert low - 1 < found.metrics["chance"]["mean_rank"] < high + 1
    assert found.config["encoder"] == str(whisper)


def test_goes_on_after_a_kill(soundclip, clips, tmp_path):
    cache, out = tmp_path / "e.safetensors", tmp_path / "r.json"
    words = ["eval", "retrieval", "--data", str(clips), "--all-segments", "--cache", str(cache), "--out", str(out)]
    code = f"""
import os
from soundclip_hf.cli import app
from soundclip_hf.evaluation import embedding
embedding.FLUSH_FILES = 1
original = embedding.EmbeddingCache.add
calls = []
def add(cache, part):
    original(cache, part)
    calls.append(part)
    if len(calls) == 2:
        os._exit(9)
embedding.EmbeddingCache.add = add
app({[*words, "--batch-size", "1"]!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 9
    assert not cache.exists()
    assert not out.exists()
    parts = list((tmp_path / ".e.safetensors.parts").glob("*.safetensors"))
    assert len(parts) == 2
    kept = {part: part.stat().st_mtime_ns for part in parts}
    other = soundclip(*words, "--frame", "first")
    assert other.code == 1
    assert "was made with frame='middle', now it is 'first'" in other.error
    assert {part: part.stat().st_mtime_ns for part in parts} == kept
    assert soundclip(*words).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.safetensors", "r.json"]
    resumed = EvalResult.load(out)
    assert soundclip(*words[:5], "--out", tmp_path / "whole.json").code == 0
    whole = EvalResult.load(tmp_path / "whole.json")
    assert whole.metrics["projected_a2v"]["t1"] == resumed.metrics["projected_a2v"]["t1"]
    assert whole.config == resumed.config


def test_a_cache_of_another_model(soundclip, whisper, clips, tmp_path):
    words = ["eval", "retrieval", "--data", clips, "--cache", tmp_path / "e.safetensors", "--out", tmp_path / "r.json"]
    assert soundclip(*words).code == 0
    done = soundclip(*words, "--encoder", whisper)
    assert done.code == 1
    assert "e.safetensors: was made with encoder=None, now it is" in done.error


def test_bad_input(soundclip, files, clips, tmp_path):
    (tmp_path / "sounds").mkdir()
    shutil.copy(files / "tone.wav", tmp_path / "sounds")
    (tmp_path / "one").mkdir()
    shutil.copy(files / "a.mp4", tmp_path / "one")
    (tmp_path / "mute").mkdir()
    shutil.copy(files / "silent.mp4", tmp_path / "mute")
    table = tmp_path / "t.jsonl"
    table.write_text(json.dumps({"id": "a", "video": str(files / "tone.wav")}) + "\n")
    out = ["--out", tmp_path / "r.json"]
    for words, code, message in (
        (["--data", tmp_path / "sounds", *out], 1, "holds neither a table, nor clips"),
        (["--data", table, *out], 1, "no sample could be embedded"),
        (["--data", tmp_path / "one", *out], 1, "1 pair(s): retrieval needs at least 2"),
        (["--data", tmp_path / "mute", *out], 1, "no sample could be embedded"),
        (["--data", tmp_path / "nowhere", *out], 1, "no such file or folder"),
        (["--data", "synthetic", "--split", "eval", *out], 1, "--split eval: synthetic has none; leave it out"),
        (["--data", "synthetic", "--media", tmp_path / "nowhere", *out], 2, "no such folder"),
        (["--data", files / "a.mp4", *out], 1, "a.mp4: is a file; give a table (.jsonl, .json, .parquet), or a folder"),
        (["--data", clips, "--out", tmp_path], 2, f"--out {tmp_path}: is a folder; name a file"),
        (["--data", clips, "--cache", tmp_path, *out], 2, f"--cache {tmp_path}: is a folder"),
        (["--data", clips, "--cache", tmp_path / "r.json", *out], 2, "is the file of --out, too"),
        (["--data", clips, "--frame", "late", *out], 2, "--frame late"),
        (["--data", clips, "--model", "/nowhere", *out], 1, "no such folder"),
    ):
        done = soundclip("eval", "retrieval", *words)
        assert done.code == code, words
        assert message in done.error
    assert not (tmp_path / "r.json").exists()
