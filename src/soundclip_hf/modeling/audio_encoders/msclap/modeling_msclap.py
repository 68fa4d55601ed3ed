"""CLAP of Microsoft (2023): HTSAT's projected embedding of log-mel windows of seven seconds."""

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel

from ..clap.modeling_clap import SoundClapModel
from .configuration_msclap import MsClapConfig


class MsClapProjection(nn.Module):
    """`LayerNorm(a + W2 gelu(a))` with `a = W1 x`; no biases in `W1`, `W2`."""

    def __init__(self, config: MsClapConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.linear2 = nn.Linear(config.projection_dim, config.projection_dim, bias=False)
        self.layer_norm = nn.LayerNorm(config.projection_dim)
        self.dropout = nn.Dropout(config.projection_dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear1(x)
        return self.layer_norm(x + self.dropout(self.linear2(F.gelu(x))))


class MsClapModel(SoundClapModel):
    r"""
    The audio encoder of Microsoft's CLAP, version 2023: HTSAT (the architecture of LAION's) and its own projection. The
    output is not normalised to unit length, but it is the output of a LayerNorm.

    **Not verified against the original**: written from its description and source, tested against an independent
    transcription of its parts only. No released checkpoint has been run through it.

    44.1 kHz, windows of 7 s, `d_a` 1024, 29.4 M parameters. Source: Elizalde et al., "Natural Language Supervision for
    General-Purpose Audio Representations" (microsoft/CLAP); code MIT, weights (`CLAP_weights_2023.pth`) Ms-PL. The
    paper of this package cites the version of 2022 (CNN14), which is another network and is not supported.

    In training mode, BatchNorm keeps its running statistics.
    """

    config: MsClapConfig

    def __init__(self, config: MsClapConfig) -> None:
        super().__init__(config)
        self.audio_projection = MsClapProjection(config)
        self.post_init()


AutoModel.register(MsClapConfig, MsClapModel, exist_ok=True)

__all__ = ["MsClapModel", "MsClapProjection"]
