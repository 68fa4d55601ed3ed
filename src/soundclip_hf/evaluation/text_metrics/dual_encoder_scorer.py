"""What CLIPScore and the CLAP score do alike: the cosine of a caption's embedding and that of its picture or sound."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoProcessor

from .texts import check_predictions


class DualEncoderScorer:
    """
    Loads a dual encoder of transformers, and compares captions with media.

    Args:
        model: Hub id or folder.
        device: Where the model runs.
        batch_size: Captions or media at a time.

    Raises:
        ValueError: If the model is of another kind.
    """

    model_type: str
    # Positions of the text tower that no token can have.
    unused_positions = 0

    def __init__(self, model: str | Path, *, device: str | torch.device = "cpu", batch_size: int = 32) -> None:
        self.name = str(model)
        config = AutoConfig.from_pretrained(self.name)
        if config.model_type != self.model_type:
            raise ValueError(f"{self.name}: is a {config.model_type!r} model, expected {self.model_type!r}")
        self.processor: Any = AutoProcessor.from_pretrained(self.name)
        self.model: Any = AutoModel.from_pretrained(self.name).eval().to(device)
        self.batch_size = batch_size
        positions = config.text_config.max_position_embeddings - self.unused_positions
        self.longest = min(self.processor.tokenizer.model_max_length, positions)
        self.config: dict[str, Any] = {"model": self.name, "revision": getattr(config, "_commit_hash", None)}

    def cosines(self, predictions: Sequence[str], media: Tensor) -> tuple[list[float], int]:
        """
        The cosine of each caption and its medium, 0 for an empty caption; and how many captions were cut at the limit
        of the tokenizer, which a warning says too.

        Raises:
            ValueError: If there is no caption, the numbers differ, or an embedding is not finite.
        """
        texts = check_predictions(predictions)
        if media.ndim != 2 or len(media) != len(texts):
            raise ValueError(
                f"{len(texts)} predictions, but embeddings of shape {tuple(media.shape)}: give one for each"
            )
        found = torch.zeros(len(texts), dtype=torch.float64)
        said = [index for index, text in enumerate(texts) if text.strip()]
        tokens = self.processor.tokenizer([texts[index] for index in said], verbose=False)["input_ids"]
        cut = sum(len(ids) > self.longest for ids in tokens)
        if cut:
            warnings.warn(
                f"{cut} of {len(texts)} captions are longer than the {self.longest} tokens that {self.name} reads: the "
                "rest of them does not count",
                stacklevel=3,
            )
        embeds = self._in_batches([texts[index] for index in said], self._embed_texts, "caption")
        found[said] = (embeds * media[said].to(embeds)).sum(-1)
        return found.tolist(), cut

    def _embed_texts(self, texts: Sequence[str]) -> Tensor:
        inputs = self.processor.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        return self.model.get_text_features(**inputs.to(self.model.device)).pooler_output

    @torch.inference_mode()
    def _in_batches(self, items: Sequence[Any], embed: Callable[[Sequence[Any]], Tensor], what: str) -> Tensor:
        """Embeddings `(n, d)` float64 on the CPU, of length 1."""
        parts = [
            embed(items[start : start + self.batch_size]).double().cpu()
            for start in range(0, len(items), self.batch_size)
        ]
        if not parts:
            raise ValueError(f"0 {what}s: there is nothing to embed")
        embeds = torch.cat(parts)
        bad = (~torch.isfinite(embeds)).any(1).nonzero()[:, 0].tolist()
        if bad:
            raise ValueError(f"{self.name}: the embedding of {what} {bad[0]} is not finite")
        return F.normalize(embeds, dim=-1)


__all__ = ["DualEncoderScorer"]
