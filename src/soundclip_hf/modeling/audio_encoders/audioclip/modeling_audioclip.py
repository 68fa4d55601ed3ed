"""AudioCLIP's audio head (ESResNeXt-FBSP): embeds waveforms beside CLIP RN50's images."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..modeling_base import AudioEncoderPreTrainedModel
from ..resnet_backbone import (
    FrozenBatchNormMixin,
    beyond,
    count_frames,
    mean_over_map,
    run_stage,
    run_stem,
    stages_of,
    zero_beyond,
)
from .configuration_audioclip import AudioClipConfig
from .fbsp import FractionalBSplineBank, frame_count

# An int32 sample counts 1 / 4096 of an int16 step: 28 bits, and headroom of a factor 16 for sound beyond [-1, 1].
FIXED_POINT = 4096


class AudioClipAttention(nn.Module):
    """Weighs a stage's output by its input: pooled, convolved along one axis, mixed, through a sigmoid."""

    def __init__(self, width: int, out_width: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(width, width, kernel, padding=padding, groups=width)
        self.conv_point = nn.Conv2d(width, out_width, 1)
        self.bn = nn.BatchNorm2d(out_width)

    def forward(self, pooled: Tensor, output: Tensor) -> Tensor:
        """`output` `(n, out_width, bins, frames)` times the map made from `pooled` `(n, width, bins, frames)`."""
        return output * self.bn(self.conv_point(self.conv_depth(pooled))).sigmoid()


class AudioClipModel(FrozenBatchNormMixin, AudioEncoderPreTrainedModel):
    r"""
    AudioCLIP's audio head: a learned complex filter bank, in decibels, as three channels; ResNeXt-50 32x4d with an
    attention map on every stage and on the global average; a linear layer. The output is not normalised.

    44.1 kHz, any length, `d_a` 1024, 32.1 M parameters. Source: Guzhov et al., "AudioCLIP: Extending CLIP to Image,
    Text and Audio" (AndreyGuzhov/AudioCLIP); code MIT, the weights carry no separate licence. Of the two released files
    `AudioCLIP-Full-Training.pt` is that repository's default.

    The network was trained on floats in int16 units, and the scale matters (sound in [-1, 1] gives another embedding);
    [`AudioClipFeatureExtractor`] takes care of it. It hands over integers, which a cast of the features to half
    precision leaves alone; the filter bank and its logarithm are computed in fp32 in a model of any dtype.

    Sounds of different length in one batch get the embeddings that they get alone. BatchNorm keeps its running
    statistics in training mode.
    """

    config: AudioClipConfig
    window_ndim = 2
    _no_split_modules = ["FractionalBSplineBank", "Bottleneck"]
    _keep_in_fp32_modules_strict = ["fbsp"]
    _can_compile_fullgraph = True

    def __init__(self, config: AudioClipConfig) -> None:
        # timm takes most of a second to import, and `import soundclip_hf` must not wait for it.
        from timm.models.resnet import Bottleneck, ResNet

        super().__init__(config)
        block: Any = Bottleneck
        self.backbone = ResNet(
            block,
            tuple(config.depths),
            num_classes=config.projection_dim,
            cardinality=config.cardinality,
            base_width=config.base_width,
            channels=tuple(config.channels),
        )
        widths = [64, *(Bottleneck.expansion * width for width in config.channels)]
        shapes = [(3, 1), (1, 5), (3, 1), (1, 5), (3, 5)]
        self.attention = nn.ModuleList(
            AudioClipAttention(width, out_width, shape)
            for width, out_width, shape in zip(widths, [*widths[1:], widths[-1]], shapes, strict=True)
        )
        # Last, because the first parameter says what `model.dtype` is.
        self.fbsp = FractionalBSplineBank(config)
        self.gradient_checkpointing = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, FractionalBSplineBank):
            module.init_weights()

    def encode_windows(self, features: Tensor, mask: Tensor | None, **kwargs: Any) -> BaseModelOutputWithPooling:
        """
        Embed waveforms `(n, channels, samples)`: int32 fixed-point numbers as the extractor makes them, or int16 or
        floats in int16 units. The pooled features of several channels are summed, as the original does with stereo.

        `mask` `(n, frames)` counts frames of `hop_length` samples; a masked batch must be padded to whole frames, each
        sound by itself first, as the extractor does. `last_hidden_state` is the last feature map
        `(n * channels, width, bins, frames)`, zero behind each sound's end.
        """
        self._check_window(features, mask)
        batch, channels, _ = features.shape
        samples = features.float() / FIXED_POINT if features.dtype == torch.int32 else features.float()
        frames = count_frames(mask)
        frames = None if frames is None else frames.repeat_interleave(channels)
        decibels = self.fbsp(samples.flatten(0, 1))
        x, frames = run_stem(self.backbone, decibels.to(self.backbone.conv1.weight.dtype), frames)
        for stage, attention in zip(stages_of(self.backbone), self.attention):
            if self.gradient_checkpointing and self.training:
                x, frames = self._gradient_checkpointing_func(_attended_stage, stage, attention, x, frames)
            else:
                x, frames = _attended_stage(stage, attention, x, frames)
        average = mean_over_map(x, frames).to(x.dtype)[..., None, None]
        highest = x if frames is None else x.masked_fill(beyond(x, frames), -torch.inf)
        pooled = self.attention[-1](highest.amax((-2, -1), keepdim=True), average).flatten(1)
        z = self.backbone.fc(pooled.view(batch, channels, -1).sum(1))
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=z)

    def _check_window(self, features: Tensor, mask: Tensor | None) -> None:
        _, channels, samples = features.shape
        win, hop = self.config.win_length, self.config.hop_length
        if not channels or samples < win:
            raise ValueError(
                f"input_features have {channels} channels of {samples} samples, expected at least one of at least "
                f"win_length={win}."
            )
        if mask is None:
            return
        if (samples - win) % hop:
            raise ValueError(
                f"input_features of {samples} samples come with a mask but do not end with a frame: expected "
                f"{win} + n * {hop} samples."
            )
        frames = frame_count(samples, win, hop)
        if mask.shape[-1] != frames:
            raise ValueError(f"input_features_mask has {mask.shape[-1]} frames, input_features have {frames}.")


