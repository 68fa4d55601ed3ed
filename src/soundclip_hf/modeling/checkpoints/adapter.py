"""Adapter repositories: megabytes of ears for a LLaVA that is loaded by id and revision; every loading is strict."""

import copy
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedConfig
from transformers.quantizers import AutoQuantizationConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ...files import replacing, write_text
from ..checkpoint_files import LoadingSteps, checkpoint_files, read_shapes, with_variant
from ..checkpoint_names import bundled_name, commit_of
from ..configuration_soundclip import SoundLlavaConfig
from ..pushing.mixins import ModelPushMixin, take_push_options
from .adapter_file import write_adapter_file
from .adapter_parts import (
    ADAPTER_NAME,
    EARS,
    adapter_names,
    adapter_tensors,
    backbone_of,
    check_names_base,
    ears_of_adapter,
    ears_of_encoder,
    is_of_ears,
    load_adapter,
    load_encoder,
    named,
    pin_parts,
    settle_dtypes,
    sound_llava_config,
)
from .base_sample import Sample, is_unchanged, take_sample
from .ears_filling import EarsFilling
from .fingerprint import fingerprint
from .loading import LoadRequest, StrictLoadingMixin
from .modules_file import MODULES, MODULES_NAME
from .partial_checkpoint import no_weights
from .peft_adapter import find_peft_adapter, load_peft_adapter, save_peft_adapter
from .peft_layers import peft_layers, plain_names
from .sizes import Filling, check_layers, check_parameters

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

# What a quantiser must leave alone: our parts, and LLaVA's small ones, whose values the fingerprint reads. Patterns
# match from the start of a module's name, which begins with "model." in SoundLlavaForConditionalGeneration.
_SPARED = ("audio_projection", "audio_tower", "multi_modal_projector", "vision_tower")
NOT_QUANTIZED = ["lm_head", *_SPARED, *(f"model.{part}" for part in _SPARED)]
# Of a base that was stored quantised, what its own list cannot name.
_EARS_NOT_QUANTIZED = ["lm_head", *EARS, *(f"model.{part}" for part in EARS)]

_WHOLE = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)
_PREFIXES = tuple(f"{part}." for part in EARS)

logger = logging.getLogger("transformers.soundclip_hf.adapter")


