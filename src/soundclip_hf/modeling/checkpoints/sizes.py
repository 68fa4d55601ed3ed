"""A configuration against the headers of the files that will fill its model, before anything of that size is built."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..checkpoint_files import Shapes, build_on_meta, check_layer_counts, check_parameter_count, check_values

# An int32 of the most tightly packed quantised checkpoints (2 bits) holds so many values.
_MOST_PACKED = 16


@dataclass
class Filling:
    """
    Where some parameters of a model come from.

    Attributes:
        name: How messages call the checkpoint.
        shapes: Of its tensors; where there are none, loading says so later.
        fills: Whether a parameter, by its name, comes from it.
        places: The file of each tensor, where that matters.
    """

    name: str
    shapes: Shapes
    fills: Callable[[str], bool]
    places: dict[str, str] = field(default_factory=dict)


def check_sizes(model_class: Any, config: Any, name: str, fillings: Sequence[Filling]) -> None:
    """
    Check the number of layers, and that of the parameters of a model that is built for it on the meta device.

    Raises:
        ValueError: If the configuration holds a value that no model can have, far more layers than the files have
            tensors, or far more parameters.
    """
    check_layers(config, name, fillings)
    if any(filling.shapes for filling in fillings):
        check_parameters(build_on_meta(model_class, config, name), config, fillings)


def check_layers(config: Any, name: str, fillings: Sequence[Filling]) -> None:
    """
    Raises:
        ValueError: If the configuration holds a value that no model can have, or far more layers than the files have
            tensors.
    """
    check_values(config, name)
    tensors = sum(len(filling.shapes) for filling in fillings)
    if tensors:
        check_layer_counts(config, tensors, name)


def check_parameters(model: nn.Module, config: Any, fillings: Sequence[Filling]) -> None:
    """
    Raises:
        ValueError: If a model has far more parameters than the files that fill it.
    """
    parameters = dict(model.named_parameters())
    values_in_one = 1 if getattr(config, "quantization_config", None) is None else _MOST_PACKED
    for filling in fillings:
        if filling.shapes:
            own = {key: parameter for key, parameter in parameters.items() if filling.fills(key)}
            check_parameter_count(own, filling.shapes, filling.name, values_in_one)


__all__ = ["Filling", "check_layers", "check_parameters", "check_sizes"]
