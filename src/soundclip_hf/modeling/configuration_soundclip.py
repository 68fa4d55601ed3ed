"""Configurations: `SoundClipConfig` (audio encoder and alignment) and `SoundLlavaConfig` (a LLaVA that has one)."""

import math
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from .checkpoint_names import CheckpointNameMixin

AutoConfig.register(WhisperClipConfig.model_type, WhisperClipConfig, exist_ok=True)

Alignment = Literal["projected", "raw"]
PatchMode = Literal["zero", "drop"]
BudgetScope = Literal["tile", "image", "base"]
SelectStrategy = Literal["full", "default"]

# CLIP ViT-L/14 at 336 pixels, the vision tower of LLaVA-1.5 and 1.6.
_CLIP_L_336 = {
    "intermediate_size": 4096,
    "hidden_size": 1024,
    "patch_size": 14,
    "image_size": 336,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "projection_dim": 768,
}


class _PackagedConfig(PreTrainedConfig):
    @classmethod
    def register_for_auto_class(cls, auto_class: Any = "AutoConfig") -> None:
        """Does nothing: the code of this class is a package, and is not copied into the folders of models."""


@strict
class SoundClipConfig(CheckpointNameMixin, _PackagedConfig):
    r"""
    An audio encoder and its alignment to CLIP's token space (sections 3.2, 3.3 and F.2 of the paper).

    Args:
        audio_config (`PreTrainedConfig` or `dict`, *optional*):
            The audio encoder's configuration; its `model_type` picks the class. Defaults to `WhisperClipConfig()`.
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            The CLIP vision tower's configuration. `None` inside `SoundLlavaConfig`, which has its own;
            `SoundClipModel` needs it.
        vision_hidden_size (`int`, *optional*, defaults to 1024):
            Width of the vision tower's tokens: the width of `f_a`.
        alignment (`str`, *optional*, defaults to `"projected"`):
            `projected`: `f_a = MLP(z_a)` (F.2). `raw`: `z_a` zero-padded or cut to `vision_hidden_size`.
        alpha (`float`, *optional*, defaults to 0.0):
            Interpolation `f_a = alpha * raw + (1 - alpha) * projected`, in 0..1; only used when `alignment` is
            `projected`.
        token_budget (`int`, *optional*, defaults to 150):
            `k`, the number of patches kept.
        patches (`str`, *optional*, defaults to `"zero"`):
            `zero` sets the other patches to zero (the paper); `drop` gives the LLM only the kept ones.
        patch_budget_scope (`str`, *optional*, defaults to `"tile"`):
            LLaVA-1.6 only: `k` patches of each tile, of the whole image (one ranking over base and tiles), or of the
            base view (tiles keep nothing).
        sound_select_strategy (`str`, *optional*, defaults to `"full"`):
            `full` hands `f_a`'s row to the LLM. `default`, LLaVA's own strategy, drops that row: the sound then only
            chooses patches (an ablation).
        projector_hidden_size (`int`, *optional*, defaults to 1024):
            Width of the projector's hidden layers (F.2 prints 1024: 2.6 to 3.2 M parameters; the paper's "1.9 M" does
            not follow from its formula).
        projector_dropout (`float`, *optional*, defaults to 0.1):
            Dropout after each hidden layer while training (appendix E).
        vision_feature_layer (`int`, *optional*, defaults to -2):
            The hidden state whose CLS row is the alignment target.
        temperature (`float`, *optional*, defaults to 0.07):
            Of the contrastive logits, `cosine / temperature`; where it is learnable, the initial one.
        learnable_temperature (`bool`, *optional*, defaults to `False`):
            Whether `SoundClipModel.logit_scale`, the logarithm of `1 / temperature`, is trained with the projector. The
            paper keeps it fixed.
    """

    model_type = "soundclip"
    sub_configs_defaults = {
        "audio_config": SubConfigSpec(config_class=AutoConfig, model_type="whisper_clip"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model", optional=True),
    }

    audio_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    vision_hidden_size: int = 1024
    alignment: Alignment = "projected"
    alpha: float | int = 0.0
    token_budget: int = 150
    patches: PatchMode = "zero"
    patch_budget_scope: BudgetScope = "tile"
    sound_select_strategy: SelectStrategy = "full"
    projector_hidden_size: int = 1024
    projector_dropout: float | int = 0.1
    vision_feature_layer: int | list[int] = -2
    temperature: float | int = 0.07
    learnable_temperature: bool = False
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not hasattr(self.audio_config, "embedding_dim"):
            raise ValueError(
                f"audio_config is a {type(self.audio_config).__name__} (model_type {self.audio_config.model_type!r}), "
                "which has no embedding_dim: give the configuration of an audio encoder of soundclip_hf, such as "
                "WhisperClipConfig.from_whisper_config(…)."
            )
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha={self.alpha}: must be in 0..1 (0 is projected, 1 is raw).")
        if isinstance(self.token_budget, bool) or not 0 <= self.token_budget < 2**31:
            raise ValueError(
                f"token_budget={self.token_budget}: must be an int >= 0 and below 2**31, the number of patches to keep."
            )
        for name in ("vision_hidden_size", "projector_hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1.")
        if not 0 <= self.projector_dropout < 1:
            raise ValueError(f"projector_dropout={self.projector_dropout}: must be in [0, 1).")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature}: must be positive and finite.")
        if not 0 <= self.initializer_range < math.inf:
            raise ValueError(f"initializer_range={self.initializer_range}: must be finite and not negative.")
        _check_feature_layer(self.vision_feature_layer, self.vision_config)

    @property
    def audio_embedding_dim(self) -> int:
        """Width `d_a` of the audio encoder's `pooler_output`."""
        return self.audio_config.embedding_dim


