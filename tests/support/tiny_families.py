"""Tiny random models of every type that sound can be added to, each with a processor of its own."""

from typing import Any

import torch
from tiny_models import IMAGE_SIZE, IMAGE_TOKEN_ID, PINPOINTS, SIDE, tiny_text_config, tiny_vision_config
from tiny_processors import tiny_image_processor, tiny_tokenizer
from transformers import (
    AutoModelForImageTextToText,
    CLIPImageProcessor,
    DeepseekVLConfig,
    DeepseekVLImageProcessor,
    DeepseekVLProcessor,
    FastVlmConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaNextProcessor,
    LlavaNextVideoConfig,
    LlavaNextVideoProcessor,
    LlavaNextVideoVideoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PreTrainedConfig,
    SiglipVisionConfig,
    VideoLlavaConfig,
    VideoLlavaImageProcessor,
    VideoLlavaProcessor,
    VideoLlavaVideoProcessor,
    VipLlavaConfig,
)

PATCH_SIZE = IMAGE_SIZE // SIDE
VIDEO_TOKEN_ID = 4  # `<unk>`, which no byte becomes
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
SIZE = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
# LLaVA-OneVision shrinks what is larger than a view: 2 x 2 tiles, and more.
ASPECT_RATIO = "anyres_max_1"


def tiny_siglip_config(**kwargs: Any) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        **{
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
            "vision_use_head": False,
            **kwargs,
        }
    )


def family_config(family: str) -> PreTrainedConfig:
    parts = {"text_config": tiny_text_config(), "image_token_index": IMAGE_TOKEN_ID}
    clip, siglip = tiny_vision_config(), tiny_siglip_config()
    if family == "llava":
        return LlavaConfig(vision_config=clip, image_seq_length=SIDE**2, **parts)
    if family == "llava_siglip":
        return LlavaConfig(
            vision_config=siglip, vision_feature_layer=-1, vision_feature_select_strategy="full", **parts
        )
    if family == "llava_next":
        return LlavaNextConfig(vision_config=clip, image_grid_pinpoints=PINPOINTS, **parts)
    if family == "vipllava":
        return VipLlavaConfig(vision_config=clip, vision_feature_layers=[-2, 1], vision_feature_layer=[-2, 1], **parts)
    parts["video_token_index"] = VIDEO_TOKEN_ID
    if family == "llava_next_video":
        return LlavaNextVideoConfig(vision_config=clip, image_grid_pinpoints=PINPOINTS, **parts)
    if family == "llava_onevision":
        return LlavaOnevisionConfig(
            vision_config=siglip, image_grid_pinpoints=PINPOINTS, vision_aspect_ratio=ASPECT_RATIO, **parts
        )
    if family == "video_llava":
        return VideoLlavaConfig(vision_config=clip, **parts)
    if family == "deepseek_vl":
        return DeepseekVLConfig(vision_config=siglip, text_config=tiny_text_config(), image_token_id=IMAGE_TOKEN_ID)
    assert family == "fast_vlm"
    del parts["video_token_index"]
    return FastVlmConfig(
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "fastvit_mci3",
            "hidden_size": 32,
            "do_pooling": True,
            "global_pool": "avg",
            "model_args": {
                "inference_mode": True,
                "layers": (1, 1, 1, 1, 1),
                "embed_dims": (4, 8, 16, 32, 32),
                "cls_ratio": 1.0,
            },
        },
        image_seq_length=4,
        **parts,
    )


FAMILIES = (
    "llava",
    "llava_siglip",
    "llava_next",
    "llava_next_video",
    "llava_onevision",
    "vipllava",
    "video_llava",
    "deepseek_vl",
    "fast_vlm",
)


def family_model(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A stock model with random weights, in eval mode."""
    torch.manual_seed(1)
    model = AutoModelForImageTextToText.from_config(family_config(family)).eval().to(dtype)
    model.generation_config.eos_token_id = None  # random weights must not end a text early
    return model


def family_processor(family: str) -> Any:
    """The stock processor of the model's type."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    plain = CLIPImageProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=SIZE)
    common = {"chat_template": TEMPLATE}
    clip = {"patch_size": PATCH_SIZE, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    if family in ("llava", "vipllava"):
        return LlavaProcessor(plain, tokenizer, **clip, **common)
    if family == "llava_siglip":
        return LlavaProcessor(plain, tokenizer, patch_size=PATCH_SIZE, vision_feature_select_strategy="full", **common)
    if family == "fast_vlm":
        large = CLIPImageProcessor(size={"shortest_edge": 128}, crop_size={"height": 128, "width": 128})
        return LlavaProcessor(large, tokenizer, patch_size=64, vision_feature_select_strategy="full", **common)
    if family == "llava_next":
        return LlavaNextProcessor(tiny_image_processor("llava_next"), tokenizer, **clip, **common)
    if family == "llava_next_video":
        videos = LlavaNextVideoVideoProcessor()
        images = tiny_image_processor("llava_next")
        return LlavaNextVideoProcessor(videos, images, tokenizer, video_token="<unk>", **clip, **common)
    if family == "llava_onevision":
        return LlavaOnevisionProcessor(
            LlavaOnevisionImageProcessor(size=SIZE, image_grid_pinpoints=PINPOINTS),
            tokenizer,
            LlavaOnevisionVideoProcessor(size=SIZE),
            num_image_tokens=SIDE**2,
            vision_feature_select_strategy="full",
            video_token="<unk>",
            vision_aspect_ratio=ASPECT_RATIO,
            **common,
        )
    if family == "video_llava":
        images = VideoLlavaImageProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=SIZE)
        videos = VideoLlavaVideoProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=SIZE)
        return VideoLlavaProcessor(images, videos, tokenizer, video_token="<unk>", **clip, **common)
    assert family == "deepseek_vl"
    images = DeepseekVLImageProcessor(size=SIZE, min_size=2)
    return DeepseekVLProcessor(images, tokenizer, num_image_tokens=SIDE**2, **common)
