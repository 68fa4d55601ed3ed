"""Tiny random models of both LLaVA variants, stock and with ears, that share their weights."""

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
)

from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration

VARIANTS = ("llava", "llava_next")
IMAGE_TOKEN_ID = 3
VOCABULARY = 320
SIDE = 4  # patches per side of a view
IMAGE_SIZE = 28
PINPOINTS = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]


def tiny_vision_config(**kwargs) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        **{
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": IMAGE_SIZE // SIDE,
            "projection_dim": 32,
            "initializer_range": 0.5,
            "initializer_factor": 2.0,
            **kwargs,
        }
    )


def tiny_text_config(**kwargs) -> LlamaConfig:
    return LlamaConfig(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "initializer_range": 0.06,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **kwargs,
        }
    )


def tiny_audio_config(**kwargs) -> WhisperClipConfig:
    return WhisperClipConfig(
        **{
            "num_mel_bins": 80,
            "d_model": 24,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "window": "short",
            "init_std": 0.3,
            **kwargs,
        }
    )


def tiny_sound_config(**kwargs) -> SoundClipConfig:
    return SoundClipConfig(
        **{
            "audio_config": tiny_audio_config(),
            "vision_hidden_size": 32,
            "projector_hidden_size": 16,
            "token_budget": 5,
            "projector_dropout": 0.0,
            **kwargs,
        }
    )


def tiny_llava_config(variant: str, **kwargs) -> LlavaConfig | LlavaNextConfig:
    values = {
        "vision_config": tiny_vision_config(),
        "text_config": tiny_text_config(),
        "image_token_index": IMAGE_TOKEN_ID,
        "image_seq_length": SIDE**2,
        **kwargs,
    }
    if variant == "llava":
        return LlavaConfig(**values)
    return LlavaNextConfig(image_grid_pinpoints=PINPOINTS, **values)


def tiny_llava(variant: str, dtype: torch.dtype = torch.float32, **kwargs):
    """A stock LLaVA with random weights, in eval mode."""
    torch.manual_seed(1)
    model_class = LlavaForConditionalGeneration if variant == "llava" else LlavaNextForConditionalGeneration
    model = model_class(tiny_llava_config(variant, **kwargs)).eval().to(dtype)
    model.generation_config.eos_token_id = None  # random weights must not end a text early
    return model


def tiny_sound_llava_config(variant: str, sound: dict | None = None, **kwargs) -> SoundLlavaConfig:
    return SoundLlavaConfig.from_llava_config(
        tiny_llava_config(variant, **kwargs), sound_config=tiny_sound_config(**(sound or {}))
    )


def tiny_sound_llava(
    variant: str, dtype: torch.dtype = torch.float32, sound: dict | None = None, **kwargs
) -> SoundLlavaForConditionalGeneration:
    """A SoundLlava with the weights of `tiny_llava(variant)` and random ears, in eval mode."""
    stock = tiny_llava(variant, **kwargs)
    torch.manual_seed(2)
    model = SoundLlavaForConditionalGeneration(tiny_sound_llava_config(variant, sound, **kwargs)).eval()
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected
    assert all(".audio_" in key for key in missing)
    model.generation_config.eos_token_id = None
    model = model.to(dtype)
    model.model.audio_projection.float()
    return model
