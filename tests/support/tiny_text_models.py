"""Tiny text encoders, a CLIP and a CLAP in folders, with weights that follow from numpy's frozen RandomState alone."""

import re
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
)

TEXT = (
    "a bell rings in the tower while dog barks at passing red car engine hums and rain falls on roof someone plays "
    "piano softly behind closed door loud quiet dogs bells music is heard two of one near street"
)


def tiny_tokenizer(longest: int, **special: str) -> PreTrainedTokenizerFast:
    """Lowercase words as tokens, with a token before and one after a text."""
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", **special}
    vocabulary = {word: number for number, word in enumerate([*names.values(), *dict.fromkeys(TEXT.split())])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=names["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last = names["cls_token"], names["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(name, vocabulary[name]) for name in (first, last)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def fill(model: nn.Module, seed: int, scale: float = 0.3) -> nn.Module:
    """The same weights with every version of torch and transformers: norms stay near one, all else is noise."""
    noise = np.random.RandomState(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = torch.from_numpy(noise.standard_normal(tuple(weight.shape)).astype(np.float32))
            is_norm = re.search("norm", name, re.IGNORECASE) and name.endswith("weight")
            weight.copy_(1 + 0.1 * values if is_norm else scale * values)
    return model.eval()


def tiny_bert(folder: Path, longest: int = 64) -> Path:
    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=longest,
    )
    fill(BertModel(config), 0).save_pretrained(folder)
    tiny_tokenizer(longest).save_pretrained(folder)
    return folder


def tiny_clip(folder: Path, longest: int = 12) -> Path:
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = {**text, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(
        text_config={**text, "vocab_size": 64, "max_position_embeddings": longest, "eos_token_id": 3},
        vision_config=vision,
        projection_dim=16,
    )
    fill(CLIPModel(config), 1).save_pretrained(folder)
    image_processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor, tiny_tokenizer(longest)).save_pretrained(folder)
    return folder


def tiny_clap(folder: Path, longest: int = 12, fusion: bool = False) -> Path:
    """It hears one second at 48 kHz."""
    text = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": longest + 2,
        "pad_token_id": 0,
    }
    audio = {
        "spec_size": 64,
        "window_size": 4,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
        "enable_fusion": fusion,
        "fusion_type": "aff_2d" if fusion else None,
        "projection_hidden_size": 16,
    }
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
    fill(ClapModel(config), 2).save_pretrained(folder)
    extractor = ClapFeatureExtractor(
        feature_size=16, max_length_s=1, truncation="fusion" if fusion else "rand_trunc", hop_length=480
    )
    ClapProcessor(extractor, tiny_tokenizer(longest)).save_pretrained(folder)
    return folder


__all__ = ["fill", "tiny_bert", "tiny_clap", "tiny_clip", "tiny_tokenizer"]
