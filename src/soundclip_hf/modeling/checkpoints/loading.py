"""What loading our models has in common: the arguments of a call, sorted, and the configuration they ask for."""

import copy
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import cached_file

from ..checkpoint_files import LoadingSteps, ModelBase, SteppedLoadingMixin, check_shapes, loading_steps
from ..checkpoint_json import checked_settings
from ..checkpoint_names import checkpoint_name, one_commit

# How a file is fetched, and where in a repository it lies.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "proxies")
PLACE_ARGUMENTS = ("revision", "subfolder")
# Arguments of transformers that share a name with an attribute of a configuration: transformers applies them itself.
_NOT_OVERRIDES = {
    *("dtype", "torch_dtype", "attn_implementation", "experts_implementation", "quantization_config", "fusion_config"),
    *("distributed_config", "name_or_path"),
}
# What the Auto classes put into `adapter_kwargs` by themselves.
_AUTO_ADAPTER_KEYS = {"_adapter_model_path", "_commit_hash", "revision", "token"}


@dataclass
class LoadRequest:
    """
    The arguments of one call of `from_pretrained`.

    Attributes:
        name: Repository or folder.
        hub: How its files are fetched: `token`, `cache_dir`, …
        place: `revision` and `subfolder`, where they were given. The revision of a repository is one commit.
        keywords: All other arguments, for transformers.
    """

    name: str | os.PathLike
    hub: dict[str, Any]
    place: dict[str, Any]
    keywords: dict[str, Any]

    def __post_init__(self) -> None:
        revision = one_commit(self.name, self.place.get("revision"), self.hub)
        if revision is not None:
            self.place = {**self.place, "revision": revision}

    @classmethod
    def sorted_from(cls, name: str | os.PathLike, keywords: dict[str, Any]) -> "LoadRequest":
        """
        Raises:
            ValueError: For an argument that asks for a kind of file that is not read here, or two revisions.
        """
        keywords = dict(keywords)
        name, revision = checkpoint_name(name, keywords.get("revision"))
        if revision is not None:
            keywords["revision"] = revision
        if keywords.get("gguf_file") is not None:
            raise ValueError(
                f"gguf_file={str(keywords['gguf_file'])!r}: GGUF files hold no audio encoder and are not read. Load a "
                "safetensors checkpoint."
            )
        if keywords.get("use_safetensors") not in (None, True):
            raise ValueError(
                f"use_safetensors={keywords['use_safetensors']!r}: only safetensors checkpoints are read. "
                "Leave the argument out, and save checkpoints of other kinds again with save_pretrained."
            )
        if keywords.get("state_dict") is not None:
            raise ValueError(
                "state_dict and a repository or folder were both passed: weights come from one of them. Pass None as "
                "the name, with config=…, to load from a state_dict."
            )
        for key in ("gguf_file", "use_safetensors", "state_dict"):
            keywords.pop(key, None)
        hub = {key: keywords.pop(key) for key in HUB_ARGUMENTS if key in keywords}
        place = {key: keywords.pop(key) for key in PLACE_ARGUMENTS if key in keywords}
        return cls(name, hub, {key: value for key, value in place.items() if value is not None}, keywords)

    def find(self, file: str) -> str | None:
        """Path of a file of the repository on this machine; None if the repository has no such file."""
        return cached_file(self.name, file, _raise_exceptions_for_missing_entries=False, **self.hub, **self.place)

    def read_config(self, config: PreTrainedConfig | str | os.PathLike | None = None) -> Any:
        """The configuration: the given one, or read from the given place or from the repository."""
        if isinstance(config, PreTrainedConfig):
            return config
        name = self.name if config is None else config
        with checked_settings(name, {**self.hub, **self.place}):
            return AutoConfig.from_pretrained(name, **self.hub, **self.place)

    def take(self, *names: str) -> dict[str, Any]:
        """Remove some of the keywords; returns those that were given."""
        return {name: self.keywords.pop(name) for name in names if name in self.keywords}

    def take_peft_request(self) -> "LoadRequest | None":
        """
        Remove `adapter_kwargs`, which the Auto classes fill for PEFT.

        Returns:
            Where the Auto classes found a PEFT adapter that names this model as its base; None if they found none.

        Raises:
            ValueError: If the caller put something into it.
        """
        given = self.take("_commit_hash", "adapter_kwargs").get("adapter_kwargs") or {}
        if given.keys() - _AUTO_ADAPTER_KEYS:
            raise ValueError(
                f"adapter_kwargs has {min(given.keys() - _AUTO_ADAPTER_KEYS)!r}: it belongs to PEFT adapters, and "
                f"{str(self.name)!r} is a SoundLlava. Load a PEFT adapter onto the finished model, with load_adapter."
            )
        name = given.get("_adapter_model_path")
        if name is None:
            return None
        place = {"revision": given["revision"]} if given.get("revision") else {}
        return LoadRequest(name, self.hub, place, {})

    def take_overrides(self, config: Any) -> dict[str, Any]:
        """Remove the keywords that name attributes of `config`, as transformers does."""
        names = [name for name in self.keywords if name not in _NOT_OVERRIDES and hasattr(config, name)]
        return self.take(*names)


