"""Trackers, optimizers and the like: a wrong name or a missing package is told before anything is loaded."""

import pytest
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.training_args import OptimizerNames
from without_extras import block

from soundclip_hf.extras import NotInstalledError
from soundclip_hf.training.arguments import AlignmentTrainingArguments, ArgumentsError, check_extra, read_arguments
from soundclip_hf.training.trainer_packages import KUBEFLOW, OPTIMIZERS, TRACKERS, check_trackers

MODULES = sorted({module for modules in TRACKERS.values() for module in modules} | {*OPTIMIZERS.values()})
OF_TORCH = {
    "adafactor",
    "adagrad",
    "adamw_anyprecision",
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_torch_npu_fused",
    "adamw_torch_xla",
    "rmsprop",
    "sgd",
}


def test_every_tracker_of_transformers_is_known():
    assert set(INTEGRATION_TO_CALLBACK) <= set(TRACKERS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--report_to tensorboard",
            "report_to=tensorboard needs tensorboard, which is not installed: pip install tensorboard",
        ),
        ("--report_to wandb", "report_to=wandb needs wandb, which is not installed: pip install wandb"),
        (
            "--report_to dagshub",
            "report_to=dagshub needs dagshub and mlflow, which are not installed: pip install dagshub mlflow",
        ),
        (
            "--report_to azure_ml",
            "report_to=azure_ml needs azureml.core, which is not installed: pip install azureml-sdk",
        ),
        (
            "--optim adamw_bnb_8bit",
            "optim=adamw_bnb_8bit needs bitsandbytes, which is not installed: pip install bitsandbytes",
        ),
        ("--deepspeed a.json", "deepspeed=… needs deepspeed, which is not installed: pip install deepspeed"),
        (
            "--use_liger_kernel true",
            "use_liger_kernel=true needs liger_kernel, which is not installed: pip install liger_kernel",
        ),
    ],
)
def test_a_missing_package_is_named(monkeypatch, words, message):
    block(monkeypatch, "tensorboard", "tensorboardX", "wandb", "dagshub", "mlflow", "azureml", "bitsandbytes")
    block(monkeypatch, "deepspeed", "liger_kernel")
    with pytest.raises(NotInstalledError) as raised:
        read_arguments(words.split())
    assert str(raised.value) == message


@pytest.mark.parametrize("tracker", sorted(TRACKERS))
def test_every_tracker_is_looked_for(monkeypatch, tracker):
    block(monkeypatch, *{module.partition(".")[0] for module in MODULES}, "tensorboardX")
    monkeypatch.delenv(KUBEFLOW, raising=False)
    with pytest.raises((NotInstalledError, ValueError), match=f"report_to='?{tracker}'?"):
        check_trackers([tracker])


@pytest.mark.parametrize("optimizer", [one.value for one in OptimizerNames])
def test_every_optimizer_is_looked_for(monkeypatch, optimizer):
    block(monkeypatch, *OPTIMIZERS.values())
    if optimizer in OF_TORCH:
        AlignmentTrainingArguments(optim=optimizer)
        return
    with pytest.raises(NotInstalledError, match=f"optim={optimizer} needs"):
        AlignmentTrainingArguments(optim=optimizer)


def test_wrong_names_and_those_that_need_nothing(monkeypatch, tmp_path):
    block(monkeypatch, "tensorboard", "wandb")
    for value in ("none", "all", ["none"], None):
        check_trackers(value)
    monkeypatch.setenv(KUBEFLOW, "http://here")
    check_trackers("kubeflow")
    with pytest.raises(
        ArgumentsError, match=r"report_to='tensorbord': is not a tracker.*; did you mean 'tensorboard'?"
    ):
        read_arguments(["--report_to", "tensorbord"])
    with pytest.raises(ArgumentsError, match=r"report_to='x': is not a tracker.*; give none, all, or azure_ml"):
        read_arguments(["--report_to", "x"])
    file = tmp_path / "run.yaml"
    file.write_text("report_to: [none, wandb]\n")
    with pytest.raises(ArgumentsError, match="report_to='none': is not a tracker"):
        read_arguments([], file)
    file.write_text("report_to: [wandb]\n")
    with pytest.raises(NotInstalledError, match="pip install wandb"):
        read_arguments([], file)


def test_tensorboardx_will_do(monkeypatch):
    block(monkeypatch, "tensorboard")
    monkeypatch.setattr("soundclip_hf.training.trainer_packages.installed", lambda name: name == "tensorboardX")
    check_trackers("tensorboard")


def test_the_extra_is_asked_for_first(monkeypatch):
    block(monkeypatch, "datasets")
    for start in (check_extra, lambda: read_arguments(["--report_to", "x"])):
        with pytest.raises(NotInstalledError) as raised:
            start()
        assert str(raised.value) == (
            "training needs datasets, which is not installed: pip install 'soundclip-hf[train]'"
        )
