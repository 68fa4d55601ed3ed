"""timm's ResNets over spectrograms of different length in one batch, each as if it were alone.

A convolution pads a sound with zeros at its end. In a batch the padding must stay zero wherever a kernel reaches over
that end, so the blocks are run here step by step, with what lies behind the last real frame set back to zero.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from timm.models.resnet import ResNet


def count_frames(mask: Tensor | None) -> Tensor | None:
    """Real frames `(batch,)` of a mask `(batch, frames)`; `None`, which costs nothing, where all of them are real."""
    if mask is None or (not torch.compiler.is_compiling() and bool((mask != 0).all())):
        return None
    return (mask != 0).sum(-1)


def shrink(frames: Tensor | None, stride: int = 2) -> Tensor | None:
    """Frames that are left after a padded convolution or pooling of this stride."""
    return None if frames is None else (frames + stride - 1) // stride


def beyond(x: Tensor, frames: Tensor) -> Tensor:
    """Mark what lies behind the last real frame of `(batch, channels, bins, frames)`: `(batch, 1, 1, frames)`."""
    return (torch.arange(x.shape[-1], device=x.device) >= frames[:, None])[:, None, None]


def zero_beyond(x: Tensor, frames: Tensor | None) -> Tensor:
    """Zero what lies behind the last real frame; it may be NaN."""
    return x if frames is None else x.masked_fill(beyond(x, frames), 0.0)


def mean_over_map(x: Tensor, frames: Tensor | None) -> Tensor:
    """Global average pool of `(batch, channels, bins, frames)` over bins and real frames, summed in fp32."""
    if frames is None:
        return x.mean((-2, -1), dtype=torch.float32)
    total = zero_beyond(x, frames).sum((-2, -1), dtype=torch.float32)
    return total / (x.shape[-2] * frames[:, None])


def run_stem(net: "ResNet", x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """First convolution and max pool: a quarter of the bins and frames."""
    x, frames = net.act1(net.bn1(net.conv1(zero_beyond(x, frames)))), shrink(frames)
    # Zero is as good as minus infinity here, since nothing after a ReLU is less.
    x, frames = net.maxpool(zero_beyond(x, frames)), shrink(frames)
    return zero_beyond(x, frames), frames


def stages_of(net: "ResNet") -> list[Any]:
    """`layer1` to `layer4`, each a sequence of blocks."""
    return [net.layer1, net.layer2, net.layer3, net.layer4]


def run_stage(blocks: Any, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Run one of `stages_of` a net; `x` is zero behind the last real frame, and so is the result."""
    for block in blocks:
        x, frames = _run_block(block, x, frames)
    return x, frames


def _run_block(block: Any, x: Tensor, frames: Tensor | None) -> tuple[Tensor, Tensor | None]:
    shortcut = x if block.downsample is None else block.downsample(x)
    kept = shrink(frames, block.stride)
    if hasattr(block, "conv3"):  # a Bottleneck has three convolutions, a BasicBlock two
        x = zero_beyond(block.act1(block.bn1(block.conv1(x))), frames)
        x = block.bn3(block.conv3(block.act2(block.bn2(block.conv2(x)))))
        x = block.act3(x + shortcut)
    else:
        x = zero_beyond(block.act1(block.bn1(block.conv1(x))), kept)
        x = block.act2(block.bn2(block.conv2(x)) + shortcut)
    return zero_beyond(x, kept), kept


class FrozenBatchNormMixin:
    """
    Keeps every BatchNorm of a model at its running statistics, in training mode too: an embedding never depends on its
    neighbours in the batch, and a frozen encoder inside a model that trains stays what it was.
    """

    def train(self, mode: bool = True) -> Any:
        super().train(mode)  # type: ignore[misc]
        for module in self.modules():  # type: ignore[attr-defined]
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.eval()
        return self


__all__ = [
    "FrozenBatchNormMixin",
    "beyond",
    "count_frames",
    "mean_over_map",
    "run_stage",
    "run_stem",
    "shrink",
    "stages_of",
    "zero_beyond",
]
