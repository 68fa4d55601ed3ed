"""Files beside a published model, for who loads it with `trust_remote_code=True` and has not imported soundclip_hf.

They hold no code but an import: a model of transformers' Auto classes then comes from the installed package.
"""

import json
from typing import Any

MODELING, PROCESSING = "modeling_soundclip_hf", "processing_soundclip_hf"
_FILE = '''"""Written by soundclip-hf: the classes of this model are those of the package."""

try:
    from soundclip_hf import {names}
except ModuleNotFoundError as error:
    if error.name != "soundclip_hf":
        raise
    raise ImportError("This model needs the package soundclip-hf: pip install soundclip-hf") from error
'''
_CLASSES = {
    "sound_llava": {
        "AutoConfig": "SoundLlavaConfig",
        "AutoModelForImageTextToText": "SoundLlavaForConditionalGeneration",
        "AutoModelForMultimodalLM": "SoundLlavaForConditionalGeneration",
    },
    "soundclip": {"AutoConfig": "SoundClipConfig", "AutoModel": "SoundClipModel"},
}
_PROCESSORS = ("SoundClipProcessor", "SoundLlavaProcessor")


def with_model_code(config: dict[str, Any]) -> dict[str, bytes]:
    """
    Args:
        config: Of config.json.

    Returns:
        config.json, which names the classes, and the file that imports them. An audio encoder has no such file.
    """
    classes = _CLASSES.get(config["model_type"])
    if classes is None:
        return {"config.json": _json(config)}
    auto_map = {auto: f"{MODELING}.{name}" for auto, name in classes.items()}
    return {"config.json": _json({**config, "auto_map": auto_map}), f"{MODELING}.py": _code(classes.values())}


def with_processor_code(config: dict[str, Any]) -> dict[str, bytes]:
    """As `with_model_code`, for processor_config.json; a processor of another package is left as it is."""
    name = config.get("processor_class")
    if name not in _PROCESSORS:
        return {"processor_config.json": _json(config)}
    auto_map = {"AutoProcessor": f"{PROCESSING}.{name}"}
    return {"processor_config.json": _json({**config, "auto_map": auto_map}), f"{PROCESSING}.py": _code([name])}


def _code(names: Any) -> bytes:
    return _FILE.format(names=", ".join(sorted(set(names)))).encode()


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


__all__ = ["with_model_code", "with_processor_code"]
