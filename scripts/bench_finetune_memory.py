"""The memory that a fine-tuning step takes on a GPU, beside the estimate of `soundclip finetune --dry-run`.

A LLaVA-1.5-7B with WhisperCLIP (medium) of random weights is made on the GPU, so nothing is downloaded. For each case,
two steps are taken as `Trainer` takes them, on rows of one picture with one sound; the peak is that of the second step,
in which the optimizer has its states. What PyTorch allocated is compared: not the CUDA context, and no fragments.

    python scripts/bench_finetune_memory.py --batch 8 --length 689 --output memory-h100.json    # two minutes on an H100
    python scripts/bench_finetune_memory.py --device cpu --layers 2 --hidden 64 --length 600    # runs, measures nothing
"""

import argparse
import gc
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

from soundclip_hf import SoundClipConfig, SoundLlava, SoundLlavaConfig, WhisperClipConfig
from soundclip_hf.training.finetuning.memory import DecoderLayer, estimate_memory
from soundclip_hf.training.finetuning.presets import LoraSettings, apply_preset, parameter_table

IMAGE_TOKEN = 3
VISUAL_TOKENS = 577  # of a picture with a sound, whose patches are all kept in place


def build(options: argparse.Namespace, preset: str) -> SoundLlava:
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=options.hidden,
        intermediate_size=11008 if options.hidden == 4096 else 11 * options.hidden // 4,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // min(128, options.hidden // 2),
        max_position_embeddings=4096,
    )
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    whisper = {"d_model": 1024, "encoder_layers": 24, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096}
    base = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision, image_size=336, patch_size=14, projection_dim=768),
        text_config=text,
        image_token_index=IMAGE_TOKEN,
    )
    sound = SoundClipConfig(audio_config=WhisperClipConfig(**whisper, window="short"))
    with torch.device(options.device):
        model = SoundLlava._from_config(
            SoundLlavaConfig.from_llava_config(base, sound_config=sound), dtype=getattr(torch, options.dtype)
        )
    apply_preset(model, preset, LoraSettings(r=options.lora_r))
    return model.train()


def inputs_of(options: argparse.Namespace) -> dict[str, torch.Tensor]:
    rows, device = options.batch, options.device
    ids = torch.randint(10, 32000, (rows, options.length), device=device)
    ids[:, 1 : 1 + VISUAL_TOKENS] = IMAGE_TOKEN
    place = torch.arange(rows, device=device)
    labels = ids.where(ids != IMAGE_TOKEN, -100)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "pixel_values": torch.randn(rows, 3, 336, 336, device=device),
        "input_features": torch.randn(rows, 1, 80, 300, device=device),
        "sound_slots": torch.stack([place, place], dim=1),
        "sound_budget": torch.full((rows,), -1, device=device),
    }


def peak(model: SoundLlava, inputs: dict[str, torch.Tensor], device: str) -> int | None:
    """Bytes that PyTorch had allocated at most in the second step; None on a CPU."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)  # as optim="adamw_torch"
    for step in range(2):
        if device == "cuda" and step == 1:
            torch.cuda.reset_peak_memory_stats()
        with torch.autocast(device, torch.bfloat16):
            loss = model(**inputs, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["lora+projector"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=689, help="tokens of a row, of which 577 are visual")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--lora-r", type=int, default=64)
    parser.add_argument("--dtype", default="bfloat16", help="of the weights; the steps use autocast to bfloat16")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    inputs, cases = inputs_of(options), []
    for preset in options.presets:
        for checkpointing in (True, False):
            model: Any = build(options, preset)
            if checkpointing:
                model.activation_checkpointing_enable()
            text = model.config.text_config
            estimate = estimate_memory(
                parameter_table(model),
                text,
                DecoderLayer.of(model.model.language_model, text),
                tokens=options.batch * options.length,
                element_size=2,
                gradient_checkpointing=checkpointing,
            )
            case = {"preset": preset, "activation_checkpointing": checkpointing, "estimate": estimate.to_dict()}
            try:
                case["measured"] = peak(model, inputs, options.device)
            except torch.OutOfMemoryError as error:
                case["measured"], case["error"] = None, str(error).split(".")[0]
            cases.append(case)
            gib = [None if n is None else round(n / 2**30, 2) for n in (estimate.total, case["measured"])]
            print(f"{preset}, activation checkpointing {checkpointing}: estimated {gib[0]} GiB, measured {gib[1]} GiB")
            del model
            gc.collect()
            if options.device == "cuda":
                torch.cuda.empty_cache()
    if options.output is not None:
        report = {
            "config": {key: str(value) for key, value in vars(options).items() if key != "output"},
            "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
            "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
            "cases": cases,
        }
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
