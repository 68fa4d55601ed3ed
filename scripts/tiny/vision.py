"""Stage 1: a CLIP of pictures and captions, whose layer -2 puts patches, [CLS] and words into one space."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

from soundclip_hf.data.synthetic import COLOURS, PLACES
from soundclip_hf.losses import info_nce

from . import world
from .loop import draw, train

FEATURE_LAYER = -2
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_TEMPERATURE, _BATCH, _RATE = 0.07, 128, 1.2e-3
# The caption's words are kinds, colours and places, three a thing; 0 is padding and the last one ends the text.
_KIND, _COLOUR = 1, 1 + len(world.NAMES)
_PLACE = _COLOUR + len(COLOURS)
_END = _PLACE + len(PLACES)
_LENGTH = 3 * world.THINGS + 1


def clip_config(width: int = 128, layers: int = 4) -> CLIPConfig:
    return CLIPConfig(
        vision_config={
            "image_size": world.IMAGE_SIZE,
            "patch_size": world.PATCH_SIZE,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
        },
        text_config={
            "vocab_size": _END + 1,
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": _LENGTH,
            "bos_token_id": None,
            "pad_token_id": 0,
            "eos_token_id": _END,
        },
        projection_dim=width,
    )


class WordClip(nn.Module):
    """
    CLIP, and words in the space of layer -2.

    A picture's words are the kinds in it. [CLS] is near them, each by its share of the area; of the patches only the
    best ones of a kind are asked, as a caption says what is there but not where.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clip = CLIPModel(clip_config())
        self.words = nn.Parameter(torch.randn(len(world.NAMES) + 1, self.clip.config.vision_config.hidden_size))

    def forward(self, pixels: Tensor, kinds: Tensor, area: Tensor, captions: Tensor) -> Tensor:
        seen = self.clip.vision_model(pixels, output_hidden_states=True)
        pictures = self.clip.visual_projection(seen.pooler_output)
        text = self.clip.text_model(input_ids=captions, attention_mask=(captions > 0).long()).pooler_output
        scale = self.clip.logit_scale.exp().clamp(max=100)
        contrast = info_nce(pictures, self.clip.text_projection(text), logit_scale=scale)

        logits = F.normalize(seen.hidden_states[FEATURE_LAYER], dim=-1) @ F.normalize(self.words, dim=-1).T
        logits = logits / _TEMPERATURE
        there = kinds >= 0
        # Share of the area; an empty picture is the last word alone.
        target = torch.zeros(len(kinds), self.words.shape[0])
        target.scatter_add_(1, kinds.clamp(min=0), area * there)
        target[:, -1] = 0.02
        target = target / target.sum(1, keepdim=True)
        whole = -(target * logits[:, 0].log_softmax(-1)).sum(-1).mean()

        # The evidence for a kind anywhere: a soft maximum over patches of how far it is ahead of the other words.
        ahead = logits[:, 1:].log_softmax(-1)
        best = torch.logsumexp(6 * ahead, dim=1) / 6 - torch.log(torch.tensor(3.0)) / 6
        present = torch.zeros_like(best).scatter_add_(1, kinds.clamp(min=0), there.float()).clamp(max=1)
        found = -(present * best.clamp(max=-1e-4)).sum() / present.sum().clamp(min=1)
        absent = (1 - present).clone()
        absent[:, -1] = 0
        missed = -(absent * torch.log1p(-best.clamp(max=-1e-3).exp())).sum() / len(kinds)
        return contrast + whole + found + missed


def pixels(pictures: Tensor) -> Tensor:
    """`(n, 64, 64, 3)` uint8 as CLIP's `pixel_values`."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def captions(scenes: dict[str, Tensor], generator: torch.Generator) -> Tensor:
    """Kind, colour and place of all things, in random order: `(n, words)` int64."""
    order = torch.rand(scenes["kinds"].shape, generator=generator)
    order = torch.where(scenes["kinds"] >= 0, order, 2 + order).argsort(1)
    kinds, colours, places = (scenes[name].gather(1, order) for name in ("kinds", "colours", "places"))
    words = torch.stack([kinds + _KIND, colours + _COLOUR, places + _PLACE], -1)
    words = words.masked_fill((kinds < 0)[..., None], 0).flatten(1)
    text = F.pad(words, (0, 1))
    text[torch.arange(len(text)), (words > 0).sum(1)] = _END
    return text


def batch(scenes: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in scenes.items()}


def fit(scenes: dict[str, Tensor], folder: Path, steps: int, seed: int) -> CLIPVisionModel:
    """Train on the pictures of `scenes`; returns the tower."""
    torch.manual_seed(seed)
    model = WordClip()

    def loss_of(generator: torch.Generator) -> Tensor:
        shown = batch(scenes, draw(generator, len(scenes["kinds"]), _BATCH))
        return model(pixels(shown["pictures"]), shown["kinds"], area(shown), captions(shown, generator))

    train("vision", folder, model, loss_of, steps=steps, learning_rate=_RATE, seed=seed, weight_decay=0.05)
    tower = CLIPVisionModel(model.clip.config.vision_config)
    tower.load_state_dict(model.clip.vision_model.state_dict())
    return tower.eval()


def area(scenes: dict[str, Tensor]) -> Tensor:
    """`(n, things)` share of the picture that each thing covers."""
    return scenes["covered"].float().mean(-1)


@torch.no_grad()
def encode(tower: CLIPVisionModel, pictures: Tensor, size: int = 500) -> Tensor:
    """Tokens of the feature layer, `(n, 65, width)` float16."""
    found = [
        tower(pixels(part), output_hidden_states=True).hidden_states[FEATURE_LAYER].half()
        for part in pictures.split(size)
    ]
    return torch.cat(found)


__all__ = ["FEATURE_LAYER", "MEAN", "STD", "area", "batch", "encode", "fit", "pixels"]
