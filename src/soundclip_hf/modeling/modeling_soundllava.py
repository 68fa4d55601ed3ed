"""SoundLlava: LLaVA-1.5 and LLaVA-1.6 whose visual tokens carry a sound; pictures, sounds and ids in, text out."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.auto import modeling_auto
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector
from transformers.models.llava_next.modeling_llava_next import LlavaNextModel, image_size_to_num_patches
from transformers.utils import can_return_tuple

from .adapter import AdapterLoadingMixin
from .configuration_soundclip import SoundLlavaConfig
from .outputs import SoundLlavaCausalLMOutputWithPast, SoundLlavaImageFeatures, SoundLlavaModelOutputWithPast
from .projector import FLOAT32_MODULES, AlignmentProjector
from .slots import Slot, check_placeholders, pair_slots, plan_slots
from .substitution import SoundInfo, assemble_slots
from .vision_tower import SoundClipVisionTower
from .visual_tokens import SlotGeometry, image_slot, sound_only_slot

# Everything that `get_image_features` takes: encoded once, before prefill.
_ENCODER_INPUTS = (
    "pixel_values",
    "image_sizes",
    "vision_feature_layer",
    "vision_feature_select_strategy",
    "input_features",
    "input_features_mask",
    "sound_embeds",
    "sound_slots",
    "sound_budget",
    "sound_top_k",
    "sound_patches",
    "sound_alignment",
    "sound_alpha",
)


class SoundLlavaPreTrainedModel(AdapterLoadingMixin, PreTrainedModel):
    config_class = SoundLlavaConfig
    config: SoundLlavaConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "audio", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _keep_in_fp32_modules_strict = FLOAT32_MODULES

    @property
    def dtype(self) -> torch.dtype:
        """Precision of LLaVA's own weights: the ears have parts that always stay in float32."""
        projector = getattr(getattr(self, "model", self), "multi_modal_projector", None)
        return super().dtype if projector is None else projector.linear_1.weight.dtype

    @classmethod
    def is_custom_code(cls) -> bool:
        # True would pass over modules without weights of their own, such as CLIP's attention, whose children would
        # then start from another distribution than in stock LLaVA.
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SoundLlavaModel) and module.image_newline is not None:
            init.normal_(module.image_newline, mean=0.0, std=1 / math.sqrt(self.config.text_config.hidden_size))


