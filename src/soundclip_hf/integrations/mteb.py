"""The dual encoder as a model that mteb (2.10 and later) evaluates, with its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..extras import require
from ..modeling.checkpoint_names import checkpoint_name
from .samples import MODALITIES
from .sentence_transformers import load_sentence_transformer

require("mteb", what="the integration with mteb")
from mteb.models import ModelMeta  # noqa: E402
from mteb.models.abs_encoder import AbsEncoder  # noqa: E402


class SoundClipEncoder(AbsEncoder):
    """
    Embeds the sounds, pictures and videos of a task: `mteb.evaluate(SoundClipEncoder("org/model"), tasks)`.

    An embedding is that of [`SoundClipModule`]: of an input with a sound and a picture (or a video) the normalised sum
    of both. mteb gives a video as its pictures, and its sound as an input of its own.

    Args:
        model_name: Repository or folder of a dual encoder, a SoundLlava or an adapter; the name of a bundled model,
            too.
        revision: Of the repository.
        device: Where it runs; None takes the accelerator, if there is one.
        path: Where the model is, if `model_name` is only the name that mteb lists it under.
        frame, num_frames: Which pictures of a video are embedded, as `SoundClipProcessor` takes them.
        **kwargs: See [`~sentence_transformers.SoundClipModule.load`].

    Raises:
        OSError: If the repository or a file of it cannot be found.
        ValueError: If it does not hold a dual encoder.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None = None,
        device: str | None = None,
        *,
        path: str | None = None,
        frame: str | float = "middle",
        num_frames: int = 1,
        **kwargs: Any,
    ) -> None:
        self.model = load_sentence_transformer(path or model_name, revision=revision, device=device, **kwargs)
        self._options = {"video": {"frame": frame, "num_frames": num_frames}}
        weights = [*self.model.parameters()]
        found = {
            "n_parameters": sum(weight.numel() for weight in weights),
            "memory_usage_mb": sum(weight.numel() * weight.element_size() for weight in weights) / 2**20,
            "embed_dim": self.model.get_embedding_dimension(),
        }
        self.mteb_model_meta = model_meta(path or model_name, revision, **found)

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """
        Args:
            inputs: Batches: for each modality a list of sounds, pictures or videos.
            task_metadata, hf_split, hf_subset, prompt_type: Of the task, for messages.
            **kwargs: `batch_size` and `show_progress_bar`, which the batches decide already.

        Returns:
            `(inputs, dim)` float32, each of length 1.

        Raises:
            ValueError: If the task asks for the embedding of a text.
        """
        rows = []
        for batch in inputs:
            columns = {name: batch[name] for name in MODALITIES if name in batch}
            if "text" in batch or not columns:
                raise ValueError(
                    f"{task_metadata.name}: its inputs are {', '.join(batch)}; a dual encoder embeds "
                    f"{', '.join(MODALITIES)}, and has no text tower. Leave the task out."
                )
            samples = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
            rows.append(
                self.model.encode(
                    samples, batch_size=len(samples), show_progress_bar=False, processing_kwargs=self._options
                )
            )
        return np.concatenate(rows)


def model_meta(model_name: str, revision: str | None = None, **fields: Any) -> ModelMeta:
    """
    What mteb wants to know about a model. `mteb.evaluate` takes it in place of the model, and loads it then.

    Args:
        model_name: As in [`SoundClipEncoder`]. mteb lists an id of the Hub under this name, and a folder or a bundled
            model as "soundclip-hf/" with the last part of its name.
        revision: Of the repository.
        **fields: Of `mteb.ModelMeta`, such as `license`, `training_datasets` or `release_date`, which stay unknown
            otherwise.
    """
    found, own_revision = checkpoint_name(model_name)
    is_id = not Path(found).exists()
    name = str(found) if is_id else model_name
    values: dict[str, Any] = {
        "loader": SoundClipEncoder,
        "name": name if is_id else f"soundclip-hf/{Path(name).name}",
        "loader_kwargs": {} if is_id else {"path": name},
        "revision": revision or own_revision,
        "release_date": None,
        "languages": None,
        "n_parameters": None,
        "memory_usage_mb": None,
        "max_tokens": None,
        "embed_dim": None,
        "license": None,
        "open_weights": True,
        "public_training_code": None,
        "public_training_data": None,
        "framework": ["PyTorch", "Transformers", "Sentence Transformers", "safetensors"],
        "similarity_fn_name": "cosine",
        "use_instructions": False,
        "training_datasets": None,
        "modalities": [*MODALITIES],
    }
    return ModelMeta(**{**values, **fields})


__all__ = ["SoundClipEncoder", "model_meta"]
