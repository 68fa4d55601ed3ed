"""Folders of sound adapters for one tiny base, that differ in encoder, alignment, budget and scope."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_encoders import ENCODERS
from tiny_inputs import Sample
from tiny_models import tiny_audio_config, tiny_llava, tiny_sound_llava
from transformers import AutoModel

from soundclip_hf import SoundLlava

# Sound arguments of the adapters; those of "own" has the encoder's weights in its own file.
ADAPTERS: dict[str, dict[str, Any]] = {
    "first": {"audio_config": tiny_audio_config(), "token_budget": 5},
    "second": {"audio_config": tiny_audio_config(), "token_budget": 3, "alpha": 0.25},
    "raw": {"audio_config": tiny_audio_config(), "alignment": "raw", "token_budget": 7},
    "scoped": {"audio_config": tiny_audio_config(), "patch_budget_scope": "image", "token_budget": 6},
    "fused": {"audio_config": tiny_audio_config(layer_fusion="final")},
    "clap": {"audio_config": ENCODERS["clap"][0], "token_budget": 4},
    "imagebind": {"audio_config": ENCODERS["imagebind"][0], "projector_hidden_size": 24},
    "own": {"audio_config": tiny_audio_config()},
}
# Which encoder's folder an adapter names.
ENCODER_OF = {"clap": "clap", "imagebind": "imagebind", "own": None}
HEARD = [Sample([((40, 20), 1)]), Sample([((28, 28), None)], text=(21, 22)), Sample([(None, 2)], text=(31, 32, 33))]


@dataclass
class AdapterFolders:
    """A base, encoders and adapters in folders of one parent."""

    root: Path
    variant: str

    def path(self, name: str) -> Path:
        return self.root / name

    def load(self, name: str, **options: Any) -> Any:
        """The model of one adapter alone."""
        model = SoundLlava.from_pretrained(self.path(name), **options)
        model.generation_config.eos_token_id = None  # random weights must not end a text early
        return model

    def write_encoder(self, name: str, config: Any, seed: int = 9) -> None:
        torch.manual_seed(seed)
        AutoModel.from_config(config).save_pretrained(self.path(name))

    def write(self, name: str, encoder: str | None, seed: int, **sound: Any) -> None:
        """An adapter with random weights that tell it from others."""
        model = tiny_sound_llava(self.variant, sound=sound)
        model.model.audio_projection.load_state_dict(random_projection(model.model.audio_projection, seed))
        model.config.base_model_name_or_path = str(self.path("base"))
        if encoder is None:
            # Its own copy of the encoder of the others.
            stored = AutoModel.from_pretrained(self.path("whisper"), config=sound["audio_config"])
            model.model.audio_tower.load_state_dict(stored.state_dict())
        else:
            model.config.audio_encoder_name_or_path = str(self.path(encoder))
        model.save_pretrained(self.path(name), adapter_only=True)


def write_adapters(root: Path, variant: str, names: tuple[str, ...] = tuple(ADAPTERS)) -> AdapterFolders:
    folders = AdapterFolders(root, variant)
    tiny_llava(variant).save_pretrained(folders.path("base"))
    folders.write_encoder("whisper", tiny_audio_config())
    for name in set(names) & {"clap", "imagebind"}:
        folders.write_encoder(f"{name}_encoder", ENCODERS[name][0])
    for seed, name in enumerate(ADAPTERS):
        encoder = ENCODER_OF.get(name, "whisper")
        if name in names:
            folders.write(name, f"{name}_encoder" if encoder == name else encoder, seed, **ADAPTERS[name])
    return folders


def random_projection(projection: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Weights far from each other for different seeds."""
    generator = torch.Generator().manual_seed(100 + seed)
    state = projection.state_dict()
    return {key: torch.randn(value.shape, generator=generator) for key, value in state.items()}


__all__ = ["ADAPTERS", "HEARD", "AdapterFolders", "random_projection", "write_adapters"]
