"""Checks that the packages which settings of transformers' trainer need are installed, before anything is loaded."""

import os
from collections.abc import Sequence
from difflib import get_close_matches

from ..extras import installed, require

# Value of `report_to` -> the modules that its callback needs.
TRACKERS = {
    "azure_ml": ("azureml.core",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub", "mlflow"),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
# Start of the name of an optimizer -> the module that it needs.
OPTIMIZERS = {
    "adamw_bnb": "bitsandbytes",
    "adamw_8bit": "bitsandbytes",
    "adamw_torch_4bit": "torchao",
    "adamw_torch_8bit": "torchao",
    "ademamix": "bitsandbytes",
    "apollo": "apollo_torch",
    "galore": "galore_torch",
    "grokadamw": "grokadamw",
    "lion": "bitsandbytes",
    "lomo": "lomo_optim",
    "adalomo": "lomo_optim",
    "paged": "bitsandbytes",
    "rmsprop_bnb": "bitsandbytes",
    "schedule_free": "schedulefree",
    "stable_adamw": "optimi",
}
KUBEFLOW = "KUBEFLOW_TRAINER_SERVER_URL"


def check_trackers(report_to: str | Sequence[str] | None) -> None:
    """
    Args:
        report_to: As in `TrainingArguments`: names of trackers, or "none" or "all" (those that are installed).

    Raises:
        ValueError: There is no such tracker; the message has the nearest name.
        NotInstalledError: The package of one is missing.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    names = [report_to] if isinstance(report_to, str) else [*(report_to or ())]
    for name in names:
        if name in ("none", "all") and len(names) == 1:
            return
        if name not in INTEGRATION_TO_CALLBACK:
            near = get_close_matches(str(name), INTEGRATION_TO_CALLBACK, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"give none, all, or {', '.join(INTEGRATION_TO_CALLBACK)}"
            raise ValueError(f"report_to={name!r}: is not a tracker of transformers; {hint}")
        if name == "tensorboard" and installed("tensorboardX"):
            continue
        # A tracker that is newer than this table raises its own error later.
        require(*TRACKERS.get(name, ()), what=f"report_to={name}")
        if name == "kubeflow" and not os.environ.get(KUBEFLOW):
            raise ValueError(f"report_to='kubeflow': needs {KUBEFLOW}, which is set inside a Kubeflow TrainJob")


def check_integrations(optimizer: str, deepspeed: bool, liger: bool) -> None:
    """
    Args:
        optimizer: `optim` of `TrainingArguments`.
        deepspeed, liger: Whether `deepspeed` and `use_liger_kernel` are set.

    Raises:
        NotInstalledError: The package of one is missing.
    """
    name = str(getattr(optimizer, "value", optimizer))
    for beginning, module in OPTIMIZERS.items():
        if name.startswith(beginning):
            require(module, what=f"optim={name}")
    if deepspeed:
        require("deepspeed", what="deepspeed=…")
    if liger:
        require("liger_kernel", what="use_liger_kernel=true")


__all__ = ["check_integrations", "check_trackers"]
