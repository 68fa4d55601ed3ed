"""Everything that a checkpoint is loaded as, each with the folder whose files a test edits."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_llava, tiny_sound_llava
from tiny_processors import tiny_llava_processor, tiny_sound_processor

from soundclip_hf import SoundClipModel, SoundLlava, WhisperClipModel, add_sound
from soundclip_hf.modeling.checkpoints.adapter import ADAPTER_NAME

INDEX = "model.safetensors.index.json"
SECONDS, MEGABYTES = 20, 500


@dataclass(frozen=True)
class Load:
    """
    One way to load.

    Attributes:
        make: Loads from the working directory.
        name: The folder that is loaded.
        edited: The folder whose files are edited: that one, or a part that it names.
        module: Of that folder's checkpoint, one whose tensors are read.
        reads_config: Whether config.json of the edited folder is read.
    """

    make: Callable[[], Any]
    name: str
    edited: str
    module: str
    reads_config: bool = True

    def weights(self, folder: Path) -> Path:
        """The file of the edited folder that holds a tensor of `module`."""
        adapter = folder / self.edited / ADAPTER_NAME
        if adapter.is_file():
            return adapter
        shards = json.loads((folder / self.edited / INDEX).read_text())["weight_map"]
        return folder / self.edited / next(shard for key, shard in shards.items() if self.module in key)


def _from_pretrained(model_class: Any, name: str) -> Callable[[], Any]:
    return lambda: model_class.from_pretrained(name)


def _second_adapter(name: str) -> Any:
    """One more adapter for a model that is loaded, which stays as it is where that fails."""
    model = SoundLlava.from_pretrained("full")
    model.config.base_model_name_or_path = "base"
    model.load_sound_adapter(name, "second")
    return model


LOADS = {
    "llava adapter": Load(_from_pretrained(SoundLlava, "adapter"), "adapter", "adapter", "audio_projection"),
    "llava adapter, base": Load(_from_pretrained(SoundLlava, "adapter"), "adapter", "base", "vision_tower", False),
    "llava adapter, encoder": Load(_from_pretrained(SoundLlava, "adapter"), "adapter", "encoder", "encoder", False),
    "llava full": Load(_from_pretrained(SoundLlava, "full"), "full", "full", "vision_tower"),
    "clip adapter": Load(_from_pretrained(SoundClipModel, "adapter"), "adapter", "adapter", "audio_projection"),
    "clip adapter, base": Load(_from_pretrained(SoundClipModel, "adapter"), "adapter", "base", "vision_tower", False),
    "clip adapter, encoder": Load(_from_pretrained(SoundClipModel, "adapter"), "adapter", "encoder", "encoder", False),
    "clip full": Load(_from_pretrained(SoundClipModel, "full"), "full", "full", "vision_tower"),
    "clip own": Load(_from_pretrained(SoundClipModel, "dual"), "dual", "dual", "vision_tower"),
    "encoder": Load(_from_pretrained(WhisperClipModel, "encoder"), "encoder", "encoder", "encoder"),
    "second adapter": Load(lambda: _second_adapter("adapter"), "adapter", "adapter", "audio_projection"),
    "added adapter": Load(lambda: add_sound("base", "adapter"), "adapter", "adapter", "audio_projection"),
    "added encoder": Load(lambda: add_sound("base", "encoder"), "encoder", "encoder", "encoder"),
}


def write_originals(folder: Path) -> Path:
    """A sharded base, a full model, an encoder, an adapter that names base and encoder, and a dual encoder."""
    tiny_llava("llava").save_pretrained(folder / "base", max_shard_size="60KB")
    tiny_llava_processor("llava").save_pretrained(folder / "base")
    model = tiny_sound_llava("llava")
    model.save_pretrained(folder / "full", max_shard_size="60KB")
    model.model.audio_tower.save_pretrained(folder / "encoder", max_shard_size="20KB")
    processor = tiny_sound_processor("llava")
    processor.feature_extractor.save_pretrained(folder / "encoder")
    model.config.base_model_name_or_path = "base"
    model.config.audio_encoder_name_or_path = "encoder"
    model.save_pretrained(folder / "adapter", adapter_only=True)
    processor.save_pretrained(folder / "adapter")
    SoundClipModel.from_pretrained(folder / "full").save_pretrained(folder / "dual", max_shard_size="60KB")
    return folder


def refused(make: Callable[[], Any], *words: str, kinds: Any = (ValueError, OSError)) -> str:
    """That loading ends in one error with these words, in a short time and without gigabytes; returns its message."""
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(kinds) as caught:
        make()
    assert time.process_time() - started < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    for word in words:
        assert word in str(caught.value), caught.value
    return str(caught.value)


__all__ = ["INDEX", "LOADS", "Load", "refused", "write_originals"]
