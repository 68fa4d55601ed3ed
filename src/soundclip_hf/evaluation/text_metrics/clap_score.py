"""The CLAP score: how well a caption fits a sound, by any CLAP of transformers."""

import warnings
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .dual_encoder_scorer import DualEncoderScorer
from .scores import MetricScore, mean_score


class ClapScorer(DualEncoderScorer):
    """
    The cosine of a caption's and a sound's embedding by a `ClapModel`, such as "laion/clap-htsat-unfused".

    The idea is that of metric B1 in the later protocol of the paper's authors; which CLAP they use is not public.

    CLAP's feature extractor takes a random part of a sound that is longer than its window (10 s). Here it is the middle
    part, so that the score is the same every time, and a warning counts such sounds.

    Args:
        model, device, batch_size: See `DualEncoderScorer`.

    Raises:
        ValueError: If the model is no CLAP.
    """

    model_type = "clap"
    unused_positions = 2  # the text tower is a RoBERTa: its positions begin behind that of the padding token

    @property
    def sampling_rate(self) -> int:
        """The rate of sounds for `embed_sounds`, in Hz."""
        return self.processor.feature_extractor.sampling_rate

    def embed_sounds(self, sounds: Sequence[np.ndarray]) -> Tensor:
        """
        Embeddings `(n, d)` float64 of length 1, to be used for any number of captions.

        Args:
            sounds: Waveforms `(samples,)`, float, at `sampling_rate`.

        Raises:
            ValueError: If there is no sound, one is empty or no waveform, or an embedding is not finite.
        """
        for index, sound in enumerate(sounds):
            if np.ndim(sound) != 1 or not len(sound):
                raise ValueError(f"sound {index} has shape {np.shape(sound)}, expected (samples,) with at least one")
        window = self.processor.feature_extractor.nb_max_samples
        longer = sum(len(sound) > window for sound in sounds)
        if longer:
            warnings.warn(
                f"{longer} of {len(sounds)} sounds are longer than the {window / self.sampling_rate:g} s that "
                f"{self.name} hears: their middle counts",
                stacklevel=2,
            )
        return self._in_batches([_middle(sound, window) for sound in sounds], self._embed_sounds, "sound")

    def _embed_sounds(self, sounds: Sequence[np.ndarray]) -> Tensor:
        inputs = self.processor.feature_extractor(
            list(sounds), sampling_rate=self.sampling_rate, return_tensors="pt"
        ).to(self.model.device)
        if "is_longer" in inputs:
            # The extractor of a fusion model calls one sound of a batch longer, at random, where none is.
            inputs["is_longer"] = inputs["is_longer"] & False
        return self.model.get_audio_features(**inputs).pooler_output

    def __call__(self, predictions: Sequence[str], sounds: Tensor, *, seed: int = 0) -> dict[str, MetricScore]:
        """
        Args:
            predictions: n captions; an empty one scores 0.
            sounds: Of `embed_sounds`, `(n, d)`: row i belongs to caption i.
            seed: Of the bootstrap.

        Returns:
            `{"clap_score": score}`, in -1..1; the value is the mean over items. `config["n_cut"]` counts the captions
            that were cut at the limit of the tokenizer, of which there is a warning.

        Raises:
            ValueError: If there is no caption, all are empty, the numbers differ, or an embedding is not finite.
        """
        found, cut = self.cosines(predictions, sounds)
        return {"clap_score": mean_score(found, {**self.config, "n_cut": cut}, seed=seed)}


def _middle(sound: np.ndarray, longest: int) -> np.ndarray:
    start = max(0, (len(sound) - longest) // 2)
    return sound[start : start + longest]


__all__ = ["ClapScorer"]
