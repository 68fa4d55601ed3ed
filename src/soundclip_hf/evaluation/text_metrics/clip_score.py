"""CLIPScore: how well a caption fits a picture, by any CLIP."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .dual_encoder_scorer import DualEncoderScorer
from .scores import MetricScore, mean_score


class ClipScorer(DualEncoderScorer):
    """
    CLIPScore of a caption and a picture: `2.5 * max(cosine, 0)`. torchmetrics returns `100 * cosine`, 40 times that.

    Source: Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", 2021. They write "A
    photo depicts" before each caption; `prefix` does that, and is empty by default, as in torchmetrics.

    A LLaVA sees through a CLIP tower too, which favours captions of what that tower sees. CLIP reads 77 tokens.

    Args:
        model: Hub id or folder of a CLIP, such as "openai/clip-vit-base-patch32".
        prefix: Text before each caption.
        device, batch_size: See `DualEncoderScorer`.

    Raises:
        ValueError: If the model is no CLIP.
    """

    model_type = "clip"

    def __init__(
        self, model: str | Path, *, prefix: str = "", device: str | torch.device = "cpu", batch_size: int = 32
    ) -> None:
        super().__init__(model, device=device, batch_size=batch_size)
        self.prefix = prefix

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        """
        Embeddings `(n, d)` float64 of length 1, to be used for any number of captions.

        Raises:
            ValueError: If there is no picture, or an embedding is not finite.
        """
        return self._in_batches(pictures, self._embed_pictures, "picture")

    def _embed_pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        inputs = self.processor.image_processor(list(pictures), return_tensors="pt").to(self.model.device)
        return self.model.get_image_features(**inputs).pooler_output

    def __call__(self, predictions: Sequence[str], pictures: Tensor, *, seed: int = 0) -> dict[str, MetricScore]:
        """
        Args:
            predictions: n captions; an empty one scores 0.
            pictures: Of `embed_pictures`, `(n, d)`: row i belongs to caption i.
            seed: Of the bootstrap.

        Returns:
            `{"clipscore": score}`, in 0..2.5; the value is the mean over items. `config["n_cut"]` counts the captions
            that were cut at the limit of the tokenizer, of which there is a warning.

        Raises:
            ValueError: If there is no caption, all are empty, the numbers differ, or an embedding is not finite.
        """
        texts = [f"{self.prefix} {text}" if self.prefix and text.strip() else text for text in predictions]
        found, cut = self.cosines(texts, pictures)
        config = {**self.config, "scale": "2.5 * max(cosine, 0)", "prefix": self.prefix, "n_cut": cut}
        return {"clipscore": mean_score([2.5 * max(value, 0.0) for value in found], config, seed=seed)}


__all__ = ["ClipScorer"]
