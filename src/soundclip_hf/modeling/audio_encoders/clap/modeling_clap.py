"""CLAP of LAION: HTSAT's projected embedding of log-mel windows of ten seconds."""

from typing import Any

from torch import Tensor
from transformers import AutoModel, ClapAudioModelWithProjection
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..modeling_base import AudioEncoderPreTrainedModel
from .configuration_clap import SoundClapConfig


class SoundClapModel(AudioEncoderPreTrainedModel, ClapAudioModelWithProjection):
    r"""
    The audio tower and projection of transformers' CLAP. `pooler_output` is the projection (Linear, ReLU, Linear) as it
    is, like `ClapAudioModelWithProjection.audio_embeds`; `ClapModel.get_audio_features` normalises it to unit length.

    Loads the unfused checkpoints of LAION (`ClapModel` or `ClapAudioModelWithProjection` layout; the text tower is left
    behind): laion/clap-htsat-unfused (HTSAT-tiny, 28.2 M parameters) and laion/larger_clap_general (HTSAT-base,
    68.6 M). 48 kHz, windows of 10 s, `d_a` 512.

    Source: Wu et al., "Large-Scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption
    Augmentation"; code and weights Apache-2.0. The paper of this package cites Microsoft's CLAP, another model.

    In training mode, BatchNorm keeps its running statistics.
    """

    config: SoundClapConfig
    window_ndim = 2
    _may_be_fresh = ("relative_position_index",)
    _no_split_modules = ["ClapAudioStage"]
    _keys_to_ignore_on_load_unexpected = [r"^text_model\.", r"^text_projection\.", r"^logit_scale_[at]$"]

    def train(self, mode: bool = True) -> "SoundClapModel":
        super().train(mode)
        self.audio_model.audio_encoder.batch_norm.eval()
        return self

    def encode_windows(self, features: Tensor, mask: Tensor | None, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Embed windows `(n, frames, num_mel_bins)` as `pooler_output` `(n, projection_dim)`."""
        frames, mels = features.shape[1:]
        longest = self.config.spec_size**2 // self.config.num_mel_bins
        if mels != self.config.num_mel_bins or not 1 <= frames <= longest:
            raise ValueError(
                f"input_features have {frames} frames of {mels} mel bins, expected 1..{longest} frames of "
                f"num_mel_bins={self.config.num_mel_bins}."
            )
        output = self.audio_model(input_features=features[:, None].to(self.dtype), **kwargs)
        output.pooler_output = self.audio_projection(output.pooler_output)
        return output


AutoModel.register(SoundClapConfig, SoundClapModel, exist_ok=True)

__all__ = ["SoundClapModel"]