def _attended_stage(stage: Any, attention: nn.Module, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
    output, kept = run_stage(stage, x, frames)
    pooled = adaptive_max_pool(x, (output.shape[-2], output.shape[-1]), frames, kept)
    return zero_beyond(attention(zero_beyond(pooled, kept), output), kept), kept


def adaptive_max_pool(x: Tensor, size: tuple[int, int], frames: Tensor | None, kept: Tensor | None) -> Tensor:
    """
    `adaptive_max_pool2d` of `(n, channels, bins, frames)`, each sound pooled from its own `frames` to its own `kept`,
    which are all or half of them (rounded up).
    """
    if frames is None or kept is None:
        return nn.functional.adaptive_max_pool2d(x, size)
    x = nn.functional.adaptive_max_pool2d(x, (size[0], x.shape[-1]))
    if x.shape[-1] == size[1]:
        return x
    position = torch.arange(size[1], device=x.device)
    first = position * frames[:, None] // kept[:, None]
    last = ((position + 1) * frames[:, None] - 1) // kept[:, None]
    cells = []
    for offset in range(3):
        index = torch.minimum(first + offset, last).clamp(max=x.shape[-1] - 1)
        cells.append(x.gather(-1, index[:, None, None].expand(*x.shape[:-1], size[1])))
    return torch.stack(cells).amax(0)


AutoModel.register(AudioClipConfig, AudioClipModel, exist_ok=True)

__all__ = ["FIXED_POINT", "AudioClipModel"]
