"""SoundLlava: LLaVA-1.5 and LLaVA-1.6 whose visual tokens carry a sound."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from accelerate.utils import align_module_device
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    GenerationConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
)
from transformers import initialization as init
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.auto import modeling_auto
from transformers.utils import can_return_tuple

from .audio_features import AudioFeaturesMixin, check_device
from .checkpoints.adapter import AdapterLoadingMixin
from .configuration_soundclip import PatchMode, SelectStrategy, SoundClipConfig, SoundLlavaConfig
from .outputs import SoundLlavaCausalLMOutputWithPast, SoundLlavaImageFeatures, SoundLlavaModelOutputWithPast
from .projector import FLOAT32_MODULES, AlignmentProjector
from .slots.assembly import sound_info, visual_tokens
from .slots.budget import SlotSettings, settle_slots
from .slots.geometry import SlotGeometry, image_slot, sound_only_slot
from .slots.slot import Slot
from .slots.tensors import read_slots
from .slots.verification import check_context, check_no_placeholders, check_placeholders
from .vision_tower import vision_features

Function = TypeVar("Function", bound=Callable)
Output = TypeVar("Output", SoundLlavaModelOutputWithPast, SoundLlavaCausalLMOutputWithPast)


def also_takes(*others: Callable) -> Callable[[Function], Function]:
    """Show the arguments of `others` in a function's signature, where transformers reads what a forward takes."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        *shown, rest = own.parameters.values()
        names = set(own.parameters)
        for other in others:
            for parameter in inspect.signature(other).parameters.values():
                if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in names:
                    names.add(parameter.name)
                    shown.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
        function.__signature__ = own.replace(parameters=[*shown, rest])  # type: ignore[attr-defined]
        return function

    return decorate


class SoundLlavaPreTrainedModel(AdapterLoadingMixin, LlavaPreTrainedModel):
    config_class = SoundLlavaConfig
    config: SoundLlavaConfig
    input_modalities = ("image", "audio", "text")
    _keep_in_fp32_modules_strict = FLOAT32_MODULES

    @property
    def dtype(self) -> torch.dtype:
        """Precision of LLaVA's own weights: the ears have parts that always stay in float32."""
        projector = getattr(getattr(self, "model", self), "multi_modal_projector", None)
        return super().dtype if projector is None else projector.linear_1.weight.dtype

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SoundLlavaModel) and module.image_newline is not None:
            init.normal_(module.image_newline, mean=0.0, std=1 / math.sqrt(self.config.text_config.hidden_size))

    def _encode(
        self, inputs: dict[str, Any], generation_config: GenerationConfig | None = None
    ) -> SoundLlavaImageFeatures | None:
        """
        Take pictures and sounds out of a call's arguments and put in their place what stock LLaVA takes,
        `mm_encoder_outputs`. Placeholders and visual tokens are compared before any tower runs.

        Args:
            inputs: The arguments, which are changed.
            generation_config: The model's own, if the prompt is to be continued.
        """
        media = {name: inputs.pop(name) for name in _ENCODER_INPUTS if name in inputs}
        encoded = inputs.get("mm_encoder_outputs") or {}
        if not _has_media(media):
            # Not in forward, which gets any ids, also random ones.
            if generation_config is not None and encoded.get("image") is None:
                check_no_placeholders(self.config, inputs)
            return encoded.get("image")
        if encoded.get("image") is not None:
            raise ValueError("You cannot specify both pixel_values or sounds and mm_encoder_outputs at the same time.")
        self.base_model.check_placeholders(inputs.get("input_ids"), inputs.get("inputs_embeds"), media)
        check_context(self.config, inputs, generation_config)
        features = self.base_model.get_image_features(**media, return_dict=True)
        stock = {name: value for name, value in features.items() if name != "sound_info"}
        inputs["mm_encoder_outputs"] = {**encoded, "image": BaseModelOutputWithPooling(**stock)}
        return features

    def _forward_with_sound(
        self, stock_forward: Callable, output_class: type[Output], inputs: dict[str, Any], return_sound_info: bool
    ) -> Output:
        features = self._encode(inputs)
        output = stock_forward(**inputs, return_dict=True)
        info = getattr(features, "sound_info", None) if return_sound_info else None
        return output_class(**output, sound_info=info)


