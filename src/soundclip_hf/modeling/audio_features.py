"""What SoundLlava and SoundClip do alike with a sound: through the encoder and the projector to `f_a`."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from .finite import NotFiniteError

if TYPE_CHECKING:
    from transformers import PreTrainedModel as ModelBase
else:
    ModelBase = object  # a mixin of models: to a type checker it is one, so that `self.config` has a type


class AudioFeaturesMixin(ModelBase):
    """
    For models with an `audio_tower` and an `audio_projection`, whose configuration is a `SoundClipConfig` or has one as
    `sound_config`.
    """

    @property
    def sound_config(self) -> Any:
        """The `SoundClipConfig` of the ears."""
        return getattr(self.config, "sound_config", self.config)

    @can_return_tuple
    def get_audio_features(
        self,
        input_features: Tensor,
        input_features_mask: Tensor | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """
        Sound features to `f_a`, the vectors that take the place of `[CLS]`.

        Args:
            input_features: `(sounds, windows, …)` from the feature extractor; the windows axis may be absent.
            input_features_mask: `(sounds, windows, frames)`, non-zero where real.
            sound_alignment: "projected" or "raw"; defaults to the configuration's.
            sound_alpha: `alpha * raw + (1 - alpha) * projected`, in 0..1.

        Returns:
            The audio tower's output with `pooler_output` `(sounds, vision_hidden_size)` in float32, not normalised.

        Raises:
            ValueError: If an embedding is not finite, or the features are of another encoder or on another device.
        """
        check_device("input_features", input_features, self.audio_tower)
        if input_features.is_floating_point():
            input_features = input_features.to(self.audio_tower.dtype)
        config = self.sound_config
        for name in ("output_hidden_states", "output_attentions"):
            if getattr(config, name):  # the encoder reads these from its own configuration alone
                kwargs.setdefault(name, True)
        output = self.audio_tower(input_features, input_features_mask=input_features_mask, return_dict=True, **kwargs)
        output["pooler_output"] = self.align_sounds(output.pooler_output, sound_alignment, sound_alpha)
        return output

    def align_sounds(self, sound_embeds: Tensor, alignment: str | None = None, alpha: float | None = None) -> Tensor:
        """
        Encoder outputs `(sounds, d_a)` to `f_a` `(sounds, vision_hidden_size)` in float32.

        Raises:
            ValueError: If `sound_embeds` has another shape, or a result is not finite (`NotFiniteError`).
        """
        config = self.sound_config
        width = config.audio_embedding_dim
        if sound_embeds.ndim != 2 or sound_embeds.shape[1] != width:
            raise ValueError(
                f"sound_embeds has shape {tuple(sound_embeds.shape)}, expected (sounds, {width}): pooled outputs of "
                f"the {config.audio_config.model_type!r} encoder."
            )
        aligned = self.audio_projection(sound_embeds, alignment=alignment, alpha=alpha)
        if not torch.compiler.is_compiling() and not torch.isfinite(aligned).all():
            rows = (~torch.isfinite(aligned)).any(dim=1).nonzero()[:, 0].tolist()
            raise NotFiniteError(
                f"The aligned embedding f_a of sound(s) {rows} is not finite. Check the sound for NaN or overflow, or "
                "load the model in bfloat16 or float32."
            )
        return aligned


def check_device(name: str, tensor: Tensor, module: nn.Module) -> None:
    """
    Raises:
        ValueError: If `tensor`, an input called `name`, is not on the device of `module`.
    """
    # A module with an accelerate hook moves its own inputs.
    if any(hasattr(child, "_hf_hook") for child in module.modules()):
        return
    expected = next(module.parameters()).device
    if tensor.device != expected:
        raise ValueError(
            f"{name} is on {tensor.device}, the model's tower for it on {expected}: move the inputs with "
            "`inputs.to(model.device)`."
        )


__all__ = ["AudioFeaturesMixin", "check_device"]
