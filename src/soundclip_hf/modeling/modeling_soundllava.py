"""SoundLlava: LLaVA-1.5 and LLaVA-1.6 whose visual tokens carry a sound."""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
)
from transformers import initialization as init
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.auto import modeling_auto
from transformers.utils import can_return_tuple

from .adapters.switching import SoundAdaptersMixin, SoundSelectionMixin
from .checkpoints.adapter import AdapterLoadingMixin
from .configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from .outputs import SoundLlavaCausalLMOutputWithPast, SoundLlavaImageFeatures, SoundLlavaModelOutputWithPast
from .projector import FLOAT32_MODULES, AlignmentProjector
from .unused_projectors import with_unused_projectors
from .visual_features.calls import EncodedCallsMixin, EncodedGenerationMixin, also_takes
from .visual_features.features import VisualFeaturesMixin

Output = TypeVar("Output", SoundLlavaModelOutputWithPast, SoundLlavaCausalLMOutputWithPast)


class SoundLlavaPreTrainedModel(SoundAdaptersMixin, AdapterLoadingMixin, EncodedCallsMixin, LlavaPreTrainedModel):
    config_class = SoundLlavaConfig
    config: SoundLlavaConfig
    input_modalities = ("image", "audio", "text")
    _keep_in_fp32_modules_strict = FLOAT32_MODULES
    _no_split_modules: Any

    @property
    def dtype(self) -> torch.dtype:
        """Precision of LLaVA's own weights: the ears have parts that always stay in float32."""
        backbone = getattr(self, "model", self)
        projector = getattr(backbone, "multi_modal_projector", None)
        if projector is None:
            return super().dtype
        own = projector.linear_1.weight
        # A base that was stored quantised may hold integers here.
        return own.dtype if own.is_floating_point() else backbone.language_model.dtype

    def post_init(self) -> None:
        super().post_init()
        # The towers also name classes that they lack, such as Whisper's decoder layer, and accelerate's FSDP refuses a
        # name that it cannot find in the model.
        self._no_split_modules = set(self._no_split_modules or ()) & {
            type(module).__name__ for module in self.modules()
        }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SoundLlavaModel) and module.image_newline is not None:
            init.normal_(module.image_newline, mean=0.0, std=1 / math.sqrt(self.config.text_config.hidden_size))

    def enable_input_require_grads(self) -> None:
        """
        As in transformers, but for the language model and for towers with trained weights: with frozen towers, each
        step would compute gradients of them that nothing takes. Activation checkpointing calls this.
        """
        for part in self._parts_with_embeddings():
            if part is self.base_model.language_model or any(weight.requires_grad for weight in part.parameters()):
                part.enable_input_require_grads()

    def disable_input_require_grads(self) -> None:
        """Undo [`enable_input_require_grads`]."""
        for part in self._parts_with_embeddings():
            part.disable_input_require_grads()

    def _parts_with_embeddings(self) -> list[Any]:
        backbone = self.base_model
        return [backbone.language_model, backbone.vision_tower, backbone.audio_tower]

    def _forward_with_sound(
        self, stock_forward: Callable, output_class: type[Output], inputs: dict[str, Any], return_sound_info: bool
    ) -> Output:
        given = {name for name, value in inputs.items() if value is not None}
        features = self.encode_media(inputs)
        output = stock_forward(**inputs, return_dict=True)
        info = getattr(features, "sound_info", None) if return_sound_info else None
        output = output_class(**output, sound_info=info)
        if "mm_encoder_outputs" in given:  # encoded by whoever called
            return output
        sounds, pictures = given & {"input_features", "sound_embeds"}, "pixel_values" in given
        with_unused_projectors(output, self.base_model, has_sound=bool(sounds), has_picture=pictures)
        return output


