"""What a sound costs in `generate`: base LLaVA against SoundLlava, zero against drop, at LLaVA's shapes in small.

Random weights, real geometry (CLIP ViT-L/14 at 336 pixels, 576 patches a view). Contestants take turns in one process,
on one thread, by CPU time; correctness is checked before anything is timed. Prints ratios and writes JSON.

    python scripts/bench_generate.py --variant llava llava_next --repeats 7 --output generate.json
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaNextConfig
from transformers import LlavaNextForConditionalGeneration as LlavaNext

from soundclip_hf import SoundClipConfig, SoundLlava, SoundLlavaConfig, WhisperClipConfig, __version__

IMAGE_TOKEN, TEXT_TOKENS, SECONDS = 32000, 64, 3


def build(variant: str, args: argparse.Namespace, seed: int = 0) -> tuple[Any, Any]:
    """A stock LLaVA and a SoundLlava with the same weights, in the same memory: copies may round another way."""
    torch.manual_seed(seed)
    values = {
        "vision_config": CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=args.vision_layers,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
        ),
        "text_config": LlamaConfig(
            vocab_size=32064,
            hidden_size=args.hidden_size,
            intermediate_size=args.hidden_size * 11 // 4,
            num_hidden_layers=args.text_layers,
            num_attention_heads=args.hidden_size // 64,
            pad_token_id=0,
        ),
        "image_token_index": IMAGE_TOKEN,
    }
    config = LlavaConfig(**values) if variant == "llava" else LlavaNextConfig(**values)
    stock = (LlavaForConditionalGeneration if variant == "llava" else LlavaNext)(config).eval()
    # whisper-base's shape; the window is the clip's own length.
    audio = WhisperClipConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, window="short"
    )
    ours = SoundLlava(SoundLlavaConfig.from_llava_config(config, SoundClipConfig(audio_config=audio))).eval()
    ours.load_state_dict(stock.state_dict(), strict=False, assign=True)
    for model in (stock, ours):
        model.generation_config.eos_token_id = None
    return stock, ours


def prompt(model: Any, media: dict[str, Any]) -> dict[str, Any]:
    """The call's inputs, with as many placeholders as its visual tokens."""
    planned = {key: value for key, value in media.items() if key != "input_features_mask"}
    tokens = sum(slot.num_tokens for slot in model.model.plan_slots(**planned))
    text = torch.randint(10, 30000, (1, TEXT_TOKENS), generator=torch.Generator().manual_seed(1))
    ids = torch.cat([torch.full((1, tokens), IMAGE_TOKEN), text], dim=1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **media}


def contestants(variant: str, stock: Any, ours: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    generator = torch.Generator().manual_seed(2)
    if variant == "llava":
        picture = {"pixel_values": torch.randn(1, 3, 336, 336, generator=generator)}
    else:
        sizes = torch.tensor([[672, 672]])  # four tiles and the base view, nothing unpadded: 2,880 patches
        picture = {"pixel_values": torch.randn(1, 5, 3, 336, 336, generator=generator), "image_sizes": sizes}
    frames = SECONDS * 100
    heard = {
        "input_features": torch.randn(1, 1, 80, frames, generator=generator),
        "input_features_mask": torch.ones(1, 1, frames, dtype=torch.long),
    }
    embeds = {"sound_embeds": torch.randn(1, 512, generator=generator)}

    def drop(k: int) -> dict[str, Any]:
        return {"sound_slots": torch.tensor([[0, 0]]), "sound_budget": torch.tensor([k])}

    return {
        "base, silent": (stock, prompt(ours, picture)),
        "ours, silent": (ours, prompt(ours, picture)),
        "zero k=150": (ours, prompt(ours, {**picture, **embeds})),
        "zero k=150, with encoder": (ours, prompt(ours, {**picture, **heard})),
        "drop k=150": (ours, prompt(ours, {**picture, **embeds, **drop(150)})),
        "drop k=15": (ours, prompt(ours, {**picture, **embeds, **drop(15)})),
        "zero k=576": (ours, prompt(ours, {**picture, **embeds, "sound_top_k": 576})),
        "drop k=576": (ours, prompt(ours, {**picture, **embeds, **drop(576)})),
    }


@torch.no_grad()
def check(rows: dict[str, tuple[Any, dict[str, Any]]]) -> None:
    """Silence is the base bit for bit; drop equals zero to rounding when every patch is kept."""
    logits = {
        name: model(**inputs).logits for name, (model, inputs) in rows.items() if "silent" in name or "576" in name
    }
    if not torch.equal(logits["base, silent"], logits["ours, silent"]):
        raise SystemExit("silent logits differ from the base model's: nothing is timed")
    difference = (logits["zero k=576"] - logits["drop k=576"]).abs().max().item()
    if difference > 1e-4:
        raise SystemExit(f"drop and zero differ by {difference} with every patch kept: nothing is timed")


def measure(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            # CPU time: of one thread it is what the call takes on a quiet machine, whatever else runs meanwhile.
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    return seconds


def summarise(seconds: dict[str, list[float]], baseline: str) -> dict[str, dict[str, float]]:
    """Median and quartiles, and the median of the ratios within each round (rounds share the machine's mood)."""
    summary = {}
    for name, values in seconds.items():
        quartiles = statistics.quantiles(values, n=4)
        ratios = [value / base for value, base in zip(values, seconds[baseline])]
        spread = statistics.quantiles(ratios, n=4)
        summary[name] = {
            "median_s": statistics.median(values),
            "q1_s": quartiles[0],
            "q3_s": quartiles[2],
            "ratio_to_base": statistics.median(ratios),
            "ratio_q1": spread[0],
            "ratio_q3": spread[2],
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="+", default=["llava", "llava_next"], choices=["llava", "llava_next"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--new-tokens", type=int, default=1, help="1 measures prefill")
    parser.add_argument("--vision-layers", type=int, default=2)
    parser.add_argument("--text-layers", type=int, default=24)
    parser.add_argument("--hidden-size", type=int, default=1024)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "config": {key: str(value) for key, value in vars(args).items()},
        "versions": {"soundclip_hf": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "seed": 0,
        "n": args.repeats,
        "results": {},
    }
    for variant in args.variant:
        rows = contestants(variant, *build(variant, args))
        check(rows)
        calls = {
            name: (
                lambda model=model, inputs=inputs: model.generate(
                    **inputs, max_new_tokens=args.new_tokens, do_sample=False
                )
            )
            for name, (model, inputs) in rows.items()
        }
        summary = summarise(measure(calls, args.repeats), "base, silent")
        report["results"][variant] = summary
        print(f"\n{variant}: {args.repeats} rounds, {args.new_tokens} new token(s)")
        print(f"{'':28}{'tokens':>8}{'CPU s':>10}{'ratio':>8}  ratio IQR")
        for name, row in summary.items():
            tokens = rows[name][1]["input_ids"].shape[1]
            row["prompt_tokens"] = tokens
            print(
                f"{name:28}{tokens:8d}{row['median_s']:10.3f}{row['ratio_to_base']:8.3f}"
                f"  {row['ratio_q1']:.3f} to {row['ratio_q3']:.3f}"
            )
    if args.output:
        temporary = args.output.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2))
        temporary.replace(args.output)


if __name__ == "__main__":
    main()
