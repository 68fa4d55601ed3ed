"""SoundClip: an audio encoder aligned to a CLIP vision tower, which embeds sounds and pictures in one space."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, CLIPVisionModel, PreTrainedModel, SiglipVisionModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput, can_return_tuple

from ..losses import soundclip_loss
from .audio_features import AudioFeaturesMixin
from .checkpoint_json import checked_settings
from .checkpoint_names import one_commit
from .checkpoints.dual_encoder import DualEncoderLoadingMixin
from .checkpoints.encoder import audio_encoder_config, load_audio_encoder
from .configuration_soundclip import SoundClipConfig
from .projector import FLOAT32_MODULES, AlignmentProjector
from .vision_tower import vision_features

_SIGLIP = ("siglip", "siglip_vision_model")


@dataclass
class SoundClipOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor`, *optional*): Scalar, with `return_loss=True`.
        logits_per_audio (`torch.Tensor` of shape `(sounds, images)`): Cosines times `logit_scale.exp()`, fp32.
        logits_per_image (`torch.Tensor` of shape `(images, sounds)`): Its transpose.
        audio_embeds (`torch.Tensor` of shape `(sounds, vision_hidden_size)`): L2-normalised `f_a`, fp32.
        image_embeds (`torch.Tensor` of shape `(images, vision_hidden_size)`): L2-normalised `c`, fp32.
        audio_model_output, vision_model_output (`BaseModelOutputWithPooling`): Of the towers; their `pooler_output` is
            what is normalised above.
    """

    loss: Tensor | None = None
    logits_per_audio: Tensor | None = None
    logits_per_image: Tensor | None = None
    audio_embeds: Tensor | None = None
    image_embeds: Tensor | None = None
    audio_model_output: BaseModelOutputWithPooling | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


class SoundClipPreTrainedModel(DualEncoderLoadingMixin, PreTrainedModel):
    config_class = SoundClipConfig
    config: SoundClipConfig
    base_model_prefix = "soundclip"
    main_input_name = "input_features"
    input_modalities = ("image", "audio")
    supports_gradient_checkpointing = True
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    # In bf16 the temperature would be off by 0.1 %.
    _keep_in_fp32_modules_strict = [*FLOAT32_MODULES, "logit_scale"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SoundClipModel):
            init.constant_(module.logit_scale, -math.log(self.config.temperature))


