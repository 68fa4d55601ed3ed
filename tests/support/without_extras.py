"""A plain install, as a test sees it: packages that only extras bring cannot be imported."""

import sys

from transformers import TrainingArguments

from soundclip_hf.extras import EXTRA_OF

BLOCKED = (
    *EXTRA_OF,
    "bitsandbytes",
    "lmms_eval",
    "mteb",
    "peft",
    "rouge_score",
    "sacrebleu",
    "tensorboard",
    "tensorboardX",
    "torchcodec",
    "wandb",
)
# transformers asks once whether peft is there, and imports it where it then needs it. Its trainer does so when it is
# imported, which may not happen for the first time after peft is blocked.
IMPORTED_BEFORE = TrainingArguments
# Modules of ours that import such packages when they are imported.
OURS = (
    "soundclip_hf.data.build.datatrove_step",
    "soundclip_hf.data.ave2.audio_column",
    "soundclip_hf.integrations.lmms_eval.model",
    "soundclip_hf.integrations.mteb",
    "soundclip_hf.integrations.sentence_transformers",
)


def block(monkeypatch, *packages: str) -> None:
    """Until the test ends, these packages are not installed, whatever has been imported."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in packages:
            monkeypatch.setitem(sys.modules, name, None)
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)
    for name in OURS:
        monkeypatch.delitem(sys.modules, name, raising=False)


__all__ = ["BLOCKED", "OURS", "block"]