class AdapterLoadingMixin(StrictLoadingMixin, ModelPushMixin):
    """`from_pretrained` and `save_pretrained` for adapter, full and stock LLaVA repositories."""

    _other_files = {MODULES_NAME: MODULES}
    # Of the base model that was loaded: whether it needs to be pushed beside the ears.
    _base_sample: Sample | None = None
    # Loaded with the ears from one checkpoint, whose base need not be the one that the configuration names.
    _is_whole_checkpoint: bool = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """
        Load a model from one of three kinds of repository or folder.

        - An *adapter* repository (`soundclip_adapter.safetensors`): base LLaVA and audio encoder are loaded by the ids
          and revisions in its configuration (`base_model_name_or_path=` overrides the base), then the adapter, then
          the PEFT adapter (LoRA) of its folder `peft`, if it has one.
        - A *full* SoundLlava checkpoint.
        - A *stock* LLaVA checkpoint: with `config=SoundLlavaConfig.from_llava_config(…)` it gets fresh ears, and the
          encoder of `audio_encoder_name_or_path`; a warning names what is not trained.

        Takes the arguments of `PreTrainedModel.from_pretrained` (`config`, `dtype`, `device_map`,
        `quantization_config`, …), and
        fields of the configuration such as `vision_feature_layer=-1`. `revision` and `subfolder` say where the adapter
        lies; `variant` and `key_mapping` belong to its base. Only safetensors files are read.

        Raises:
            ImportError: If the repository holds a PEFT adapter, and PEFT is not installed.
            OSError: If a repository or a file of it cannot be found.
            ValueError: If a key of ours is missing, unexpected or of the wrong shape, or if the adapter was made for
                another vision tower; both sides are named. For `gguf_file`, for `use_safetensors=False`, and for a
                `state_dict` beside a name.
        """
        return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    @classmethod
    def _load(
        cls, request: LoadRequest, model_args: tuple[Any, ...], config: PreTrainedConfig | str | os.PathLike | None
    ) -> tuple[Any, dict[str, Any]]:
        name = str(request.name)
        config = sound_llava_config(request, config)
        named_revisions = config.base_model_revision, config.audio_encoder_revision
        adapter_file = request.find(ADAPTER_NAME)
        peft = find_peft_adapter(request, config, adapter_file is not None)
        keywords = {**request.keywords, **request.hub, "use_safetensors": True}
        if keywords.get("quantization_config") is not None:
            keywords["quantization_config"] = _spare(keywords["quantization_config"], NOT_QUANTIZED)
        if adapter_file is None:
            source = name
            keywords |= request.place
            pin_parts(config, None, request.hub)
        else:
            source = check_names_base(config, name)
            config._commit_hash = None  # the adapter's; its base lies elsewhere, and so request.place is left out
            pin_parts(config, source, request.hub)
            if config.base_model_revision is not None:
                keywords["revision"] = config.base_model_revision
        base, encoder, adapter = parts = _fillings(request, config, source, adapter_file)
        fillings = [part for part in parts if part]
        check_layers(config, name, fillings)
        if getattr(config, "quantization_config", None) is not None and not any(map(is_of_ears, base.shapes)):
            config.quantization_config = _spare(config.quantization_config, _EARS_NOT_QUANTIZED).to_dict()
        filling = EarsFilling(encoder, adapter)
        steps = LoadingSteps(lambda model: check_parameters(model, config, fillings), filling, str(request.name))
        model, info = cls._load_stock(source, model_args, steps, config=config, **keywords)
        info["missing_keys"] |= filling.filled
        loaded_own = _check_base_keys(filling.own, info, source)
        backbone = backbone_of(model)
        if not loaded_own:
            settle_dtypes(backbone, backbone.dtype)
        if encoder is not None and (adapter_file is not None or not loaded_own):
            if not filling.has_encoder:
                load_encoder(backbone.audio_tower, config, request.hub)
            named_revisions = named_revisions[0], named_revisions[1] or commit_of(config.audio_encoder_revision)
        if adapter_file is not None:
            prefix = "" if backbone is model else "model."
            load_adapter(backbone, config, adapter_file, name, {key.removeprefix(prefix) for key in filling.filled})
        elif not loaded_own:
            _warn_of_fresh_ears(config, source)
        backbone.audio_tower.requires_grad_(False)
        if adapter_file is not None or not loaded_own:
            model._base_sample = take_sample(model)
            info["missing_keys"] = {key for key in info["missing_keys"] if not is_of_ears(key)}
        else:
            model._is_whole_checkpoint = True
        model.config.base_model_revision, model.config.audio_encoder_revision = named_revisions
        model.config.has_peft_adapter = False  # of the files; what is in a model can change
        if adapter_file is not None:
            # What transformers and PEFT name as the base of a further adapter: the base model alone would not hear.
            model.name_or_path = model.config.name_or_path = name
        if peft is not None:
            load_peft_adapter(model, peft)
        return model, info

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        push_to_hub: bool = False,
        *,
        adapter_only: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Save the whole model, or its ears alone as an adapter.

        An adapter holds `audio_projection`, and `audio_tower` unless `config.audio_encoder_name_or_path` says where
        that comes from and it is frozen; base and encoder are named in `config.json`. The file is written under a
        temporary name first. A model with PEFT layers (LoRA) is saved as an adapter, with PEFT's own files in the
        folder `peft`: `from_pretrained` loads base, ears and LoRA in one call. See `docs/lora.md`.

        Args:
            is_main_process, state_dict: As in transformers; a trainer passes them.
            push_to_hub: Publish what was saved, as [`push_to_hub`] does, whose arguments are taken too.
            adapter_only: None saves an adapter if the configuration names the base model and only ears are being
                trained (`requires_grad`), as in the checkpoints of a `Trainer` over a frozen base; otherwise the whole
                model. Such an adapter comes with an index, from which `Trainer` resumes.
            **kwargs: As in transformers.

        Raises:
            ValueError: For an adapter, if nothing says which base model it belongs to. For a model with PEFT layers,
                with `adapter_only=False`, or if not exactly one PEFT adapter is in use.
        """
        has_peft = bool(peft_layers(self))
        if not has_peft:
            # PEFT merges its layers, or takes them out, and leaves this: transformers would save an adapter.
            model: Any = self
            model._hf_peft_config_loaded = False
        if has_peft and adapter_only is False:
            raise ValueError(
                "adapter_only=False: the model has PEFT layers (LoRA), which are saved as an adapter. Leave the "
                "argument out, or merge them into the weights first, with merge_and_unload() of the PeftModel."
            )
        trains_ears_only = adapter_only is None and not has_peft and _trains_ears_only(self)
        if not (adapter_only or has_peft or trains_ears_only):
            super().save_pretrained(save_directory, is_main_process, state_dict, push_to_hub, **kwargs)
            return
        if not is_main_process:
            return
        options = take_push_options(kwargs)
        self._save_adapter(Path(save_directory), state_dict, with_index=trains_ears_only)
        self._save_other_files(save_directory)
        if push_to_hub:
            self._publish(save_directory, **options)

    def push_to_hub(self, repo_id: str, *, adapter_only: bool | None = None, **kwargs: Any) -> "CommitInfo":
        """
        Publish the model, or its ears alone as an adapter, in one commit; see [`ModelPushMixin.push_to_hub`].

        Args:
            repo_id: `org/name`, or a name in your own namespace; the repository is made if there is none.
            adapter_only: None publishes an adapter if `save_pretrained` would save one, or if the weights of the base
                model are those that were loaded; otherwise the whole model.
            **kwargs: `private`, `token`, `revision`, `commit_message`, `create_pr`, `tags`, `license`, and those of
                `save_pretrained`.
        """
        if adapter_only is None and self.config.base_model_name_or_path is not None:
            adapter_only = is_unchanged(self, self._base_sample) or None
        return super().push_to_hub(repo_id, adapter_only=adapter_only, **kwargs)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As in torch; an adapter's file is taken too, with `strict=False`: its names begin below the base model."""
        if backbone_of(self) is not self and state_dict and all(key.startswith(_PREFIXES) for key in state_dict):
            state_dict = {f"model.{key}": value for key, value in state_dict.items()}
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def _save_adapter(self, folder: Path, state_dict: dict[str, Any] | None, with_index: bool) -> None:
        config: SoundLlavaConfig = copy.deepcopy(self.config)
        config.has_peft_adapter = bool(peft_layers(self))
        if config.has_peft_adapter and self._is_whole_checkpoint:
            _name_whole_checkpoint(config, folder)
        if config.base_model_name_or_path is None:
            raise ValueError(
                "An adapter needs config.base_model_name_or_path: set it to the id or folder of the LLaVA that it "
                "belongs to (and config.base_model_revision to a commit hash)."
            )
        folder.mkdir(parents=True, exist_ok=True)
        if config.has_peft_adapter:
            base = config.base_model_name_or_path, config.base_model_revision
            save_peft_adapter(self, folder, state_dict, *base)
        backbone = backbone_of(self)
        if _trained_tower(backbone):
            config.audio_encoder_name_or_path = config.audio_encoder_revision = None
        if state_dict is None or config.vision_fingerprint is None:
            config.vision_fingerprint = fingerprint(backbone.vision_tower, config.vision_feature_layer)
        quantizer = getattr(self, "hf_quantizer", None)
        if quantizer is not None and not quantizer.pre_quantized:
            # Chosen by whoever loaded the base, whose own files are as they were.
            del config.quantization_config
        # FSDP 2 gives a sharded model a class of its own.
        config.architectures = [type(self).__name__.removeprefix("FSDP")]
        config.dtype = getattr(self, "dtype", None)
        own = adapter_tensors(backbone, config)
        prefix = "" if backbone is self else "model."
        if state_dict is not None:  # gathered from several devices
            names = adapter_names(backbone, config)
            own = {key: state_dict.get(prefix + names[key], tensor) for key, tensor in own.items()}
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in own.items()}
        with replacing(folder / ADAPTER_NAME) as partial:
            write_adapter_file(tensors, partial)
            config.save_pretrained(folder)
        if with_index:
            # `Trainer` resumes from model.safetensors or from such an index. Without "metadata", other loaders refuse
            # it: the base model is not here.
            index = {"weight_map": {prefix + key: ADAPTER_NAME for key in sorted(tensors)}}
            write_text(folder / SAFE_WEIGHTS_INDEX_NAME, json.dumps(index, indent=2) + "\n")
        else:
            (folder / SAFE_WEIGHTS_INDEX_NAME).unlink(missing_ok=True)


