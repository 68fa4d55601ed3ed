"""Configuration of `AudioClipModel`."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from ...checkpoint_names import CheckpointNameMixin


@strict
class AudioClipConfig(CheckpointNameMixin, PreTrainedConfig):
    r"""
    Shape of AudioCLIP's audio head (ESResNeXt-FBSP); the defaults are those of the released checkpoints.

    Args:
        n_fft (`int`, *optional*, defaults to 2048):
            Length of the filter bank's kernels; there are `n_fft // 2 + 1` of them.
        win_length (`int`, *optional*, defaults to 1654):
            Length of a frame in samples; it lies in the middle of a kernel.
        hop_length (`int`, *optional*, defaults to 561):
            Samples from one frame to the next.
        depths (`tuple[int]`, *optional*, defaults to `(3, 4, 6, 3)`):
            Blocks of the four stages.
        channels (`tuple[int]`, *optional*, defaults to `(64, 128, 256, 512)`):
            A quarter of their output widths.
        cardinality (`int`, *optional*, defaults to 32), base_width (`int`, *optional*, defaults to 4):
            Groups of the 3x3 convolutions, and their width.
        projection_dim (`int`, *optional*, defaults to 1024):
            Width of the embedding; `d_a`.
    """

    model_type = "audioclip"

    n_fft: int = 2048
    win_length: int = 1654
    hop_length: int = 561
    depths: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    channels: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    cardinality: int = 32
    base_width: int = 4
    projection_dim: int = 1024
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not len(self.depths) == len(self.channels) == 4:
            raise ValueError(f"depths={self.depths}, channels={self.channels}: there are four stages.")
        if not self.hop_length <= self.win_length <= self.n_fft:
            raise ValueError(
                f"hop_length={self.hop_length}, win_length={self.win_length}, n_fft={self.n_fft}: each must be at most "
                "the next."
            )

    @property
    def embedding_dim(self) -> int:
        """Width `d_a` of `pooler_output`."""
        return self.projection_dim


AutoConfig.register(AudioClipConfig.model_type, AudioClipConfig, exist_ok=True)

__all__ = ["AudioClipConfig"]
