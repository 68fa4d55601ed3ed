"""What SoundLlava and SoundClip do alike with a sound: through the encoder and the projector to `f_a`."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class SoundParts:
    """
    What a sound is heard with. A call takes them once, at its start, so that a swap of adapters in another thread does
    not reach it.

    Attributes:
        config: The `SoundClipConfig`.
        audio_tower, audio_projection: The modules.
        adapter: Name of the sound adapter, for messages; None where a model has no others.
        source: Where the adapter was loaded from, for messages.
        device: Where its inputs are to be moved first; None leaves them where they are.
    """

    config: Any
    audio_tower: Any
    audio_projection: Any
    adapter: str | None = None
    source: str | None = None
    device: torch.device | None = None

    def described(self) -> str:
        """A sentence that says which adapter hears, and which processor makes the features for it."""
        if self.adapter is None:
            return ""
        encoder = self.config.audio_config.model_type
        source = "its repository or folder" if self.source is None else repr(self.source)
        return (
            f" The sound adapter {self.adapter!r} has the encoder {encoder!r}, and takes what its own processor makes: "
            f"AutoProcessor.from_pretrained({source})."
        )


@dataclass(frozen=True)
class ChosenSound:
    """
    What each sound of a call is heard with.

    Attributes:
        parts: Without repetition; at least one.
        places: Of each sound its place in `parts`; empty if all are heard with the first.
    """

    parts: tuple[SoundParts, ...]
    places: tuple[int, ...] = ()

    def of(self, sound: int) -> SoundParts:
        """The parts for a sound by its row; for -1, no sound, the first ones."""
        return self.parts[self.places[sound]] if self.places and sound >= 0 else self.parts[0]

    def rows(self) -> list[list[int]]:
        """For each of `parts`, the rows of its sounds in ascending order."""
        return [[row for row, own in enumerate(self.places) if own == place] for place in range(len(self.parts))]


class AudioFeaturesMixin(ModelBase):
    """
    For models with an `audio_tower` and an `audio_projection`, whose configuration is a `SoundClipConfig` or has one as
    `sound_config`.
    """

    @property
    def sound_config(self) -> Any:
        """The `SoundClipConfig` of the ears."""
        return getattr(self.config, "sound_config", self.config)

    def sound_parts(self, names: Sequence[str | None]) -> list[SoundParts]:
        """The parts of adapters by their names, all as they are at one moment; None is the active adapter."""
        for name in names:
            if name is not None:
                raise ValueError(
                    f"sound_adapter={name!r}: this {type(self).__name__} has one sound adapter, and takes no others. "
                    "Adapters are loaded by load_sound_adapter of a SoundLlava; leave the argument out."
                )
        return [SoundParts(self.sound_config, self.audio_tower, self.audio_projection)] * len(names)

    def choose_sound(self, sound_adapter: str | Sequence[str | None] | ChosenSound | None, sounds: int) -> ChosenSound:
        """
        What the sounds of a call are heard with, from now to its end.

        Args:
            sound_adapter: That of the call: a name for all sounds, or a list with one for each; None is the adapter
                that is active now. What was chosen before stays as it is.
            sounds: Number of sounds.

        Raises:
            ValueError: If no adapter has the name, or the number of names is another than that of sounds.
        """
        if isinstance(sound_adapter, ChosenSound):
            return sound_adapter
        if sound_adapter is None or isinstance(sound_adapter, str):
            return ChosenSound(tuple(self.sound_parts([sound_adapter])))
        names = list(sound_adapter)
        if len(names) != sounds:
            raise ValueError(
                f"sound_adapter has {len(names)} names for {sounds} sounds: pass one name for all, or a list with one "
                "for each sound."
            )
        if not names:
            return ChosenSound(tuple(self.sound_parts([None])))
        found: dict[str | None, tuple[int, SoundParts]] = {}
        places = []
        for parts in self.sound_parts(names):
            places.append(found.setdefault(parts.adapter, (len(found), parts))[0])
        return ChosenSound(tuple(parts for _, parts in found.values()), tuple(places) if len(found) > 1 else ())

    @can_return_tuple
    def get_audio_features(
        self,
        input_features: Tensor,
        input_features_mask: Tensor | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        sound_adapter: str | Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """
        Sound features to `f_a`, the vectors that take the place of `[CLS]`.

        Args:
            input_features: `(sounds, windows, …)` from the feature extractor; the windows axis may be absent.
            input_features_mask: `(sounds, windows, frames)`, non-zero where real.
            sound_alignment: "projected" or "raw"; defaults to the configuration's.
            sound_alpha: `alpha * raw + (1 - alpha) * projected`, in 0..1.
            sound_adapter: Of a SoundLlava, the name of the adapter that hears, or a list with one for each sound, all
                of whose encoders take features of this shape; by default the active one.

        Returns:
            The audio tower's output with `pooler_output` `(sounds, vision_hidden_size)` in float32, not normalised.
            With several adapters, `pooler_output` alone.

        Raises:
            ValueError: If an embedding is not finite, the features are of another encoder or on another device, or
                there is no such adapter.
        """
        chosen = self.choose_sound(sound_adapter, len(input_features))
        if not chosen.places:
            return _heard(chosen.parts[0], input_features, input_features_mask, sound_alignment, sound_alpha, **kwargs)
        groups = []
        for parts, rows in zip(chosen.parts, chosen.rows()):
            mask = None if input_features_mask is None else input_features_mask[rows]
            groups.append(_heard(parts, input_features[rows], mask, sound_alignment, sound_alpha, **kwargs))
        return BaseModelOutputWithPooling(pooler_output=_in_order([g.pooler_output for g in groups], chosen))

    def align_sounds(
        self,
        sound_embeds: Tensor,
        alignment: str | None = None,
        alpha: float | None = None,
        sound_adapter: str | Sequence[str | None] | None = None,
    ) -> Tensor:
        """
        Encoder outputs `(sounds, d_a)` to `f_a` `(sounds, vision_hidden_size)` in float32.

        Args:
            sound_adapter: See [`get_audio_features`].

        Raises:
            ValueError: If `sound_embeds` has another shape, or a result is not finite (`NotFiniteError`).
        """
        chosen = self.choose_sound(sound_adapter, len(sound_embeds))
        if not chosen.places:
            return _aligned(chosen.parts[0], sound_embeds, alignment, alpha)
        groups = zip(chosen.parts, chosen.rows())
        return _in_order([_aligned(parts, sound_embeds[rows], alignment, alpha) for parts, rows in groups], chosen)


def _heard(
    parts: SoundParts,
    features: Tensor,
    mask: Tensor | None,
    alignment: str | None,
    alpha: float | None,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """The output of the audio tower, its `pooler_output` aligned."""
    tower = parts.audio_tower
    if parts.device is not None:
        features, mask = features.to(parts.device), None if mask is None else mask.to(parts.device)
    check_device("input_features", features, tower)
    if features.is_floating_point():
        features = features.to(tower.dtype)
    for name in ("output_hidden_states", "output_attentions"):
        if getattr(parts.config, name):  # the encoder reads these from its own configuration alone
            kwargs.setdefault(name, True)
    try:
        output = tower(features, input_features_mask=mask, return_dict=True, **kwargs)
    except ValueError as error:
        if parts.adapter is None:
            raise
        raise ValueError(f"{error}{parts.described()}") from error
    output["pooler_output"] = _aligned(parts, output.pooler_output, alignment, alpha)
    return output


def _aligned(parts: SoundParts, sound_embeds: Tensor, alignment: str | None, alpha: float | None) -> Tensor:
    width = parts.config.audio_embedding_dim
    if sound_embeds.ndim != 2 or sound_embeds.shape[1] != width:
        raise ValueError(
            f"sound_embeds has shape {tuple(sound_embeds.shape)}, expected (sounds, {width}): pooled outputs of "
            f"the {parts.config.audio_config.model_type!r} encoder.{parts.described()}"
        )
    if parts.device is not None:
        sound_embeds = sound_embeds.to(parts.device)
    aligned = parts.audio_projection(sound_embeds, alignment=alignment, alpha=alpha)
    if not torch.compiler.is_compiling() and not torch.isfinite(aligned).all():
        rows = (~torch.isfinite(aligned)).any(dim=1).nonzero()[:, 0].tolist()
        raise NotFiniteError(
            f"The aligned embedding f_a of sound(s) {rows} is not finite. Check the sound for NaN or overflow, or "
            "load the model in bfloat16 or float32."
        )
    return aligned


def _in_order(groups: list[Tensor], chosen: ChosenSound) -> Tensor:
    """Rows of groups of sounds, one tensor for each of `chosen.parts`, in the order of the sounds."""
    rows = torch.tensor([row for group in chosen.rows() for row in group], device=groups[0].device)
    return torch.cat(groups)[rows.argsort()]


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


__all__ = ["AudioFeaturesMixin", "ChosenSound", "SoundParts", "check_device"]
