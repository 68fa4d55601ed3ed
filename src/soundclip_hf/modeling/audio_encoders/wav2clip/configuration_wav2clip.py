"""Configuration of `Wav2ClipModel`."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from ...checkpoint_names import CheckpointNameMixin


@strict
class Wav2ClipConfig(CheckpointNameMixin, PreTrainedConfig):
    r"""
    Shape of Wav2CLIP's ResNet-18; the defaults are those of the released checkpoint.

    Args:
        num_frequency_bins (`int`, *optional*, defaults to 257):
            Bins of the spectrogram: half of the 512-point FFT, plus one.
        depths (`tuple[int]`, *optional*, defaults to `(2, 2, 2, 2)`):
            Blocks of the four stages.
        channels (`tuple[int]`, *optional*, defaults to `(64, 128, 256, 512)`):
            Their widths.
        projection_dim (`int`, *optional*, defaults to 512):
            Width of the two linear layers behind the network; `d_a`.
    """

    model_type = "wav2clip"

    num_frequency_bins: int = 257
    depths: list[int] | tuple[int, ...] = (2, 2, 2, 2)
    channels: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    projection_dim: int = 512
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not len(self.depths) == len(self.channels) == 4:
            raise ValueError(f"depths={self.depths}, channels={self.channels}: there are four stages.")

    @property
    def embedding_dim(self) -> int:
        """Width `d_a` of `pooler_output`."""
        return self.projection_dim


AutoConfig.register(Wav2ClipConfig.model_type, Wav2ClipConfig, exist_ok=True)

__all__ = ["Wav2ClipConfig"]
