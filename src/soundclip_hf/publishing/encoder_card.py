"""Writes the card of an audio encoder that is published by itself."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .card_text import inline, render, size_text
from .model_folder import EXTRACTOR_NAME, ModelFolder


def encoder_card(
    folder: ModelFolder,
    repo: str,
    *,
    revision: str = "main",
    license_name: str | None = None,
    restricted: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
) -> str:
    """
    The text of README.md; the arguments are those of `model_card`.

    Args:
        folder: Of the form "audio encoder".
    """
    from huggingface_hub import ModelCardData

    name = repo.split("/")[-1]
    config = folder.config
    about = ModelCardData(
        library_name="soundclip-hf",
        license=license_name,
        pipeline_tag="feature-extraction",
        tags=["soundclip", "audio", "audio-encoder", *tags],
    )
    return render(
        "encoder_card.md.j2",
        about,
        title=name,
        repo=repo,
        revision=None if revision == "main" else revision,
        encoder=config.model_type,
        embedding_dim=config.embedding_dim,
        parameters=sum(math.prod(shape) for shape in folder.shapes.values()),
        size=size_text(sum(path.stat().st_size for path in folder.weights.values())),
        sampling_rate=_sampling_rate(folder),
        license_name=None if license_name is None else inline(license_name),
        restricted={name: inline(terms) for name, terms in (restricted or {}).items()},
    )


def _sampling_rate(folder: ModelFolder) -> Any:
    """In Hz, of the feature extractor; None if the folder has none."""
    path = folder.others.get(EXTRACTOR_NAME)
    rate = None if path is None else json.loads(path.read_text(encoding="utf-8")).get("sampling_rate")
    return rate if isinstance(rate, int) else None


__all__ = ["encoder_card"]