class SoundLlavaModel(SoundSelectionMixin, VisualFeaturesMixin, SoundLlavaPreTrainedModel, LlavaModel):
    """
    Stock LLaVA plus `audio_tower` and `audio_projection`; LLaVA-1.6's `image_newline`, too, so that one class serves
    both: visual tokens are packed here, and the stock forward takes them ready-made.

    The audio tower is frozen from the start, when built from a configuration and when loaded, and stays in eval mode
    inside `model.train()`; `model.audio_tower.requires_grad_(True)` thaws it.
    """

    def __init__(self, config: SoundLlavaConfig):
        super().__init__(config)
        stock = dict(self.named_children())
        # from_pretrained sets dtype in sub-configurations, but not in this one, two levels down.
        self.audio_tower = AutoModel.from_config(config.sound_config.audio_config, dtype=torch.get_default_dtype())
        self.audio_projection = AlignmentProjector(cast(SoundClipConfig, config.sound_config))
        self.image_newline: nn.Parameter | None = None
        if config.llava_variant == "llava_next":
            std = 1 / math.sqrt(config.text_config.hidden_size)
            self.image_newline = nn.Parameter(torch.randn(config.text_config.hidden_size) * std)
        # The ears come first: device_map="auto" fills devices in this order and must not offload them.
        for name, module in stock.items():
            delattr(self, name)
            setattr(self, name, module)
        self.post_init()
        self.audio_tower.requires_grad_(False)

    def post_init(self) -> None:
        if hasattr(self, "audio_tower"):  # stock LLaVA's own __init__ calls this before the ears are there
            super().post_init()

    @can_return_tuple
    @also_takes(VisualFeaturesMixin.get_image_features, LlavaModel.forward)
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        *,
        return_sound_info: bool = False,
        **kwargs: Any,
    ) -> SoundLlavaModelOutputWithPast:
        """See [`SoundLlavaForConditionalGeneration.forward`]."""
        kwargs.update(input_ids=input_ids, pixel_values=pixel_values, image_sizes=image_sizes)
        return self._forward_with_sound(super().forward, SoundLlavaModelOutputWithPast, kwargs, return_sound_info)


class SoundLlavaForConditionalGeneration(
    EncodedGenerationMixin, SoundLlavaPreTrainedModel, LlavaForConditionalGeneration
):
    """A LLaVA that hears: `[CLS]` becomes the sound, and the `k` best patches are kept (Algorithm 1)."""

    def __init__(self, config: SoundLlavaConfig):
        super(LlavaForConditionalGeneration, self).__init__(config)  # its own would build a LlavaModel
        self.model = SoundLlavaModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, *args: Any, **kwargs: Any) -> SoundLlavaImageFeatures:
        """See [`SoundLlavaModel.get_image_features`]."""
        return self.model.get_image_features(*args, **kwargs)

    def get_audio_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See [`SoundLlavaModel.get_audio_features`]."""
        return self.model.get_audio_features(*args, **kwargs)

    def freeze_base_model(self) -> None:
        """Leave only the alignment projector trainable: the paper's recipe, no LLM, tower or encoder weight moves."""
        self.requires_grad_(False)
        self.model.audio_projection.requires_grad_(True)

    @can_return_tuple
    @also_takes(SoundLlavaModel.get_image_features, LlavaForConditionalGeneration.forward)
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        *,
        return_sound_info: bool = False,
        **kwargs: Any,
    ) -> SoundLlavaCausalLMOutputWithPast:
        """
        LLaVA's forward, with the arguments of [`SoundLlavaModel.get_image_features`].

        Args:
            input_ids: `(batch, sequence)` with one image placeholder per visual token.
            return_sound_info: Add `sound_info`, one [`SoundInfo`] per slot.
            mm_encoder_outputs: `{"image": …}` from `get_image_features`, in place of pictures and sounds.
        """
        kwargs.update(input_ids=input_ids, pixel_values=pixel_values, image_sizes=image_sizes)
        return self._forward_with_sound(super().forward, SoundLlavaCausalLMOutputWithPast, kwargs, return_sound_info)


SoundLlava = SoundLlavaForConditionalGeneration  # an alias, not a subclass: transformers looks classes up by __name__

# transformers skips the key mappings of classes outside its own package; without these a LLaVA checkpoint would load
# with a random language model. LLaVA-1.6's mapping is LLaVA-1.5's plus image_newline.
register_checkpoint_conversion_mapping(
    SoundLlavaConfig.model_type, get_checkpoint_conversion_mapping("llava_next"), overwrite=True
)
register_checkpoint_conversion_mapping(
    SoundLlavaModel.__name__, get_checkpoint_conversion_mapping("LlavaModel"), overwrite=True
)

AutoModel.register(SoundLlavaConfig, SoundLlavaModel, exist_ok=True)
AutoModelForImageTextToText.register(SoundLlavaConfig, SoundLlavaForConditionalGeneration, exist_ok=True)
AutoModelForMultimodalLM.register(SoundLlavaConfig, SoundLlavaForConditionalGeneration, exist_ok=True)
# `transformers serve` and the pipelines look the class up by name in these tables, not in the registry.
for _names in (
    modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
):
    _names[SoundLlavaConfig.model_type] = SoundLlavaForConditionalGeneration.__name__

__all__ = ["SoundLlava", "SoundLlavaForConditionalGeneration", "SoundLlavaModel", "SoundLlavaPreTrainedModel"]
