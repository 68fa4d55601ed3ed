"""`soundclip finetune`: what a dry run prints."""

import json

import pytest


@pytest.fixture
def dry_run(soundclip, tmp_path):
    words = ("--model", "tiny", "--dataset", "synthetic", "--output_dir", tmp_path / "out", "--dry-run")
    return lambda *more: soundclip("finetune", *words, *more)


def test_a_dry_run_says_whether_sounds_are_heard_once(dry_run, tmp_path):
    done = dry_run()
    assert done.code == 0, done.stderr
    assert "the audio encoder hears those of a batch in every step (cache_embeddings is not set)" in done.stdout
    done = dry_run("--cache_embeddings", tmp_path / "cache")
    assert f"hears each of them once; embeddings are kept in {tmp_path / 'cache'}" in done.stdout
    plan = json.loads(dry_run("--cache_embeddings", tmp_path / "cache", "--json").stdout)
    assert plan["cache_embeddings"] == str(tmp_path / "cache")
    assert "sound_embeds" in plan["first_batch"]
    assert not any(tmp_path.iterdir())


def test_a_stream_is_not_cached(dry_run, tmp_path):
    done = dry_run("--cache_embeddings", tmp_path / "cache", "--streaming", "true", "--max_steps", 2)
    assert done.code == 2
    assert "streaming=True: the sounds of a stream are not known before it is read" in done.stderr
