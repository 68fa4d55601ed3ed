"""Fine-tuning runs: what is trained, measured, saved, resumed, and refused."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor
from transformers import TrainerCallback

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.modeling.projector import AlignmentProjector
from soundclip_hf.training.finetuning import trainer as trainer_module
from soundclip_hf.training.finetuning.arguments import read_arguments
from soundclip_hf.training.finetuning.presets import part_of
from soundclip_hf.training.finetuning.run import DryRun, finetune
from soundclip_hf.training.settings_parser import ArgumentsError
from soundclip_hf.training.trainer import TrainingError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A whole SoundLlava of random weights, with its processor."""
    folder = tmp_path_factory.mktemp("base")
    tiny_sound_llava("llava").save_pretrained(folder)
    tiny_sound_processor("llava").save_pretrained(folder)
    return folder


@pytest.fixture
def arguments(base, tmp_path):
    """A command line of four steps on synthetic questions, to which a test adds its own."""

    def build(*more, out="out"):
        values = {
            "model": base,
            "dataset": "synthetic",
            "output_dir": tmp_path / out,
            "eval_rows": 12,
            "eval_answers": 3,
            "max_new_tokens": 3,
            "per_device_train_batch_size": 3,
            "max_steps": 4,
            "save_steps": 2,
            "eval_strategy": "no",
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "disable_tqdm": True,
            "use_cpu": True,
        }
        words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return read_arguments([*words, *map(str, more)])

    return build


