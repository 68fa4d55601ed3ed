"""Sounds are heard once, and trained on as if they were heard in every step."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor
from torch.utils.data import DataLoader

from soundclip_hf.training import embedding_cache
from soundclip_hf.training.embedding_cache import CacheError
from soundclip_hf.training.finetuning.arguments import read_arguments
from soundclip_hf.training.finetuning.rows import Rows
from soundclip_hf.training.finetuning.run import DryRun, finetune
from soundclip_hf.training.finetuning.sound_cache import embedded_rows
from soundclip_hf.training.settings_parser import ArgumentsError


def arguments(folder, *more):
    words = ["--dataset", "rows", "--cache_embeddings", folder, "--use_cpu", "true", "--disable_tqdm", "true", *more]
    return read_arguments([str(word) for word in words])


@pytest.fixture
def model():
    model = tiny_sound_llava("llava")
    model.requires_grad_(False)
    model.base_model.audio_projection.requires_grad_(True)
    return model


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("packing", [False, True])
def test_the_loss_is_that_without_a_cache(forms, collator_of, processor, model, tmp_path, workers, packing):
    rows = Rows([row for row, _ in forms])
    collator = collator_of(processor, packing=packing)
    settings = arguments(tmp_path, "--dataloader_num_workers", workers, "--cache_shard_rows", 3)
    (embedded,) = embedded_rows([rows], collator, model, *settings)
    plain = list(DataLoader(rows, batch_size=4, collate_fn=collator))
    cached = list(DataLoader(embedded, batch_size=4, collate_fn=collator, num_workers=workers))
    assert [set(batch) & {"input_features", "sound_embeds"} for batch in cached] == [{"sound_embeds"}] * 3
    assert cached[0]["sound_embeds"].shape == (4, model.config.sound_config.audio_embedding_dim)
    for one, other in zip(plain, cached, strict=True):
        assert torch.equal(one["input_ids"], other["input_ids"])
        assert torch.equal(one["sound_slots"], other["sound_slots"])
        with torch.no_grad():
            torch.testing.assert_close(model(**other).loss, model(**one).loss, rtol=1e-5, atol=1e-6)
    # Gradients of the projector too.
    grads = []
    for batch in (plain[0], cached[0]):
        model.zero_grad()
        model(**batch).loss.backward()
        grads.append([parameter.grad.clone() for parameter in model.base_model.audio_projection.parameters()])
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
    assert any(grad.abs().max() > 1e-4 for grad in grads[0])


def test_a_sound_is_heard_again_only_if_something_changes(forms, collator_of, processor, model, tmp_path):
    rows = Rows([row for row, _ in forms])
    heard = []
    model.base_model.audio_tower.register_forward_hook(lambda *call: heard.append(len(call[2].pooler_output)))

    def fill(processor=processor, **options):
        heard.clear()
        embedded_rows([rows], collator_of(processor, **options), model, *arguments(tmp_path))
        return sum(heard)

    assert fill() == 8
    assert fill() == 0
    assert fill(max_length=500) == 0
    padded = tiny_sound_processor("llava")
    padded.feature_extractor.window = "pad30"
    assert fill(padded) == 8
    with torch.no_grad():
        for parameter in model.base_model.audio_tower.parameters():
            parameter.mul_(1.5)
    assert fill() == 8
    model.base_model.audio_tower.to(torch.bfloat16)
    assert fill() == 8
    assert len(list(tmp_path.iterdir())) == 4


def test_a_fill_that_was_stopped_goes_on(forms, collator_of, processor, model, tmp_path, monkeypatch):
    rows = Rows([row for row, _ in forms])
    collator = collator_of(processor)
    settings = arguments(tmp_path, "--cache_shard_rows", 3)
    save = embedding_cache._save

    def stop_at_the_second(tensors, path, left_out):
        if path.name == "shard-000001.safetensors":
            raise KeyboardInterrupt
        save(tensors, path, left_out)

    with monkeypatch.context() as patch:
        patch.setattr(embedding_cache, "_save", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            embedded_rows([rows], collator, model, *settings)
    heard, told = [], []

    class Bar:
        def __init__(self, *values):
            told.append(values)

        def __enter__(self):
            return heard.append

        def __exit__(self, *error):
            pass

    (embedded,) = embedded_rows([rows], collator, model, *settings, Bar)
    assert told == [("listing sounds", 11, 0), ("embedding sounds", 8, 3)]
    assert sum(heard) == 11 + 5
    assert [len(row.get("sound_embeds", ())) for row in map(embedded.__getitem__, range(11))] == [
        len(numbers) for _, numbers in forms
    ]


def test_a_sound_that_cannot_be_read_costs_its_rows_alone(collator_of, processor, model, tmp_path, caplog):
    answer = {"question": "What?", "answer": "A dog."}
    rows = Rows(
        [
            {**answer, "audio": ["gone.wav", "0.wav"]},
            {**answer, "audio": "0.wav"},
            {**answer, "audio": {"array": np.full(8000, np.nan, np.float32), "sampling_rate": 16_000}},
            answer,
        ]
    )
    collator = collator_of(processor, max_bad_rows=2)
    (embedded,) = embedded_rows([rows], collator, model, *arguments(tmp_path / "c", "--max_bad_rows", 2))
    assert re.search(r"a sound of row 0 is left out: .*gone\.wav", caplog.text)
    assert "a sound of row 2 is left out" in caplog.text
    batch = collator([embedded[index] for index in range(4)])
    assert batch["sound_embeds"].shape[0] == 1
    assert len(batch["input_ids"]) == 2
    assert collator.bad_rows == 2
    with pytest.raises(CacheError, match="2 sounds cannot be used, more than max_bad_rows=1"):
        embedded_rows([rows], collator, model, *arguments(tmp_path / "d", "--max_bad_rows", 1))


def test_an_encoder_that_is_trained_is_refused(forms, collator_of, processor, model, tmp_path):
    rows = Rows([row for row, _ in forms])
    model.base_model.audio_tower.requires_grad_(True)
    with pytest.raises(ArgumentsError, match="cache_embeddings: the audio encoder is to be trained"):
        embedded_rows([rows], collator_of(processor), model, *arguments(tmp_path))
    assert not list(tmp_path.iterdir())


def test_weights_that_another_process_holds_are_refused(forms, collator_of, processor, tmp_path):
    rows = Rows([row for row, _ in forms])
    model = tiny_sound_llava("llava").requires_grad_(False)
    model.base_model.audio_tower.to("meta")
    with pytest.raises(RuntimeError, match="this process holds no weights of the audio encoder"):
        embedded_rows([rows], collator_of(processor), model, *arguments(tmp_path))


@pytest.fixture
def command(media, tmp_path):
    """A command line of four steps over a file of rows, to which a test adds its own."""
    tiny = tiny_sound_llava("llava")
    tiny.config.sound_config.projector_dropout = 0.0
    tiny.save_pretrained(tmp_path / "base")
    tiny_sound_processor("llava").save_pretrained(tmp_path / "base")
    sounds = ["0.wav", "1.wav", "2.wav", None] * 4
    rows = [{"question": f"What is {n}?", "answer": f"It is {n}.", "audio": audio} for n, audio in enumerate(sounds)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))

    def build(*more, out="out"):
        values = {
            "model": tmp_path / "base",
            "dataset": tmp_path / "rows.json",
            "media_folder": media,
            "output_dir": tmp_path / out,
            "eval_rows": 2,
            "eval_answers": 1,
            "max_new_tokens": 2,
            "per_device_train_batch_size": 3,
            "max_steps": 4,
            "save_steps": 2,
            "eval_steps": 2,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "disable_tqdm": True,
            "use_cpu": True,
        }
        words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return read_arguments([*words, *map(str, more)])

    return build


def curve(folder, name="loss"):
    return [entry[name] for entry in json.loads((folder / "curve.json").read_text()) if name in entry]


def test_a_run_with_a_cache_has_the_losses_of_one_without(command, tmp_path):
    finetune(*command(out="plain"))
    cached = ("--cache_embeddings", tmp_path / "cache")
    finetune(*command(*cached, "--dataloader_num_workers", 1, out="cached"))
    (folder,) = (tmp_path / "cache").iterdir()
    assert json.loads((folder / "index.json").read_text())["pairs"] == 3
    for name in ("loss", "eval_loss"):
        assert curve(tmp_path / "cached", name) == pytest.approx(curve(tmp_path / "plain", name), rel=1e-4)
    assert len(curve(tmp_path / "plain")) == 4
    # It is not part of the recipe: the same run goes on without it, and with it.
    finetune(*command(out="cached"))
    finetune(*command(*cached, out="plain"))


def test_a_dry_run_says_what_is_cached(command, tmp_path):
    plan = DryRun(*command("--cache_embeddings", tmp_path / "cache"))
    assert plan.cache_embeddings == str(tmp_path / "cache")
    assert plan.batch["sound_embeds"][1] == 24
    assert "input_features" not in plan.batch
    assert not (tmp_path / "cache").exists()
    plan = DryRun(*command("--cache_embeddings", "none"))
    assert plan.cache_embeddings is None
    assert "input_features" in plan.batch


def test_what_cannot_be_cached_is_refused(command, tmp_path):
    cache = ("--cache_embeddings", tmp_path / "cache")
    with pytest.raises(ArgumentsError, match="streaming=True: the sounds of a stream are not known"):
        finetune(*command(*cache, "--streaming", "true"))
    (tmp_path / "silent.json").write_text(json.dumps([{"question": "What?", "answer": "A."}] * 12))
    with pytest.raises(ArgumentsError, match=r"cache_embeddings: no row of .*silent\.json has a sound"):
        finetune(*command(*cache, "--dataset", tmp_path / "silent.json"))


@pytest.mark.slow
def test_two_processes_fill_one_cache_and_train_as_one(media, command, tmp_path):
    common = {
        "model": tmp_path / "base",
        "dataset": tmp_path / "rows.json",
        "media_folder": media,
        "eval_rows": 2,
        "eval_answers": 0,
        "eval_strategy": "no",
        "train_sampling_strategy": "sequential",
        "lora_dropout": 0.0,
        "max_steps": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
    }

    def train(out, launch, **more):
        values = {**common, **more, "output_dir": tmp_path / out}
        words = [str(word) for name, value in values.items() for word in (f"--{name}", value)]
        done = subprocess.run(
            [sys.executable, "-m", *launch, "soundclip_hf.training.finetuning", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            timeout=500,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return curve(tmp_path / out)

    one = train("one", [], per_device_train_batch_size=4)
    # On CPUs, it is --multi_gpu that makes accelerate start several processes; with --cpu it starts one.
    launch = ["accelerate.commands.launch", "--num_machines", "1", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", "0", "--mixed_precision", "no", "-m"]
    cache = {"cache_embeddings": tmp_path / "cache", "cache_shard_rows": 2}
    two = train("two", launch, per_device_train_batch_size=2, **cache)
    assert two == pytest.approx(one, rel=1e-4)
    (folder,) = (tmp_path / "cache").iterdir()
    assert len(list(folder.glob("shard-*"))) == 2
