"""Wav2CLIP: embeds normalised log spectrograms beside CLIP ViT-B/32's images."""

from typing import Any

from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..modeling_base import AudioEncoderPreTrainedModel
from ..resnet_backbone import FrozenBatchNormMixin, count_frames, mean_over_map, run_stage, run_stem, stages_of
from .configuration_wav2clip import Wav2ClipConfig


class Wav2ClipModel(FrozenBatchNormMixin, AudioEncoderPreTrainedModel):
    r"""
    Wav2CLIP's audio encoder: ResNet-18 with one input channel, global average pool, Linear, ReLU, Linear. The output is
    not normalised.

    16 kHz, any length, `d_a` 512, 11.7 M parameters. Source: Wu et al., "Wav2CLIP: Learning Robust Audio
    Representations From CLIP" (descriptinc/lyrebird-wav2clip); code MIT, the weights carry no separate licence.

    Sounds of different length in one batch get the embeddings that they get alone. BatchNorm keeps its running
    statistics in training mode.
    """

    config: Wav2ClipConfig
    window_ndim = 2
    _no_split_modules = ["BasicBlock"]
    _can_compile_fullgraph = True

    def __init__(self, config: Wav2ClipConfig) -> None:
        # timm takes most of a second to import, and `import soundclip_hf` must not wait for it.
        from timm.models.resnet import BasicBlock, ResNet

        super().__init__(config)
        block: Any = BasicBlock
        self.backbone = ResNet(block, tuple(config.depths), num_classes=0, in_chans=1, channels=tuple(config.channels))
        width = config.projection_dim
        self.projection = nn.Sequential(
            nn.Linear(config.channels[-1], width), nn.ReLU(), nn.Dropout(0.0), nn.Linear(width, width)
        )
        self.gradient_checkpointing = False
        self.post_init()

    def encode_windows(self, features: Tensor, mask: Tensor | None, **kwargs: Any) -> BaseModelOutputWithPooling:
        """
        Embed windows `(n, num_frequency_bins, frames)`. `last_hidden_state` is the last feature map
        `(n, channels, bins, frames)`, zero behind each sound's end; `pooler_output` is `(n, projection_dim)`.
        """
        self._check_window(features, mask)
        frames = count_frames(mask)
        x, frames = run_stem(self.backbone, features[:, None].to(self.dtype), frames)
        for stage in stages_of(self.backbone):
            if self.gradient_checkpointing and self.training:
                x, frames = self._gradient_checkpointing_func(run_stage, stage, x, frames)
            else:
                x, frames = run_stage(stage, x, frames)
        pooled = mean_over_map(x, frames).to(x.dtype)
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=self.projection(pooled))

    def _check_window(self, features: Tensor, mask: Tensor | None) -> None:
        bins, frames = features.shape[1:]
        if bins != self.config.num_frequency_bins or not frames:
            raise ValueError(
                f"input_features have {bins} frequency bins and {frames} frames, expected "
                f"num_frequency_bins={self.config.num_frequency_bins} and at least one frame."
            )
        if mask is not None and mask.shape[-1] != frames:
            raise ValueError(f"input_features_mask has {mask.shape[-1]} frames, input_features have {frames}.")


AutoModel.register(Wav2ClipConfig, Wav2ClipModel, exist_ok=True)

__all__ = ["Wav2ClipModel"]
