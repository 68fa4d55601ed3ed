"""Configuration of `ImageBindAudioModel`."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from ...checkpoint_names import CheckpointNameMixin


@strict
class ImageBindAudioConfig(CheckpointNameMixin, PreTrainedConfig):
    r"""
    Shape of ImageBind's audio trunk; the defaults are those of the released checkpoint (imagebind_huge).

    Args:
        num_mel_bins (`int`, *optional*, defaults to 128):
            Mel bins of a clip.
        num_frames (`int`, *optional*, defaults to 204):
            Frames of a clip, padding included.
        patch_size (`int`, *optional*, defaults to 16):
            Side of the square patches.
        patch_stride (`int`, *optional*, defaults to 10):
            Step between patches on both axes: they overlap.
        hidden_size (`int`, *optional*, defaults to 768):
            Width of the trunk.
        intermediate_size (`int`, *optional*, defaults to 3072):
            Width inside the blocks' MLPs.
        num_hidden_layers (`int`, *optional*, defaults to 12):
            Number of blocks.
        num_attention_heads (`int`, *optional*, defaults to 12):
            Heads of each attention.
        layer_norm_eps (`float`, *optional*, defaults to 1e-6):
            Epsilon of the blocks' and the head's LayerNorm.
        patch_norm_eps (`float`, *optional*, defaults to 1e-5):
            Epsilon of the LayerNorm on the patches.
        projection_dim (`int`, *optional*, defaults to 1024):
            Width of the embedding; `d_a`.
        logit_scale (`float`, *optional*, defaults to 20.0):
            Length of a clip's embedding in a fresh model; checkpoints bring their own.
        max_logit_scale (`float`, *optional*, defaults to 100.0):
            The most that this length can be.
    """

    model_type = "imagebind_audio"

    num_mel_bins: int = 128
    num_frames: int = 204
    patch_size: int = 16
    patch_stride: int = 10
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    layer_norm_eps: float = 1e-6
    patch_norm_eps: float = 1e-5
    projection_dim: int = 1024
    logit_scale: float = 20.0
    max_logit_scale: float = 100.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size}: not a multiple of num_attention_heads={self.num_attention_heads}."
            )
        if min(self.num_mel_bins, self.num_frames) < self.patch_size:
            raise ValueError(
                f"num_mel_bins={self.num_mel_bins}, num_frames={self.num_frames}: smaller than one patch of "
                f"{self.patch_size}."
            )

    @property
    def embedding_dim(self) -> int:
        """Width `d_a` of `pooler_output`."""
        return self.projection_dim

    @property
    def num_patches(self) -> int:
        """Patches of a clip, without CLS."""
        rows, columns = (
            (size - self.patch_size) // self.patch_stride + 1 for size in (self.num_mel_bins, self.num_frames)
        )
        return rows * columns


AutoConfig.register(ImageBindAudioConfig.model_type, ImageBindAudioConfig, exist_ok=True)

__all__ = ["ImageBindAudioConfig"]
