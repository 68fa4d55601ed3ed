"""Processor of `SoundClipModel`: sounds, images and clips to tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoProcessor, BatchFeature, CLIPImageProcessor, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images

from ..media import Clip, MediaError, load_pictures, read_clip
from .checkpoint_names import CheckpointNameMixin
from .configuration_soundclip import SoundClipConfig
from .prompts.arguments import as_int, check_nested_arguments
from .prompts.picture_settings import check_picture_settings
from .pushing.mixins import ProcessorPushMixin
from .slots.pairing import is_sound
from .sound_inputs import sound_inputs


class SoundClipProcessor(ProcessorPushMixin, CheckpointNameMixin, ProcessorMixin):
    r"""
    A CLIP image processor and the feature extractor of an audio encoder. `from_pretrained` also reads the processor of
    a SoundLlava or of an adapter.

    Args:
        image_processor:
            That of the vision tower. Of LLaVA-1.6's only the base view is used: the whole image at the tower's size.
        feature_extractor:
            That of the audio encoder.

    Raises:
        ValueError: If a setting of the image processor cannot be used.
    """

    def __init__(self, image_processor: Any = None, feature_extractor: Any = None) -> None:
        if hasattr(image_processor, "image_grid_pinpoints"):
            image_processor = _base_view(image_processor)
        check_picture_settings(image_processor)
        super().__init__(image_processor, feature_extractor)

    def __call__(
        self,
        audio: Any = None,
        images: Any = None,
        videos: Any = None,
        *,
        sampling_rate: int | None = None,
        frame: str | float = "middle",
        num_frames: int = 1,
        return_tensors: str | None = None,
        audio_kwargs: dict[str, Any] | None = None,
        images_kwargs: dict[str, Any] | None = None,
        videos_kwargs: dict[str, Any] | None = None,
        text_kwargs: dict[str, Any] | None = None,
        common_kwargs: dict[str, Any] | None = None,
    ) -> BatchFeature:
        r"""
        Args:
            audio:
                One sound or a list: paths, URLs, bytes, arrays (with `sampling_rate`), `(array, rate)`, datasets-style
                dicts or torchcodec decoders; each is resampled to the feature extractor's rate and mixed to mono. A
                clip's path gives its sound.
            images:
                One picture or a list: PIL, arrays, tensors, paths, URLs or bytes. Lists of equally many frames give
                `(clips, frames, …)`, whose features the model averages.
            videos:
                One clip or a list, in place of `audio` and `images`: paths, URLs or bytes of files with both, or
                `Clip`s from `read_clip`. Row i of the sounds then belongs to row i of the pictures.
            sampling_rate (`int`, *optional*):
                The rate of bare arrays.
            frame (`str` or `float`, *optional*, defaults to `"middle"`):
                The picture of a clip: `middle`, `first` or seconds.
            num_frames (`int`, *optional*, defaults to 1):
                Evenly spaced frames of each clip in place of `frame`.
            return_tensors (`str`, *optional*):
                `pt` or `np`.
            audio_kwargs, images_kwargs (`dict`, *optional*):
                Arguments of the feature extractor and of the image processor. A `sampling_rate` in `audio_kwargs` is
                that of bare arrays.
            videos_kwargs (`dict`, *optional*):
                `frame` and `num_frames`. The pictures of clips are processed with `images_kwargs`, their sounds with
                `audio_kwargs`.
            common_kwargs (`dict`, *optional*):
                `return_tensors`.
            text_kwargs (`dict`, *optional*):
                Arguments of a tokenizer, which callers of any processor pass; there is no text, and they have no
                effect.

        Returns:
            `BatchFeature`: `input_features` `(sounds, windows, …)` and `input_features_mask`, where there are sounds;
            `pixel_values` `(images, 3, height, width)` or `(clips, frames, 3, height, width)`, where there are
            pictures.

        Raises:
            ValueError: If there is nothing to process, a sound cannot be used, clips are mixed with other media, or
                they have unequal numbers of frames; for an argument in `videos_kwargs` or `common_kwargs` that
                transformers knows and that would not be used here. `MediaError`, one of them, names the file that
                cannot be read.
            TypeError: For an unknown argument, also inside a dictionary of arguments.
        """
        check_nested_arguments(
            {
                "text_kwargs": text_kwargs,
                "images_kwargs": images_kwargs,
                "audio_kwargs": audio_kwargs,
                "videos_kwargs": videos_kwargs,
                "common_kwargs": common_kwargs,
            },
            self.image_processor,
            self.feature_extractor,
        )
        _refuse_unused("videos_kwargs", videos_kwargs, {"frame", "num_frames"})
        _refuse_unused("common_kwargs", common_kwargs, {"return_tensors"})
        audio_kwargs, videos_kwargs = dict(audio_kwargs or {}), videos_kwargs or {}
        sampling_rate = audio_kwargs.pop("sampling_rate", sampling_rate)
        frame, num_frames = videos_kwargs.get("frame", frame), videos_kwargs.get("num_frames", num_frames)
        return_tensors = return_tensors or (common_kwargs or {}).get("return_tensors")
        if videos is not None:
            if audio is not None or images is not None:
                raise ValueError("Pass `videos`, which have both, or `audio` and `images`; not all of them.")
            audio, images = self._open(videos, frame, as_int("num_frames", num_frames, 1))
            sampling_rate = self.feature_extractor.sampling_rate
        if audio is None and images is None:
            raise ValueError("Nothing to process: pass `audio`, `images` or `videos`.")
        data: dict[str, Any] = {}
        if audio is not None:
            data |= self._sounds(audio, sampling_rate, audio_kwargs)
        if images is not None:
            data |= self._pictures(images, images_kwargs or {})
        return BatchFeature(data, tensor_type=return_tensors)

    def _open(self, videos: Any, frame: str | float, num_frames: int) -> tuple[list[Any], list[Any]]:
        rate = self.feature_extractor.sampling_rate
        sounds, pictures = [], []
        for source in videos if isinstance(videos, (list, tuple)) else [videos]:
            clip = source
            if not isinstance(source, Clip):
                clip = read_clip(source, frame=frame, sampling_rate=rate, frames=num_frames)
            if clip.waveform is None or clip.frame is None:
                missing = "audio" if clip.waveform is None else "video"
                raise MediaError(f"{clip.path}: has no {missing} stream; pass its other half as `audio` or `images`")
            sounds.append((clip.waveform, clip.sampling_rate))
            pictures.append(list(clip.frames) if len(clip.frames) > 1 else clip.frame)
        return sounds, pictures

    def _sounds(self, audio: Any, source_rate: int | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        if is_sound(audio):
            audio = [audio]
        sounds = [(source, source_rate) for source in audio]
        if not sounds:
            raise ValueError("`audio` is an empty list: pass at least one sound, or leave it out.")
        return sound_inputs(self.feature_extractor, sounds, kwargs)

    def _pictures(self, images: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        nested = isinstance(images, (list, tuple)) and any(isinstance(entry, (list, tuple)) for entry in images)
        frames = _frames_per_clip(images) if nested else 1
        images = self.image_processor.fetch_images(load_pictures(images))
        pictures = list(make_flat_list_of_images(images))
        pixels = self.image_processor(pictures, **{**kwargs, "return_tensors": "np"})["pixel_values"]
        if nested:
            pixels = np.asarray(pixels).reshape(-1, frames, *pixels.shape[1:])
        return {"pixel_values": pixels}

    @property
    def model_input_names(self) -> list[str]:
        return ["input_features", "input_features_mask", "pixel_values"]


def _refuse_unused(where: str, arguments: dict[str, Any] | None, used: set[str]) -> None:
    """Arguments of other processors, which would change what they return. `None` leaves a choice to the processor."""
    for name, value in (arguments or {}).items():
        if name not in used and value is not None:
            raise ValueError(
                f"{name}={value!r} in {where} would not be used: {where} takes {' and '.join(sorted(used))}. Give "
                "settings of pictures in images_kwargs, and of sounds in audio_kwargs."
            )


def _frames_per_clip(images: Sequence[Any]) -> int:
    counts = {len(entry) if isinstance(entry, (list, tuple)) else 1 for entry in images}
    if len(counts) > 1 or counts == {0}:
        raise ValueError(f"`images` has clips of {sorted(counts)} frames: pass equally many of each, at least one.")
    return counts.pop()


def _base_view(image_processor: Any) -> CLIPImageProcessor:
    """An image processor that gives the first view of LLaVA-1.6's: the whole image, resized to a square."""
    size, crop = image_processor.size, image_processor.crop_size
    edge = size.get("shortest_edge")
    height, width = (edge, edge) if edge else (size["height"], size["width"])
    return CLIPImageProcessor(
        do_resize=image_processor.do_resize,
        size={"height": height, "width": width},
        resample=image_processor.resample,
        do_center_crop=image_processor.do_center_crop,
        crop_size={"height": crop["height"], "width": crop["width"]},
        do_rescale=image_processor.do_rescale,
        rescale_factor=image_processor.rescale_factor,
        do_normalize=image_processor.do_normalize,
        image_mean=image_processor.image_mean,
        image_std=image_processor.image_std,
        do_convert_rgb=image_processor.do_convert_rgb,
    )


AutoProcessor.register(SoundClipConfig, SoundClipProcessor, exist_ok=True)

__all__ = ["SoundClipProcessor"]
