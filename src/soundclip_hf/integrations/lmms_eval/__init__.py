"""SoundLlava as a model of lmms-eval (0.7), and a task of your own clips for it: what makes the sound."""

from typing import Any

from ...extras import require

MODEL_ID = "sound_llava"


def manifest() -> Any:
    """What lmms-eval's entry point `lmms_eval.models` asks for: the name of the model and the path of its class."""
    require("lmms_eval", what="the integration with lmms-eval")
    # lmms-eval imports this package while it builds its list of models.
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=MODEL_ID, chat_class_path=f"{__name__}.model.SoundLlavaChat")


__all__ = ["MODEL_ID", "manifest"]
