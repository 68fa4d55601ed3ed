"""A projector is trained, saved as an adapter, stopped, resumed, and told what is wrong with its data."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from alignment_parts import write_pairs, write_table
from safetensors.torch import load_file

from soundclip_hf import SoundClipModel, SoundLlava, SoundLlavaProcessor
from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.training.aligner import load_aligner
from soundclip_hf.training.alignment import _check_sizes
from soundclip_hf.training.arguments import AlignmentArguments, ArgumentsError, read_arguments
from soundclip_hf.training.checkpoints import last_checkpoint
from soundclip_hf.training.pairs import open_pairs
from soundclip_hf.training.trainer import AlignmentTrainer, PairEncoder, TrainingError

ADAPTER = "soundclip_adapter.safetensors"


def curve(folder: Path, name: str = "loss") -> list[float]:
    return [entry[name] for entry in json.loads((folder / "curve.json").read_text()) if name in entry]


def same(first: Path, second: Path) -> bool:
    """Equal to what rounding, divided by the small gradients that it disturbs, makes of a few steps."""
    one, other = load_file(first / ADAPTER), load_file(second / ADAPTER)
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-5) for name in one
    )


def test_an_adapter_that_both_classes_load(run, tmp_path, parts):
    result = run("--num_train_epochs", 4, "--dataset_revision", "main")
    out = tmp_path / "out"
    losses = curve(out)
    assert len(losses) == 12  # 18 pairs in batches of 6, four times
    assert sum(losses[-3:]) < sum(losses[:3])
    llava, model = SoundLlava.from_pretrained(out), SoundClipModel.from_pretrained(out)
    for name, value in load_file(out / ADAPTER).items():
        assert name.startswith("audio_projection.")  # the encoder is named, not copied
        assert torch.equal(llava.model.state_dict()[name], value)
        assert torch.equal(model.state_dict()[name], value)
    assert llava.config.base_model_name_or_path == str(parts / "base")
    assert llava.config.audio_encoder_name_or_path == str(parts / "whisper")
    assert SoundLlavaProcessor.from_pretrained(out).feature_extractor.window == "short"
    assert EvalResult.load(out / "retrieval.json").metrics == result.metrics
    assert result.dataset_revision is None  # of a folder
    # Under these names `soundclip tradeoff` looks for them.
    for name in ("raw_a2v.t1", "projected_a2v.t1"):
        low, high = result.interval(name)
        assert low <= result.numbers()[name] <= high
    assert result.n == 6
    assert result.metrics["chance"]["mean_rank"] == 3.5
    assert result.metrics["projected_a2v"]["mean_rank"] == curve(out, "eval_a2v_mean_rank")[-1]
    assert result.config["loss"] == "info_nce+distribution"


def test_a_tracker_gets_losses_and_retrieval(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run("--report_to", "tensorboard")
    board = accumulation.EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    tags = board.Tags()["scalars"]
    assert {"train/loss", "eval/loss", "eval/a2v_mean_rank", "eval/raw_v2a_t1"} <= set(tags)
    told = [event.value for event in board.Scalars("train/loss")]
    assert told == pytest.approx(curve(tmp_path / "out"), rel=1e-5)


def test_only_the_projector_moves(options):
    settings, _ = read_arguments(options())
    aligner = load_aligner(settings)
    encoder = PairEncoder(aligner.model).train()
    assert {name.split(".")[1] for name in encoder.trained_names()} == {"audio_projection"}
    assert set(encoder.state_dict()) == encoder.trained_names()
    assert encoder.soundclip.audio_projection.training
    assert not encoder.soundclip.vision_tower.training
    assert not encoder.soundclip.audio_tower.training
    with pytest.raises(ValueError, match=r"other weights than those that are trained: soundclip\.odd"):
        encoder.load_state_dict({**encoder.state_dict(), "soundclip.odd": torch.zeros(1)})


def test_cached_embeddings_train_the_same_projector(run, tmp_path, monkeypatch):
    run(out="plain")
    run("--cache_embeddings", tmp_path / "cache", "--cache_shard_rows", 5, "--cache_batch_size", 6, out="cached")
    assert curve(tmp_path / "cached") == pytest.approx(curve(tmp_path / "plain"), rel=1e-4)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(PairEncoder, "embed_audio", None)  # everything is there
    run("--cache_embeddings", tmp_path / "cache", "--cache_shard_rows", 5, "--seed", 5, out="other")
    assert curve(tmp_path / "other") != curve(tmp_path / "cached")


def test_the_seed_decides(run, tmp_path):
    run("--num_train_epochs", 1, out="a")
    torch.rand(3)
    run("--num_train_epochs", 1, out="b")
    run("--num_train_epochs", 1, "--seed", 1, out="c")
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


def test_ears_of_a_sound_llava_get_a_new_projector(run, tmp_path, options):
    words = options("--base_model", TINY, "--projector_hidden_size", 512)
    cut = words.index("--audio_encoder")
    words = words[:cut] + words[cut + 2 :]
    cut = words.index("--window")
    settings, _ = read_arguments(words[:cut] + words[cut + 2 :])
    torch.manual_seed(0)
    aligner = load_aligner(settings)
    before = SoundClipModel.from_pretrained(TINY)
    assert not torch.equal(before.audio_projection.fc1.weight, aligner.model.audio_projection.fc1.weight)
    aligner.save(tmp_path / "adapter")
    again = SoundLlava.from_pretrained(tmp_path / "adapter")
    assert torch.equal(again.model.audio_projection.fc1.weight, aligner.model.audio_projection.fc1.weight)
    assert torch.equal(again.model.audio_tower.encoder.conv1.weight, aligner.model.audio_tower.encoder.conv1.weight)


def test_a_learned_fusion_and_temperature_are_trained_and_saved(run, tmp_path):
    run("--layer_fusion", "weighted_sum", "--learnable_temperature", "true", "--learning_rate", 0.01)
    tensors = load_file(tmp_path / "out" / ADAPTER)
    assert tensors["audio_tower.layer_weight_logits"].abs().max() > 0
    config = SoundLlava.from_pretrained(tmp_path / "out").config.sound_config
    assert config.temperature != 0.07
    assert config.audio_config.layer_fusion == "weighted_sum"


def test_the_learning_rate_follows_the_validation_loss(run, tmp_path, monkeypatch):
    measure = AlignmentTrainer.measure
    monkeypatch.setattr(
        AlignmentTrainer, "measure", lambda self, prediction: {**measure(self, prediction), "loss": 1.0}
    )
    run("--num_train_epochs", 4, "--lr_scheduler_kwargs", '{"factor": 0.1, "patience": 0}')
    assert curve(tmp_path / "out", "learning_rate") == pytest.approx([1e-3] * 6 + [1e-4] * 3 + [1e-5] * 3)


def test_resumed_within_an_epoch(run, tmp_path, monkeypatch):
    whole = ("--projector_dropout", 0.5, "--save_strategy", "steps", "--save_steps", 1, "--save_total_limit", 9)
    run(*whole, out="whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    for step in (3, 4, 5, 6):
        shutil.rmtree(tmp_path / "out" / f"checkpoint-{step}")
    (tmp_path / "out" / ADAPTER).unlink()
    broken = tmp_path / "out" / "checkpoint-3"  # what a kill may leave behind
    shutil.copytree(tmp_path / "out" / "checkpoint-2", broken)
    (broken / "optimizer.pt").write_bytes((broken / "optimizer.pt").read_bytes()[:-100])
    assert last_checkpoint(tmp_path / "out").name == "checkpoint-2"
    run(*whole)
    assert same(tmp_path / "whole", tmp_path / "out")
    assert curve(tmp_path / "out") == curve(tmp_path / "whole")
    with pytest.raises(ArgumentsError, match=r"holds a run with another loss \('info_nce\+distribution', now 'mse'\)"):
        run(*whole, "--loss", "mse")
    run(*whole, "--loss", "mse", "--overwrite", "true")
    assert not same(tmp_path / "whole", tmp_path / "out")


def test_resumed_at_the_end_of_an_epoch(run, tmp_path, monkeypatch):
    measure = AlignmentTrainer.measure
    monkeypatch.setattr(AlignmentTrainer, "measure", lambda *inputs: {**measure(*inputs), "loss": 1.0})
    words = ("--save_strategy", "steps", "--save_steps", 3, "--save_total_limit", 9, "--num_train_epochs", 4)
    words += ("--lr_scheduler_kwargs", '{"factor": 0.1, "patience": 0}')
    run(*words, out="whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    for step in (9, 12):
        shutil.rmtree(tmp_path / "out" / f"checkpoint-{step}")
    run(*words)
    assert curve(tmp_path / "out", "learning_rate") == curve(tmp_path / "whole", "learning_rate")
    assert same(tmp_path / "whole", tmp_path / "out")


def test_a_loss_that_is_not_finite_names_step_and_rows(run, monkeypatch):
    forward, calls = PairEncoder.forward, []

    def spoiled(self, **inputs):
        calls.append(1)
        outputs = forward(self, **inputs)
        return {**outputs, "projected": outputs["projected"] * (float("nan") if len(calls) == 2 else 1)}

    monkeypatch.setattr(PairEncoder, "forward", spoiled)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2, rows \d+, \d+, \d+, \d+, \d+, \d+: lower"):
        run()


def test_unreadable_rows(run, tmp_path):
    folder = write_pairs(tmp_path / "pairs", 20)
    broken = (3, 7, 11, 12)
    for row in broken:
        (folder / f"{row:03d}.wav").write_bytes(b"broken")
    result = run("--dataset", folder, "--num_train_epochs", 3, "--max_bad_rows", len(broken))  # each counts once
    settings = AlignmentArguments(dataset=str(folder), validation_fraction=0.25)
    held_out = {pair.row for pair in open_pairs(settings, 42)[1]}
    assert result.n == len(held_out - set(broken))
    assert len(curve(tmp_path / "out")) == 6
    # Batches of two, and one pair to a validation batch: some are empty, and the run goes on.
    words = ("--per_device_train_batch_size", 2, "--per_device_eval_batch_size", 1, "--num_train_epochs", 2)
    run("--dataset", folder, *words, out="small")
    assert 0 in curve(tmp_path / "small")
    with pytest.raises(TrainingError, match="2 rows could not be read, more than max_bad_rows=1"):
        run("--dataset", folder, *words, "--max_bad_rows", 1, out="strict")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--per_device_train_batch_size", 1], "a contrastive loss needs at least 2 pairs"),
        (
            ["--per_device_train_batch_size", 100],
            r"18 training pairs do not fill one batch of 100 \(per_device_train_batch_size=100, 1 device\)",
        ),
        (  # accumulation does not make a batch larger
            ["--per_device_train_batch_size", 20, "--gradient_accumulation_steps", 4],
            r"18 training pairs do not fill one batch of 20 \(",
        ),
        (["--base_model", "/nowhere"], "base_model /nowhere: is neither a folder nor on the Hub"),
        (["--audio_encoder", "/nowhere"], "audio_encoder /nowhere: is neither"),
        (["--base_model", TINY], "has its own audio encoder; leave it out"),
        (["--frame", "last"], "frame='last': give middle, first or a number of seconds"),
        (["--dataset", "/nowhere"], "dataset /nowhere"),
        (["--audio_column", "wav", "--dataset", "table"], "audio_column='wav': the dataset has the columns caption"),
        (["--streaming", "true", "--dataset", "table"], "a stream has no length: give --max_steps"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(run, tmp_path, words, message):
    if "table" in words:
        write_table(tmp_path / "table")
        words = [str(tmp_path / "table") if word == "table" else word for word in words]
    with pytest.raises(ArgumentsError, match=message):
        run(*words)
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_sizes_of_batches():
    """A batch is that of all devices; accumulated batches are smaller ones, one after the other."""

    def check(pairs, each, devices=1, accumulated=1):
        training = SimpleNamespace(
            per_device_train_batch_size=each, world_size=devices, gradient_accumulation_steps=accumulated
        )
        _check_sizes(range(pairs), range(2), training)

    check(8, each=4, devices=2)
    check(8, each=8, accumulated=100)
    check(2, each=1, devices=2)
    with pytest.raises(ArgumentsError, match=r"7 .* one batch of 8 \(\w+=4, 2 devices\): lower"):
        check(7, each=4, devices=2, accumulated=3)
    with pytest.raises(ArgumentsError, match=r"per_device_train_batch_size=1: .*at least 2 pairs"):
        check(8, each=1, accumulated=8)


def test_fewer_batches_than_are_accumulated(run, tmp_path):
    run("--num_train_epochs", 2, "--gradient_accumulation_steps", 4)
    assert len(curve(tmp_path / "out")) == 2  # three batches of 6 in an epoch, and one step


def test_a_run_that_is_done_is_not_trained_on(run, tmp_path):
    """Its last step is not the last of an epoch, which has three."""
    words = ("--max_steps", 2, "--save_strategy", "steps", "--save_steps", 2)
    run(*words)
    before = (tmp_path / "out" / ADAPTER).read_bytes()
    (tmp_path / "out" / ADAPTER).unlink()  # as of a run that was killed before it was written
    run(*words)
    assert (tmp_path / "out" / ADAPTER).read_bytes() == before
    assert len(curve(tmp_path / "out")) == 2


def test_a_stream(run, tmp_path):
    write_table(tmp_path / "table")
    words = ("--streaming", "true", "--dataset", tmp_path / "table", "--validation_rows", 4, "--max_steps", 3)
    words += ("--per_device_train_batch_size", 4)
    run(*words, "--eval_strategy", "steps", "--eval_steps", 3)
    assert len(curve(tmp_path / "out")) == 3
    run(*words, "--cache_embeddings", tmp_path / "cache", out="cached")
    assert len(curve(tmp_path / "cached")) == 3


def launch(words, processes=1, **values):
    command = [sys.executable, "-m", "soundclip_hf.training.alignment"]
    if processes > 1:
        # On CPUs, "multi_gpu" is what makes accelerate start processes of its own accord; use_cpu keeps it off GPUs.
        settings = {"num_machines": 1, "mixed_precision": "no", "dynamo_backend": "no", "num_processes": processes}
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))] + list(words)
        words = [*words[:8], *command[1:], *words[8:]]
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([*command, *words], env=environment, text=True, **values)


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_doubled_batch(options, run, tmp_path):
    words = ("--projector_dropout", 0, "--learnable_temperature", "true")
    run(*words, out="one")
    both = launch(options(*words, "--per_device_train_batch_size", 3, out="two"), processes=2)
    assert both.wait(600) == 0
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-5)
    assert curve(tmp_path / "two", "eval_loss") == pytest.approx(curve(tmp_path / "one", "eval_loss"), rel=1e-5)
    one, two = (load_file(tmp_path / name / ADAPTER) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    words = ("--cache_embeddings", tmp_path / "cache", "--cache_shard_rows", 4, *words)
    cached = launch(options(*words, "--per_device_train_batch_size", 3, out="cached"), processes=2)
    assert cached.wait(600) == 0
    assert curve(tmp_path / "cached") == pytest.approx(curve(tmp_path / "one"), rel=1e-3)


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch(options, run, tmp_path):
    words = ("--save_strategy", "steps", "--save_steps", 2, "--num_train_epochs", 100, "--projector_dropout", 0.3)
    run(*words, out="whole")
    victim = launch(options(*words), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not any(int(path.name[11:]) >= 20 for path in (tmp_path / "out").glob("checkpoint-*")):
        assert victim.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "out" / ADAPTER).exists()
    again = launch(options(*words), stderr=subprocess.PIPE)
    _, said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    assert same(tmp_path / "whole", tmp_path / "out")
