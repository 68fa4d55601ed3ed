"""`from_pretrained` of the dual encoder: its own checkpoints, and the ears and vision tower of a SoundLlava."""

import os
from typing import Any

from transformers import PreTrainedConfig

from ..checkpoint_files import LoadingSteps, checkpoint_files, read_shapes
from ..configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from ..pushing.mixins import ModelPushMixin
from .adapter_parts import (
    ADAPTER_NAME,
    EARS,
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
from .ears_filling import EarsFilling
from .loading import LoadRequest, StrictLoadingMixin, overridden
from .modules_file import MODULES, MODULES_NAME
from .partial_checkpoint import read_modules
from .peft_adapter import check_same_towers, find_peft_adapter
from .sizes import Filling, check_layers, check_parameters

# Computed from the configuration where a checkpoint, such as a SoundLlava's, has none.
_FROM_CONFIG = {"logit_scale"}
# Arguments that need every tensor of a checkpoint under its own name.
_WHOLE_CHECKPOINTS_ONLY = {"key_mapping", "quantization_config"}


class DualEncoderLoadingMixin(StrictLoadingMixin, ModelPushMixin):
    """`from_pretrained` for repositories of three kinds; see there."""

    _other_files = {MODULES_NAME: MODULES}

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """
        Load a dual encoder from one of three kinds of repository or folder, strictly.

        - Its *own* checkpoint.
        - A SoundLlava *adapter*: the projector comes from it, the audio encoder and the vision tower from the
          repositories and revisions that its configuration names (`base_model_name_or_path=` overrides the base). Of
          the base, only the files that hold the vision tower are fetched, and only its tensors are read.
        - A *full* SoundLlava checkpoint, of which ears and vision tower are read likewise.

        Takes the arguments of `PreTrainedModel.from_pretrained` (`config`, `dtype`, `device_map`, …); fields of
        `SoundClipConfig`, such as `alignment="raw"`, override the checkpoint's. Only safetensors files are read. The
        towers come frozen.

        Raises:
            OSError: If a repository or a file of it cannot be found.
            ValueError: If a key is missing, unexpected or of another shape, if the adapter was made for another vision
                tower, or if the repository holds no ears. For `gguf_file`, for `use_safetensors=False`, for a
                `state_dict` beside a name, and, where modules of a SoundLlava are read, for `key_mapping` and
                `quantization_config`.
        """
        return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    @classmethod
    def _load(
        cls, request: LoadRequest, model_args: tuple[Any, ...], config: PreTrainedConfig | str | os.PathLike | None
    ) -> tuple[Any, dict[str, Any]]:
        config = request.read_config(config)
        if isinstance(config, SoundLlavaConfig):
            model, info = cls._load_from_sound_llava(request, model_args, config)
        else:
            _check_type(config, str(request.name))
            config = overridden(config, request.take_overrides(config))
            files = checkpoint_files(request.name, request.keywords.get("variant"), **request.hub, **request.place)
            fillings = [Filling(str(request.name), read_shapes(files), lambda key: True)]
            check_layers(config, str(request.name), fillings)
            steps = LoadingSteps(lambda model: check_parameters(model, config, fillings), name=str(request.name))
            keywords = {**request.keywords, **request.hub, **request.place, "use_safetensors": True}
            model, info = cls._load_stock(request.name, model_args, steps, config=config, **keywords)
            _check_keys(info, str(request.name), may_miss=set())
        model.freeze_base_model()
        return model, info

    @classmethod
    def _load_from_sound_llava(
        cls, request: LoadRequest, model_args: tuple[Any, ...], config: SoundLlavaConfig
    ) -> tuple[Any, dict[str, Any]]:
        for key in _WHOLE_CHECKPOINTS_ONLY & request.keywords.keys():
            if request.keywords[key] is not None:
                raise ValueError(
                    f"{key} was passed, but {str(request.name)!r} is a SoundLlava, and the dual encoder reads only "
                    f"some of its modules; {key} needs a whole checkpoint. Load without it, call save_pretrained, and "
                    "load the folder that this made."
                )
        llava = sound_llava_config(request, config)
        own = overridden(dual_encoder_config(llava), request.take_overrides(SoundClipConfig()))
        adapter = request.find(ADAPTER_NAME)
        peft = find_peft_adapter(request, llava, is_adapter=adapter is not None)
        request.take_peft_request()
        if peft is not None:
            check_same_towers(peft, () if adapter is None else read_shapes([adapter]))
        pin_parts(llava, None if adapter is None else check_names_base(llava, request.name), request.hub)
        variant = request.keywords.get("variant")
        if adapter is None:
            source, fresh = str(request.name), _FROM_CONFIG
            wanted = ("vision_tower", *EARS)
            tensors = read_modules(source, wanted, variant=variant, other=ADAPTER_NAME, **request.hub, **request.place)
        else:
            source, fresh = check_names_base(llava, request.name), None
            tensors = read_modules(source, ("vision_tower",), llava.base_model_revision, variant=variant, **request.hub)
        encoder, ears = None, None
        if adapter is not None:
            ears = ears_of_adapter(llava, adapter, str(request.name))
            if llava.audio_encoder_name_or_path is not None:
                encoder = ears_of_encoder(llava, request.hub)
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        base = Filling(source, shapes, lambda key: adapter is None or not is_of_ears(key))
        fillings = [filling for filling in (base, encoder, ears) if filling]
        check_layers(own, str(request.name), fillings)
        filling = EarsFilling(encoder, ears)
        steps = LoadingSteps(lambda model: check_parameters(model, own, fillings), filling, str(request.name))
        # Other shapes are an error of ours, which names the checkpoint.
        keywords = {**request.keywords, "ignore_mismatched_sizes": True}
        model, info = cls._load_stock(None, model_args, steps, config=own, state_dict=tensors, **keywords)
        _check_keys(info, source, may_miss=fresh)
        if adapter is not None:
            settle_dtypes(model, model.dtype)
            if encoder is not None and not filling.has_encoder:
                load_encoder(model.audio_tower, llava, request.hub)
            load_adapter(model, llava, adapter, str(request.name), filling.filled)
        info["missing_keys"] = set()
        return model, info


def dual_encoder_config(config: SoundLlavaConfig) -> SoundClipConfig:
    """What a SoundLlava says of its ears and its vision tower, as one configuration."""
    values = config.sound_config.to_dict()
    for key in ("model_type", "architectures", "transformers_version", "_name_or_path"):
        values.pop(key, None)
    values |= {"vision_config": config.vision_config, "vision_feature_layer": config.vision_feature_layer}
    return SoundClipConfig(**{**values, "audio_config": config.sound_config.audio_config, "dtype": config.dtype})


def _check_type(config: PreTrainedConfig, name: str) -> None:
    if config.model_type in ("llava", "llava_next"):
        raise ValueError(
            f"{name!r} is a LLaVA without an audio encoder: name a SoundLlava or an adapter, or build a dual "
            "encoder with SoundClipModel.from_audio_vision_pretrained(audio, vision)."
        )
    if not isinstance(config, SoundClipConfig):
        raise ValueError(f"{name!r} has model_type {config.model_type!r}: expected 'soundclip' or 'sound_llava'.")


def _check_keys(info: dict[str, Any], source: str, may_miss: set[str] | None) -> None:
    """Refuse a checkpoint that does not fit; `may_miss` None: ears and temperature come from elsewhere."""
    missing = {
        key
        for key in info["missing_keys"]
        if not (is_of_ears(key) or key in _FROM_CONFIG if may_miss is None else key in may_miss)
    }
    reshaped = [
        f"{entry[0]} {tuple(entry[1])} against {tuple(entry[2])}" if isinstance(entry, tuple) else entry
        for entry in info["mismatched_keys"]
    ]
    if missing or info["unexpected_keys"] or reshaped:
        raise ValueError(
            f"The checkpoint {source!r} does not fit its configuration. Missing in the checkpoint: "
            f"{named(missing) or 'none'}. Unknown to the model: {named(info['unexpected_keys']) or 'none'}. Other "
            f"shape (checkpoint against model): {named(reshaped) or 'none'}."
        )


__all__ = ["DualEncoderLoadingMixin", "dual_encoder_config"]
