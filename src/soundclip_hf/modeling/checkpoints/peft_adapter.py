"""A PEFT adapter (LoRA) beside the ears: found in a model, written into the folder `peft`, and put back strictly.

The folder keeps PEFT's own file names from the top of a repository: there, transformers takes `adapter_config.json` for
the whole of it, loads the base model that it names, and never looks for the ears.
"""

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from ...extras import require
from ...files import replacing
from ...package_messages import silence_bitsandbytes, without_vocabulary_warning
from ..checkpoint_files import read_shapes
from ..configuration_soundclip import SoundLlavaConfig
from .adapter_file import read_adapter_file, write_adapter_file
from .adapter_parts import EARS, named
from .loading import LoadRequest
from .peft_layers import peft_layers

PEFT_FOLDER = "peft"
PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# PEFT's files call the model that was wrapped by this name.
_WRAPPED = "base_model.model."


def active_adapter(model: Any) -> str:
    """
    Name of the PEFT adapter that is in use.

    Raises:
        ValueError: If there is none or several, or if PEFT wraps a part of the model.
    """
    names = {name for layer in peft_layers(model).values() for name in layer.active_adapters}
    if not getattr(model, "peft_config", None):
        raise ValueError(
            f"PEFT layers were added to a part of {type(model).__name__}, and could not be put back when it is loaded. "
            "Give the whole model to get_peft_model, and choose the part with target_modules=r'.*language_model.*'."
        )
    if len(names) != 1:
        raise ValueError(
            f"{len(names)} PEFT adapters are in use ({', '.join(sorted(names)) or 'none'}), and one can be saved: "
            "choose it with set_adapter, or combine them with add_weighted_adapter."
        )
    return names.pop()


