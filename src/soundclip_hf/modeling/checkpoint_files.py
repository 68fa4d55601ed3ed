"""The safetensors files of a checkpoint, and what is checked and filled while transformers loads them into a model."""

import copy
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from .checkpoint_json import reason_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel as ModelBase
else:
    ModelBase = object  # mixins of models: to a type checker they are models, so that `super()` has a type

Shapes = dict[str, tuple[int, ...]]

# Configurations count their layers in these.
_LAYER_COUNTS = {"num_hidden_layers", "encoder_layers", "num_layers", "layers", "depths"}
# No model has less than one of these.
_POSITIVE = {
    *("hidden_size", "d_model", "embed_dim", "intermediate_size", "encoder_ffn_dim", "vocab_size", "num_hidden_layers"),
    *("encoder_layers", "num_attention_heads", "encoder_attention_heads", "num_key_value_heads", "image_size"),
    *("patch_size", "num_channels", "num_mel_bins", "max_source_positions"),
}
_LARGEST = 2**31
# What torch says of tensors of a size that cannot be, and of values that cannot be drawn.
_OF_SIZES = ("negative dimension", "Storage size calculation overflowed", "normal expects std", "expected to be")
_PROBABILITY = re.compile(r"(^|_)(dropout|layerdrop)$")
# Loading itself compares every name and shape. What is refused here is what could not even be built: more than this
# above what the files hold.
_MORE_LAYERS = 1_000
_MORE_PARAMETERS = 2**24  # 64 MB in float32


def with_variant(file: str, variant: str | None) -> str:
    """`model.safetensors` and `model.safetensors.index.json` as transformers names them in a variant."""
    if variant is None:
        return file
    stem, ending = file.rsplit(".", 1)
    return f"{stem}.{variant}.{ending}"