def _trained_tower(backbone: Any) -> bool:
    """Whether weights of the audio encoder's own repository are being trained."""
    fresh = backbone.audio_tower._may_be_fresh
    own = {name for key, name in plain_names(backbone.audio_tower).items() if key.rpartition(".")[2] not in fresh}
    return any(parameter.requires_grad and name in own for name, parameter in backbone.audio_tower.named_parameters())


def _name_whole_checkpoint(config: SoundLlavaConfig, folder: Path) -> None:
    """Make the checkpoint that a model was loaded from, ears included, the base of its adapter."""
    name = config.name_or_path
    if folder.is_dir() and Path(name).is_dir() and folder.samefile(name):
        raise ValueError(
            f"{folder}: holds the whole model that the PEFT adapter belongs to, and would be overwritten by the "
            "adapter. Save it into another folder."
        )
    config.base_model_name_or_path, config.base_model_revision = (
        bundled_name(name),
        getattr(config, "_commit_hash", None),
    )
    # The audio encoder is in that checkpoint, and may have been trained: it is saved with the adapter.
    config.audio_encoder_name_or_path = config.audio_encoder_revision = None


def _trains_ears_only(model: Any) -> bool:
    if model.config.base_model_name_or_path is None or model._is_whole_checkpoint:
        return False
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return bool(trained) and all(map(is_of_ears, trained))


