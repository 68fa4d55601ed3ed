"""`load_sound_adapter`, `set_sound_adapter`, `list_sound_adapters` and `delete_sound_adapter` of the models."""

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import CONFIG_NAME

from ..audio_features import SoundParts
from ..checkpoints.loading import LoadRequest
from ..checkpoints.peft_layers import peft_layers
from .adapter_set import DEFAULT, AdapterSet, SoundAdapterInfo, check_not_wrapped
from .encoder_identity import KnownEncoder, find_commit, find_origin, is_frozen
from .reading import read_sound_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel as ModelBase
else:
    ModelBase = object  # mixins of models: to a type checker they are models, so that `super()` has a type

logger = logging.getLogger("transformers.soundclip_hf.adapters")


class SoundAdaptersMixin(ModelBase):
    """
    Several sound adapters on one model, with a language modeling head or without.

    The active adapter is `audio_tower`, `audio_projection` and `config.sound_config` of the model; it alone is in its
    state dict and is saved. The others lie beside the model. The adapter that the model came with is called "default".
    Adapters are read, set, listed and deleted from any thread. A call that has begun keeps the adapters that it began
    with.
    """

    def load_sound_adapter(
        self,
        repo_or_dir: str | os.PathLike,
        name: str,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> None:
        """
        Read another sound adapter onto this model, beside those that it has; `set_sound_adapter` makes it the active
        one, and `sound_adapter=` of a call uses it for that call.

        Its configuration and its file are read, and never its base model: this model takes its place, whose vision
        tower must be the one that the adapter was made for. An audio encoder that an adapter of this model has already
        (the same repository, commit and configuration, or equal weights; frozen) is neither fetched nor loaded again:
        both adapters share one module. Train a shared encoder (`requires_grad_`) only if the change is meant for all
        that share it.

        The processor belongs to the encoder: an adapter with another encoder, window or layer needs the features of
        its own, `AutoProcessor.from_pretrained(repo_or_dir)`.

        Args:
            repo_or_dir: Adapter repository ("org/name", "org/name@revision") or folder.
            name: What the adapter is called in this model.
            revision, subfolder: Where it lies in its repository.
            token, cache_dir, local_files_only, force_download: As in `from_pretrained`, for adapter and encoder.

        Raises:
            OSError: If a repository or a file of it cannot be found.
            ValueError: If the name is empty or in use, `repo_or_dir` is no adapter or comes with a PEFT adapter, its
                file does not fit its configuration, it was made for another vision tower, feature layer or select
                strategy, or PEFT has wrapped the sound parts of this model. The model stays as it was.
        """
        base: Any = self.base_model
        adapters = base.sound_adapters
        hub = {
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only or None,
            "force_download": force_download or None,
            "revision": revision,
            "subfolder": subfolder,
        }
        request = LoadRequest.sorted_from(repo_or_dir, {key: value for key, value in hub.items() if value is not None})
        with adapters.loading:
            with adapters.switching:
                _check_new_name(name, adapters)
                check_not_wrapped(base)
                loaded = list(adapters.encoders(base))
            if peft_layers(base):
                logger.warning(
                    "The language model has PEFT layers (LoRA), which stay as they are with the sound adapter %r: it "
                    "will not answer as the model that from_pretrained makes of it.",
                    name,
                )
            adapter = read_sound_adapter(base, name, request, loaded)
            with adapters.switching:
                adapters.adapters[name] = adapter

    def set_sound_adapter(self, name: str) -> None:
        """
        Make a loaded adapter the active one: `audio_tower`, `audio_projection` and `config.sound_config` are its own
        from now on, on the device and in the precision of the model. The one before stays as it is, trained or not.

        What of the projector is trained (`requires_grad`) stays so, as does train or eval mode.

        Args:
            name: Of `list_sound_adapters`.

        Raises:
            ValueError: If there is no adapter of this name.
        """
        base: Any = self.base_model
        adapters = base.sound_adapters
        with adapters.switching:
            adapters.named(name)
            tower = base.audio_tower
            sharing = [other for other, (_, _, own) in zip(adapters.adapters, adapters.encoders(base)) if own is tower]
            if name != adapters.active and len(sharing) > 1 and not is_frozen(tower):
                logger.warning(
                    "The sound adapters %s share one audio encoder, which is being trained: all of them hear through "
                    "the changed encoder.",
                    ", ".join(map(repr, sharing)),
                )
            adapters.activate(base, name)

    def list_sound_adapters(self) -> list[SoundAdapterInfo]:
        """The adapters of this model in the order of loading, and what each of them is."""
        base: Any = self.base_model
        with base.sound_adapters.switching:
            return base.sound_adapters.infos(base.config)

    def delete_sound_adapter(self, name: str) -> None:
        """
        Forget an adapter, and free its memory; an encoder that others share stays.

        Args:
            name: Of `list_sound_adapters`; not the active one.

        Raises:
            ValueError: If there is no adapter of this name, or it is the active one.
        """
        base: Any = self.base_model
        adapters = base.sound_adapters
        with adapters.switching:
            adapters.named(name)
            if name == adapters.active:
                raise ValueError(
                    f"The sound adapter {name!r} is the active one: make another one active first, with "
                    "set_sound_adapter."
                )
            del adapters.adapters[name]

    @classmethod
    def _load(cls, request: LoadRequest, model_args: tuple[Any, ...], config: Any) -> tuple[Any, dict[str, Any]]:
        parent: Any = super()
        model, info = parent._load(request, model_args, config)
        default = model.base_model.sound_adapters.adapters[DEFAULT]
        default.source = str(request.name)
        default.revision = find_commit(request.name, CONFIG_NAME, {**request.hub, **request.place}, cached=True)
        encoder = model.config.audio_encoder_name_or_path
        # A whole checkpoint has an encoder of its own, whatever its configuration says.
        if encoder is not None and model._base_sample is not None:
            origin = find_origin(encoder, model.config.audio_encoder_revision, request.hub, cached=True)
            default.encoder = KnownEncoder.of(model.base_model.audio_tower, origin)
        return model, info


class SoundSelectionMixin(ModelBase):
    """For a base model with an `audio_tower` and an `audio_projection`: its sound adapters, and those of a call."""

    @property
    def sound_adapters(self) -> AdapterSet:
        """The adapters; not a module, so that those beside the model are in no state dict."""
        return self.__dict__.setdefault("_sound_adapters", AdapterSet())

    def sound_parts(self, names: Sequence[str | None]) -> list[SoundParts]:
        """See [`AudioFeaturesMixin.sound_parts`]."""
        adapters = self.sound_adapters
        if torch.compiler.is_compiling():  # which knows no locks
            return [adapters.parts(self, name) for name in names]
        with adapters.switching:
            return [adapters.parts(self, name) for name in names]


def _check_new_name(name: str, adapters: AdapterSet) -> None:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name={name!r}: give the sound adapter a name, a string that is not empty.")
    if name in adapters.adapters:
        known = ", ".join(map(repr, adapters.adapters))
        raise ValueError(f"name={name!r} is in use (this model has {known}): take another, or delete that one first.")


__all__ = ["SoundAdaptersMixin", "SoundSelectionMixin"]
