"""A tiny dual encoder, and pictures and sounds for it."""

import torch
from tiny_models import IMAGE_SIZE, tiny_sound_config, tiny_vision_config
from tiny_processors import sound, tiny_feature_extractor

from soundclip_hf import SoundClipModel


def tiny_dual(**kwargs) -> SoundClipModel:
    torch.manual_seed(3)
    return SoundClipModel(tiny_sound_config(vision_config=tiny_vision_config(), **kwargs)).eval()


def pictures(count: int = 2, *lead: int) -> torch.Tensor:
    return torch.randn(count, *lead, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(5))


def sounds(count: int = 2, extractor=None) -> dict[str, torch.Tensor]:
    extractor = extractor or tiny_feature_extractor()
    rate = extractor.sampling_rate
    waveforms = [sound(0.3 + 0.1 * index, seed=index, rate=rate) for index in range(count)]
    features = extractor(waveforms, sampling_rate=rate, return_tensors="pt")
    names = {"attention_mask": "input_features_mask"}
    return {names.get(name, name): value for name, value in features.items()}
