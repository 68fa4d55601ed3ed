"""Processor of `SoundLlavaForConditionalGeneration`: images, sounds and text to tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoProcessor, BatchFeature, LlavaNextProcessor, LlavaProcessor, ProcessorMixin
from transformers.processing_utils import MultiModalData

from ..media import load_pictures
from .checkpoint_names import CheckpointNameMixin
from .checkpoints.llava_parts import parts_of_llava
from .configuration_soundclip import BudgetScope, PatchMode, SelectStrategy, SoundClipConfig, SoundLlavaConfig
from .prompts.arguments import (
    check_call_arguments,
    check_choice,
    check_fields,
    check_no_media,
    flat_images,
    images_per_sample,
    list_of_texts,
    take_call_arguments,
    without_none,
)
from .prompts.chat_messages import ChatOptions, default_chat_template, is_batched, rewrite_conversations
from .prompts.markers import PromptMarkers
from .pushing.mixins import ProcessorPushMixin
from .slots.budget import SlotSettings, settle_slots
from .slots.geometry import SlotGeometry, processed_images, sound_only_slot, view_size
from .slots.pairing import pair_batch
from .slots.slot import BatchSlots, Slot
from .slots.tensors import slot_tensors
from .slots.verification import check_truncation
from .sound_inputs import sound_inputs


class SoundLlavaProcessor(ProcessorPushMixin, CheckpointNameMixin, ProcessorMixin):
    r"""
    LLaVA's processor with a feature extractor for sound. It determines how many tokens each visual slot takes.

    Prompts hold an `<image>` for each image and an `<audio>` for each sound. An `<audio>` that belongs to an image is
    removed; in a prompt without images it becomes a visual slot of its own. No token is added to the vocabulary. A
    batch without sound is passed to the stock processor.

    Args:
        image_processor, tokenizer (*optional*):
            Those of the base model.
        feature_extractor (*optional*):
            That of the audio encoder.
        patch_size (`int`, *optional*, defaults to 14):
            Patch size of the vision tower, in pixels.
        vision_feature_select_strategy (`str`, *optional*, defaults to `"default"`):
            That of the base checkpoint, for images without sound.
        chat_template (`str`, *optional*):
            That of the base model; by default LLaVA-1.5's "USER: ... ASSISTANT:".
        image_token (`str`, *optional*, defaults to `"<image>"`):
            A token of the tokenizer.
        num_additional_image_tokens (`int`, *optional*, defaults to 1):
            The `[CLS]` row, which the sound replaces: 1; 0 for a vision tower without it, such as SigLIP's, whose
            strategy is `full`.
        audio_token (`str`, *optional*, defaults to `"<audio>"`):
            A marker in the text; it is not a token.
        llava_variant (`str`, *optional*):
            `llava` (1.5) or `llava_next` (1.6); by default that of the image processor.
        sound_patches, sound_top_k, patch_budget_scope, sound_select_strategy (*optional*):
            As `patches`, `token_budget`, `patch_budget_scope` and `sound_select_strategy` of `SoundClipConfig`.

    Raises:
        ValueError: If an argument has a value that is not allowed, or does not fit the tokenizer or image processor.
    """

    # The marker is not in the vocabulary. The mixin would look up its id, find that of the unknown token, and count it.
    audio_token_id = None

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        patch_size: int = 14,
        vision_feature_select_strategy: SelectStrategy = "default",
        chat_template: str | dict[str, str] | None = None,
        image_token: str = "<image>",
        num_additional_image_tokens: int = 1,
        audio_token: str = "<audio>",
        llava_variant: str | None = None,
        sound_patches: PatchMode = "zero",
        sound_top_k: int = 150,
        patch_budget_scope: BudgetScope = "tile",
        sound_select_strategy: SelectStrategy = "full",
    ) -> None:
        image_token = getattr(tokenizer, "image_token", None) or image_token
        chat_template = chat_template or default_chat_template(tokenizer, image_token)
        super().__init__(image_processor, tokenizer, feature_extractor, chat_template=chat_template)
        if llava_variant is None:
            llava_variant = "llava_next" if hasattr(image_processor, "image_grid_pinpoints") else "llava"
        self.patch_size = patch_size
        self.vision_feature_select_strategy = vision_feature_select_strategy
        self.image_token = image_token
        self.num_additional_image_tokens = num_additional_image_tokens
        self.audio_token = audio_token
        self.llava_variant = llava_variant
        self.sound_patches = sound_patches
        self.sound_top_k = sound_top_k
        self.patch_budget_scope = patch_budget_scope
        self.sound_select_strategy = sound_select_strategy
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        check_fields(self)

    @classmethod
    def from_llava(
        cls,
        llava: Any,
        feature_extractor: Any,
        *,
        sound_config: SoundClipConfig | dict[str, Any] | None = None,
        revision: str | None = None,
        audio_revision: str | None = None,
        **fields: Any,
    ) -> "SoundLlavaProcessor":
        """
        Build a processor from that of a LLaVA, which has no feature extractor.

        Args:
            llava: A LLaVA-1.5 or 1.6 repository or folder, or its processor.
            feature_extractor: That of the audio encoder, or the repository or folder that holds it.
            sound_config: Gives `sound_patches`, `sound_top_k`, `patch_budget_scope` and `sound_select_strategy`. Its
                `audio_config` gives the class of a feature extractor that has to be loaded.
            revision, audio_revision: Revisions of the two repositories.
            **fields: Arguments of the processor; they override those of the LLaVA and of `sound_config`.

        Raises:
            ValueError: If `llava` is of another kind, or `sound_config` and the extractor do not fit.
        """
        parts = parts_of_llava(llava, feature_extractor, sound_config, revision, audio_revision)
        return cls(**{**parts, **fields})

    @property
    def stock_processor(self) -> ProcessorMixin:
        """The processor of the base model, made of the same parts; it prepares batches without sound."""
        stock = LlavaNextProcessor if self.llava_variant == "llava_next" else LlavaProcessor
        return stock(
            self.image_processor,
            self.tokenizer,
            patch_size=self.patch_size,
            vision_feature_select_strategy=self.vision_feature_select_strategy,
            chat_template=self.chat_template,
            image_token=self.image_token,
            num_additional_image_tokens=self.num_additional_image_tokens,
        )

    @property
    def _markers(self) -> PromptMarkers:
        return PromptMarkers(self.image_token, self.audio_token)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        *,
        sampling_rate: int | None = None,
        sound_patches: PatchMode | None = None,
        sound_top_k: Any = None,
        sound_plan: BatchSlots | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        r"""
        Args:
            images:
                One image, a flat list in the order of the `<image>` in `text`, or a list of lists per sample. `None`
                in a list stands for no image.
            text (`str` or `list[str]`):
                Prompts, one per sample.
            audio:
                One sound, a flat list, or a list of lists per sample, where `None` marks a silent image:
                `[[None, wav]]`. Per sample: none, one (for every image), or one per image; without images each sound
                is a slot. A sound is a path, URL, bytes, array (with `sampling_rate`), datasets-style dict or
                torchcodec decoder; it is resampled to the feature extractor's rate and mixed to mono.
            sampling_rate (`int`, *optional*):
                The rate of bare arrays.
            sound_patches (`str`, *optional*):
                `zero` (as in the paper) or `drop` (only kept patches reach the LLM); defaults to the processor's.
            sound_top_k (`int` or `list`, *optional*):
                Patches to keep: one number for all slots, one per slot, or a list of lists per sample; `None` leaves a
                slot to the default. In drop mode the default is that of the processor. In zero mode it is that of the
                model: `generate(..., sound_top_k=...)`, or its configuration.
            sound_plan (`BatchSlots`, *optional*):
                Slots and sounds that `apply_chat_template` has paired already, in place of `audio`.
            kwargs:
                Arguments of the stock processor. Only those in `audio_kwargs` reach the feature extractor.

        Returns:
            `BatchFeature`: the stock processor's `input_ids`, `attention_mask`, `pixel_values` (and `image_sizes`),
            and, if any sample has a sound, `input_features` `(sounds, windows, ...)`, `input_features_mask`,
            `sound_slots` `(slots, 2)` int64 (row of `pixel_values` or -1, sound or -1, in placeholder order) and
            `sound_budget` `(slots,)` int64: `k` in drop mode; in zero mode `-2 - k`, or -1 where the model decides; -1
            for silent images.

        Raises:
            ValueError: If the numbers of images, sounds and markers do not fit, a sound cannot be used, `sound_top_k`
                is no int or out of range, or truncation would cut image tokens.
            TypeError: For an unknown argument.
        """
        check_call_arguments(kwargs, self.image_processor, self.feature_extractor)
        sound_patches = self.sound_patches if sound_patches is None else sound_patches
        check_choice("sound_patches", sound_patches)
        texts = list_of_texts(text)
        images = without_none(images)
        if images is not None:
            images = self.image_processor.fetch_images(load_pictures(images))
        audio_kwargs = dict(kwargs.pop("audio_kwargs", None) or {})
        source_rate = audio_kwargs.pop("sampling_rate", sampling_rate)
        if sound_plan is None:
            markers = None if texts is None else [self._markers.count_sounds(sample) for sample in texts]
            in_prompts = None if texts is None else [self._markers.count_images(sample) for sample in texts]
            counts = images_per_sample(images, in_prompts, self.image_token)
            sound_plan = pair_batch(counts, audio, source_rate, markers, self.audio_token)
            texts = None if texts is None else [self._markers.to_slots(sample) for sample in texts]
        elif audio is not None:
            raise ValueError("Pass `audio` or `sound_plan`, not both.")
        if not sound_plan.sounds:
            return self.stock_processor(images=images, text=text, **kwargs)
        # Only `audio_kwargs` are passed on: a `padding` or `max_length` that is meant for the text would cut the sound.
        audio_kwargs.pop("load_audio_backend", None)
        features = sound_inputs(self.feature_extractor, sound_plan.sounds, audio_kwargs)
        return self._encode(images, texts, sound_plan, features, sound_patches, sound_top_k, kwargs)

    def _encode(
        self,
        images: Any,
        texts: list[str] | None,
        batch: BatchSlots,
        features: dict[str, Any],
        sound_patches: PatchMode,
        sound_top_k: Any,
        kwargs: dict[str, Any],
    ) -> BatchFeature:
        """The batch, from prompts that hold one `<image>` for each slot."""
        stock = self.stock_processor
        merged = stock._merge_kwargs(
            stock.valid_processor_kwargs,
            tokenizer_init_kwargs=self.tokenizer.init_kwargs,
            **kwargs,
        )
        pictures = flat_images(images)
        if batch.num_images != len(pictures):
            raise ValueError(f"{len(pictures)} images, but the prompts have {batch.num_images} {self.image_token}.")
        image_inputs = self._process_pictures(images, merged["images_kwargs"]) if pictures else {}
        slots = settle_slots(
            batch.slots,
            self._image_slots(image_inputs),
            self._empty_slot(),
            SlotSettings(
                mode=sound_patches,
                k=self.sound_top_k if sound_patches == "drop" else -1,  # in zero mode the model decides
                scope=self.patch_budget_scope,
                # Without [CLS], the first row is one that only a sound takes the place of.
                select_strategy=self.vision_feature_select_strategy if self.num_additional_image_tokens else "default",
                sound_select_strategy=self.sound_select_strategy,
            ),
            samples=batch.sizes,
            sound_top_k=sound_top_k,
        )
        text_inputs = {} if texts is None else self._tokenize(texts, slots, batch.sizes, merged)
        data = {**text_inputs, **image_inputs, **features, **slot_tensors(slots)}
        return_tensors = merged["text_kwargs"].get("return_tensors")
        return BatchFeature(data, tensor_type=return_tensors, skip_tensor_conversion=self.skip_tensor_conversion)

    def _process_pictures(self, images: Any, options: dict[str, Any]) -> dict[str, Any]:
        return self.image_processor(flat_images(images), **options)

    def _image_slots(self, image_inputs: dict[str, Any]) -> list[SlotGeometry]:
        """What each image shows, from what the image processor returned."""
        anyres = self.llava_variant == "llava_next"
        return processed_images(image_inputs, self.image_processor, self.patch_size, anyres)

    def _empty_slot(self) -> SlotGeometry:
        """What a sound without image shows."""
        return sound_only_slot(view_size(self.image_processor) // self.patch_size)

    def _tokenize(
        self, texts: list[str], slots: Sequence[Slot], samples: Sequence[int], merged: dict[str, Any]
    ) -> dict[str, Any]:
        for index, (text, size) in enumerate(zip(texts, samples, strict=True)):
            self._markers.check_slots(text, size, f"sample {index}")
        text_kwargs = merged["text_kwargs"]
        # Flat in newer versions of transformers, among the text's in older ones.
        with_types, with_offsets = (
            text_kwargs.pop(name, merged.get(name, False))
            for name in ("return_mm_token_type_ids", "return_text_replacement_offsets")
        )
        expanded, offsets = self.get_text_with_replacements(
            list(texts), [self.image_token * slot.num_tokens for slot in slots]
        )
        text_inputs = dict(self.tokenizer(expanded, **text_kwargs))
        found = [int((np.asarray(ids) == self.image_token_id).sum()) for ids in text_inputs["input_ids"]]
        check_truncation(found, slots, samples, text_kwargs.get("max_length") or self.tokenizer.model_max_length)
        if with_offsets:
            text_inputs["text_replacement_offsets"] = offsets
        if with_types:
            text_inputs["mm_token_type_ids"] = self.create_mm_token_type_ids(text_inputs["input_ids"])
        return text_inputs

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        frame: str | float = "middle",
        num_frames: int = 1,
        load_audio_from_video: bool = True,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        r"""
        Render one or several conversations with parts of type `image`, `audio`, `video` and `text`. Those of OpenAI's
        and vLLM's clients are taken, too: `input_text`, `output_text`, `input_image`, `image_url`, `input_audio`,
        `audio_url` and `video_url`.

        The template gets image and text parts only. A video part is replaced by its frames. An audio part is removed
        from a conversation with images, and replaced by an image part in one without. The sound of a video belongs to
        its frames. Audio parts belong to the other images, in order: one for all of them, or one each, where
        `{"type": "audio", "audio": None}` leaves an image silent.

        A part has one source, under any of these keys: `path`, `url`, `file`, `bytes`, `base64`, `data` or the name of
        its type; `array` (with `sampling_rate`) in an audio part. Strings are paths, URLs, `data:` URIs or base64 text.
        A video part may have its own `frame`, `num_frames` and `load_audio`. A part of another type, or a medium
        outside a part, is an error.

        Args:
            conversation: A list of messages, or a list of such lists. Messages are dictionaries, dataclasses or
                pydantic models.
            tokenize (`bool`, *optional*, defaults to `False`): Whether to run the processor. Otherwise the prompt
                comes back with `<image>` and `<audio>` in it, and no file is opened.
            frame (`str` or `float`, *optional*, defaults to `"middle"`): `middle`, `first` or seconds.
            num_frames (`int`, *optional*, defaults to 1): Frames of each video.
            load_audio_from_video (`bool`, *optional*, defaults to `True`): False takes videos without their sound.
            processor_kwargs (`dict`, *optional*): Arguments of `__call__`, such as `sound_patches`; also the three
                above, which may stand in its `videos_kwargs`.
            kwargs: Arguments of `ProcessorMixin.apply_chat_template`, and of `__call__`.

        Returns:
            As `ProcessorMixin.apply_chat_template`: text, ids (`tokenize=True`) or a `BatchFeature`
            (`tokenize=True, return_dict=True`).

        Raises:
            ValueError: As `__call__`; if a conversation is not of this form (the message names the part); with
                `tokenize=True, return_dict=False`, if there is a sound, since the ids alone do not hold it.
            TypeError: As `__call__`, and for sounds or videos beside the conversation.
            MediaError: If a file cannot be read, or a video has no sound or no picture.
        """
        processor_kwargs = {**(processor_kwargs or {}), **take_call_arguments(kwargs, self.image_processor)}
        check_no_media(processor_kwargs | kwargs)
        rates = (processor_kwargs.get("audio_kwargs") or {}, processor_kwargs)
        given = {**processor_kwargs, **(processor_kwargs.get("videos_kwargs") or {})}
        for name in ("frame", "num_frames", "load_audio_from_video"):
            processor_kwargs.pop(name, None)
        options = ChatOptions(
            load=tokenize,
            frame=given.get("frame", frame),
            num_frames=given.get("num_frames", num_frames),
            load_audio=given.get("load_audio_from_video", load_audio_from_video),
            sampling_rate=self.feature_extractor.sampling_rate,
            source_rate=next((rate for r in rates if (rate := r.get("sampling_rate")) is not None), None),
            audio_token=None if kwargs.get("sanitize_control_tokens") else self.audio_token,
            images_elsewhere=processor_kwargs.get("images") is not None,
        )
        batched = is_batched(conversation)
        rewritten, plan = rewrite_conversations(conversation if batched else [conversation], options)
        if tokenize and plan.sounds and not kwargs.get("return_dict"):
            raise ValueError(
                "return_dict=False gives token ids alone, without the sound of the conversation: pass "
                "return_dict=True, and hand all that comes back to the model."
            )
        if tokenize:
            processor_kwargs["sound_plan"] = plan
        rendered = super().apply_chat_template(
            rewritten if batched else rewritten[0],
            chat_template,
            tokenize=tokenize,
            processor_kwargs=processor_kwargs,
            **kwargs,
        )
        if tokenize or not plan.sounds:
            return rendered
        prompts = rendered if batched else [rendered]
        prompts = [self._markers.from_slots(prompt, slots) for prompt, slots in zip(prompts, plan.samples)]
        return prompts if batched else prompts[0]

    def post_process_image_text_to_text(
        self, generated_outputs: Any, skip_special_tokens: bool = True, **kwargs: Any
    ) -> Any:
        """
        Decode prompts, and prompts with their answers: pipelines cut the first off the second.

        The space between the prompt and the answer is left out of both, so that no answer begins with a space.

        Args:
            generated_outputs: Ids `(batch, sequence)` or `(sequence,)`.
            skip_special_tokens, **kwargs: Arguments of the tokenizer's `decode`.

        Returns:
            `list[str]`, or `str` for one sequence.
        """
        decoded = super().post_process_image_text_to_text(generated_outputs, skip_special_tokens, **kwargs)
        end = self._end_of_prompts()
        if not end:
            return decoded
        texts = [decoded] if isinstance(decoded, str) else decoded
        texts = [text.replace(f"{end} ", end) for text in texts]
        return texts[0] if isinstance(decoded, str) else texts

    def _end_of_prompts(self) -> str:
        """What the chat template writes between a question and its answer, such as "ASSISTANT:"."""
        if self.chat_template is None:
            return ""
        question = "?"
        prompt = super().apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        return prompt.rpartition(question)[2].strip()

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """Numbers of placeholders of images without sound, from their sizes `(height, width)` in pixels."""
        stock: Any = self.stock_processor
        return stock._get_num_multimodal_tokens(image_sizes=image_sizes, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return list(dict.fromkeys([*super().model_input_names, "sound_slots", "sound_budget"]))


AutoProcessor.register(SoundLlavaConfig, SoundLlavaProcessor, exist_ok=True)

__all__ = ["SoundLlavaProcessor"]