class SoundLlavaModel(AudioFeaturesMixin, SoundLlavaPreTrainedModel, LlavaModel):
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
    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: SelectStrategy | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: PatchMode | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        **kwargs: Any,
    ) -> SoundLlavaImageFeatures:
        """
        Visual tokens of every slot, the sound substituted into them.

        Args:
            pixel_values: `(images, 3, height, width)`, or `(images, tiles, 3, height, width)` for LLaVA-1.6.
            image_sizes: `(images, 2)` original (height, width), LLaVA-1.6.
            vision_feature_layer: Hidden state(s) to use; defaults to the configuration's (-2).
            vision_feature_select_strategy: Layout of silent images; defaults to the configuration's.
            input_features: `(sounds, windows, …)` from the feature extractor.
            input_features_mask: `(sounds, windows, frames)`.
            sound_embeds: `(sounds, d_a)` encoder outputs, in place of `input_features`.
            sound_slots: int64 `(slots, 2)`: (row of `pixel_values` or -1, sound or -1) in placeholder order.
            sound_budget: int64 `(slots,)` of the processor: `k >= 0` is drop mode; -1 is zero mode, and `-2 - k` zero
                mode with this `k`.
            sound_top_k: Patches to keep: an int for all slots, or a list, array or tensor of ints, one per slot. By
                default the processor's, where `sound_budget` has one, else the configuration's.
            sound_patches: "zero" or "drop", where there is no `sound_budget`.
            sound_alignment, sound_alpha: See [`get_audio_features`].

        Raises:
            ValueError: If pairing, budget, shapes or devices don't fit, or an aligned sound or the features of a
                picture are not finite.
        """
        layer = self.config.vision_feature_layer if vision_feature_layer is None else vision_feature_layer
        settings = self._slot_settings(vision_feature_select_strategy)
        slots = self.plan_slots(
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            vision_feature_select_strategy=vision_feature_select_strategy,
            input_features=input_features,
            sound_embeds=sound_embeds,
            sound_slots=sound_slots,
            sound_budget=sound_budget,
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
        )
        if input_features is not None and sound_embeds is not None:
            raise ValueError("input_features and sound_embeds were both passed: a sound is encoded once; pass one.")
        audio, tower, views = None, None, None
        if sound_embeds is not None and len(sound_embeds):
            audio = self.align_sounds(sound_embeds, sound_alignment, sound_alpha)
        elif input_features is not None and len(input_features):
            audio = self.get_audio_features(
                input_features, input_features_mask, sound_alignment, sound_alpha, return_dict=True
            ).pooler_output
        if pixel_values is not None:
            check_device("pixel_values", pixel_values, self.vision_tower)
            tower, views = vision_features(self.vision_tower, self._views(pixel_values, image_sizes), layer, **kwargs)
        if audio is not None:
            audio = audio.to(self.multi_modal_projector.linear_1.weight.dtype if views is None else views.device)
        slots = visual_tokens(slots, views, audio, self.multi_modal_projector, self._newline(), settings)
        tiled = self.config.llava_variant == "llava_next"
        return SoundLlavaImageFeatures(
            last_hidden_state=None if tower is None else tower.last_hidden_state,
            pooler_output=[slot.embeds for slot in slots],
            hidden_states=None if tower is None else tower.hidden_states,
            attentions=None if tower is None else tower.attentions,
            sound_info=None if audio is None else [sound_info(slot, tiled) for slot in slots],
        )

    def plan_slots(
        self,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        vision_feature_select_strategy: SelectStrategy | None = None,
        input_features: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: PatchMode | None = None,
        **_: Any,
    ) -> list[Slot]:
        """The slots of a call, from shapes and small index tensors alone; runs no tower."""
        sounds = sound_embeds if sound_embeds is not None else input_features
        num_images = 0 if pixel_values is None else len(pixel_values)
        if num_images and image_sizes is not None and self.config.llava_variant == "llava_next":
            num_images = len(image_sizes)  # pixel_values may hold the views of all images in one row
        slots = read_slots(sound_slots, num_images, 0 if sounds is None else len(sounds))
        return settle_slots(
            slots,
            [self._geometry(image, image_sizes) for image in range(num_images)],
            sound_only_slot(self.config.patches_per_side),
            self._slot_settings(vision_feature_select_strategy),
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
            sound_budget=sound_budget,
        )

    def _slot_settings(self, select_strategy: SelectStrategy | None) -> SlotSettings:
        select_strategy = select_strategy or self.config.vision_feature_select_strategy
        if select_strategy not in ("default", "full"):
            raise ValueError(f"vision_feature_select_strategy={select_strategy!r}: allowed are 'default' and 'full'.")
        return SlotSettings(
            mode=self.config.sound_config.patches,
            k=self.config.sound_config.token_budget,
            scope=self.config.sound_config.patch_budget_scope,
            select_strategy=select_strategy,
            sound_select_strategy=self.config.sound_config.sound_select_strategy,
        )

    def _geometry(self, image: int, image_sizes: Tensor | None) -> SlotGeometry:
        side = self.config.patches_per_side
        if self.config.llava_variant == "llava":
            return image_slot(side)
        if image_sizes is None:
            raise ValueError("LLaVA-1.6 needs image_sizes (images, 2) beside pixel_values.")
        height, width = (int(value) for value in image_sizes[image])
        return image_slot(side, (height, width), self.config.image_grid_pinpoints, self.config.vision_config.image_size)

    def _views(self, pixel_values: Tensor, image_sizes: Tensor | None) -> Tensor:
        if self.config.llava_variant == "llava" or pixel_values.dim() == 4:
            return pixel_values
        if pixel_values.dim() != 5:
            raise ValueError(f"pixel_values of shape {tuple(pixel_values.shape)}, expected 4 or 5 dimensions.")
        views = [self._geometry(image, image_sizes).num_views for image in range(len(pixel_values))]
        return torch.cat([pixels[:count] for pixels, count in zip(pixel_values, views)])

    def _newline(self) -> Tensor | None:
        if self.image_newline is None or not self.image_newline.is_meta:
            return self.image_newline
        # Offloaded. Its hook belongs to this module's forward, and `generate` encodes before that.
        with align_module_device(self):
            return self.image_newline.clone()

    def check_placeholders(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, encoder_inputs: dict[str, Any]
    ) -> None:
        """Compare placeholders and visual tokens per sample; raises before any tower runs."""
        if torch.compiler.is_compiling() or (input_ids is None and inputs_embeds is None):
            return
        if inputs_embeds is None:
            mask = input_ids == self.config.image_token_id
        else:
            token = torch.full((), self.config.image_token_id, dtype=torch.long, device=inputs_embeds.device)
            mask = (inputs_embeds == self.get_input_embeddings()(token)).all(-1)
        check_placeholders(self.plan_slots(**encoder_inputs), mask.sum(-1).tolist())

    @can_return_tuple
    @also_takes(get_image_features, LlavaModel.forward)
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


