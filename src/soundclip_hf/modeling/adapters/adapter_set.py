"""The sound adapters of one model: the active one, whose parts are the model's own, and those kept beside it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..audio_features import SoundParts
from ..checkpoints.adapter_parts import settle_dtypes
from ..checkpoints.peft_layers import peft_layers
from ..configuration_soundclip import SoundLlavaConfig
from ..projector import AlignmentProjector
from .encoder_identity import KnownEncoder

DEFAULT = "default"
# What of a model's configuration belongs to its adapter; the rest is of the base.
ADAPTER_FIELDS = ("sound_config", "audio_encoder_name_or_path", "audio_encoder_revision", "vision_fingerprint")


@dataclass(frozen=True)
class SoundAdapterInfo:
    """
    One sound adapter of a model, as `list_sound_adapters` says it.

    Attributes:
        name: The one that it was loaded under; "default" came with the model.
        source: Repository or folder; None for a model that was built and not loaded.
        revision: Commit of the repository, if it is known.
        encoder: Repository or folder of the audio encoder; None if its weights came with the adapter.
        encoder_revision: Of that repository.
        encoder_type: The encoder's `model_type`.
        alignment: "projected" or "raw", where a call does not say.
        token_budget: Patches to keep, where neither the call nor the prompt says it.
        active: Whether calls that name no adapter use it.
    """

    name: str
    source: str | None
    revision: str | None
    encoder: str | None
    encoder_revision: str | None
    encoder_type: str
    alignment: str
    token_budget: int
    active: bool


@dataclass(frozen=True)
class Placement:
    """
    Where a model's sound parts compute.

    Attributes:
        device: Of the active projector.
        dtype: Of LLaVA's own weights.
        spread: Whether accelerate spread the model over devices, so that its parts move their own inputs.
    """

    device: torch.device
    dtype: torch.dtype
    spread: bool

    @classmethod
    def of(cls, base: Any) -> "Placement":
        projection = base.audio_projection
        hooks = [hook for module in projection.modules() for hook in _hooks(module)]
        devices = [hook.execution_device for hook in hooks if getattr(hook, "execution_device", None) is not None]
        device = torch.device(devices[0]) if devices else next(projection.parameters()).device
        spread = bool(devices) or any(_hooks(part) for part in (base, *base.multi_modal_projector.modules()))
        return cls(device, base.dtype, spread)


@dataclass(eq=False)
class SoundAdapter:
    """
    A sound adapter. While it is active, its modules are the model's, and its fields those of the configuration.

    Attributes:
        name, source, revision: See [`SoundAdapterInfo`].
        encoder: What is known of its encoder's weights.
        fields: `ADAPTER_FIELDS` of its configuration.
        audio_tower, audio_projection: None while it is active.
        placement: Of these two.
    """

    name: str
    source: str | None = None
    revision: str | None = None
    encoder: KnownEncoder | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    audio_tower: Any = None
    audio_projection: Any = None
    placement: Placement | None = None

    def take_from(self, base: Any, placement: Placement) -> None:
        """Keep the parts of the model: another adapter takes their place."""
        self.fields = {name: getattr(base.config, name) for name in ADAPTER_FIELDS}
        self.audio_tower, self.audio_projection, self.placement = base.audio_tower, base.audio_projection, placement

    def give_to(self, base: Any) -> None:
        """Put the parts into the model; it then has them under the names of a stock SoundLlava."""
        base.audio_tower, base.audio_projection = self.audio_tower, self.audio_projection
        for name, value in self.fields.items():
            setattr(base.config, name, value)
        self.audio_tower = self.audio_projection = None
        self.fields = {}

    def settle(self, base: Any, placement: Placement) -> None:
        """Follow what happened to the model while another adapter was active: device, precision, training."""
        is_shared = self.audio_tower is base.audio_tower
        if self.placement != placement:
            if is_shared:
                self.audio_projection.float()
            else:
                settle_dtypes(self, placement.dtype)
            for module in (self.audio_projection,) if is_shared else (self.audio_tower, self.audio_projection):
                if not any(_hooks(part) for part in module.modules()):  # accelerate places these itself
                    module.to(placement.device)
            self.placement = placement
        for module in (self.audio_tower, self.audio_projection):
            if module.training != base.training:
                module.train(base.training)


class AdapterSet:
    """
    The sound adapters of a model, in the order of loading.

    `loading` is held by one call of `load_sound_adapter` at a time. `switching` is held for as long as it takes to
    exchange, add, remove or look up adapters, and never while something is read or computed.
    """

    def __init__(self) -> None:
        self.adapters = {DEFAULT: SoundAdapter(DEFAULT)}
        self.active = DEFAULT
        self._make_locks()

    def _make_locks(self) -> None:
        self.loading = threading.Lock()
        self.switching = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("loading", "switching")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_locks()

    def named(self, name: str) -> SoundAdapter:
        """
        Raises:
            ValueError: If no adapter has this name; those that there are are named.
        """
        if not isinstance(name, str) or name not in self.adapters:
            known = ", ".join(map(repr, self.adapters))
            raise ValueError(
                f"There is no sound adapter {name!r}; this model has {known}. Load others with load_sound_adapter."
            )
        return self.adapters[name]

    def parts(self, base: Any, name: str | None) -> SoundParts:
        """What calls with an adapter hear with; None is the active one."""
        adapter = self.named(self.active if name is None else name)
        if adapter.name == self.active:
            return SoundParts(
                base.config.sound_config,
                base.audio_tower,
                base.audio_projection,
                adapter.name,
                adapter.source,
                _moving_device(base.audio_tower, adapter.placement),
            )
        adapter.settle(base, Placement.of(base))
        return SoundParts(
            adapter.fields["sound_config"],
            adapter.audio_tower,
            adapter.audio_projection,
            adapter.name,
            adapter.source,
            _moving_device(adapter.audio_tower, adapter.placement),
        )

    def activate(self, base: Any, name: str) -> None:
        """Make an adapter the active one; the one before stays beside the model."""
        adapter, leaving = self.named(name), self.adapters[self.active]
        if adapter is leaving:
            return
        check_not_wrapped(base)
        placement = Placement.of(base)
        adapter.settle(base, placement)
        trained = {key: parameter.requires_grad for key, parameter in base.audio_projection.named_parameters()}
        leaving.take_from(base, placement)
        for key, parameter in adapter.audio_projection.named_parameters():
            parameter.requires_grad_(trained[key])
        adapter.give_to(base)
        self.active = name

    def encoders(self, base: Any) -> Iterator[tuple[KnownEncoder | None, Any, Any]]:
        """What is known of each adapter's encoder, its configuration, and the encoder."""
        for name, adapter in self.adapters.items():
            if name == self.active:
                yield adapter.encoder, base.config.sound_config.audio_config, base.audio_tower
            else:
                yield adapter.encoder, adapter.fields["sound_config"].audio_config, adapter.audio_tower

    def infos(self, config: SoundLlavaConfig) -> list[SoundAdapterInfo]:
        """The adapters as a list; `config` is the model's."""
        found = []
        for name, adapter in self.adapters.items():
            active = name == self.active
            fields = {key: getattr(config, key) for key in ADAPTER_FIELDS} if active else adapter.fields
            sound = fields["sound_config"]
            found.append(
                SoundAdapterInfo(
                    name=name,
                    source=adapter.source,
                    revision=adapter.revision,
                    encoder=fields["audio_encoder_name_or_path"],
                    encoder_revision=fields["audio_encoder_revision"],
                    encoder_type=sound.audio_config.model_type,
                    alignment=sound.alignment,
                    token_budget=sound.token_budget,
                    active=active,
                )
            )
        return found


