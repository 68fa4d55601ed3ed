"""`Trainer` for a SoundLlava: checkpoints of what is trained alone, answers in the loop, and a check of gradients."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Trainer
from transformers.utils import SAFE_WEIGHTS_NAME

from ..trainer import TrainingError
from .presets import PRESETS, part_of
from .sharding import shard_language_model

# Part of the model -> the inputs without which no gradient reaches it.
_NEEDS = {
    "audio_projection": ("input_features", "sound_embeds"),
    "multi_modal_projector": ("pixel_values", "input_features", "sound_embeds"),
}


class FinetuningTrainer(Trainer):
    """
    The stock trainer, with four additions.

    - A checkpoint holds the trained weights alone, so that it is small and is resumed exactly. The adapter itself is
      written by `model.save_pretrained`.
    - In the first step that could train it, each trained part must get a gradient; otherwise the run stops.
    - `measure` adds numbers to every evaluation, which are logged and can choose the best model.
    - FSDP shards what [`shard_language_model`] says, and computes under autocast as other runs do.

    Args:
        model: A SoundLlava after [`apply_preset`].
        measure: Called with no arguments while the model is in eval mode.
        **kwargs: Of `Trainer`.
    """

    def __init__(self, model: nn.Module, measure: Callable[[], dict[str, float]] | None = None, **kwargs: Any) -> None:
        self.measure = measure
        with _with_adapter(model):
            super().__init__(model, **kwargs)
        if self.is_fsdp_enabled:
            shard_language_model(self.accelerator.state.fsdp_plugin, self.model, self.args.device)
        self.waiting = {part_of(key) for key, parameter in model.named_parameters() if parameter.requires_grad}

    def compute_loss_context_manager(self) -> AbstractContextManager[Any]:
        # accelerate puts no autocast around a model that FSDP shards, and a tower that stays whole has float32 weights.
        return self.accelerator.autocast() if self.is_fsdp_enabled else super().compute_loss_context_manager()

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        given = set(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: lower the learning rate, or train in "
                "bfloat16 or float32"
            )
        if self.waiting and not self.is_deepspeed_enabled:
            self._check_gradients(given)
        return loss

    def _check_gradients(self, given: set[str]) -> None:
        due = {part for part in self.waiting if part not in _NEEDS or given & set(_NEEDS[part])}
        reached = {
            part_of(key)
            for key, parameter in self.model.named_parameters()
            if parameter.grad is not None and bool((parameter.grad != 0).any())
        }
        parts = sorted(self.waiting)
        # Another process may have had a sound in its batch, or another shard of the weights.
        both = torch.tensor([[part in due, part in reached] for part in parts], device=self.args.device).float()
        both = self.accelerator.reduce(both, reduction="sum")
        dead = [part for part, (wanted, moved) in zip(parts, both.tolist()) if wanted and not moved]
        if dead:
            raise TrainingError(
                f"step {self.state.global_step + 1}: no gradient reaches {', '.join(dead)}, which is to be trained; "
                "check sound_alignment, that labels are not all -100, and that nothing detaches the model's inputs. "
                f"Presets: {', '.join(PRESETS)}"
            )
        self.waiting -= {part for part, (_, moved) in zip(parts, both.tolist()) if moved}

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = super().evaluate(*args, **kwargs)
        if self.measure is None:
            return metrics
        prefix = kwargs.get("metric_key_prefix", "eval")
        training = self.model.training
        self.model.eval()
        with self.compute_loss_context_manager():
            more = {f"{prefix}_{name}": value for name, value in self.measure().items()}
        self.model.train(training)
        self.log(more)
        return {**metrics, **more}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        state = self.accelerator.get_state_dict(self.model) if state_dict is None else state_dict
        if not self.args.should_save:
            return
        os.makedirs(folder, exist_ok=True)
        trained = self._trained_names()
        kept = {key: value.detach().cpu().contiguous() for key, value in state.items() if key in trained}
        if missing := sorted(trained - kept.keys()):
            raise TrainingError(f"{folder}: the weights to save lack {len(missing)} that are trained, as {missing[0]}")
        save_file(kept, folder / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})
        torch.save(self.args, folder / "training_args.bin")

    def _trained_names(self) -> set[str]:
        """As in a state dict, in which FSDP's activation checkpointing leaves no trace."""
        return {
            key.replace("_checkpoint_wrapped_module.", "")
            for key, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Does nothing: a checkpoint holds no adapter, and the folder holds settings with paths of this machine."""

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        trained = self._trained_names()
        odd = sorted(trained & set(load_result.missing_keys)) + sorted(load_result.unexpected_keys)
        if odd:
            raise TrainingError(f"the checkpoint holds other weights than those that are trained: {', '.join(odd[:5])}")


@contextmanager
def _with_adapter(model: Any) -> Iterator[None]:
    """transformers trains a quantised model only with an adapter, and knows PEFT's alone; a projector is one, too."""
    before = getattr(model, "_hf_peft_config_loaded", False)
    model._hf_peft_config_loaded = True
    try:
        yield
    finally:
        model._hf_peft_config_loaded = before


__all__ = ["FinetuningTrainer"]