# Everything that `get_image_features` takes: encoded once, before prefill.
_ENCODER_INPUTS = [
    name for name in inspect.signature(SoundLlavaModel.get_image_features).parameters if name not in ("self", "kwargs")
]


class SoundLlavaForConditionalGeneration(SoundLlavaPreTrainedModel, LlavaForConditionalGeneration):
    """A LLaVA that hears: `[CLS]` becomes the sound, the `k` patches that match it stay (Algorithm 1 of the paper)."""

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

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, *args: Any, return_sound_info: bool = False, **kwargs: Any) -> Any:
        """
        `GenerationMixin.generate`, with the arguments of [`SoundLlavaModel.get_image_features`].

        Pictures and sounds are encoded here, once, before prefill: stock `generate` encodes only when there is a
        picture, and would drop a sound that has none. A prompt that is longer than the language model's context
        (`max_position_embeddings`), alone or with its new tokens, gets a `UserWarning` with the numbers.

        Args:
            return_sound_info: Return a `ModelOutput` (as with `return_dict_in_generate=True`) that also has
                `sound_info`, one [`SoundInfo`] per slot.

        Raises:
            ValueError: As `get_image_features`; if placeholders and visual tokens differ; if placeholders have neither
                pictures, sounds, embeddings nor a cache that they stand for.
        """
        if inputs is not None and "input_ids" not in kwargs:
            inputs, kwargs["input_ids"] = None, inputs
        features = self._encode(kwargs, self.generation_config)
        if not return_sound_info:
            return super().generate(inputs, *args, **kwargs)
        output = super().generate(inputs, *args, **{**kwargs, "return_dict_in_generate": True})
        output["sound_info"] = getattr(features, "sound_info", None)
        return output


def _has_media(encoder_inputs: dict[str, Any]) -> bool:
    """Whether there is anything to encode; sound arguments that would go unheard are an error."""
    given = {name for name, value in encoder_inputs.items() if value is not None}
    if given & {"pixel_values", "input_features", "sound_embeds"}:
        return True
    if "input_features_mask" in given:
        raise ValueError("input_features_mask came without input_features: pass both, or the sound would not be heard.")
    slots = encoder_inputs.get("sound_slots")
    if slots is not None and len(slots):
        raise ValueError(
            f"sound_slots has {len(slots)} slots, but no pixel_values, input_features or sound_embeds came with it: "
            "the prompt was expanded for media that did not come."
        )
    return False


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
