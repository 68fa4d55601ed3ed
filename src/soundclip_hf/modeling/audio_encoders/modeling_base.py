"""The base class of every audio encoder: one embedding for each sound, of one or several windows of features."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import SAFE_WEIGHTS_NAME
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..checkpoint_files import (
    LoadingSteps,
    SteppedLoadingMixin,
    check_layer_counts,
    check_parameter_count,
    check_shapes,
    check_values,
    checkpoint_files,
    loading_steps,
    read_shapes,
    with_variant,
)
from ..checkpoint_names import checkpoint_name, one_commit
from ..finite import check_finite
from ..pushing.mixins import ModelPushMixin

_FILE_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "proxies", "revision", "subfolder")


class AudioEncoderPreTrainedModel(SteppedLoadingMixin, ModelPushMixin, PreTrainedModel):
    r"""
    Base class of the audio encoders. A subclass sets `window_ndim`, has a config with `embedding_dim` (`d_a`) and
    implements `encode_windows`; the windows axis, padding windows and the average over windows are handled here.

    Attributes:
        window_ndim (`int`): Number of axes of one window's features, without batch: 2 for Whisper's (mels, frames).
    """

    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    window_ndim: int = 2
    # Parameters that a checkpoint of the original may lack (by the last part of their names).
    _may_be_fresh: tuple[str, ...] = ()

    @classmethod
    def is_custom_code(cls) -> bool:
        # True would pass over modules without weights of their own: Whisper's encoder would get no sinusoids.
        return False

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """
        As in transformers, but strict: a checkpoint that lacks weights would leave a part of the encoder random.

        Raises:
            OSError: If the repository or folder has no safetensors file.
            ValueError: If the checkpoint lacks weights of this class or holds others' shapes, NaN or Inf, or its
                configuration describes a much larger model than its files hold.
        """
        steps: Any = nullcontext()
        if pretrained_model_name_or_path is not None:
            pretrained_model_name_or_path, revision = checkpoint_name(
                pretrained_model_name_or_path, kwargs.get("revision")
            )
            revision = one_commit(pretrained_model_name_or_path, revision, kwargs)
            if revision is not None:
                kwargs["revision"] = revision
            steps = cls._checked(pretrained_model_name_or_path, kwargs)
            kwargs["use_safetensors"] = True
        wants_info = kwargs.pop("output_loading_info", False)
        allowed = kwargs.pop("ignore_mismatched_sizes", False)
        kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        with steps:
            loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model, info = loaded
        if not allowed:
            check_shapes(info["mismatched_keys"], pretrained_model_name_or_path)
        missing = sorted(key for key in info["missing_keys"] if key.rpartition(".")[2] not in cls._may_be_fresh)
        if missing and pretrained_model_name_or_path is not None:
            raise ValueError(
                f"{pretrained_model_name_or_path} lacks {len(missing)} weights of {cls.__name__} (first: "
                f"{missing[0]}), which would be random: it is a checkpoint of another encoder or of another shape."
            )
        if pretrained_model_name_or_path is not None:
            check_finite(dict(model.named_parameters()), pretrained_model_name_or_path)
        return (model, info) if wants_info else model

    @classmethod
    def _checked(cls, name: str | os.PathLike, keywords: dict[str, Any]) -> AbstractContextManager[None]:
        """Refuse files that are not safetensors; the returned context refuses a configuration of another size."""
        if keywords.get("use_safetensors") not in (None, True):
            raise ValueError(
                f"use_safetensors={keywords['use_safetensors']!r}: only safetensors checkpoints are read. Leave the "
                "argument out, and convert the original checkpoint with `soundclip convert`."
            )
        hub = {key: keywords[key] for key in _FILE_ARGUMENTS if keywords.get(key) is not None}
        config = keywords.get("config")
        if not isinstance(config, PreTrainedConfig):
            config = cls.config_class.from_pretrained(name if config is None else config, **hub)
        files = checkpoint_files(name, keywords.get("variant"), **hub)
        if not files:
            if hub.get("force_download"):
                return nullcontext()
            raise OSError(
                f"{name} has no {with_variant(SAFE_WEIGHTS_NAME, keywords.get('variant'))}: audio encoders are read "
                "from safetensors files only. Convert the original checkpoint with `soundclip convert`, or save the "
                "model again with save_pretrained."
            )
        shapes = read_shapes(files)
        check_values(config, str(name))
        check_layer_counts(config, len(shapes), str(name))

        def check(model: nn.Module) -> None:
            check_parameter_count(dict(model.named_parameters()), shapes, str(name))

        return loading_steps(LoadingSteps(check, name=str(name)))

    def train(self, mode: bool = True) -> "AudioEncoderPreTrainedModel":
        """As in torch, but a frozen encoder stays in eval mode: its dropout would only add noise to training."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    def encode_windows(
        self, features: Tensor, mask: Tensor | None, **kwargs: Any
    ) -> Tensor | BaseModelOutputWithPooling:
        """
        Embed windows, each by itself.

        Args:
            features (`torch.Tensor` of shape `(windows, *window)`): All of them hold sound.
            mask (`torch.Tensor` of shape `(windows, frames)`, *optional*): Non-zero where a frame is real.

        Returns:
            `torch.Tensor` of shape `(windows, embedding_dim)`, or an output whose `pooler_output` it is.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement encode_windows.")

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self, input_features: Tensor, input_features_mask: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        r"""
        Args:
            input_features (`torch.Tensor` of shape `(batch, *window)` or `(batch, windows, *window)`):
                What the encoder's feature extractor returns.
            input_features_mask (`torch.Tensor` of shape `(batch, frames)` or `(batch, windows, frames)`, *optional*):
                Non-zero where a frame is real. A window without a real frame is padding: it is left out.
                Without a mask, everything is real.

        Returns:
            `BaseModelOutputWithPooling`: `pooler_output` `(batch, embedding_dim)` is the mean of `z_a` over the real
            windows of each sound, summed in fp32. `last_hidden_state`, `hidden_states` and `attentions`, where the
            encoder gives them, are those of the real windows of the batch, one after the other.

        Raises:
            ValueError: If features or mask have another number of axes, if their sizes disagree, or if a sound has no
                real window.
        """
        features, mask, batch = self._fold_windows(input_features, input_features_mask)
        real = None if mask is None else (mask != 0).any(-1)
        if real is not None and torch.compiler.is_compiling():
            # The number of real windows is data: a graph computes the padding too (as if it were real, so that no
            # softmax runs over nothing) and leaves it out of the mean.
            mask = torch.where(real[:, None], mask, torch.ones_like(mask))  # type: ignore[arg-type]
        elif real is not None:
            if not bool(real.view(batch, -1).any(1).all()):
                index = int((~real.view(batch, -1).any(1)).nonzero()[0])
                raise ValueError(f"input_features_mask marks no real frame in sound {index} of {batch}.")
            if not bool(real.all()):
                features, mask = features[real], mask[real]  # type: ignore[index]

        output = self.encode_windows(features, mask, **kwargs)
        if isinstance(output, Tensor):
            output = BaseModelOutputWithPooling(pooler_output=output)
        output.pooler_output = _mean_over_windows(output.pooler_output, real, batch)
        return output

    def _fold_windows(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, int]:
        """Turn (batch, [windows,] *window) into (batch * windows, *window), and the mask likewise."""
        lead = features.ndim - self.window_ndim
        if lead not in (1, 2):
            raise ValueError(
                f"input_features of shape {tuple(features.shape)}: {type(self).__name__} expects (batch, *window) or "
                f"(batch, windows, *window), a window having {self.window_ndim} axes; that is {self.window_ndim + 1} "
                f"or {self.window_ndim + 2} axes, got {features.ndim}."
            )
        if mask is not None and mask.shape[:-1] != features.shape[:lead]:
            expected = ", ".join(str(size) for size in features.shape[:lead])
            raise ValueError(
                f"input_features_mask of shape {tuple(mask.shape)}: expected ({expected}, frames), to go with "
                f"input_features of shape {tuple(features.shape)}."
            )
        batch = features.shape[0]
        if lead == 2:
            features = features.flatten(0, 1)
            mask = None if mask is None else mask.flatten(0, 1)
        return features, mask, batch


def _mean_over_windows(z: Tensor, real: Tensor | None, batch: int) -> Tensor:
    """Average the windows of each sound in fp32; `real` `(batch * windows,)` says which windows count."""
    if (real is None and z.shape[0] == batch) or (real is not None and real.shape[0] == batch):
        return z
    if real is None:
        return z.view(batch, -1, z.shape[-1]).mean(1, dtype=torch.float32).to(z.dtype)
    keep = real[:, None]
    if z.shape[0] == real.shape[0]:
        spread = torch.where(keep, z.float(), 0.0)
    else:
        spread = z.new_zeros(real.shape[0], z.shape[-1], dtype=torch.float32).masked_scatter(keep, z.float())
    total = spread.view(batch, -1, z.shape[-1]).sum(1)
    return (total / real.view(batch, -1).sum(1, keepdim=True)).to(z.dtype)


__all__ = ["AudioEncoderPreTrainedModel"]
