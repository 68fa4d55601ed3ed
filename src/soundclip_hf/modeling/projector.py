"""The alignment of an audio embedding `z_a` with the vision tower's space: projected, raw, or between the two."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils.generic import maybe_autocast

from .configuration_soundclip import SoundClipConfig


class Fp32Linear(nn.Linear):
    """A linear layer that computes in fp32 even if a loader has cast its parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.float(), self.weight.float(), self.bias.float())


class Fp32LayerNorm(nn.LayerNorm):
    """A LayerNorm that computes in fp32 even if a loader has cast its parameters."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)


# For `_keep_in_fp32_modules_strict`: whole names, because CLAP's tower has a projection of its own called
# audio_projection, which follows the tower's precision.
FLOAT32_MODULES = [f"audio_projection.{name}" for name in ("fc1", "norm1", "fc2", "norm2", "fc3")]


class AlignmentProjector(nn.Module):
    r"""
    The projector of appendix F.2, `f_a = W3 s(LN(W2 s(LN(W1 z_a))))`, with exact GELU and no norm on the output.

    All of it is fp32, whatever the dtype of `z_a` and inside autocast: `f_a` is compared with CLIP's tokens, whose
    ranking half precision would disturb. A model that has one lists it in `_keep_in_fp32_modules_strict`, so that
    loading in half precision leaves the parameters alone; where they were cast anyway, the layers upcast them.

    Parameters with the default width 1024: 2,628,608 for `d_a` = 512, 2,890,752 for 768, 3,152,896 for 1024.

    Args:
        config ([`SoundClipConfig`]): Gives `d_a`, the widths, dropout, and the default `alignment` and `alpha`.
    """

    def __init__(self, config: SoundClipConfig) -> None:
        super().__init__()
        self.in_features = config.audio_embedding_dim
        self.out_features = config.vision_hidden_size
        self.alignment = config.alignment
        self.alpha = float(config.alpha)
        hidden = config.projector_hidden_size
        self.fc1 = Fp32Linear(self.in_features, hidden, dtype=torch.float32)
        self.norm1 = Fp32LayerNorm(hidden, dtype=torch.float32)
        self.fc2 = Fp32Linear(hidden, hidden, dtype=torch.float32)
        self.norm2 = Fp32LayerNorm(hidden, dtype=torch.float32)
        self.fc3 = Fp32Linear(hidden, self.out_features, dtype=torch.float32)
        self.dropout = nn.Dropout(config.projector_dropout)

    def forward(self, z_a: Tensor, *, alignment: str | None = None, alpha: float | None = None) -> Tensor:
        r"""
        Args:
            z_a (`torch.Tensor` of shape `(n, d_a)`): Any float dtype.
            alignment (`str`, *optional*): `"projected"` or `"raw"`; the config's by default.
            alpha (`float`, *optional*):
                `alpha * raw + (1 - alpha) * projected`, in 0..1; the config's by default. Only used when `alignment`
                is `"projected"`.

        Returns:
            `torch.Tensor` of shape `(n, vision_hidden_size)`, fp32.

        Raises:
            ValueError: For another `alignment`, an `alpha` outside 0..1, or a `z_a` of another width.
        """
        alignment = self.alignment if alignment is None else alignment
        alpha = self.alpha if alpha is None else alpha
        if alignment not in ("projected", "raw"):
            raise ValueError(f'alignment={alignment!r}: must be "projected" or "raw".')
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha={alpha}: must be in 0..1 (0 is projected, 1 is raw).")
        if z_a.shape[-1] != self.in_features:
            raise ValueError(f"z_a of shape {tuple(z_a.shape)}: expected (n, {self.in_features}), the encoder's d_a.")
        if alignment == "raw" or alpha == 1:
            return self.match_width(z_a)
        projected = self.project(z_a)
        return projected if alpha == 0 else alpha * self.match_width(z_a) + (1 - alpha) * projected

    def project(self, z_a: Tensor) -> Tensor:
        """The MLP alone: `(n, d_a)` to `(n, vision_hidden_size)` fp32."""
        with maybe_autocast(z_a.device.type, enabled=False):
            x = self.dropout(F.gelu(self.norm1(self.fc1(z_a.float()))))
            x = self.dropout(F.gelu(self.norm2(self.fc2(x))))
            return self.fc3(x)

    def match_width(self, z_a: Tensor) -> Tensor:
        """F.2's DimMatch: zero-pad or cut `(n, d_a)` to `(n, vision_hidden_size)`; fp32."""
        return F.pad(z_a.float(), (0, self.out_features - self.in_features))


__all__ = ["FLOAT32_MODULES", "AlignmentProjector"]
