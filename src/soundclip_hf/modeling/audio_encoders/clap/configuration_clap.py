"""Configuration of `SoundClapModel`: the fields of CLAP's audio tower."""

import os
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, ClapAudioConfig, ClapConfig

from ...checkpoint_names import CheckpointNameMixin

_NOT_OURS = ("model_type", "architectures", "transformers_version", "_name_or_path")


@strict
class SoundClapConfig(CheckpointNameMixin, ClapAudioConfig):
    r"""
    Fields and defaults of `ClapAudioConfig` (laion/clap-htsat-unfused). laion/larger_clap_general has
    `patch_embeds_hidden_size=128, depths=[2, 2, 12, 2], hidden_size=1024`.

    Only the unfused checkpoints are supported: fusion stacks crops at random places, so that a sound would have no
    embedding of its own.
    """

    model_type = "sound_clap"
    base_config_key = ""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.enable_fusion:
            raise ValueError(
                "enable_fusion=True: fused CLAP checkpoints embed random crops and are not supported; use an unfused "
                "one, such as laion/clap-htsat-unfused or laion/larger_clap_general."
            )

    @property
    def embedding_dim(self) -> int:
        """Width `d_a` of `pooler_output`."""
        return self.projection_dim

    @classmethod
    def from_clap_config(cls, config: ClapConfig | ClapAudioConfig | dict[str, Any]) -> "SoundClapConfig":
        """Take the audio part of a CLAP configuration, or of its dictionary."""
        return cls(**_audio_fields(config if isinstance(config, dict) else config.to_dict()))

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        values, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if values.get("model_type") in (ClapConfig.model_type, ClapAudioConfig.model_type):
            dtype = values.get("dtype", values.get("torch_dtype"))
            values = {**_audio_fields(values), "dtype": dtype, "model_type": cls.model_type}
        return values, kwargs


def _audio_fields(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("model_type") == ClapConfig.model_type:
        # The whole model's configuration hands its projection on to both towers.
        values = ClapConfig.from_dict(values).audio_config.to_dict()
    return {name: value for name, value in values.items() if name not in _NOT_OURS}


AutoConfig.register(SoundClapConfig.model_type, SoundClapConfig, exist_ok=True)

__all__ = ["SoundClapConfig"]
