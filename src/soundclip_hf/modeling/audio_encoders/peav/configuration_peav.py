"""Configuration of `PeAvAudioModel`: the fields of PE-AV's audio encoder and the width of its contrastive head."""

import os
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PeAudioEncoderConfig

from ...checkpoint_names import CheckpointNameMixin

_NOT_OURS = ("model_type", "architectures", "transformers_version", "_name_or_path")
_TEXT_WIDTH = 1024  # of PE-AV's default text encoder, which a repository's configuration may leave unsaid


@strict
class PeAvAudioConfig(CheckpointNameMixin, PeAudioEncoderConfig):
    r"""
    Fields and defaults of `PeAudioEncoderConfig` (facebook/pe-av-large), and:

    Args:
        projection_dim (`int`, *optional*, defaults to 1024):
            Width of the contrastive head: that of PE-AV's text encoder.
    """

    model_type = "pe_av_audio"
    base_config_key = ""

    projection_dim: int = _TEXT_WIDTH

    @property
    def embedding_dim(self) -> int:
        """Width `d_a` of `pooler_output`."""
        return self.projection_dim

    @property
    def hop_length(self) -> int:
        """Samples of one frame (1920: 40 ms)."""
        return self.dac_config.hop_length

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        values, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if values.get("model_type") in ("pe_audio", "pe_audio_video"):
            # A repository of the whole model: take its audio encoder.
            whole = values.get("audio_video_config") or values
            audio = {key: value for key, value in (whole.get("audio_config") or {}).items() if key not in _NOT_OURS}
            width = (values.get("text_config") or {}).get("hidden_size", _TEXT_WIDTH)
            dtype = values.get("dtype", values.get("torch_dtype"))
            values = {**audio, "projection_dim": width, "dtype": dtype, "model_type": cls.model_type}
        return values, kwargs


AutoConfig.register(PeAvAudioConfig.model_type, PeAvAudioConfig, exist_ok=True)

__all__ = ["PeAvAudioConfig"]
