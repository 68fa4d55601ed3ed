"""Trains a projector on batches of pairs, cached or not, with transformers' `Trainer`."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from huggingface_hub import HfApi
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer, TrainerCallback

from ..evaluation.retrieval import RetrievalResult, evaluate_retrieval
from ..hub_access import HubAccessError, explained
from ..losses import alignment_loss, gather_pairs
from ..modeling.modeling_soundclip import SoundClipModel
from ..modeling.pushing.publishers import publish
from .arguments import AlignmentArguments
from .embedding_cache import CachedPairs
from .run_arguments import Progress

logger = logging.getLogger("transformers.soundclip_hf.training")


class TrainingError(RuntimeError):
    """Training cannot continue; the message names the step and the rows."""


class PairEncoder(nn.Module):
    """
    The module that the trainer trains: it computes `f_a` and `c` of a batch, from media or from cached embeddings.

    Its state dict holds only the trained parameters, so that checkpoints do not contain the frozen towers.
    """

    def __init__(self, model: SoundClipModel) -> None:
        super().__init__()
        self.soundclip = model
        super().train(False)

    def train(self, mode: bool = True) -> "PairEncoder":
        # The trainer calls this before every step, and visiting hundreds of frozen modules takes a tenth of a step.
        return self if self.training is mode else super().train(mode)

    def forward(
        self,
        audio_embeddings: Tensor | None = None,
        vision_embeddings: Tensor | None = None,
        input_features: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """
        Returns:
            `projected` `f_a`, `raw` (`z_a` padded or cut) and `vision` `c`, each `(b, vision_hidden_size)`, fp32, not
            normalised; `logit_scale`, scalar. Without any input, b is 0.
        """
        if audio_embeddings is None or vision_embeddings is None:
            if input_features is None or pixel_values is None:  # no row of the batch could be read
                weight = self.soundclip.audio_projection.fc1.weight
                audio_embeddings = weight.new_empty(0, self.soundclip.config.audio_embedding_dim)
                vision_embeddings = weight.new_empty(0, self.soundclip.config.vision_hidden_size)
            else:
                audio_embeddings = self.embed_audio(input_features, input_features_mask)
                vision_embeddings = self.embed_vision(pixel_values)
        projection = self.soundclip.audio_projection
        return {
            "projected": projection.project(audio_embeddings),
            "raw": projection.match_width(audio_embeddings),
            "vision": vision_embeddings.float(),
            "logit_scale": self.soundclip.logit_scale.exp(),
        }

    def embed_audio(self, input_features: Tensor, input_features_mask: Tensor | None = None) -> Tensor:
        """`z_a` `(b, d_a)`."""
        tower = self.soundclip.audio_tower
        if input_features.is_floating_point():
            input_features = input_features.to(tower.dtype)
        return tower(input_features, input_features_mask=input_features_mask).pooler_output

    def embed_vision(self, pixel_values: Tensor) -> Tensor:
        """`c` `(b, vision_hidden_size)`."""
        with torch.no_grad():
            return self.soundclip.get_image_features(pixel_values.to(self.soundclip.vision_tower.dtype)).pooler_output

    def trained_names(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        own = self.trained_names()
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in own}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """
        Raises:
            ValueError: If the names are not exactly those of the trained parameters, whatever `strict` is.
        """
        own = self.trained_names()
        if own != set(state_dict):
            odd = sorted(own ^ set(state_dict))
            raise ValueError(f"The checkpoint holds other weights than those that are trained: {', '.join(odd[:5])}.")
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        result.missing_keys.clear()
        return result


class SaveAfterEvaluation(TrainerCallback):
    """
    Saves the checkpoint of an epoch's last step after the evaluation of that epoch.

    A run that is resumed from this checkpoint starts with the next epoch. If the checkpoint were saved before the
    evaluation, the resumed run would skip it, the learning rate would not follow it, and the weights would differ from
    those of a run that was not stopped.
    """

    def __init__(self) -> None:
        self.due = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_save and args.eval_strategy == "epoch" and state.epoch == int(state.epoch):
            control.should_save, self.due = False, True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.due:
            control.should_save, self.due = True, False


class StepProgress(TrainerCallback):
    """Shows the steps of the training with a [`Progress`], which is closed with `stack`."""

    def __init__(self, progress: Progress, stack: ExitStack) -> None:
        self.progress, self.stack = progress, stack
        self.advance: Callable[[int], None] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        shown = self.progress("training", state.max_steps, state.global_step)
        self.advance = self.stack.enter_context(shown)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.advance is not None:
            self.advance(1)


class AlignmentTrainer(Trainer):
    """
    `Trainer` with a loss over the pairs of all processes, validation by retrieval, and errors that name the rows.

    The validation loss is the mean over blocks of the size of a training batch, so that it can be compared with the
    training loss for any number of processes. The learning rate follows it.
    """

    def __init__(
        self,
        model: PairEncoder,
        settings: AlignmentArguments,
        save_adapter: Callable[[Path], None] | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            save_adapter: Writes the adapter with the weights that it has now; needed with `push_to_hub`.
        """
        self.settings, self.save_adapter = settings, save_adapter
        self.bad_rows: set[int] = set()
        super().__init__(model, compute_metrics=self.measure, **kwargs)
        self.add_callback(SaveAfterEvaluation())

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        folder: str | Path | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Publish the adapter, with a card that says how to load it.

        Args:
            blocking: Accepted as in `Trainer`: the push is short, and is always waited for.
            folder: Of an adapter; None writes the adapter as it is now.
            **kwargs: `tags`.

        Raises:
            ValueError, HubAccessError: As `push_to_hub` of a model.
        """
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        if not self.is_world_process_zero():
            return None
        with TemporaryDirectory() as place:
            if folder is None:
                if self.save_adapter is None:
                    raise ValueError(
                        "push_to_hub needs save_adapter, which writes the adapter; pass it to the trainer."
                    )
                self.save_adapter(Path(place))
            return publish(
                "model",
                folder or place,
                str(self.hub_model_id),
                message=commit_message,
                token=token or self.args.hub_token,
                revision=revision or self.args.hub_revision,
                license=getattr(self.args, "hub_license", None),
                tags=kwargs.get("tags"),
            )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # The checkpoint's own files hold no adapter. A Hub that does not answer must not end the training.
        if not self.is_world_process_zero() or self.args.hub_strategy == "end":
            return
        step = self.state.global_step
        try:
            self.push_to_hub(f"Training in progress, step {step}")
            if self.args.hub_strategy in ("checkpoint", "all_checkpoints"):
                last = self.args.hub_strategy == "checkpoint"
                with explained(str(self.hub_model_id), self.args.hub_revision, writing=True, kind="model"):
                    HfApi(token=self.args.hub_token).upload_folder(
                        repo_id=str(self.hub_model_id),
                        folder_path=checkpoint_folder,
                        path_in_repo="last-checkpoint" if last else Path(checkpoint_folder).name,
                        commit_message=f"Training in progress, step {step}, checkpoint",
                        revision=self.args.hub_revision,
                    )
        except HubAccessError as error:
            logger.warning("step %d is not on the Hub, and the training goes on: %s", step, error)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        rows, _ = self._take_rows(inputs)
        try:
            outputs = model(**inputs)
        except ValueError as error:
            raise TrainingError(f"step {self.state.global_step + 1}, {_named(rows)}: {error}") from error
        audio, vision = gather_pairs(outputs["projected"], outputs["vision"])
        if len(audio) < 2:
            logger.warning(
                "step %d teaches nothing: %d of its pairs can be read", self.state.global_step + 1, len(audio)
            )
            loss = 0 * (audio.sum() + outputs["projected"].sum() + outputs["logit_scale"])
            return (loss, outputs) if return_outputs else loss
        loss = self._loss(audio, vision, outputs["logit_scale"])
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}, {_named(rows)}: lower the learning "
                "rate, or look at these rows"
            )
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, tuple[Tensor, Tensor], Tensor]:
        # The loss comes from all features, in `measure`: that of a small last batch would not compare.
        inputs = self._prepare_inputs(inputs)
        _, bad = self._take_rows(inputs)
        with torch.no_grad():
            outputs = model(**inputs)
        # Gathering needs the same number of rows in every process; `measure` removes the NaN rows again.
        projected, raw, vision = (
            F.pad(outputs[name], (0, 0, 0, bad), value=torch.nan) for name in ("projected", "raw", "vision")
        )
        return None, (projected, raw), vision

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # Without clipping the norm is only logged, and computing it takes a twelfth of a step from cached embeddings.
        if grad_norm is None and (self.state.global_step + 1) % max(1, int(self.state.logging_steps)):
            return None
        return super()._get_grad_norm(model, grad_norm=grad_norm)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def measure(self, prediction: EvalPrediction) -> dict[str, float]:
        """The loss, and the retrieval of the projected and of the raw embeddings, with the values of chance."""
        projected, raw, vision = readable(prediction)
        scale = self.accelerator.unwrap_model(self.model).soundclip.logit_scale.detach().exp().cpu()
        size = self.args.train_batch_size * self.args.world_size
        blocks = [slice(start, start + size) for start in range(0, len(vision), size)]
        if len(blocks) > 1 and len(vision) % size:
            blocks.pop()
        loss = torch.stack([self._loss(projected[block], vision[block], scale) for block in blocks]).mean()
        metrics = {"loss": float(loss)}
        for name, audio in (("", projected), ("raw_", raw)):
            found = self.retrieval(audio, vision)
            for way, result in (("a2v", found.a2v), ("v2a", found.v2a)):
                metrics |= {
                    f"{name}{way}_mean_rank": result.mean_rank,
                    f"{name}{way}_t1": result.t1,
                    f"{name}{way}_t3": result.t3,
                    f"{name}{way}_t10": result.t10,
                }
        return metrics | {f"chance_{name}": value for name, value in found.chance.items()}

    def count_left_out(self) -> int:
        """How many rows of the dataset could not be used, in all processes."""
        # Training and validation rows may come from one cache.
        caches = {
            part.folder: part.index["left_out"]
            for part in (self.train_dataset, self.eval_dataset)
            if isinstance(part, CachedPairs)
        }
        return sum(caches.values()) + len(set(gather_object(sorted(self.bad_rows))))

    def retrieval(self, audio: Tensor, vision: Tensor) -> RetrievalResult:
        return evaluate_retrieval(
            audio,
            vision,
            pool=self.settings.retrieval_pool,
            sample=self.settings.retrieval_sample,
            repeats=self.settings.retrieval_repeats,
            seed=self.args.seed,
        )

    def _loss(self, audio: Tensor, vision: Tensor, scale: Tensor) -> Tensor:
        return alignment_loss(
            audio,
            vision,
            self.settings.loss,
            logit_scale=scale,
            weight=self.settings.distribution_weight,
            chunk_size=self.settings.loss_chunk_size,
        )

    def _take_rows(self, inputs: dict[str, Any]) -> tuple[Tensor, int]:
        """Remove `rows` and `bad` from a batch; return the rows, and the number of rows that could not be read."""
        rows, bad = inputs.pop("rows"), inputs.pop("bad", None)
        if bad is None:
            return rows, 0
        self.bad_rows.update(bad.tolist())  # a set, as every epoch reads them again
        if len(self.bad_rows) > self.settings.max_bad_rows:
            raise TrainingError(
                f"{len(self.bad_rows)} rows could not be read, more than max_bad_rows={self.settings.max_bad_rows}; "
                "repair the dataset, or raise max_bad_rows"
            )
        return rows, len(bad)


def readable(prediction: EvalPrediction) -> tuple[Tensor, Tensor, Tensor]:
    """
    The projected, raw and vision features of the validation rows that could be read, `(n, vision_hidden_size)` each.

    Raises:
        TrainingError: If fewer than 2 could.
    """
    projected, raw, vision = (torch.as_tensor(part) for part in (*prediction.predictions, prediction.label_ids))
    read = ~torch.isnan(vision).any(1)
    if read.sum() < 2:
        raise TrainingError(f"{int(read.sum())} of {len(read)} validation rows can be read: retrieval needs at least 2")
    return projected[read], raw[read], vision[read]


def _named(rows: Tensor) -> str:
    first = ", ".join(str(row) for row in rows.flatten()[:16].tolist())
    return f"rows {first}" + (f" and {rows.numel() - 16} more" if rows.numel() > 16 else "")


__all__ = ["AlignmentTrainer", "PairEncoder", "Progress", "StepProgress", "TrainingError", "readable"]
