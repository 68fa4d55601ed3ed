"""Stage 3: a Whisper-shaped encoder that learns which kinds it hears, without any picture."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundclip_hf.data.synthetic import KINDS
from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel

from .loop import draw, train

_BATCH, _RATE = 64, 1.5e-3


def make_encoder(width: int = 96) -> WhisperClipModel:
    return WhisperClipModel(
        WhisperClipConfig(
            d_model=width,
            encoder_layers=3,
            encoder_attention_heads=4,
            encoder_ffn_dim=4 * width,
            max_source_positions=1500,
            window="short",
            time_pooling="valid",
        )
    )


class Listener(nn.Module):
    """The encoder with a linear layer on `z_a`, which is thrown away."""

    def __init__(self, encoder: WhisperClipModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.kinds = nn.Linear(encoder.config.embedding_dim, len(KINDS))

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(n, kinds)` of log-mel frames `(n, 80, 300)`."""
        return self.kinds(self.encoder(features[:, None]).pooler_output)


def fit(heard: dict[str, Tensor], folder: Path, steps: int, seed: int) -> Listener:
    """Train on `features` and the kinds that are `heard`."""
    torch.manual_seed(seed)
    model = Listener(make_encoder())
    model.encoder.requires_grad_(True)
    # Whisper's positions are sinusoids and stay.
    model.encoder.encoder.embed_positions.requires_grad_(False)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = draw(generator, len(heard["heard"]), _BATCH)
        features = heard["features"][rows].float()
        shift = torch.randint(0, 300, (len(rows),), generator=generator)
        features = torch.stack([row.roll(int(by), -1) for row, by in zip(features, shift)])
        gain = 0.1 * torch.randn(len(rows), 1, 1, generator=generator)
        return F.binary_cross_entropy_with_logits(model(features + gain), heard["heard"][rows]) * len(KINDS)

    train("ears", folder, model, loss_of, steps=steps, learning_rate=_RATE, seed=seed)
    return model.eval()


@torch.no_grad()
def top1(model: Listener, heard: dict[str, Tensor]) -> float:
    """Of sounds with one source, the share whose best kind is right."""
    rows = (heard["heard"].sum(1) == 1).nonzero()[:, 0]
    found = torch.cat([model(heard["features"][part].float()).argmax(1) for part in rows.split(200)])
    return float((found == heard["heard"][rows].argmax(1)).float().mean())


__all__ = ["Listener", "fit", "make_encoder", "top1"]
