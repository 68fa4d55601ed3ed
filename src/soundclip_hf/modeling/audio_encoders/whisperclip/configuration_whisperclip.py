"""Configuration of `WhisperClipModel`: Whisper's encoder fields, and how its layers and positions become one vector."""

import os
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig, WhisperConfig

from ...checkpoint_names import CheckpointNameMixin

LayerFusion = Literal["average_all", "final", "middle", "middle_upper", "last_n", "weighted_sum"]

_ENCODER_FIELDS = (
    "num_mel_bins",
    "d_model",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_layerdrop",
    "max_source_positions",
    "activation_function",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "init_std",
    "scale_embedding",
)


@strict
class WhisperClipConfig(CheckpointNameMixin, PreTrainedConfig):
    r"""
    Whisper's encoder fields (defaults: whisper-tiny) and the pooling of section 3.2 of the paper.

    Args:
        layer_fusion (`str`, *optional*, defaults to `"average_all"`):
            Which layers become `z_a`. `average_all`: mean over layers 1..L, without the embedding output, the last one
            after the final LayerNorm (the literal reading of `z_a = 1/L sum_i MeanTime(H^(i))`). `final`: layer L.
            `middle`: layer L // 2, counted from 1. `middle_upper`: layer L // 2 + 1. `last_n`: mean of the last
            `layer_fusion_n` layers. `weighted_sum`: softmax of L learned logits.
        layer_fusion_n (`int`, *optional*, defaults to 1):
            Number of layers of `last_n`, in 1..L.
        time_pooling (`str`, *optional*, defaults to `"all"`):
            `all` averages all positions of the window (of a 3-s clip padded to 30 s, 90 % are padding: the literal
            reading). `valid` averages the positions that hold sound.
        window (`str`, *optional*, defaults to `"pad30"`):
            `pad30` encodes 30 s as Whisper was trained; `short` encodes only the real frames. A different number, not
            an approximation.
    """

    model_type = "whisper_clip"
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
        "num_attention_heads": "encoder_attention_heads",
    }

    num_mel_bins: int = 80
    d_model: int = 384
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    encoder_ffn_dim: int = 1536
    encoder_layerdrop: float | int = 0.0
    max_source_positions: int = 1500
    activation_function: str = "gelu"
    dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    activation_dropout: float | int = 0.0
    init_std: float = 0.02
    scale_embedding: bool = False
    layer_fusion: LayerFusion = "average_all"
    layer_fusion_n: int = 1
    time_pooling: Literal["all", "valid"] = "all"
    window: Literal["pad30", "short"] = "pad30"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not 1 <= self.layer_fusion_n <= self.encoder_layers:
            raise ValueError(
                f"layer_fusion_n={self.layer_fusion_n}: must be in 1..{self.encoder_layers} (encoder_layers)."
            )

    @property
    def embedding_dim(self) -> int:
        """Width `d_a` of `pooler_output`."""
        return self.d_model

    @classmethod
    def from_whisper_config(cls, config: WhisperConfig | dict[str, Any], **kwargs: Any) -> "WhisperClipConfig":
        """Take the encoder's fields of a Whisper configuration; `kwargs` set the fusion, pooling and window fields."""
        values = config if isinstance(config, dict) else config.to_dict()
        return cls(**{name: values[name] for name in _ENCODER_FIELDS if name in values}, **kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        values, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        # A Whisper checkpoint's own config.json: take its encoder and leave decoder and generation fields behind.
        if values.get("model_type") == WhisperConfig.model_type:
            dtype = values.get("dtype", values.get("torch_dtype"))
            values = {**cls.from_whisper_config(values).to_dict(), "dtype": dtype}
        return values, kwargs

    def to_whisper_config(self) -> WhisperConfig:
        """The configuration of the stock `WhisperEncoder` inside the model."""
        return WhisperConfig(**{name: getattr(self, name) for name in _ENCODER_FIELDS})


__all__ = ["WhisperClipConfig"]
