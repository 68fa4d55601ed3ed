"""WhisperCLIP: several layers of Whisper's encoder, fused and averaged over time."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperEncoder, WhisperEncoderLayer

from ..modeling_base import AudioEncoderPreTrainedModel
from .configuration_whisperclip import WhisperClipConfig


class WhisperClipModel(AudioEncoderPreTrainedModel):
    r"""
    Whisper's encoder with multi-layer fusion: `z_a = 1/L sum_{i=1..L} MeanTime(H^(i))` (section 3.2 of the paper) and
    the other fusions of [`WhisperClipConfig`]. The layers are run one by one into a running fp32 sum, so that one
    hidden state is alive at a time; layers above the last one that the fusion needs are not run.

    Any Whisper checkpoint loads: `WhisperClipModel.from_pretrained("openai/whisper-small", layer_fusion="final")`.
    With `layer_fusion="final"` this is the plain Whisper encoder.

    16 kHz; windows of 30 s; `d_a` 384 (tiny), 512 (base), 768 (small), 1024 (medium), 1280 (large); encoder parameters
    8.2 M (tiny) to 637 M (large). Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision";
    code MIT (openai/whisper) and Apache-2.0 (transformers), weights Apache-2.0 on the Hub.

    Which positions count: with `window="pad30"` and `time_pooling="all"` all of them, padding included; with `valid`
    those of `input_features_mask[:, ::2]`. With `window="short"` padding is not part of the window: it is zeroed,
    masked in attention and left out of the mean.
    """

    config: WhisperClipConfig
    window_ndim = 2
    _may_be_fresh = ("layer_weight_logits",)
    _no_split_modules = ["WhisperEncoderLayer"]
    _keys_to_ignore_on_load_unexpected = [r"^(model\.)?decoder\.", r"^proj_out\."]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": WhisperEncoderLayer, "attentions": WhisperAttention}

    def __init__(self, config: WhisperClipConfig) -> None:
        super().__init__(config)
        whisper_config = config.to_whisper_config()
        whisper_config._attn_implementation = config._attn_implementation
        self.encoder = WhisperEncoder(whisper_config)
        if config.layer_fusion == "weighted_sum":
            self.layer_weight_logits = nn.Parameter(torch.zeros(config.encoder_layers))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self and self.config.layer_fusion == "weighted_sum":
            init.zeros_(self.layer_weight_logits)

    def fused_layers(self) -> tuple[int, int]:
        """First and last layer, counted from 1, that enter `z_a`."""
        count = self.config.encoder_layers
        first, last = {
            "final": (count, count),
            "middle": (max(1, count // 2), max(1, count // 2)),
            "middle_upper": (count // 2 + 1, count // 2 + 1),
            "last_n": (count - self.config.layer_fusion_n + 1, count),
        }.get(self.config.layer_fusion, (1, count))
        return first, last

    def encode_windows(self, features: Tensor, mask: Tensor | None, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Embed windows `(n, num_mel_bins, frames)` as `pooler_output` `(n, d_model)`; see the class."""
        self._check_window(features, mask)
        encoder, short = self.encoder, self.config.window == "short"
        if short and mask is not None and not torch.compiler.is_compiling():
            longest = int((mask != 0).sum(-1).max())  # more than that is padding of every window
            features, mask = features[..., :longest], mask[..., :longest]
        positions = None if mask is None else mask[:, ::2] != 0
        padding = (mask == 0)[:, None] if short and mask is not None else None

        # The zeros that a sound alone gets from the convolutions' own padding, a sound in a batch gets from here.
        x = features.to(encoder.conv1.weight.dtype)
        x = nn.functional.gelu(encoder.conv1(x if padding is None else x.masked_fill(padding, 0.0)))
        x = nn.functional.gelu(encoder.conv2(x if padding is None else x.masked_fill(padding, 0.0))).transpose(1, 2)
        hidden = x + encoder.embed_positions(torch.arange(x.shape[1], device=x.device))
        hidden = nn.functional.dropout(hidden, p=encoder.dropout, training=self.training)

        attention_mask = None
        if padding is not None:
            attention_mask = create_bidirectional_mask(encoder.config, hidden, positions)
        pooled_positions = positions if short or self.config.time_pooling == "valid" else None

        first, last = self.fused_layers()
        weights = None
        if self.config.layer_fusion == "weighted_sum":
            weights = self.layer_weight_logits.float().softmax(-1)
        wants_all = any(kwargs.get(name) for name in ("output_hidden_states", "output_attentions"))
        total = torch.zeros(hidden.shape[0], hidden.shape[2], dtype=torch.float32, device=hidden.device)
        for number, layer in enumerate(encoder.layers, start=1):
            if number > last and not wants_all:
                return BaseModelOutputWithPooling(pooler_output=(total / (last - first + 1)).to(x.dtype))
            if not (self.training and encoder.layerdrop > 0 and torch.rand([]) < encoder.layerdrop):
                hidden = layer(hidden, attention_mask, **kwargs)
            if number == len(encoder.layers):
                hidden = encoder.layer_norm(hidden)
            if first <= number <= last:
                pooled = _mean_over_time(hidden, pooled_positions)
                total = total + (pooled if weights is None else weights[number - 1] * pooled)
        z = total if weights is not None else total / (last - first + 1)
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=z.to(x.dtype))

    def _check_window(self, features: Tensor, mask: Tensor | None) -> None:
        mels, frames = features.shape[1:]
        longest = 2 * self.config.max_source_positions
        if mels != self.config.num_mel_bins:
            raise ValueError(f"input_features have {mels} mel bins, expected num_mel_bins={self.config.num_mel_bins}.")
        if self.config.window == "pad30" and frames != longest:
            raise ValueError(
                f'input_features have {frames} frames: window="pad30" expects exactly {longest}. Pad the features, or '
                f'set window="short" in config and feature extractor, which takes any number up to {longest}.'
            )
        if not 1 <= frames <= longest:
            raise ValueError(f"input_features have {frames} frames, expected 1..{longest}.")
        if mask is not None and mask.shape[-1] != frames:
            raise ValueError(f"input_features_mask has {mask.shape[-1]} frames, input_features have {frames}.")
        if mask is None and self.config.window == "pad30" and self.config.time_pooling == "valid":
            raise ValueError('time_pooling="valid" needs input_features_mask.')


def _mean_over_time(hidden: Tensor, positions: Tensor | None) -> Tensor:
    """Mean of `(n, positions, dim)` over the positions marked true, summed in fp32: `(n, dim)` fp32."""
    if positions is None:
        return hidden.mean(1, dtype=torch.float32)
    total = hidden.masked_fill(~positions[..., None], 0.0).sum(1, dtype=torch.float32)
    return total / positions.sum(1, keepdim=True)


AutoModel.register(WhisperClipConfig, WhisperClipModel, exist_ok=True)

__all__ = ["WhisperClipModel"]