class SoundLlavaModel(SoundLlavaPreTrainedModel):
    """
    LLaVA's towers, projector and language model under their own names, plus `audio_tower` and `audio_projection`.

    The audio tower is frozen from the start, when built from a configuration and when loaded, and stays in eval mode
    inside `model.train()`; `model.audio_tower.requires_grad_(True)` thaws it.
    """

    base_model_prefix = "model"

    def __init__(self, config: SoundLlavaConfig):
        super().__init__(config)
        # The ears come first: device_map="auto" fills devices in this order and must not offload them.
        # from_pretrained sets dtype in sub-configurations, but not in this one, two levels down.
        self.audio_tower = AutoModel.from_config(config.sound_config.audio_config, dtype=torch.get_default_dtype())
        self.audio_projection = AlignmentProjector(config.sound_config)  # type: ignore[arg-type]
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.sound_substitution = SoundClipVisionTower()
        self.multi_modal_projector = LlavaMultiModalProjector(config)
        self.image_newline: nn.Parameter | None = None
        if config.llava_variant == "llava_next":
            std = 1 / math.sqrt(config.text_config.hidden_size)
            self.image_newline = nn.Parameter(torch.randn(config.text_config.hidden_size) * std)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()
        self.audio_tower.requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    # Stock packing reads only fields that both configurations have; using it keeps silent images bitwise equal.
    pack_image_features = LlavaNextModel.pack_image_features

    @can_return_tuple
    def get_audio_features(
        self,
        input_features: Tensor,
        input_features_mask: Tensor | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """
        Sound features to `f_a`, the vectors that take the place of `[CLS]`.

        Args:
            input_features: `(sounds, windows, …)` from the feature extractor; the windows axis may be absent.
            input_features_mask: `(sounds, windows, frames)`, non-zero where real.
            sound_alignment: "projected" or "raw"; defaults to the configuration's.
            sound_alpha: `alpha * raw + (1 - alpha) * projected`, in 0..1.

        Returns:
            The audio tower's output with `pooler_output` `(sounds, vision_width)` in float32.
        """
        _check_device("input_features", input_features, self.audio_tower)
        if input_features.is_floating_point():
            input_features = input_features.to(self.audio_tower.dtype)
        for name in ("output_hidden_states", "output_attentions"):
            if getattr(self.config.sound_config, name):  # the encoder reads these from its own configuration alone
                kwargs.setdefault(name, True)
        output = self.audio_tower(input_features, input_features_mask=input_features_mask, return_dict=True, **kwargs)
        output["pooler_output"] = self._align(output.pooler_output, sound_alignment, sound_alpha)
        return output

    def _align(self, sound_embeds: Tensor, alignment: str | None, alpha: float | None) -> Tensor:
        width = self.config.sound_config.audio_embedding_dim
        if sound_embeds.ndim != 2 or sound_embeds.shape[1] != width:
            raise ValueError(
                f"sound_embeds has shape {tuple(sound_embeds.shape)}, expected (sounds, {width}): pooled outputs of "
                f"the {self.config.sound_config.audio_config.model_type!r} encoder."
            )
        aligned = self.audio_projection(sound_embeds, alignment=alignment, alpha=alpha)
        if not torch.compiler.is_compiling() and not torch.isfinite(aligned).all():
            rows = (~torch.isfinite(aligned)).any(dim=1).nonzero()[:, 0].tolist()
            raise ValueError(
                f"The aligned embedding f_a of sound(s) {rows} is not finite. Check the sound for NaN or overflow, or "
                "load the model in bfloat16 or float32."
            )
        return aligned

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: str | None = None,
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
            sound_budget: int64 `(slots,)`: -1 is zero mode, `k >= 0` drop mode.
            sound_top_k: Patches to keep; one number or one per slot.
            sound_patches: "zero" or "drop", where there is no `sound_budget`.
            sound_alignment, sound_alpha: See [`get_audio_features`].

        Raises:
            ValueError: If pairing, budget, shapes or devices don't fit, or an aligned sound is not finite.
        """
        layer = self.config.vision_feature_layer if vision_feature_layer is None else vision_feature_layer
        strategy = vision_feature_select_strategy or self.config.vision_feature_select_strategy
        if strategy not in ("default", "full"):
            raise ValueError(f"vision_feature_select_strategy={strategy!r}: allowed are 'default' and 'full'.")
        slots = self.plan_slots(
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            vision_feature_select_strategy=strategy,
            input_features=input_features,
            sound_embeds=sound_embeds,
            sound_slots=sound_slots,
            sound_budget=sound_budget,
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
        )
        sounding = [slot for slot in slots if slot.sound >= 0]
        audio = None
        if input_features is not None and sound_embeds is not None:
            raise ValueError("input_features and sound_embeds were both passed: a sound is encoded once; pass one.")
        if sounding:
            if sound_embeds is None:
                audio = self.get_audio_features(
                    input_features, input_features_mask, sound_alignment, sound_alpha, return_dict=True
                ).pooler_output
            else:
                audio = self._align(sound_embeds, sound_alignment, sound_alpha)
            if pixel_values is None:
                audio = audio.to(self.multi_modal_projector.linear_1.weight.dtype)
        if pixel_values is not None:
            _check_device("pixel_values", pixel_values, self.vision_tower)
            pixel_values = self._views(pixel_values, image_sizes)
        if not kwargs.get("output_hidden_states"):
            kwargs["output_hidden_states"] = layer  # transformers then captures this layer alone
        output = self.sound_substitution(
            self.vision_tower,
            pixel_values,
            layer,
            audio=audio,
            slots=sounding,
            scope=self.config.sound_config.patch_budget_scope,
            **kwargs,
        )
        tokens: dict[int, Tensor] = {}
        silent = [slot for slot in slots if slot.sound < 0]
        if silent:
            for slot, sequence in zip(silent, self._silent_tokens(silent, output.features, image_sizes, strategy)):
                tokens[id(slot)] = sequence
        info: list[SoundInfo] | None = None
        if sounding:
            keep_first_row = self.config.sound_config.sound_select_strategy == "full"
            sequences = assemble_slots(
                output.substituted, self.multi_modal_projector, self.image_newline, keep_first_row
            )
            tokens.update({id(slot): sequence for slot, sequence in zip(sounding, sequences)})
            tiled = self.config.llava_variant == "llava_next"
            by_slot = {id(item.slot): item.info(tiled) for item in output.substituted}
            info = [by_slot.get(id(slot), SoundInfo()) for slot in slots]
        tower = output.tower
        return SoundLlavaImageFeatures(
            last_hidden_state=None if tower is None else tower.last_hidden_state,
            pooler_output=[tokens[id(slot)] for slot in slots],
            hidden_states=None if tower is None else tower.hidden_states,
            attentions=None if tower is None else tower.attentions,
            sound_info=info,
        )

    def plan_slots(
        self,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        vision_feature_select_strategy: str | None = None,
        input_features: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: str | None = None,
        **_: Any,
    ) -> list[Slot]:
        """The slots of a call, from shapes and small index tensors alone; runs no tower."""
        sounds = sound_embeds if sound_embeds is not None else input_features
        num_images = 0 if pixel_values is None else len(pixel_values)
        if num_images and image_sizes is not None and self.config.llava_variant == "llava_next":
            num_images = len(image_sizes)  # pixel_values may hold the views of all images in one row
        pairs = pair_slots(
            sound_slots,
            num_images,
            0 if sounds is None else len(sounds),
        )
        geometries = [self._geometry(image, image_sizes) for image, _ in pairs]
        return plan_slots(
            pairs,
            geometries,
            self.config.sound_config,
            select_strategy=vision_feature_select_strategy or self.config.vision_feature_select_strategy,
            sound_budget=sound_budget,
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
        )

    def _geometry(self, image: int, image_sizes: Tensor | None) -> SlotGeometry:
        side = self.config.patches_per_side
        if image < 0:
            return sound_only_slot(side)
        if self.config.llava_variant == "llava":
            return image_slot(side)
        if image_sizes is None:
            raise ValueError("LLaVA-1.6 needs image_sizes (images, 2) beside pixel_values.")
        height, width = (int(value) for value in image_sizes[image])
        return image_slot(side, (height, width), self.config.image_grid_pinpoints, self.config.vision_config.image_size)

    def _views(self, pixel_values: Tensor, image_sizes: Tensor | None) -> Tensor:
        if self.config.llava_variant == "llava":
            return pixel_values
        if pixel_values.dim() != 5:
            if pixel_values.dim() != 4:
                raise ValueError(f"pixel_values of shape {tuple(pixel_values.shape)}, expected 4 or 5 dimensions.")
            return pixel_values
        views = self._views_per_image(image_sizes)
        return torch.cat([pixels[:count] for pixels, count in zip(pixel_values, views)])

    def _views_per_image(self, image_sizes: Any) -> list[int]:
        return [
            image_size_to_num_patches(size, self.config.image_grid_pinpoints, self.config.vision_config.image_size)
            for size in image_sizes
        ]

    def _silent_tokens(
        self, silent: Sequence[Slot], features: Tensor, image_sizes: Tensor | None, strategy: str
    ) -> list[Tensor]:
        """Stock LLaVA, operation by operation, for the images without sound (in their order)."""
        rows = [view for slot in silent for view in range(slot.view, slot.view + slot.geometry.num_views)]
        if rows != list(range(len(features))):
            features = features[rows]
        first_rows = features[:, :1] if strategy == "full" and self.image_newline is not None else None
        # LLaVA-1.6's tile packing has no place for CLS; under "full" the base view's goes in front, as its processor
        # counts it.
        if strategy == "default" or first_rows is not None:
            features = features[:, 1:]
        projected = self.multi_modal_projector(features)
        if self.image_newline is None:
            return list(projected)
        sizes = image_sizes[[slot.image for slot in silent]]  # type: ignore[index]
        views = [slot.geometry.num_views for slot in silent]
        packed, _ = self.pack_image_features(
            torch.split(projected, views),
            sizes,
            vision_feature_select_strategy="default",
            image_newline=self.image_newline,
        )
        if first_rows is None:
            return packed
        starts = [sum(views[:index]) for index in range(len(views))]
        return [torch.cat([row, rest]) for row, rest in zip(self.multi_modal_projector(first_rows[starts]), packed)]

    def get_placeholder_mask(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """Boolean `(batch, sequence)`: where the visual tokens go."""
        if input_ids is not None:
            return input_ids == self.config.image_token_id
        token = torch.full((), self.config.image_token_id, dtype=torch.long, device=inputs_embeds.device)
        return (inputs_embeds == self.get_input_embeddings()(token)).all(-1)

    def check_placeholders(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, encoder_inputs: dict[str, Any]
    ) -> None:
        """Compare placeholders and visual tokens per sample; raises before any tower runs."""
        if torch.compiler.is_compiling():
            return
        mask = self.get_placeholder_mask(input_ids, inputs_embeds)
        check_placeholders(self.plan_slots(**encoder_inputs), mask.sum(-1).tolist())

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        use_cache: bool | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: str | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        return_sound_info: bool = False,
        **kwargs: Any,
    ) -> SoundLlavaModelOutputWithPast:
        """See [`SoundLlavaForConditionalGeneration.forward`]."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds.")
        encoder_inputs = {
            "pixel_values": pixel_values,
            "image_sizes": image_sizes,
            "vision_feature_layer": vision_feature_layer,
            "vision_feature_select_strategy": vision_feature_select_strategy,
            "input_features": input_features,
            "input_features_mask": input_features_mask,
            "sound_embeds": sound_embeds,
            "sound_slots": sound_slots,
            "sound_budget": sound_budget,
            "sound_top_k": sound_top_k,
            "sound_patches": sound_patches,
            "sound_alignment": sound_alignment,
            "sound_alpha": sound_alpha,
        }
        has_media = _has_media(encoder_inputs)
        features = (mm_encoder_outputs or {}).get("image")
        if has_media and features is not None:
            raise ValueError("You cannot specify both pixel_values or sounds and mm_encoder_outputs at the same time.")
        if has_media:
            self.check_placeholders(input_ids, inputs_embeds, encoder_inputs)
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if has_media:
            features = self.get_image_features(**encoder_inputs, return_dict=True)
        image_hidden_states = None
        if features is not None:
            image_hidden_states = torch.cat(list(features.pooler_output)).to(inputs_embeds.device, inputs_embeds.dtype)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds)
            found = mask.sum()
            if not torch.compiler.is_compiling() and found != len(image_hidden_states):
                raise ValueError(
                    f"The prompts hold {int(found)} image placeholders, but the images and sounds give "
                    f"{len(image_hidden_states)} visual tokens."
                )
            mask = mask.unsqueeze(-1).to(inputs_embeds.device)
            inputs_embeds = inputs_embeds.masked_scatter(mask, image_hidden_states)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **({} if use_cache is None else {"use_cache": use_cache}),
            **kwargs,
        )
        return SoundLlavaModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=image_hidden_states,
            sound_info=getattr(features, "sound_info", None) if return_sound_info else None,
        )


