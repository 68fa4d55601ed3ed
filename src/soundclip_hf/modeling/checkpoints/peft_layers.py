"""The layers that PEFT (LoRA) has put into a model, and the names that weights have without them."""

from typing import Any

from torch import nn


def peft_layers(module: nn.Module) -> dict[str, Any]:
    """The layers of PEFT in a module, by name; they are known by what they have, without importing PEFT."""
    return {name: layer for name, layer in module.named_modules() if hasattr(layer, "adapter_layer_names")}


def plain_names(module: nn.Module) -> dict[str, str]:
    """
    The names that parameters and buffers have without PEFT.

    Returns:
        Name without PEFT -> name in `module.state_dict()`. Weights of PEFT's own layers are left out; of a module in
        `modules_to_save`, the copy that is in use counts.
    """
    layers = peft_layers(module)
    found = {_plain(name, layers): name for name in module.state_dict()}
    return {plain: name for plain, name in found.items() if plain is not None}


def _plain(name: str, layers: dict[str, Any]) -> str | None:
    parts: list[str | None] = [*name.split(".")]
    for prefix, layer in layers.items():
        if prefix and not name.startswith(prefix + "."):
            continue
        start = prefix.count(".") + 1 if prefix else 0
        inner = name.split(".")[start:]
        if hasattr(layer, "modules_to_save"):
            active = [one for one in layer.active_adapters if one in layer.modules_to_save]
            expected = ["modules_to_save", active[0]] if active else ["original_module"]
            if inner[: len(expected)] != expected:
                return None
        elif inner[0] in {*layer.adapter_layer_names, *layer.other_param_names}:
            return None
        else:
            expected = ["base_layer"] if inner[0] == "base_layer" else []
        parts[start : start + len(expected)] = [None] * len(expected)
    return ".".join(part for part in parts if part is not None)


__all__ = ["peft_layers", "plain_names"]
