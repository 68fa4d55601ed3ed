"""PE-AV's audio encoder: the embedding of its audio-text contrastive head, from frames of 40 ms."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PeAudioEncoder
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..modeling_base import AudioEncoderPreTrainedModel
from .configuration_peav import PeAvAudioConfig


class PeAvAudioHead(nn.Module):
    """The contrastive head of the audio encoder: `W LayerNorm(x)`, no bias in `W`."""

    def __init__(self, config: PeAvAudioConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.proj = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.layer_norm(x))


class PeAvAudioModel(AudioEncoderPreTrainedModel):
    r"""
    The audio encoder of Perception Encoder Audiovisual and its audio head, behind the interface of all encoders.
    `pooler_output` is what `PeAudioModel.get_audio_embeds` returns (not normalised).

    Loads checkpoints of `PeAudioModel` and of `PeAudioVideoModel` (facebook/pe-av-large and others): text, video and
    fusion parts are left behind. 48 kHz, frames of 40 ms, `d_a` 1024, 284 M parameters in the default configuration.
    Source: transformers' `pe_audio`; code and weights Apache-2.0. No released checkpoint has been run through it here;
    it is tested against transformers' own class.

    Sounds of different length are encoded in groups of equal length, so that each gets the embedding it gets alone;
    that is why a batch with padding does not compile into one graph. As in transformers, no gradient flows through the
    codec (DAC) at the bottom, and in half precision the codec runs in it too, which costs about 1 % in bf16.
    """

    config: PeAvAudioConfig
    base_model_prefix = "audio_model"
    window_ndim = 2
    _no_split_modules = ["PeAudioEncoderLayer"]
    _keys_to_ignore_on_load_unexpected = [
        r"^(audio_model\.|video_model\.)?(text_model|text_audio_head|text_video_head|text_audio_logit|text_video_logit)",
        r"^(video_model|audio_video_encoder|audio_video_head|audio_video_logit|text_audio_video)",
        r"^(audio|video)_plus_text_(head|logit)",
    ]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: PeAvAudioConfig) -> None:
        super().__init__(config)
        self.audio_encoder = PeAudioEncoder(config)
        self.audio_head = PeAvAudioHead(config)
        self.post_init()

    def encode_windows(self, features: Tensor, mask: Tensor | None, **kwargs: Any) -> BaseModelOutputWithPooling:
        """
        Embed windows `(n, frames, hop_length)` of raw sound as `pooler_output` `(n, projection_dim)`. Hidden states
        are given where all windows have the same length.
        """
        frames, hop = features.shape[1:]
        if hop != self.config.hop_length or not frames:
            raise ValueError(
                f"input_features have {frames} frames of {hop} samples, expected at least one frame of "
                f"{self.config.hop_length} samples."
            )
        if mask is None:
            return self._encode(features, **kwargs)
        if mask.shape[-1] != frames:
            raise ValueError(f"input_features_mask has {mask.shape[-1]} frames, input_features have {frames}.")
        lengths = (mask != 0).sum(-1)
        groups = lengths.unique().tolist()
        if len(groups) == 1:
            return self._encode(features[:, : groups[0]], **kwargs)
        rows = [(lengths == length).nonzero()[:, 0] for length in groups]
        parts = [self._encode(features[row, :length]).pooler_output for row, length in zip(rows, groups)]
        order = torch.cat(rows).argsort()
        return BaseModelOutputWithPooling(pooler_output=torch.cat(parts)[order])

    def _encode(self, features: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        output = self.audio_encoder(features.flatten(1)[:, None].to(self.dtype), **kwargs)
        return BaseModelOutputWithPooling(
            last_hidden_state=output.last_hidden_state,
            pooler_output=self.audio_head(output.pooler_output),
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


AutoModel.register(PeAvAudioConfig, PeAvAudioModel, exist_ok=True)

__all__ = ["PeAvAudioModel"]