class SoundLlavaForConditionalGeneration(SoundLlavaPreTrainedModel, GenerationMixin):
    """A LLaVA that hears: `[CLS]` becomes the sound, the `k` patches that match it stay (Algorithm 1 of the paper)."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: SoundLlavaConfig):
        super().__init__(config)
        self.model = SoundLlavaModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

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
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        sound_embeds: Tensor | None = None,
        sound_slots: Tensor | None = None,
        sound_budget: Tensor | None = None,
        sound_top_k: int | Sequence[int] | Tensor | None = None,
        sound_patches: str | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        return_sound_info: bool = False,
        **kwargs: Any,
    ) -> SoundLlavaCausalLMOutputWithPast:
        """
        LLaVA's forward; the sound's arguments are those of [`SoundLlavaModel.get_image_features`].

        Args:
            input_ids: `(batch, sequence)` with one image placeholder per visual token.
            labels: `(batch, sequence)`, -100 is ignored.
            logits_to_keep: Compute the last positions' logits only.
            mm_encoder_outputs: `{"image": …}` from `get_image_features`, in place of pictures and sounds.
            return_sound_info: Add `sound_info`, one [`SoundInfo`] per slot.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            vision_feature_layer=vision_feature_layer,
            vision_feature_select_strategy=vision_feature_select_strategy,
            use_cache=use_cache,
            mm_encoder_outputs=mm_encoder_outputs,
            input_features=input_features,
            input_features_mask=input_features_mask,
            sound_embeds=sound_embeds,
            sound_slots=sound_slots,
            sound_budget=sound_budget,
            sound_top_k=sound_top_k,
            sound_patches=sound_patches,
            sound_alignment=sound_alignment,
            sound_alpha=sound_alpha,
            return_sound_info=return_sound_info,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return SoundLlavaCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
            sound_info=outputs.sound_info,
        )

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, *args: Any, return_sound_info: bool = False, **kwargs: Any) -> Any:
        """
        `GenerationMixin.generate`, with the arguments of [`SoundLlavaModel.get_image_features`].

        Pictures and sounds are encoded here, once, before prefill: stock `generate` encodes only when there is a
        picture, and would drop a sound that has none.

        Args:
            return_sound_info: Return a `ModelOutput` (as with `return_dict_in_generate=True`) that also has
                `sound_info`, one [`SoundInfo`] per slot.
        """
        encoder_inputs = {name: kwargs.pop(name) for name in _ENCODER_INPUTS if name in kwargs}
        features = None
        if _has_media(encoder_inputs):
            if (kwargs.get("mm_encoder_outputs") or {}).get("image") is not None:
                raise ValueError(
                    "You cannot specify both pixel_values or sounds and mm_encoder_outputs at the same time."
                )
            input_ids = inputs if inputs is not None else kwargs.get("input_ids")
            embeds = kwargs.get("inputs_embeds")
            if embeds is not None or input_ids is not None:
                self.model.check_placeholders(None if embeds is not None else input_ids, embeds, encoder_inputs)
            features = self.model.get_image_features(**encoder_inputs, return_dict=True)
            kwargs["mm_encoder_outputs"] = {"image": features}
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
    slots = encoder_inputs.get("sound_slots")
    if slots is not None and len(slots):
        raise ValueError(
            f"sound_slots has {len(slots)} slots, but no pixel_values, input_features or sound_embeds came with it: "
            "the prompt was expanded for media that did not come."
        )
    return False


def _check_device(name: str, tensor: Tensor, module: nn.Module) -> None:
    # A module with an accelerate hook moves its own inputs.
    if any(hasattr(child, "_hf_hook") for child in module.modules()):
        return
    expected = next(module.parameters()).device
    if tensor.device != expected:
        raise ValueError(
            f"{name} is on {tensor.device}, the model's tower for it on {expected}: move the inputs with "
            "`inputs.to(model.device)`."
        )


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
