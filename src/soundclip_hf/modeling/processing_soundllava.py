"""Pictures, sounds and text in; the tensors of `SoundLlavaForConditionalGeneration` out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoProcessor, BatchFeature, LlavaNextProcessor, LlavaProcessor, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import MultiModalData
from transformers.utils import logging

from ..media import load_pictures, load_sound
from .checkpoints.llava_parts import parts_of_llava
from .configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from .prompts.arguments import check_call_arguments, check_choice, check_fields, take_call_arguments
from .prompts.chat_messages import ChatOptions, default_chat_template, is_batched, rewrite_conversations
from .prompts.markers import PromptMarkers
from .slots.budget import slot_budgets
from .slots.expansion import check_truncation, slot_geometries, slot_token_counts
from .slots.pairing import SoundPlan, plan_sounds

logger = logging.get_logger(__name__)


class SoundLlavaProcessor(ProcessorMixin):
    r"""
    LLaVA's processor with a feature extractor for sound. It decides how many tokens each visual slot takes.

    Prompts hold `<image>` for each image and `<audio>` for each sound. An `<audio>` that belongs to an image leaves no
    token; one of a prompt without images becomes a visual slot of its own. The vocabulary does not grow. A batch
    without sound is handed to the stock processor.

    Args:
        image_processor, tokenizer, feature_extractor:
            Of the base model and of the audio encoder.
        patch_size (`int`, *optional*, defaults to 14):
            Of the vision tower.
        vision_feature_select_strategy (`str`, *optional*, defaults to `"default"`):
            The base checkpoint's own, for images without sound.
        chat_template (`str`, *optional*):
            The base's; without one LLaVA-1.5's "USER: ... ASSISTANT:" is taken.
        image_token (`str`, *optional*, defaults to `"<image>"`):
            A token of the tokenizer.
        num_additional_image_tokens (`int`, *optional*, defaults to 1):
            The `[CLS]` row, whose place the sound takes: always 1.
        audio_token (`str`, *optional*, defaults to `"<audio>"`):
            A marker in the text, no token.
        llava_variant (`str`, *optional*):
            `llava` (1.5) or `llava_next` (1.6); by default, told from the image processor.
        sound_patches, sound_top_k, patch_budget_scope, sound_select_strategy (*optional*):
            As `patches`, `token_budget`, `patch_budget_scope` and `sound_select_strategy` of `SoundClipConfig`.
    """

    # Not in the vocabulary. The mixin would otherwise look for an id, find that of the unknown token, and count those.
    audio_token_id = None

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        patch_size: int = 14,
        vision_feature_select_strategy: str = "default",
        chat_template: str | dict[str, str] | None = None,
        image_token: str = "<image>",
        num_additional_image_tokens: int = 1,
        audio_token: str = "<audio>",
        llava_variant: str | None = None,
        sound_patches: str = "zero",
        sound_top_k: int = 150,
        patch_budget_scope: str = "tile",
        sound_select_strategy: str = "full",
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
        Build one from a LLaVA that has no feature extractor.

        Args:
            llava: A LLaVA-1.5 or 1.6 repository or folder, or its processor.
            feature_extractor: The audio encoder's, or the repository or folder that holds it.
            sound_config: Gives `sound_patches`, `sound_top_k`, `patch_budget_scope` and `sound_select_strategy`, and,
                by its `audio_config`, the class of a feature extractor that is loaded.
            revision, audio_revision: Of the two repositories.
            **fields: Fields of the processor that go before those of the LLaVA and of `sound_config`.

        Raises:
            ValueError: If `llava` is of another kind, or `sound_config` and the extractor do not fit.
        """
        parts = parts_of_llava(llava, feature_extractor, sound_config, revision, audio_revision)
        return cls(**{**parts, **fields})

    @property
    def stock_processor(self) -> ProcessorMixin:
        """The base model's own processor, made of the same parts; it has the last word on prompts without sound."""
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

    def __call__(  # type: ignore[override]
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        *,
        sampling_rate: int | None = None,
        sound_patches: str | None = None,
        sound_top_k: Any = None,
        sound_plan: SoundPlan | None = None,
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
                `zero` (the paper) or `drop` (only kept patches reach the LLM); by default the processor's own.
            sound_top_k (`int` or `list`, *optional*):
                Patches to keep, for all slots, per slot, or nested per sample. It sets the prompt's length in drop
                mode; in zero mode the model's `sound_top_k` decides.
            sound_plan (`SoundPlan`, *optional*):
                Slots and sounds, where `apply_chat_template` has paired them already; replaces `audio`.
            kwargs:
                Those of the stock processor. Flat ones never reach the feature extractor; `audio_kwargs` does.

        Returns:
            `BatchFeature`: the stock processor's `input_ids`, `attention_mask`, `pixel_values` (and `image_sizes`),
            and, if any sample has a sound, `input_features` `(sounds, windows, ...)`, `input_features_mask`,
            `sound_slots` `(slots, 2)` int64 (row of `pixel_values` or -1, sound or -1, in placeholder order) and
            `sound_budget` `(slots,)` int64 (-1 in zero mode and for silent images, else `k`).

        Raises:
            ValueError: If the numbers of images, sounds and markers do not fit, a sound cannot be used, `sound_top_k`
                is out of range, or truncation would cut image tokens.
            TypeError: For an unknown argument.
        """
        check_call_arguments(kwargs, self.image_processor)
        sound_patches = sound_patches or self.sound_patches
        check_choice("sound_patches", sound_patches)
        texts = _as_list(text)
        images = _without_none(images)
        if images is not None:
            images = self.image_processor.fetch_images(load_pictures(images))
        audio_kwargs = dict(kwargs.pop("audio_kwargs", None) or {})
        source_rate = audio_kwargs.pop("sampling_rate", sampling_rate)
        if sound_plan is None:
            markers = None if texts is None else [self._markers.count_sounds(sample) for sample in texts]
            counts = self._images_per_sample(images, texts)
            sound_plan = plan_sounds(counts, audio, source_rate, markers, self.audio_token)
            texts = None if texts is None else [self._markers.to_slots(sample) for sample in texts]
        elif audio is not None:
            raise ValueError("Pass `audio` or `sound_plan`, not both.")
        if not sound_plan.sounds:
            return self.stock_processor(images=images, text=text, **kwargs)
        features = self._extract_features(sound_plan.sounds, audio_kwargs)
        return self._encode(images, texts, sound_plan, features, sound_patches, sound_top_k, kwargs)

    def _images_per_sample(self, images: Any, texts: list[str] | None) -> list[int]:
        nested = isinstance(images, (list, tuple)) and any(isinstance(entry, (list, tuple)) for entry in images)
        if texts is None:
            return [len(sample) for sample in images] if nested else [len(_flat(images))]
        counts = [self._markers.count_images(sample) for sample in texts]
        if nested and len(images) == len(texts) and [len(sample) for sample in images] != counts:
            given = [len(sample) for sample in images]
            raise ValueError(f"The samples have {given} images, but their prompts have {counts} {self.image_token}.")
        return counts

    def _extract_features(
        self, sounds: Sequence[tuple[Any, int | None]], audio_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        rate, waveforms = self.feature_extractor.sampling_rate, []
        for index, (source, source_rate) in enumerate(sounds):
            try:
                waveforms.append(load_sound(source, sampling_rate=rate, source_rate=source_rate))
            except ValueError as error:
                raise type(error)(f"sound {index}: {error}") from error
        # Only what was meant for the sound gets here: a flat `padding` or `max_length` would cut it.
        audio_kwargs = {name: value for name, value in audio_kwargs.items() if name != "load_audio_backend"}
        features = self.feature_extractor(waveforms, **{**audio_kwargs, "sampling_rate": rate, "return_tensors": "np"})
        # Some extractors call their mask like the text's, which it would overwrite.
        names = {"attention_mask": "input_features_mask"}
        return {names.get(name, name): value for name, value in features.items()}

    def _encode(
        self,
        images: Any,
        texts: list[str] | None,
        plan: SoundPlan,
        features: dict[str, Any],
        sound_patches: str,
        sound_top_k: Any,
        kwargs: dict[str, Any],
    ) -> BatchFeature:
        """The batch, from prompts that hold one `<image>` for each slot of `plan`."""
        stock = self.stock_processor
        merged = stock._merge_kwargs(
            stock.valid_processor_kwargs,  # type: ignore[arg-type]
            tokenizer_init_kwargs=self.tokenizer.init_kwargs,
            **kwargs,
        )
        pictures, slots = _flat(images), plan.slots
        expected = sum(slot.has_image for slot in slots)
        if expected != len(pictures):
            raise ValueError(f"{len(pictures)} images, but the prompts have {expected} {self.image_token}.")
        image_inputs = self.image_processor(pictures, **merged["images_kwargs"]) if pictures else {}
        anyres = self.llava_variant == "llava_next"
        geometries = slot_geometries(slots, image_inputs, self.image_processor, self.patch_size, anyres)
        budgets = slot_budgets(sound_top_k, plan, geometries, self.patch_budget_scope, self.sound_top_k)
        if sound_patches == "zero":
            budgets = [-1] * len(slots)
            if sound_top_k is not None:
                logger.warning_once(
                    "In zero mode the number of tokens does not depend on k: pass `sound_top_k` to the model "
                    "(`generate(..., sound_top_k=...)`), or `sound_patches='drop'` to the processor."
                )
        text_inputs = {}
        counts = slot_token_counts(
            slots,
            geometries,
            budgets,
            scope=self.patch_budget_scope,
            select_strategy=self.vision_feature_select_strategy,
            sound_select_strategy=self.sound_select_strategy,
        )
        if texts is not None:
            text_inputs = self._tokenize(texts, plan, counts, merged)
        rows = iter(range(len(pictures)))
        pairs = [(next(rows) if slot.has_image else -1, slot.sound) for slot in slots]
        data = {
            **text_inputs,
            **image_inputs,
            **features,
            "sound_slots": np.array(pairs, dtype=np.int64),
            "sound_budget": np.array(budgets, dtype=np.int64),
        }
        return_tensors = merged["text_kwargs"].get("return_tensors")
        return BatchFeature(data, tensor_type=return_tensors, skip_tensor_conversion=self.skip_tensor_conversion)

    def _tokenize(
        self, texts: list[str], plan: SoundPlan, counts: Sequence[int], merged: dict[str, Any]
    ) -> dict[str, Any]:
        for index, (text, sample) in enumerate(zip(texts, plan.samples, strict=True)):
            self._markers.check_slots(text, sample, f"sample {index}")
        text_kwargs = merged["text_kwargs"]
        # Flat in newer versions of transformers, among the text's in older ones.
        with_types, with_offsets = (
            text_kwargs.pop(name, merged.get(name, False))
            for name in ("return_mm_token_type_ids", "return_text_replacement_offsets")
        )
        expanded, offsets = self.get_text_with_replacements(list(texts), [self.image_token * count for count in counts])
        text_inputs = dict(self.tokenizer(expanded, **text_kwargs))
        found = [int((np.asarray(ids) == self.image_token_id).sum()) for ids in text_inputs["input_ids"]]
        check_truncation(found, plan, counts, text_kwargs.get("max_length") or self.tokenizer.model_max_length)
        if with_offsets:
            text_inputs["text_replacement_offsets"] = offsets
        if with_types:
            text_inputs["mm_token_type_ids"] = self.create_mm_token_type_ids(text_inputs["input_ids"])
        return text_inputs

    def apply_chat_template(  # type: ignore[override]
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
        Render one conversation, or several, with parts of type `image`, `audio`, `video` and `text`.

        The template sees image and text parts only: a video part is its frame(s), and an audio part a picture without
        pixels, or nothing where the conversation has images. A video's sound belongs to its frames; audio parts belong
        to the other images, one for all of them or one each, in order; `{"type": "audio", "audio": None}` leaves
        one silent. An audio part takes `path`, `url`, `audio`, `array` (with `sampling_rate`), `bytes` or `base64`;
        a video part takes `path`, `url`, `video` or `bytes`, and `frame`, `num_frames`, `load_audio` of its own.

        Args:
            conversation: A list of messages, or a list of such lists. Messages are dictionaries, dataclasses or
                pydantic models.
            tokenize (`bool`, *optional*, defaults to `False`): Whether to run the processor. Otherwise the prompt
                comes back with `<image>` and `<audio>` in it, and no file is opened.
            frame (`str` or `float`, *optional*, defaults to `"middle"`): `middle`, `first` or seconds.
            num_frames (`int`, *optional*, defaults to 1): Frames of each video.
            load_audio_from_video (`bool`, *optional*, defaults to `True`): False takes videos without their sound.
            processor_kwargs (`dict`, *optional*): Arguments of `__call__`, such as `sound_patches`.
            kwargs: Those of `ProcessorMixin.apply_chat_template`.

        Returns:
            As `ProcessorMixin.apply_chat_template`: text, ids (`tokenize=True`) or a `BatchFeature`
            (`tokenize=True, return_dict=True`).

        Raises:
            ValueError: As `__call__`, and if a part has no source.
            MediaError: If a file cannot be read, or a video has no sound or no picture.
        """
        processor_kwargs = {**(processor_kwargs or {}), **take_call_arguments(kwargs, self.image_processor)}
        rates = (processor_kwargs.get("audio_kwargs") or {}, processor_kwargs)
        options = ChatOptions(
            load=tokenize,
            frame=processor_kwargs.pop("frame", frame),
            num_frames=processor_kwargs.pop("num_frames", num_frames),
            load_audio=processor_kwargs.pop("load_audio_from_video", load_audio_from_video),
            sampling_rate=self.feature_extractor.sampling_rate,
            source_rate=next((rate for r in rates if (rate := r.get("sampling_rate")) is not None), None),
            audio_token=None if kwargs.get("sanitize_control_tokens") else self.audio_token,
        )
        batched = is_batched(conversation)
        rewritten, plan = rewrite_conversations(conversation if batched else [conversation], options)
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

        The space between the two is left out of both, so that no answer begins with it.

        Args:
            generated_outputs: Ids `(batch, sequence)` or `(sequence,)`.
            skip_special_tokens, **kwargs: Those of the tokenizer's `decode`.

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
        """What the chat template writes between a question and its answer: "ASSISTANT:"."""
        if self.chat_template is None:
            return ""
        question = "?"
        prompt = super().apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        return prompt.rpartition(question)[2].strip()

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """Placeholders of silent images of `(height, width)`."""
        stock: Any = self.stock_processor
        return stock._get_num_multimodal_tokens(image_sizes=image_sizes, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return list(dict.fromkeys([*super().model_input_names, "sound_slots", "sound_budget"]))


def _as_list(text: Any) -> list[str] | None:
    if text is None:
        return None
    texts = [text] if isinstance(text, str) else list(text)
    if not all(isinstance(sample, str) for sample in texts):
        raise ValueError("`text` must be a string or a list of strings.")
    return texts


def _without_none(images: Any) -> Any:
    if not isinstance(images, (list, tuple)):
        return images
    if any(isinstance(entry, (list, tuple)) for entry in images):
        return [[] if entry is None else entry for entry in images] if any(images) else None
    return [entry for entry in images if entry is not None] or None


def _flat(images: Any) -> list[Any]:
    return [] if images is None else list(make_flat_list_of_images(images))  # type: ignore[arg-type]


AutoProcessor.register(SoundLlavaConfig, SoundLlavaProcessor, exist_ok=True)

__all__ = ["SoundLlavaProcessor"]
