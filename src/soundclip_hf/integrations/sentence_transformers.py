"""The dual encoder as a module of sentence-transformers (5.6 and later). Needs the `st` extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..extras import require
from ..modeling.modeling_soundclip import SoundClipModel
from ..modeling.processing_soundclip import SoundClipProcessor
from .samples import MODALITIES, read_samples

require("sentence_transformers", what="the integration with sentence-transformers")
from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.base.modules import InputModule  # noqa: E402


class SoundClipModule(InputModule):
    """
    A dual encoder that embeds sounds, pictures and videos, the only module of its `SentenceTransformer`.

    An embedding is that of `SoundClipModel.get_audio_features` or `get_image_features`, normalised to length 1, in
    float32: the `audio_embeds` and `image_embeds` of the model's output. A sample with a sound and a picture gets the
    normalised sum of the two. Of a video the pictures are embedded; its sound is `{"audio": ...}` of the same file.

    Args:
        model: Of either device and dtype.
        processor: Its processor.
    """

    forward_kwargs = {"sound_alignment", "sound_alpha"}

    def __init__(self, model: SoundClipModel, processor: SoundClipProcessor) -> None:
        super().__init__()
        self.model, self.processor = model, processor

    @property
    def modalities(self) -> list[Any]:
        # "message" stands for chat messages and for batches of several modalities.
        return [*MODALITIES, "message"]

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        *,
        processing_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """
        Args:
            inputs: See [`~samples.read_samples`].
            prompt: Must be empty.
            processing_kwargs: `audio` and `image`, the arguments of the feature extractor and of the image processor
                (`{"audio": {"sampling_rate": 16000}}` is the rate of bare arrays); and `video`, `frame` and
                `num_frames` as `SoundClipProcessor` takes them.
            **kwargs: What `encode` has accepted for other modules, and for [`forward`].

        Returns:
            `input_features` and `input_features_mask` of the sounds, `pixel_values` of all frames; the samples that
            they belong to, and how many frames each picture or video has.

        Raises:
            ValueError: If a sample cannot be used, or for a prompt.
        """
        if prompt:
            raise ValueError(f"prompt={prompt!r}: a dual encoder has no text tower; leave the prompt out.")
        options = {name: dict(values) for name, values in (processing_kwargs or {}).items() if values}
        unknown = options.keys() - {*MODALITIES}
        wrong = options.get("video", {}).keys() - {"frame", "num_frames"}
        if unknown or wrong:
            where = "processing_kwargs['video']" if wrong else "processing_kwargs"
            raise ValueError(
                f"{where} has {min(wrong or unknown)!r}, which would not be used: give audio and image, with arguments "
                "of the processor, and video, with frame or num_frames."
            )
        media = read_samples(inputs, **options.get("video", {}))
        features: dict[str, Any] = {
            "samples": len(inputs),
            "sound_rows": torch.tensor(media.sound_rows, dtype=torch.long),
        }
        if media.sounds:
            features |= self.processor(media.sounds, audio_kwargs=options.get("audio"), return_tensors="pt")
        if media.pictures:
            flat = [frame for frames in media.pictures for frame in frames]
            features |= self.processor(images=flat, images_kwargs=options.get("image"), return_tensors="pt")
            features["picture_rows"] = torch.tensor(media.picture_rows, dtype=torch.long)
            features["frames"] = torch.tensor([len(frames) for frames in media.pictures])
        return features

    def forward(
        self, features: dict[str, Any], sound_alignment: str | None = None, sound_alpha: float | None = None, **_: Any
    ) -> dict[str, Tensor]:
        """
        Args:
            features: Of [`preprocess`].
            sound_alignment, sound_alpha: See `SoundClipModel.get_audio_features`.

        Returns:
            `sentence_embedding` `(samples, vision_hidden_size)`, float32, of length 1.
        """
        vectors: list[tuple[Tensor, Tensor]] = []
        if "input_features" in features:
            found = self.model.get_audio_features(
                features["input_features"], features.get("input_features_mask"), sound_alignment, sound_alpha
            )
            vectors.append((features["sound_rows"], found.pooler_output))
        if "pixel_values" in features:
            vectors += self._pictures(features["pixel_values"], features["picture_rows"], features["frames"])
        device = vectors[0][1].device
        total = torch.zeros(features["samples"], self.get_embedding_dimension(), device=device)
        media = torch.zeros(features["samples"], device=device)
        for rows, found in vectors:
            rows = rows.to(device)
            total = total.index_add(0, rows, F.normalize(found.float().to(device), dim=-1))
            media = media.index_add(0, rows, torch.ones(len(rows), device=device))
        # Of one medium, the vector as it is: a second division could move its last bit.
        return {"sentence_embedding": torch.where(media[:, None] > 1, F.normalize(total, dim=-1), total)}

    def _pictures(self, pixels: Tensor, rows: Tensor, frames: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Samples and features of pictures and videos; those with equally many frames are embedded together."""
        found, clips = [], pixels.split(frames.tolist())
        for count in frames.unique().tolist():
            chosen = (frames == count).nonzero()[:, 0]
            batch = torch.stack([clips[index] for index in chosen.tolist()])
            features = self.model.get_image_features(batch.squeeze(1) if count == 1 else batch)
            found.append((rows[chosen], features.pooler_output))
        return found

    def get_embedding_dimension(self) -> int:
        return self.model.config.vision_hidden_size

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the dual encoder and its processor, as `save_pretrained` does."""
        if not safe_serialization:
            raise ValueError("safe_serialization=False: a dual encoder is saved as safetensors only.")
        self.model.save_pretrained(output_path)
        self.processor.save_pretrained(output_path)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        *,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        backend: str = "torch",
        **kwargs: Any,
    ) -> SoundClipModule:
        """
        Load a dual encoder, or the sound parts and the vision tower of a SoundLlava or an adapter.

        Args:
            model_name_or_path: Repository or folder; the name of a bundled model, too.
            subfolder, token, cache_folder, revision, local_files_only: Of its files.
            model_kwargs, processor_kwargs: Of `from_pretrained` of `SoundClipModel` and of `SoundClipProcessor`.
            config_kwargs: Fields of `SoundClipConfig` that override those of the checkpoint, such as `alignment`.
            backend: "torch".
            init_defaults, **kwargs: What `SentenceTransformer` has for other modules, such as `trust_remote_code`: no
                code of a repository is run.

        Raises:
            OSError: If the repository or a file of it cannot be found.
            ValueError: If it does not hold a dual encoder, or for another backend.
        """
        if backend != "torch":
            raise ValueError(f"backend={backend!r}: a dual encoder runs with the backend 'torch' only.")
        name = model_name_or_path
        place = {"token": token, "cache_dir": cache_folder, "revision": revision, "subfolder": subfolder}
        hub: dict[str, Any] = {key: value for key, value in place.items() if value}
        hub["local_files_only"] = local_files_only
        model = SoundClipModel.from_pretrained(name, **hub, **(config_kwargs or {}), **(model_kwargs or {}))
        return cls(model.eval(), SoundClipProcessor.from_pretrained(name, **hub, **(processor_kwargs or {})))


def load_sentence_transformer(
    model_name_or_path: str, *, revision: str | None = None, device: str | None = None, **kwargs: Any
) -> SentenceTransformer:
    """
    A dual encoder as a `SentenceTransformer`: for any repository or folder that `SoundClipModel.from_pretrained` reads,
    also one without `modules.json`.

    `SentenceTransformer(name, trust_remote_code=True)` does the same with a folder that `save_pretrained` has written:
    sentence-transformers asks for that argument wherever `modules.json` names a class of another package. Nothing of
    the repository is executed.

    Args:
        model_name_or_path: Repository or folder of a dual encoder, a SoundLlava or an adapter; the name of a bundled
            model, too.
        revision: Of the repository.
        device: Where it runs; None takes the accelerator, if there is one.
        **kwargs: See [`SoundClipModule.load`].

    Raises:
        OSError: If the repository or a file of it cannot be found.
        ValueError: If it does not hold a dual encoder.
    """
    module = SoundClipModule.load(model_name_or_path, revision=revision, **kwargs)
    return SentenceTransformer(modules=[module], device=device)


__all__ = ["SoundClipModule", "load_sentence_transformer"]