@pytest.mark.parametrize("preset", ["projector", "projector+mm_projector", "lora", "lora+projector", "full-lm"])
def test_a_preset_changes_its_own_weights_and_what_comes_out_loads(base, arguments, tmp_path, preset):
    before = {key: value.clone() for key, value in SoundLlava.from_pretrained(base).state_dict().items()}
    trained = []
    result = finetune(*arguments("--preset", preset, "--save_strategy", "no"))
    assert result.metrics["steps"] == 4
    assert result.n == 3
    model = SoundLlava.from_pretrained(tmp_path / "out")
    for key, value in model.state_dict().items():
        plain = key.replace(".base_layer.", ".")
        if plain in before and not torch.equal(before[plain], value):
            trained.append(part_of(key))
    expected = {part for part in preset.split("+") if part not in ("lora", "full-lm")}
    names = {"projector": "audio_projection", "mm_projector": "multi_modal_projector"}
    assert set(trained) == {names[part] for part in expected} | ({"language_model"} if preset == "full-lm" else set())
    has_lora = any(".lora_" in key for key in model.state_dict())
    assert has_lora == ("lora" in preset)
    SoundLlavaProcessor.from_pretrained(tmp_path / "out")
    assert EvalResult.load(tmp_path / "out" / "answers.json").metrics == result.metrics


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("preset", ["lora+projector", "projector"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(arguments, tmp_path, monkeypatch, preset):
    finetune(*arguments("--preset", preset, out="whole"))
    init = trainer_module.FinetuningTrainer.__init__

    def stopped(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.add_callback(StopAfter(3))

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.FinetuningTrainer, "__init__", stopped)
        with pytest.raises(KeyboardInterrupt):
            finetune(*arguments("--preset", preset, out="parts"))
    finetune(*arguments("--preset", preset, out="parts"))
    whole, parts = (load_file(tmp_path / name / "checkpoint-4" / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    history = json.loads((tmp_path / "parts" / "curve.json").read_text())
    assert [entry["step"] for entry in history if "loss" in entry] == [1, 2, 3, 4]


def test_checkpoints_hold_what_is_trained_alone(arguments, tmp_path):
    finetune(*arguments("--preset", "projector"))
    kept = load_file(tmp_path / "out" / "checkpoint-2" / "model.safetensors")
    assert {part_of(key) for key in kept} == {"audio_projection"}


def test_answers_and_audit_in_the_loop(arguments, tmp_path):
    more = ["--eval_strategy", "steps", "--eval_steps", 2, "--eval_audit", 2, "--eval_alignments", "projected,raw"]
    result = finetune(*arguments(*more, "--save_strategy", "no"))
    history = json.loads((tmp_path / "out" / "curve.json").read_text())
    logged = [entry for entry in history if "eval_exact" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    assert all(0 <= entry["eval_audit_hears"] <= 1 for entry in logged)
    assert set(result.metrics["before"]) == set(result.metrics["after"]) == {"projected", "raw", "audit"}


def test_a_projector_that_the_model_does_not_use_is_not_trained(tmp_path, arguments):
    model = tiny_sound_llava("llava")
    model.config.sound_config.alignment = "raw"
    model.save_pretrained(tmp_path / "raw")
    tiny_sound_processor("llava").save_pretrained(tmp_path / "raw")
    raw = ["--model", tmp_path / "raw", "--eval_answers", 0, "--save_strategy", "no", "--preset"]
    with pytest.raises(ArgumentsError, match=r"preset='projector': .* \(alignment 'raw'\); give --sound_alignment"):
        finetune(*arguments(*raw, "projector"))
    finetune(*arguments(*raw, "lora"))
    finetune(*arguments(*raw, "projector", "--sound_alignment", "projected", out="projected"))
    assert SoundLlava.from_pretrained(tmp_path / "projected").config.sound_config.alignment == "projected"


def test_a_part_that_gets_no_gradient_ends_the_run(arguments, monkeypatch):
    def deaf(self, *args, **kwargs):
        return project(self, *args, **kwargs).detach()

    project = AlignmentProjector.forward
    monkeypatch.setattr(AlignmentProjector, "forward", deaf)
    with pytest.raises(TrainingError, match="step 1: no gradient reaches audio_projection"):
        finetune(*arguments("--preset", "lora+projector", "--eval_answers", 0))


def test_a_batch_without_sound_does_not_count_as_a_dead_projector(arguments, tmp_path):
    rows = [{"question": "What?", "answer": "Nothing."}] * 8
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    options = ["--dataset", tmp_path / "rows.json", "--preset", "projector", "--eval_answers", 1]
    assert finetune(*arguments(*options)).metrics["steps"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "lroa"], "preset='lroa': is unknown; there are 'projector'"),
        (["--model", "nothing/here"], "nothing/here"),
        (["--dataset", "nothing/here"], "dataset nothing/here"),
        (["--max_length", "20"], "tokens of media and .* of text do not fit into max_length=20"),
        (["--max_length", "100000"], r"max_length=100000: the language model's context is \d+ tokens"),
        (["--sound_top_k", "1000"], "sound_top_k=1000: a view of this model has 16 patches"),
        (["--quantization", "4bit", "--preset", "full-lm"], "trains language_model, and quantised weights"),
        (["--sound_alignment", "raw", "--preset", "projector"], "does not use the projector"),
        (["--eval_audit", "1"], "eval_audit=1"),
        (["--frame", "last"], "frame='last'"),
        (["--learning_rat", "1"], "did you mean learning_rate"),
        (["--media_folder", "nowhere"], "media_folder='nowhere': no such folder"),
        (["--streaming", "true", "--max_steps", "0"], "a stream has no length"),
    ],
)
def test_bad_settings_are_one_error_before_anything_is_written(arguments, tmp_path, options, message):
    with pytest.raises((ArgumentsError, OSError, ValueError), match=message):
        finetune(*arguments(*options))
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_hear_is_refused(arguments, tmp_path):
    from tiny_models import tiny_llava

    tiny_llava("llava").save_pretrained(tmp_path / "llava")
    with pytest.raises(ArgumentsError, match=r"is a 'llava' model, which does not hear; align it first"):
        finetune(*arguments("--model", tmp_path / "llava"))


def test_rows_without_an_answer_are_refused_before_the_model_is_loaded(arguments, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"messages": [{"role": "user", "content": "What?"}]}] * 8))
    with pytest.raises(ArgumentsError, match=r"rows.json: row \d: it has no turn of the role 'assistant'"):
        finetune(*arguments("--dataset", tmp_path / "rows.json", "--model", "nothing/here"))


def test_another_run_in_the_folder_is_refused(arguments):
    finetune(*arguments("--save_strategy", "no"))
    with pytest.raises(ArgumentsError, match="holds a run with another lora_r"):
        finetune(*arguments("--lora_r", 4))


def test_a_dry_run_loads_no_weights(arguments, base, tmp_path):
    small = tmp_path / "configuration"
    small.mkdir()
    for path in base.iterdir():
        if path.suffix != ".safetensors":
            (small / path.name).write_bytes(path.read_bytes())
    plan = DryRun(*arguments("--model", small))
    trained = {row.part: row.trained for row in plan.table if row.trained}
    assert set(trained) == {"audio_projection", "lora"}
    assert plan.batch["input_ids"][0] == 3
    assert plan.supervised > 0
    assert not (tmp_path / "out").exists()