def check_not_wrapped(base: Any) -> None:
    """
    Raises:
        ValueError: If PEFT or something else has changed the sound parts, which would then be in no adapter's file.
    """
    wrapped = not isinstance(base.audio_projection, AlignmentProjector)
    for name in ("audio_projection", "audio_tower"):
        part = getattr(base, name)
        if peft_layers(part) or (wrapped and name == "audio_projection"):
            raise ValueError(
                f"{name} is wrapped ({type(part).__name__}, or PEFT layers in it): this model keeps the sound adapter "
                "that it has. Load others before it is wrapped, or unwrap it (PEFT: merge_and_unload)."
            )


def _hooks(module: nn.Module) -> list[Any]:
    """Those of accelerate."""
    hook = getattr(module, "_hf_hook", None)
    return [] if hook is None else list(getattr(hook, "hooks", [hook]))


def _moving_device(tower: nn.Module, placement: Placement | None) -> torch.device | None:
    """Where the inputs of an encoder are moved that accelerate did not place, in a model that it did."""
    if placement is None or not placement.spread or any(_hooks(module) for module in tower.modules()):
        return None
    return placement.device


__all__ = ["DEFAULT", "AdapterSet", "Placement", "SoundAdapter", "SoundAdapterInfo", "check_not_wrapped"]
