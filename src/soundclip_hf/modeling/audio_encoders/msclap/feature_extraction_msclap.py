"""Feature extractor of `MsClapModel`: log-mel windows of seven seconds at 44.1 kHz."""

from typing import Any

import numpy as np
from transformers import AutoFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from ..clap.feature_extraction_clap import SoundClapFeatureExtractor
from .configuration_msclap import MsClapConfig

# (mel_sampling_rate, frequency_max): what the original's code builds, and what its yaml file and paper say.
_KNOWN_FILTERS = ((32000, 14000), (44100, 8000), (44100, 14000))


class MsClapFeatureExtractor(SoundClapFeatureExtractor):
    r"""
    The features of Microsoft's CLAP of 2023, without its randomness: a sound shorter than `max_length_s` is repeated
    and cut to that length (`repeat`), a longer one is cut into consecutive windows, the last one partial and then
    repeated, where the original takes one window at a random place. A rest shorter than one frame (`fft_window_size`
    samples) is left out. The model averages `z_a` over the windows.

    The sound is at 44.1 kHz, but the original builds its mel filters for 32 kHz and 50 to 14000 Hz (`models/config.py`;
    microsoft/CLAP issue 38), while its `config_2023.yml` and paper say 44.1 kHz and 8000 Hz. The default is what the
    code builds. A checkpoint that stores its filters (`logmel_extractor.melW`) decides: see `from_mel_filters`.

    Args:
        mel_sampling_rate (`int`, *optional*, defaults to 32000):
            The rate that the mel filters are built for.
        **kwargs: Those of `SoundClapFeatureExtractor`.
    """

    def __init__(
        self,
        sampling_rate: int = 44100,
        hop_length: int = 320,
        max_length_s: int = 7,
        frequency_max: float = 14000,
        padding: str = "repeat",
        mel_sampling_rate: int = 32000,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            sampling_rate=sampling_rate,
            hop_length=hop_length,
            max_length_s=max_length_s,
            frequency_max=frequency_max,
            padding=padding,
            **kwargs,
        )
        self.mel_sampling_rate = mel_sampling_rate
        self.mel_filters_slaney = mel_filter_bank(
            num_frequency_bins=self.nb_frequency_bins,
            num_mel_filters=self.feature_size,
            min_frequency=self.frequency_min,
            max_frequency=frequency_max,
            sampling_rate=mel_sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )

    @classmethod
    def from_mel_filters(cls, filters: np.ndarray) -> "MsClapFeatureExtractor":
        """
        The extractor whose mel filters are those of a checkpoint.

        Args:
            filters (`np.ndarray` of shape `(513, 64)`): The checkpoint's `logmel_extractor.melW`.

        Raises:
            ValueError: If they are none of the known ones.
        """
        for mel_sampling_rate, frequency_max in _KNOWN_FILTERS:
            extractor = cls(mel_sampling_rate=mel_sampling_rate, frequency_max=frequency_max)
            own = extractor.mel_filters_slaney
            if own.shape == filters.shape and np.allclose(own, filters, rtol=1e-3, atol=1e-5 * own.max()):
                return extractor
        known = ", ".join(f"{rate} Hz and 50 to {top} Hz" for rate, top in _KNOWN_FILTERS)
        raise ValueError(f"mel filters of shape {filters.shape} are none of those known for this encoder: {known}.")


AutoFeatureExtractor.register(MsClapConfig, MsClapFeatureExtractor, exist_ok=True)

__all__ = ["MsClapFeatureExtractor"]