@strict
class SoundLlavaConfig(CheckpointNameMixin, _PackagedConfig):
    r"""
    A LLaVA-1.5 or LLaVA-1.6 configuration with a `sound_config`.

    Args:
        vision_config, text_config (`PreTrainedConfig` or `dict`, *optional*):
            As in `LlavaConfig` and `LlavaNextConfig`.
        sound_config (`SoundClipConfig` or `dict`, *optional*):
            Audio encoder, alignment and patch budget.
        llava_variant (`str`, *optional*, defaults to `"llava"`):
            `llava` is LLaVA-1.5; `llava_next` is LLaVA-1.6 with its anyres tiles.
        vision_feature_select_strategy (`str`, *optional*, defaults to `"default"`):
            Layout of images *without* sound: the base checkpoint's own.
        image_grid_pinpoints (`list`, *optional*):
            `(height, width)` resolutions of LLaVA-1.6; unused by 1.5.
        base_model_name_or_path, base_model_revision (`str`, *optional*):
            The LLaVA checkpoint that an adapter repository completes.
        audio_encoder_name_or_path, audio_encoder_revision (`str`, *optional*):
            The audio encoder's checkpoint; `None` when its weights lie in the adapter itself.
        vision_fingerprint (`dict`, *optional*):
            Identifies the vision tower that the adapter was trained for.
        has_peft_adapter (`bool`, *optional*, defaults to `False`):
            Whether the folder `peft` beside this configuration holds a PEFT adapter (LoRA) of the model.
    """

    model_type = "sound_llava"
    attribute_map = {"image_token_id": "image_token_index"}
    # What `Trainer.predict` leaves out: caches, and the vision tower's output, which holds None for hidden states that
    # were not asked for.
    keys_to_ignore_at_inference = ["past_key_values", "cache", "image_outputs"]
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="clip_vision_model", init_kwargs=dict(_CLIP_L_336)
        ),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "sound_config": SubConfigSpec(config_class=SoundClipConfig),
    }

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    sound_config: dict | PreTrainedConfig | None = None
    llava_variant: Literal["llava", "llava_next"] = "llava"
    image_token_index: int = 32000
    image_seq_length: int = 576
    projector_hidden_act: str = "gelu"
    vision_feature_select_strategy: SelectStrategy = "default"
    vision_feature_layer: int | list[int] = -2
    multimodal_projector_bias: bool = True
    tie_word_embeddings: bool = False
    image_grid_pinpoints: list | None = None
    base_model_name_or_path: str | None = None
    base_model_revision: str | None = None
    audio_encoder_name_or_path: str | None = None
    audio_encoder_revision: str | None = None
    vision_fingerprint: dict | None = None
    has_peft_adapter: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.sound_config is None:
            # The sound's width follows the tower: a default of 1024 would be wrong for any other one.
            self.sound_config = {}
        if isinstance(self.sound_config, dict) and "vision_hidden_size" not in self.sound_config:
            self.sound_config = {**self.sound_config, "vision_hidden_size": self._width_of(self.vision_config)}
        super().__post_init__(**kwargs)
        if not self.tie_word_embeddings and getattr(self.text_config, "tie_word_embeddings", False):
            self.tie_word_embeddings = True
        if self.llava_variant == "llava_next" and self.image_grid_pinpoints is None:
            self.image_grid_pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
        _check_feature_layer(self.vision_feature_layer, self.vision_config)
        width = self.sound_config.vision_hidden_size
        if width != self.vision_width:
            raise ValueError(
                f"sound_config.vision_hidden_size={width}: the vision tower's tokens are {self.vision_width} wide; "
                "both must be equal."
            )

    def _width_of(self, vision_config: Any) -> int:
        if vision_config is None:
            hidden = _CLIP_L_336["hidden_size"]
        elif isinstance(vision_config, dict):
            hidden = vision_config.get("hidden_size", _CLIP_L_336["hidden_size"])
        else:
            hidden = vision_config.hidden_size
        layers = 1 if isinstance(self.vision_feature_layer, int) else len(self.vision_feature_layer)
        return hidden * layers

    @property
    def vision_width(self) -> int:
        """Width of the vision tokens that enter LLaVA's projector."""
        return self._width_of(self.vision_config)

    @property
    def patches_per_side(self) -> int:
        """Side of one view's patch grid (24 for CLIP ViT-L/14 at 336 pixels)."""
        return self.vision_config.image_size // self.vision_config.patch_size

    @classmethod
    def from_llava_config(
        cls, config: PreTrainedConfig, sound_config: SoundClipConfig | dict | None = None, **kwargs: Any
    ) -> "SoundLlavaConfig":
        """
        Add sound to a `LlavaConfig` or `LlavaNextConfig`.

        Args:
            config: The base model's configuration.
            sound_config: Audio encoder and alignment; its `vision_hidden_size` is set to the tower's width.
            **kwargs: Further fields, such as `base_model_name_or_path`.

        Raises:
            ValueError: If `config` is of another model type.
        """
        if config.model_type not in ("llava", "llava_next"):
            raise ValueError(f"model_type={config.model_type!r}: sound can be added to 'llava' and 'llava_next'.")
        values = config.to_dict()
        for key in ("model_type", "architectures", "transformers_version", "auto_map", "_name_or_path"):
            values.pop(key, None)
        values["llava_variant"] = config.model_type
        sound = sound_config.to_dict() if isinstance(sound_config, PreTrainedConfig) else dict(sound_config or {})
        sound.pop("vision_hidden_size", None)
        sound.setdefault("vision_feature_layer", values.get("vision_feature_layer", -2))
        return cls(**{**values, "sound_config": sound, **kwargs})


def _check_feature_layer(layers: int | list[int], vision_config: Any) -> None:
    """Hidden states are counted from the embeddings, 0, to the last layer."""
    count = getattr(vision_config, "num_hidden_layers", None)
    for layer in [layers] if isinstance(layers, int) else layers:
        if isinstance(count, int) and not -count - 1 <= layer <= count:
            raise ValueError(
                f"vision_feature_layer={layers}: the vision tower has {count} layers; must be in {-count - 1}..{count}."
            )


AutoConfig.register(SoundClipConfig.model_type, SoundClipConfig, exist_ok=True)
AutoConfig.register(SoundLlavaConfig.model_type, SoundLlavaConfig, exist_ok=True)

__all__ = ["SoundClipConfig", "SoundLlavaConfig"]
