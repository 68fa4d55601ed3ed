"""YAML and command line become settings; typos and impossible values are errors that help."""

import pytest

from soundclip_hf.losses import LOSS_TERMS
from soundclip_hf.settings import CONFIG_FOLDERS, SettingError, find_config
from soundclip_hf.training.alignment import recipe_of
from soundclip_hf.training.arguments import ArgumentsError, read_arguments


def test_the_recipe_of_appendix_e_is_the_default():
    settings, training = read_arguments([])
    assert (training.optim, training.weight_decay, training.learning_rate) == ("adamw_torch", 0, 5e-5)
    assert training.num_train_epochs == 10
    assert training.lr_scheduler_type == "reduce_lr_on_plateau"
    assert training.lr_scheduler_kwargs["factor"] == 0.1
    assert (training.metric_for_best_model, training.greater_is_better) == ("loss", False)
    assert (settings.projector_dropout, settings.temperature, settings.distribution_weight) == (0.1, 0.07, 0.02)
    assert settings.loss == "info_nce+distribution"


def test_the_command_line_overrides_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("loss: mse\nlearning_rate: 5e-4\nstreaming: true\nlr_scheduler_kwargs: {factor: 0.5}\nseed: 3\n")
    settings, training = read_arguments(["--seed", "7"], file)
    assert (settings.loss, settings.streaming) == ("mse", True)
    assert (training.learning_rate, training.seed) == (5e-4, 7)  # YAML takes 5e-4 for a text
    assert training.lr_scheduler_kwargs == {"factor": 0.5}
    settings, _ = read_arguments(["--config", str(file), "--streaming", "false"])
    assert not settings.streaming


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learnin_rate", "1"], "did you mean learning_rate"),
        (["--audio-encodr", "x"], "did you mean audio_encoder"),
        (["--learning_rate", "fast"], "invalid float value: 'fast'"),
        (["--loss", "infonce"], "'infonce' is not one of " + ", ".join(LOSS_TERMS)),
        (["--window", "long"], "window='long': must be one of pad30, short"),
        (["--layer_fusion", "mean"], "must be one of average_all"),
        (["--tower_dtype", "int8"], "tower_dtype"),
        (["--validation_fraction", "1"], "between 0 and 1"),
        (["--cache_shard_rows", "0"], "at least 1"),
        (["--layer_fusion", "weighted_sum", "--cache_embeddings", "c"], "cannot be cached"),
        (["stray"], "stray: does not belong to any option"),
        (["--config", "nowhere.yaml"], "config 'nowhere.yaml': no such file or name"),
    ],
)
def test_bad_command_lines(words, message):
    with pytest.raises(ArgumentsError, match=message):
        read_arguments(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("los: mse", "los: unknown setting; did you mean loss"),
        ("- a\n", "holds no settings"),
        ("a: [", "cannot be read as YAML"),
        ("loss: odd", "'odd' is not one of"),
        ("eval_strategy: 'no'", "requires an eval strategy"),
    ],
)
def test_bad_files(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ArgumentsError, match=message):
        read_arguments([], file)


def test_folders_are_named_so_that_an_adapter_finds_them(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    settings, _ = read_arguments(["--base_model", "base", "--audio_encoder", "openai/whisper-tiny"])
    assert settings.base_model == str((tmp_path / "base").resolve())
    assert settings.audio_encoder == "openai/whisper-tiny"


def test_what_a_run_needs():
    settings, _ = read_arguments(["--base_model", "b"])
    with pytest.raises(ArgumentsError, match="dataset is missing"):
        settings.check_complete()


CONFIGS = sorted({file.resolve() for folder in CONFIG_FOLDERS for file in (folder / "align").rglob("*.yaml")})


def test_there_is_a_config_for_every_encoder():
    names = {file.stem for file in CONFIGS}
    assert {"whisperclip", "whisper", "imagebind", "clap", "audioclip", "wav2clip", "msclap"} <= names
    assert {f"whisperclip-{size}" for size in ("tiny", "base", "small", "medium")} <= names


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_parses_and_opens_with_its_header(file):
    settings, training = read_arguments([], file)
    assert settings.base_model
    assert settings.audio_encoder or file.stem == "tiny"  # which has its own encoder
    assert training.output_dir
    lines = file.read_text().splitlines()
    for line, word in zip(lines, ("# What:", "# Needs:", "# Launch:", "# Expect:")):
        assert line.startswith(word), line
    assert f"--config align/{file.stem} " in lines[2]


def test_the_recipe_names_the_bundled_model_as_every_machine_does():
    assert recipe_of(*read_arguments(["--base_model", "tiny"]))["base_model"] == "tiny"


def test_names_of_configs_work_without_a_clone():
    assert find_config("align/whisperclip").name == "whisperclip.yaml"
    with pytest.raises(SettingError, match="did you mean 'align/whisperclip'"):
        find_config("align/whisprclip")