def read_weight_map(index: str | os.PathLike) -> dict[str, str]:
    """
    Read which file of a sharded checkpoint holds which tensor.

    Args:
        index: Path of `model.safetensors.index.json`.

    Returns:
        The file's name for each tensor's name.

    Raises:
        ValueError: If the index is not readable, or names a file outside its own folder or of another format.
    """
    try:
        with open(index, encoding="utf-8") as file:
            weight_map = json.load(file)["weight_map"]
        names = set(weight_map.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is not a readable checkpoint index: {error!r}") from error
    for name in names:
        path = PurePosixPath(name) if isinstance(name, str) else None
        if path is None or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise ValueError(
                f"{index} names the file {name!r}: the files of a checkpoint lie beside its index. Do not use this "
                "checkpoint unless you trust whoever made it."
            )
        if path.suffix != ".safetensors":
            raise ValueError(f"{index} names the file {name!r}: only safetensors files are read.")
    return weight_map


def checkpoint_files(name: str | os.PathLike, variant: str | None = None, **hub: Any) -> list[str]:
    """
    Paths of the safetensors files of a checkpoint; empty if it has none, or if a download is to be forced later.

    Args:
        name: Repository or folder.
        variant: Of the files' names, such as "fp16" for `model.fp16.safetensors`.
        **hub: `token`, `revision`, … of `cached_file`.

    Raises:
        OSError: If there is no such repository, or a file that the index names is missing.
        ValueError: If the index is not readable, or names a file outside its folder.
    """
    if hub.get("force_download") and not os.path.isdir(name):
        return []  # what is in the cache is out of date, and looking here would download everything twice
    single = cached_file(
        name, with_variant(SAFE_WEIGHTS_NAME, variant), _raise_exceptions_for_missing_entries=False, **hub
    )
    if single is not None:
        return [single]
    index = cached_file(
        name, with_variant(SAFE_WEIGHTS_INDEX_NAME, variant), _raise_exceptions_for_missing_entries=False, **hub
    )
    if index is None:
        return []
    return [str(cached_file(name, shard, **hub)) for shard in sorted(set(read_weight_map(index).values()))]


def read_shapes(files: Iterable[str]) -> Shapes:
    """
    Names and shapes of the tensors of safetensors files, from their headers alone.

    Raises:
        ValueError: If a file is not readable.
    """
    shapes: Shapes = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                shapes |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    return shapes


def check_layer_counts(config: Any, tensors: int, name: str) -> None:
    """
    Refuse a configuration with far more layers than its checkpoint has tensors, before they are built.

    Raises:
        ValueError: If there is such a number; it is named.
    """

    def walk(values: Mapping[str, Any], path: str) -> None:
        for key, value in values.items():
            if isinstance(value, Mapping):
                walk(value, f"{path}{key}.")
            elif key in _LAYER_COUNTS:
                counts = value if isinstance(value, (list, tuple)) else [value]
                if sum(count for count in counts if isinstance(count, int)) > tensors + _MORE_LAYERS:
                    raise ValueError(
                        f"The configuration of {name!r} says {path}{key}={value}, but its files hold only {tensors} "
                        "tensors: config.json belongs to another checkpoint or was changed."
                    )

    walk(config.to_dict(), "")


def check_values(config: Any, name: str) -> None:
    """
    Refuse values that no model can have, such as a negative width: some are built all the same, and fail much later.

    Raises:
        ValueError: If there is such a value; it is named.
    """

    def walk(values: Mapping[str, Any], path: str) -> None:
        for key, value in values.items():
            if isinstance(value, Mapping):
                walk(value, f"{path}{key}.")
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            elif math.isnan(value):
                refuse(path + key, value, "must be a number")
            elif key in _POSITIVE and not 1 <= value < _LARGEST:
                refuse(path + key, value, "must be positive and below 2**31")
            elif _PROBABILITY.search(key) and not 0 <= value <= 1:
                refuse(path + key, value, "must be in 0..1")

    def refuse(where: str, value: Any, wanted: str) -> None:
        raise ValueError(
            f"The configuration of {name!r} says {where}={value}: {wanted}. config.json was changed or damaged; get it "
            "again."
        )

    walk(config.to_dict(), "")


def build_on_meta(model_class: Any, config: Any, name: str) -> nn.Module:
    """
    A model without memory for its weights.

    Args:
        name: How messages call the checkpoint.

    Raises:
        ValueError: If the configuration describes no model that can be built.
    """
    with explained_building(name), torch.device("meta"):
        return model_class(copy.deepcopy(config))


@contextmanager
def explained_building(name: str, going_on: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """
    Turn what torch says of sizes that cannot be into one sentence about the configuration of a checkpoint.

    Args:
        name: How messages call the checkpoint.
        going_on: Whether the model is being built still.

    Raises:
        ValueError: Inside, a model was built from such a configuration.
    """
    try:
        yield
    except (TypeError, ArithmeticError, LookupError, AssertionError, RuntimeError) as error:
        text = str(error)
        # An argument of the caller, and whatever else goes wrong on a device, say what they are.
        of_sizes = not isinstance(error, RuntimeError) or any(words in text for words in _OF_SIZES)
        if "keyword argument" in text or not of_sizes or not going_on():
            raise
        raise ValueError(
            f"No model can be built from the configuration of {name!r}: {reason_of(error)}. config.json belongs to "
            "another checkpoint or was changed."
        ) from error


@dataclass(frozen=True)
class LoadingSteps:
    """
    What is done in the middle of `from_pretrained`.

    Attributes:
        check: Called with the model that transformers has built on the meta device, before it takes memory.
        fill: Called with the model once the tensors of its checkpoint are in it, the keys that are still missing, and
            the device map. It takes the keys that it fills out of the set; for the others, transformers draws values.
        name: How messages call the checkpoint.
    """

    check: Callable[[nn.Module], None]
    fill: Callable[[nn.Module, set[str], Mapping[str, Any] | None], None] | None = None
    name: str = ""


# Of the loading that goes on; a variable, since transformers passes nothing of ours through `from_pretrained`.
_STEPS: ContextVar[LoadingSteps | None] = ContextVar("loading_steps", default=None)


@contextmanager
def loading_steps(steps: LoadingSteps) -> Iterator[None]:
    """Let the next `from_pretrained` of a [`SteppedLoadingMixin`] inside this context do `steps`."""
    token = _STEPS.set(steps)
    try:
        # They are taken away once the model is built.
        with explained_building(steps.name, lambda: _STEPS.get() is steps):
            yield
    finally:
        _STEPS.reset(token)


class SteppedLoadingMixin(ModelBase):
    """Does [`loading_steps`], and draws no values for weights on the meta device, which cannot hold them."""

    @classmethod
    def get_init_context(cls, *args: Any, **kwargs: Any) -> Any:
        return [*super().get_init_context(*args, **kwargs), init.no_init_weights()]

    @staticmethod
    def _load_pretrained_model(
        model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, expected_keys: Any = None
    ) -> Any:
        steps = _STEPS.get()
        _STEPS.set(None)  # what is loaded from here on, such as a PEFT adapter, is something else
        if steps is not None:
            steps.check(model)
        info, offloaded = PreTrainedModel._load_pretrained_model(
            model, state_dict, checkpoint_files, load_config, expected_keys
        )
        if steps is not None and steps.fill is not None:
            steps.fill(model, info.missing_keys, load_config.device_map)
        return info, offloaded


def check_parameter_count(
    parameters: Mapping[str, torch.Tensor], stored: Shapes, name: str, values_in_one: int = 1
) -> None:
    """
    Refuse a configuration that describes far more parameters than its files hold.

    Args:
        parameters: What the files are to fill, on the meta device.
        stored: Of the files' tensors.
        name: How messages call the checkpoint.
        values_in_one: How many parameters one stored value may stand for, in a quantised checkpoint.

    Raises:
        ValueError: If there are more; the largest parameter is named.
    """
    values = sum(map(math.prod, stored.values()))
    wanted = sum(parameter.numel() for parameter in parameters.values())
    if wanted > values * values_in_one + _MORE_PARAMETERS:
        largest = max(parameters, key=lambda key: parameters[key].numel())
        raise ValueError(
            f"The configuration of {name!r} describes {wanted:,} parameters (the largest: {largest} "
            f"{tuple(parameters[largest].shape)}), but its files hold {values:,} values: config.json belongs to "
            "another checkpoint or was changed."
        )


def check_shapes(mismatched: Iterable[Any], name: Any) -> None:
    """
    Args:
        mismatched: `mismatched_keys` of the loading info of transformers.
        name: How messages call the checkpoint.

    Raises:
        ValueError: If there are any.
    """
    listed = [f"{key} {tuple(found)} against {tuple(wanted)}" for key, found, wanted in sorted(mismatched)]
    if listed:
        more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
        raise ValueError(
            f"The checkpoint {str(name)!r} does not fit its configuration. Other shape (checkpoint against model): "
            f"{', '.join(listed[:3])}{more}. config.json belongs to another checkpoint or was changed."
        )


__all__ = [
    "LoadingSteps",
    "ModelBase",
    "Shapes",
    "SteppedLoadingMixin",
    "build_on_meta",
    "check_layer_counts",
    "check_parameter_count",
    "check_shapes",
    "check_values",
    "checkpoint_files",
    "loading_steps",
    "read_shapes",
    "read_weight_map",
    "with_variant",
]