def _spare(quantization_config: Any, modules: list[str]) -> Any:
    """A copy of the quantisation settings that leaves `modules` in full precision, too."""
    if isinstance(quantization_config, dict):
        # Only an object tells which of the two names below its method reads.
        settings = AutoQuantizationConfig.from_dict(dict(quantization_config))
    else:
        settings = copy.deepcopy(quantization_config)
    for name in ("llm_int8_skip_modules", "modules_to_not_convert"):
        if hasattr(settings, name):
            # A list given here replaces transformers' own, so lm_head has to be in ours.
            setattr(settings, name, list(dict.fromkeys([*(getattr(settings, name) or []), *modules])))
    return settings


def _fillings(
    request: LoadRequest, config: SoundLlavaConfig, source: str, adapter_file: str | None
) -> tuple[Filling, Filling | None, Filling | None]:
    """What base, encoder and adapter fill; None where there is no such part."""
    variant = request.keywords.get("variant")
    adapter = None
    if adapter_file is None:
        files = checkpoint_files(source, variant, **request.hub, **request.place)
        if not files and not request.hub.get("force_download"):
            raise no_weights(source, ADAPTER_NAME, *(with_variant(file, variant) for file in _WHOLE))
        shapes = read_shapes(files)
        whole = any(map(is_of_ears, shapes))
        base = Filling(source, shapes, lambda key: whole or not is_of_ears(key))
    else:
        whole = False
        revision = config.base_model_revision or "main"
        shapes = read_shapes(checkpoint_files(source, variant, **request.hub, revision=revision))
        base = Filling(source, shapes, lambda key: not is_of_ears(key))
        adapter = ears_of_adapter(config, adapter_file, str(request.name))
    has_encoder = config.audio_encoder_name_or_path is not None and not whole
    return base, ears_of_encoder(config, request.hub) if has_encoder else None, adapter


def _warn_of_fresh_ears(config: SoundLlavaConfig, source: str) -> None:
    has_encoder = config.audio_encoder_name_or_path is not None
    fresh = [part for part in EARS if not (part == "audio_tower" and has_encoder)]
    unused = has_encoder and config.sound_config.alignment == "raw"
    logger.warning(
        "%s is a LLaVA checkpoint without an audio encoder: %s newly initialised and %s.",
        source,
        " and ".join(fresh) + (" are" if len(fresh) > 1 else " is"),
        "not used while alignment is 'raw'"
        if unused
        else "must be trained (`soundclip align`) before the model hears anything meaningful",
    )


def _check_base_keys(own: set[str], info: dict[str, Any], source: str) -> bool:
    """Whether the checkpoint held our parts; raises where it held some of them, or lacks a base key."""
    missing, unexpected = set(info["missing_keys"]), set(info["unexpected_keys"])
    mismatched = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    strange = {key for key in unexpected if is_of_ears(key)}
    loaded_own = not own <= missing
    if strange or mismatched & own or (loaded_own and missing):
        raise ValueError(
            f"The checkpoint {source!r} does not fit its SoundLlavaConfig. Missing in the checkpoint: "
            f"{named(missing) or 'none'}. Unknown to the model: {named(strange) or 'none'}. Other shape: "
            f"{named(mismatched) or 'none'}."
        )
    lost = {key for key in missing if not is_of_ears(key)}
    if lost or unexpected:
        logger.warning(
            "Loading %s: newly initialised: %s; not used: %s.",
            source,
            named(lost) or "none",
            named(unexpected) or "none",
        )
    return loaded_own


__all__ = ["ADAPTER_NAME", "NOT_QUANTIZED", "AdapterLoadingMixin"]
