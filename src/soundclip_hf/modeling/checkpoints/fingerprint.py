"""A fingerprint of a vision tower: enough to tell that an adapter was trained for another one."""

from typing import Any

import torch
from accelerate.utils import align_module_device
from torch import nn

from .peft_layers import plain_names

_GEOMETRY = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size")
_SAMPLES = 256
_RTOL = 1e-2  # bf16 rounding is 4e-3; two different towers differ by far more


def fingerprint(tower: nn.Module, feature_layer: int | list[int]) -> dict[str, Any]:
    """
    Geometry, feature layer and 256 weights in float32, at places that depend on names and shapes alone.

    Take it before quantisation: quantised weights are packed, and have other values.
    """
    config = tower.config
    parameters = dict(tower.named_parameters())
    # As without LoRA, whose base stays as it is.
    names = [name for _, name in sorted(plain_names(tower).items()) if name in parameters]
    generator = torch.Generator().manual_seed(len(names))
    values = []
    for choice in torch.randint(len(names), (_SAMPLES,), generator=generator).tolist():
        weight = parameters[names[choice]]
        place = int(torch.randint(weight.numel(), (1,), generator=generator))
        if not weight.is_meta:
            values.append(float(weight.detach().reshape(-1)[place]))
            continue
        module_name, _, parameter_name = names[choice].rpartition(".")
        module = tower.get_submodule(module_name)
        with align_module_device(module):  # brings an offloaded weight
            values.append(float(getattr(module, parameter_name).detach().reshape(-1)[place]))
    return {
        **{name: getattr(config, name, None) for name in _GEOMETRY},
        "vision_feature_layer": feature_layer,
        "values": values,
    }


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What differs between two fingerprints, in words; empty if they are of one tower."""
    said = [
        f"{name} {expected.get(name)!r} against {found.get(name)!r}"
        for name in (*_GEOMETRY, "vision_feature_layer")
        if expected.get(name) != found.get(name)
    ]
    if said:
        return said
    want, have = torch.tensor(expected["values"]), torch.tensor(found["values"])
    if want.shape != have.shape:
        return [f"{want.numel()} sampled weights against {have.numel()}"]
    close = torch.isclose(have, want, rtol=_RTOL, atol=1e-6)
    if not close.all():
        first = int((~close).nonzero()[0])
        said.append(
            f"{int((~close).sum())} of {len(want)} sampled weights "
            f"(the first: {want[first]:.6g} against {have[first]:.6g})"
        )
    return said