class SoundClipModel(AudioFeaturesMixin, SoundClipPreTrainedModel):
    r"""
    A dual encoder in LLaVA's visual space: `f_a` of a sound beside `c`, the `[CLS]` row of a picture at the feature
    layer that LLaVA consumes. It is what alignment training trains, and what retrieval searches with.

    Its `audio_tower`, `audio_projection` and `vision_tower` are those of `SoundLlavaModel`, and [`from_pretrained`]
    reads the same adapter repositories.

    Both towers are frozen from the start, when built from a configuration and when loaded: the paper trains the
    projector alone. `model.vision_tower.requires_grad_(True)` thaws one, `freeze_base_model()` undoes that. A frozen
    tower stays in eval mode inside `model.train()`, so that neither dropout nor BatchNorm statistics move what it says.

    Args:
        config ([`SoundClipConfig`]): With a `vision_config`.

    Raises:
        ValueError: If the configuration has no vision tower, or one of another width than `vision_hidden_size`.
    """

    def __init__(self, config: SoundClipConfig) -> None:
        super().__init__(config)
        if config.vision_config is None:
            raise ValueError(
                "SoundClipConfig.vision_config is None: a dual encoder needs the vision tower whose space the sound is "
                "aligned to. Pass vision_config=CLIPVisionConfig(…), or load an adapter or a SoundLlava."
            )
        layers = 1 if isinstance(config.vision_feature_layer, int) else len(config.vision_feature_layer)
        if config.vision_hidden_size != layers * config.vision_config.hidden_size:
            raise ValueError(
                f"vision_hidden_size={config.vision_hidden_size}: the vision tower's tokens are "
                f"{layers * config.vision_config.hidden_size} wide; both must be equal."
            )
        self.audio_tower = AutoModel.from_config(config.audio_config)
        self.audio_projection = AlignmentProjector(config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        # from_pretrained builds in the checkpoint's dtype, which would round it.
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(config.temperature), dtype=torch.float32))
        self.post_init()
        self.freeze_base_model()

    @classmethod
    def from_audio_vision_pretrained(
        cls,
        audio: str,
        vision: str,
        *,
        audio_revision: str | None = None,
        vision_revision: str | None = None,
        dtype: torch.dtype | str = "auto",
        **fields: Any,
    ) -> "SoundClipModel":
        """
        Put an audio encoder beside a CLIP or SigLIP vision tower, with a projector that is still to be trained.

        Args:
            audio: Repository or folder of an audio encoder; a Whisper becomes a WhisperCLIP.
            vision: Of a CLIP or a SigLIP, or of its vision tower alone.
            audio_revision, vision_revision: Of the two repositories.
            dtype: Of the towers.
            **fields: Of [`SoundClipConfig`].

        Raises:
            OSError: If a repository or a file of it cannot be found.
            ValueError: If `audio` is not an audio encoder of this package; the accepted ones are named.
        """
        audio_revision = one_commit(audio, audio_revision)
        vision_revision = one_commit(vision, vision_revision)
        audio_config = audio_encoder_config(audio, audio_revision)
        with checked_settings(vision, {"revision": vision_revision}):
            vision_config = AutoConfig.from_pretrained(vision, revision=vision_revision or "main")
        tower_class: Any = SiglipVisionModel if vision_config.model_type in _SIGLIP else CLIPVisionModel
        tower = tower_class.from_pretrained(vision, revision=vision_revision or "main", dtype=dtype)
        encoder = load_audio_encoder(audio, audio_config, revision=audio_revision, dtype=tower.dtype)
        layer = fields.get("vision_feature_layer", -2)
        width = tower.config.hidden_size * (1 if isinstance(layer, int) else len(layer))
        values = {"audio_config": encoder.config, "vision_config": tower.config, "vision_hidden_size": width, **fields}
        model = cls._from_config(SoundClipConfig(**values), dtype=tower.dtype)
        model.audio_tower, model.vision_tower = encoder, tower
        model.audio_projection.float()
        model.freeze_base_model()
        return model.eval()

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the towers: the projector and the temperature stay in float32."""
        return self.vision_tower.dtype

    def freeze_base_model(self) -> None:
        """Leave only the projector trainable, and the temperature where the configuration says so."""
        self.requires_grad_(False)
        self.audio_projection.requires_grad_(True)
        self.logit_scale.requires_grad_(self.config.learnable_temperature)

    def train(self, mode: bool = True) -> "SoundClipModel":
        super().train(mode)
        for tower in (self.audio_tower, self.vision_tower):
            if not any(parameter.requires_grad for parameter in tower.parameters()):
                tower.eval()
        return self

    @can_return_tuple
    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """
        Pictures to `c`, the alignment target: the `[CLS]` row of `vision_feature_layer`, or the mean of the patches of
        a tower without `[CLS]`, such as SigLIP's.

        Args:
            pixel_values: `(images, 3, height, width)`, or `(clips, frames, 3, height, width)`: the mean over the
                frames of a clip, summed in fp32.

        Returns:
            The vision tower's output with `pooler_output` `(images or clips, vision_hidden_size)`, not normalised, in
            the tower's dtype. Its other fields have one row per frame.

        Raises:
            ValueError: For another number of axes.
        """
        if pixel_values.ndim not in (4, 5):
            raise ValueError(
                f"pixel_values of shape {tuple(pixel_values.shape)}: expected (images, 3, height, width) or (clips, "
                "frames, 3, height, width)."
            )
        clips = pixel_values.shape[:2] if pixel_values.ndim == 5 else None
        if clips is not None:
            pixel_values = pixel_values.flatten(0, 1)
        layer = self.config.vision_feature_layer
        everything = self.config.output_hidden_states or self.vision_tower.config.output_hidden_states
        everything = kwargs.pop("output_hidden_states", everything)
        tower, features = vision_features(self.vision_tower, pixel_values, layer, everything, **kwargs)
        target = features[:, 0]
        if clips is not None:
            target = target.unflatten(0, clips).mean(1, dtype=torch.float32).to(target.dtype)
        return BaseModelOutputWithPooling(
            last_hidden_state=tower.last_hidden_state,
            pooler_output=target,
            hidden_states=tower.hidden_states if everything is True else None,
            attentions=tower.attentions,
        )

    @can_return_tuple
    def forward(
        self,
        input_features: Tensor | None = None,
        pixel_values: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        return_loss: bool | None = None,
        sound_alignment: str | None = None,
        sound_alpha: float | None = None,
        **kwargs: Any,
    ) -> SoundClipOutput:
        """
        Compare sounds with pictures.

        Args:
            input_features, input_features_mask, sound_alignment, sound_alpha: See [`get_audio_features`].
            pixel_values: See [`get_image_features`].
            return_loss: Add [`~losses.soundclip_loss`] of the features that are not normalised; row i of the sounds
                then belongs to row i of the pictures.

        Raises:
            ValueError: If sounds or pictures are missing; with `return_loss`, for unequal numbers or a single pair.
        """
        if input_features is None or pixel_values is None:
            missing = "input_features" if input_features is None else "pixel_values"
            raise ValueError(
                f"{missing} is missing: forward compares sounds with pictures. For one of the two alone call "
                "get_audio_features or get_image_features."
            )
        audio = self.get_audio_features(
            input_features, input_features_mask, sound_alignment, sound_alpha, **{**kwargs, "return_dict": True}
        )
        vision = self.get_image_features(pixel_values, **{**kwargs, "return_dict": True})
        image_features = vision.pooler_output.to(audio.pooler_output.device)
        audio_embeds = F.normalize(audio.pooler_output.float(), dim=-1)
        image_embeds = F.normalize(image_features.float(), dim=-1)
        scale = self.logit_scale.exp().to(audio_embeds.device)
        logits = audio_embeds @ image_embeds.T * scale
        loss = None
        if return_loss:
            loss = soundclip_loss(audio.pooler_output, image_features, logit_scale=scale)
        return SoundClipOutput(
            loss=loss,
            logits_per_audio=logits,
            logits_per_image=logits.T,
            audio_embeds=audio_embeds,
            image_embeds=image_embeds,
            audio_model_output=audio,
            vision_model_output=vision,
        )


AutoModel.register(SoundClipConfig, SoundClipModel, exist_ok=True)

__all__ = ["SoundClipModel", "SoundClipOutput", "SoundClipPreTrainedModel"]
