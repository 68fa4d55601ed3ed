"""ImageBind's audio trunk: the mean embedding of the Kaldi filter banks of three clips."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AutoModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..float32_module import Float32Module
from ..modeling_base import AudioEncoderPreTrainedModel
from .configuration_imagebind import ImageBindAudioConfig

# transformers looks for this name in a model's file before it lets anybody choose an attention implementation.
ALL_ATTENTION_FUNCTIONS = AttentionInterface()


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    weights = (query @ key.transpose(-1, -2) * scaling).softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class ImageBindAudioPatches(nn.Module):
    """Overlapping patches of `(n, 1, mels, frames)`, normalised, behind CLS, with learned positions."""

    def __init__(self, config: ImageBindAudioConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(1, config.hidden_size, config.patch_size, config.patch_stride, bias=False)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.patch_norm_eps)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + config.num_patches, config.hidden_size))

    def forward(self, features: Tensor) -> Tensor:
        patches = self.norm(self.projection(features).flatten(2).transpose(1, 2))
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([cls, patches], dim=1) + self.position_embeddings


class ImageBindAudioAttention(nn.Module):
    """Self-attention whose keys and values have one learned token more than its queries, at the end."""

    def __init__(self, config: ImageBindAudioConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.is_causal = False
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.bias_k = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.bias_v = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        batch, tokens, _ = x.shape
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        key = torch.cat([key, self.bias_k.expand(batch, -1, -1)], dim=1)
        value = torch.cat([value, self.bias_v.expand(batch, -1, -1)], dim=1)
        query, key, value = (t.view(batch, t.shape[1], -1, self.head_dim).transpose(1, 2) for t in (query, key, value))
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        out, weights = attend(self, query, key, value, None, scaling=self.head_dim**-0.5, dropout=0.0, **kwargs)
        return self.proj(out.reshape(batch, tokens, -1).contiguous()), weights


class ImageBindAudioBlock(GradientCheckpointingLayer):
    """Pre-norm transformer block with exact GELU."""

    def __init__(self, config: ImageBindAudioConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = ImageBindAudioAttention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        x = x + self.attn(self.norm1(x), **kwargs)[0]
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))


class ScaledNormalize(Float32Module):
    """Rows of unit length, times a scale that the checkpoint brings as its logarithm; in fp32."""

    def __init__(self, config: ImageBindAudioConfig) -> None:
        super().__init__()
        self.max_scale = config.max_logit_scale
        self.log_logit_scale: Tensor
        self.register_buffer("log_logit_scale", torch.tensor(math.log(config.logit_scale), dtype=torch.float32))

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.normalize(z.float(), dim=-1) * self.log_logit_scale.exp().clamp(max=self.max_scale)


class ImageBindAudioModel(AudioEncoderPreTrainedModel):
    r"""
    The audio trunk of ImageBind: a ViT over overlapping patches of one clip's filter bank, attention with one learned
    key and value (`bias_k`, `bias_v`) appended, CLS through a linear head, normalised and scaled.

    `pooler_output` is the mean of the clips' embeddings, each of length `exp(log_logit_scale)` (20 in the release): its
    own length is at most that, and differs from sound to sound. ImageBind's image embeddings are not scaled: compare
    by cosine.

    16 kHz, three clips of 2 seconds, `d_a` 1024, 86.2 M parameters. Source: Girdhar et al., "ImageBind: One Embedding
    Space To Bind Them All" (facebookresearch/ImageBind); its code and weights are CC BY-NC-SA 4.0 (non-commercial).
    This class was written from a description of the architecture, not from that code; converted weights keep their
    licence. The original's stochastic depth (0.1, in training only) is left out.
    """

    config: ImageBindAudioConfig
    window_ndim = 3
    _no_split_modules = ["ImageBindAudioBlock"]
    _keep_in_fp32_modules_strict = ["scaled_normalize"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": ImageBindAudioBlock, "attentions": ImageBindAudioAttention}

    def __init__(self, config: ImageBindAudioConfig) -> None:
        super().__init__(config)
        self.patches = ImageBindAudioPatches(config)
        self.blocks = nn.ModuleList([ImageBindAudioBlock(config) for _ in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.scaled_normalize = ScaledNormalize(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, ImageBindAudioPatches):
            init.normal_(module.cls_token, std=std)
            init.normal_(module.position_embeddings, std=std)
        elif isinstance(module, ImageBindAudioAttention):
            init.normal_(module.bias_k, std=std)
            init.normal_(module.bias_v, std=std)
        elif isinstance(module, ScaledNormalize):
            init.constant_(module.log_logit_scale, math.log(self.config.logit_scale))

    def encode_windows(self, features: Tensor, mask: Tensor | None, **kwargs: Any) -> BaseModelOutputWithPooling:
        """
        Embed clips `(n, 1, num_mel_bins, num_frames)`. The frames that pad a clip are part of the network's input, so
        `mask` has no effect. `last_hidden_state` is `(n, 1 + num_patches, hidden_size)`, before the head's LayerNorm;
        `pooler_output` `(n, projection_dim)` is fp32 in a half-precision model too.
        """
        expected = (1, self.config.num_mel_bins, self.config.num_frames)
        if tuple(features.shape[1:]) != expected:
            raise ValueError(f"input_features have windows of shape {tuple(features.shape[1:])}, expected {expected}.")
        hidden = self.patches(features.to(self.head.weight.dtype))
        for block in self.blocks:
            hidden = block(hidden, **kwargs)
        z = self.scaled_normalize(self.head(self.norm(hidden[:, 0])))
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=z)


AutoModel.register(ImageBindAudioConfig, ImageBindAudioModel, exist_ok=True)

__all__ = ["ImageBindAudioModel"]
