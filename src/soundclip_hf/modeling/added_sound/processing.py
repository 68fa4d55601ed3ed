"""The processor of a model that got its hearing from `add_sound`: the model's own, and sounds."""

import os
from tempfile import TemporaryDirectory
from typing import Any

from transformers import BatchFeature, PreTrainedConfig, ProcessorMixin

from ...media import load_pictures, local_videos
from ..checkpoints.llava_parts import fitting_extractor
from ..configuration_soundclip import SoundClipConfig
from ..processing_soundllava import SoundLlavaProcessor
from ..prompts.arguments import flat_images
from ..slots.geometry import SlotGeometry, sound_only_slot
from ..slots.slot import BatchSlots
from ..visual_features.layouts import layout_of


class AddedSoundProcessor(SoundLlavaProcessor):
    r"""
    Takes sounds, and chat parts of type `audio` and `video`, as [`SoundLlavaProcessor`] does. A call without sound is a
    call of the model's own processor, and `save_pretrained` writes that one.

    Video parts are pictures with sound here, one per frame; the model's own way of reading videos is that of
    `processor.stock_processor`.

    Args:
        image_processor, tokenizer, feature_extractor: Of the model's own processor, and of the audio encoder.
        wrapped: The model's own processor.
        config: Of the model.
        **fields: Of [`SoundLlavaProcessor`].
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        *,
        wrapped: Any,
        config: PreTrainedConfig,
        **fields: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, feature_extractor, **fields)
        self.wrapped = wrapped
        self.model_config = config

    @classmethod
    def around(
        cls, processor: Any, config: PreTrainedConfig, sound_config: SoundClipConfig, feature_extractor: Any
    ) -> "AddedSoundProcessor":
        """
        Wrap a model's processor.

        Args:
            processor: Of the model.
            config: Of the model.
            sound_config: Of the ears.
            feature_extractor: Of their audio encoder.

        Raises:
            ValueError: If the processor has no image processor or tokenizer, or the extractor does not fit.
        """
        for part in ("image_processor", "tokenizer", "image_token"):
            if getattr(processor, part, None) is None:
                raise ValueError(
                    f"The {type(processor).__name__} has no {part}: pass the {config.model_type!r} model's processor."
                )
        layout = layout_of(config)
        return cls(
            processor.image_processor,
            processor.tokenizer,
            fitting_extractor(feature_extractor, sound_config.audio_config),
            wrapped=processor,
            config=config,
            vision_feature_select_strategy=layout.select_strategy if layout.has_class_token else "default",
            chat_template=processor.chat_template,
            image_token=processor.image_token,
            llava_variant="llava",
            sound_patches=sound_config.patches,
            sound_top_k=sound_config.token_budget,
            patch_budget_scope=sound_config.patch_budget_scope,
            sound_select_strategy=sound_config.sound_select_strategy,
        )

    @property
    def stock_processor(self) -> ProcessorMixin:
        """The model's own processor."""
        return self.wrapped

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        audio: Any = None,
        *,
        sound_plan: BatchSlots | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """See [`SoundLlavaProcessor`]; `videos` are the model's own, and have no sound."""
        hears = audio is not None or (sound_plan is not None and sound_plan.sounds)
        if kwargs.get("videos") is not None and not hears:
            with TemporaryDirectory() as folder:  # transformers itself would fetch any address, of any size
                videos = local_videos(kwargs.pop("videos"), folder)
                images = None if images is None else load_pictures(images)
                return self.wrapped(images=images, text=text, videos=videos, **kwargs)
        return super().__call__(images, text, audio, sound_plan=sound_plan, **kwargs)

    def _process_pictures(self, images: Any, options: dict[str, Any]) -> dict[str, Any]:
        # LLaVA-OneVision cuts a picture into tiles only where its sample has no other one.
        nested = isinstance(images, (list, tuple)) and any(isinstance(entry, (list, tuple)) for entry in images)
        inputs = dict(self.image_processor(images if nested else flat_images(images), **options))
        if "pixel_values_images" in inputs:  # Video-LLaVA's name of them until transformers renames it
            inputs["pixel_values"] = inputs.pop("pixel_values_images")
        return inputs

    def _image_slots(self, image_inputs: dict[str, Any]) -> list[SlotGeometry]:
        return layout_of(self.model_config).geometries(image_inputs)

    def _empty_slot(self) -> SlotGeometry:
        return sound_only_slot(layout_of(self.model_config).patches_per_side)

    @property
    def model_input_names(self) -> list[str]:
        return list(dict.fromkeys([*self.wrapped.model_input_names, *super().model_input_names]))

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Save the model's own processor: a folder with the model and this processor is a stock checkpoint."""
        return self.wrapped.save_pretrained(save_directory, *args, **kwargs)

    def push_to_hub(self, *args: Any, **kwargs: Any) -> Any:
        """Push the model's own processor."""
        return self.wrapped.push_to_hub(*args, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.wrapped).__name__}, {type(self.feature_extractor).__name__})"


__all__ = ["AddedSoundProcessor"]