def save_peft_adapter(
    model: Any, folder: Path, state_dict: dict[str, Any] | None, base: str | None, revision: str | None
) -> None:
    """
    Write the PEFT adapter of a model into `folder / PEFT_FOLDER`.

    Args:
        state_dict: Of the model, where it was gathered from several devices.
        base, revision: The base model, for those who read the files with PEFT alone.

    Raises:
        ValueError: If not exactly one adapter is in use.
    """
    require("peft", what="saving a model with LoRA layers")
    silence_bitsandbytes()
    from peft import get_peft_model_state_dict

    name = active_adapter(model)
    with without_vocabulary_warning():
        tensors = get_peft_model_state_dict(model, state_dict=state_dict, adapter_name=name)
    above = "" if hasattr(model, "model") else "model."
    # Contiguous copies: safetensors takes no tensors that share memory.
    stored = {f"{_WRAPPED}{above}{key}": value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    config = copy.deepcopy(model.peft_config[name])
    config.inference_mode = True
    config.base_model_name_or_path, config.revision = base, revision
    place = folder / PEFT_FOLDER
    place.mkdir(exist_ok=True)
    config.save_pretrained(place)
    with replacing(place / PEFT_WEIGHTS) as partial:
        write_adapter_file(stored, partial)


def find_peft_adapter(request: LoadRequest, config: SoundLlavaConfig, is_adapter: bool) -> LoadRequest | None:
    """
    Where the PEFT adapter of a model lies.

    Args:
        request: Of the model.
        config: Of the model.
        is_adapter: Whether the model is an adapter. What lies beside a whole model, at the top of its repository, is
            left to transformers.

    Returns:
        A request of the PEFT adapter's own folder or repository; None if there is none.

    Raises:
        ValueError: If there are two.
    """
    # The Auto classes of transformers look at the top of the repository, and so does whoever saves with PEFT alone.
    given = request.take_peft_request() if is_adapter else None
    if is_adapter and given is None and os.path.isfile(os.path.join(request.name, PEFT_CONFIG)):
        given = LoadRequest(request.name, request.hub, request.place, {})
    if not config.has_peft_adapter:
        return given
    if given is not None:
        raise ValueError(
            f"{str(request.name)!r} has a PEFT adapter in its folder {PEFT_FOLDER!r}, and {str(given.name)!r} holds "
            "another: one can be loaded. Remove one of them, or merge the first into the base model."
        )
    folder = os.path.join(request.place.get("subfolder", ""), PEFT_FOLDER)
    return LoadRequest(request.name, request.hub, {**request.place, "subfolder": folder}, {})


def check_same_towers(request: LoadRequest, ears: Iterable[str]) -> None:
    """
    Check that a PEFT adapter leaves vision tower and ears as they are, for a model that is made of these alone.

    Args:
        request: Of the PEFT adapter.
        ears: Names of weights that are loaded from the ears' own file, as trained.

    Raises:
        ValueError: If it does not; the first weight is named.
    """
    weights = request.find(PEFT_WEIGHTS)
    keys = [] if weights is None else [key.removeprefix(f"{_WRAPPED}model.") for key in read_shapes([weights])]
    own = {*ears}
    changed = sorted(key for key in keys if key.partition(".")[0] in ("vision_tower", *EARS) and key not in own)
    if changed:
        raise ValueError(
            f"The PEFT adapter of {str(request.name)!r} changes the towers ({changed[0]}), and the dual encoder reads "
            "no PEFT adapters. Load it as a SoundLlava, merge the adapter into it, and save it as a whole model."
        )


def load_peft_adapter(model: Any, request: LoadRequest, adapter: str = "default") -> None:
    """
    Put a PEFT adapter into a model that is complete otherwise; its weights come frozen, in the precision of the file.

    Args:
        request: Of the PEFT adapter's own folder or repository.
        adapter: Its name in the model. One that is there already gets the weights of the file.

    Raises:
        ImportError: If PEFT is not installed.
        OSError: If a file is missing.
        ValueError: If the file was damaged or holds NaN or Inf, or a weight is missing, unexpected or of another shape.
    """
    name, settings, weights = str(request.name), request.find(PEFT_CONFIG), request.find(PEFT_WEIGHTS)
    if settings is None or weights is None:
        missing = PEFT_CONFIG if settings is None else PEFT_WEIGHTS
        raise OSError(f"{name} has no {missing}, which belongs to its PEFT adapter: save and push the model again.")
    require("peft", what=f"{name} holds a PEFT adapter (LoRA), which")
    silence_bitsandbytes()
    from peft import PeftConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict

    stored = {key: value.clone() for key, value in read_adapter_file(weights).items()}  # aligned in memory
    # A model without language model head takes what lies below the name "model".
    above = _WRAPPED if hasattr(model, "model") else f"{_WRAPPED}model."
    stored = {key.removeprefix(above): value for key, value in stored.items() if not _is_of_head(key, above)}
    config = PeftConfig.from_pretrained(str(Path(settings).parent))
    config.inference_mode = True
    if adapter not in getattr(model, "peft_config", {}):
        # Without memory at first: the sizes in the file are compared before anything of that size is built.
        inject_adapter_in_model(config, model, adapter, low_cpu_mem_usage=True)
    with without_vocabulary_warning():
        _check(name, stored, get_peft_model_state_dict(model, adapter_name=adapter))
        set_peft_model_state_dict(model, dict(stored), adapter, low_cpu_mem_usage=True)
        now = get_peft_model_state_dict(model, adapter_name=adapter)
    keys = {tensor.data_ptr(): key for key, tensor in now.items()}
    for parameter in model.parameters():
        key = keys.get(parameter.data_ptr())
        # PEFT gives them the precision of the layers around them.
        if key is not None and parameter.dtype != stored[key].dtype:
            parameter.data = stored[key].to(parameter.device)
    for layer in peft_layers(model).values():
        layer.requires_grad_(False)
    model._hf_peft_config_loaded = True  # transformers' set_adapter, disable_adapters and others ask for it
    model.eval()


def _is_of_head(key: str, above: str) -> bool:
    return key.startswith(f"{_WRAPPED}lm_head.") and above != _WRAPPED


def _check(name: str, stored: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, unexpected = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    reshaped = [
        f"{key} {tuple(stored[key].shape)} against {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & stored.keys())
        if stored[key].shape != expected[key].shape
    ]
    if missing or unexpected or reshaped:
        raise ValueError(
            f"The PEFT adapter of {name!r} does not fit the model. Missing in {PEFT_WEIGHTS}: "
            f"{named(missing) or 'none'}. Unknown to the model: {named(unexpected) or 'none'}. Other shape (file "
            f"against model): {named(reshaped) or 'none'}."
        )


__all__ = [
    "PEFT_CONFIG",
    "PEFT_FOLDER",
    "PEFT_WEIGHTS",
    "active_adapter",
    "check_same_towers",
    "find_peft_adapter",
    "load_peft_adapter",
    "save_peft_adapter",
]