def overridden(config: Any, values: dict[str, Any]) -> Any:
    """
    A copy of a configuration with other values, checked again as a whole.

    Args:
        config: Stays as it is.
        values: By the names of its attributes; a dictionary for a nested configuration changes the fields that it
            names.

    Raises:
        ValueError: If the configuration refuses a value.
    """
    if not values:
        return config
    changed = copy.deepcopy(config)
    for name, value in values.items():
        current = getattr(changed, name)
        if isinstance(current, PreTrainedConfig) and isinstance(value, dict):
            value = type(current)(**{**current.to_dict(), **value})
        setattr(changed, name, value)
    type(config)(**changed.to_dict())  # runs the checks that hold between fields
    return changed


@contextmanager
def quiet_loading_report() -> Iterator[None]:
    # transformers' report calls the ears "newly initialized" even where they come next; we check and report ourselves.
    log = logging.getLogger("transformers.modeling_utils")

    def only_errors(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    log.addFilter(only_errors)
    try:
        yield
    finally:
        log.removeFilter(only_errors)


class StrictLoadingMixin(SteppedLoadingMixin):
    """`from_pretrained` in two steps: the arguments are sorted here, and a subclass loads what they name."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: PreTrainedConfig | str | os.PathLike | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """See the subclasses."""
        if pretrained_model_name_or_path is None:
            return super().from_pretrained(
                None, *model_args, config=config, output_loading_info=output_loading_info, **kwargs
            )
        request = LoadRequest.sorted_from(pretrained_model_name_or_path, kwargs)
        model, info = cls._load(request, model_args, config)
        return (model, info) if output_loading_info else model

    @classmethod
    def is_custom_code(cls) -> bool:
        # True would pass over modules without weights of their own, such as CLIP's attention, whose children would
        # then start from another distribution than in transformers' models.
        return False

    @classmethod
    def _load(
        cls, request: LoadRequest, model_args: tuple[Any, ...], config: PreTrainedConfig | str | os.PathLike | None
    ) -> tuple[Any, dict[str, Any]]:
        """Load the model; returns it and transformers' loading info."""
        raise NotImplementedError(f"{cls.__name__} does not say how it is loaded.")

    @classmethod
    def _load_stock(
        cls, name: str | os.PathLike | None, model_args: tuple[Any, ...], steps: LoadingSteps, **keywords: Any
    ) -> tuple[Any, dict[str, Any]]:
        """
        Load as transformers does, without its report: the subclasses check and report what was loaded.

        Raises:
            ValueError: If a tensor of the checkpoint has another shape than the model's, unless
                `ignore_mismatched_sizes` allows it; both shapes are named.
        """
        allowed = keywords.pop("ignore_mismatched_sizes", False)
        with quiet_loading_report(), loading_steps(steps):
            model, info = super().from_pretrained(
                name, *model_args, output_loading_info=True, ignore_mismatched_sizes=True, **keywords
            )
        if not allowed:
            check_shapes(info["mismatched_keys"], name)
        return model, info


__all__ = ["HUB_ARGUMENTS", "LoadRequest", "ModelBase", "StrictLoadingMixin", "overridden", "quiet_loading_report"]
