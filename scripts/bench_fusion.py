"""What each layer fusion of WhisperCLIP costs on real sound with real weights, and how far their embeddings differ.

Contestants take turns in one process, CPU time on one thread; before the timing, `final` is checked against stock
transformers and `average_all` against the mean of all hidden states. The figures say nothing about which fusion is
better at anything.

    python scripts/bench_fusion.py CLIP… --model openai/whisper-tiny.en --output bench_fusion.json
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from transformers import WhisperModel

from soundclip_hf.media import read_clip
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel

FUSIONS: dict[str, dict[str, Any]] = {
    "average_all": {},
    "final": {},
    "middle": {},
    "middle_upper": {},
    "last_n, n=2": {"layer_fusion": "last_n", "layer_fusion_n": 2},
    "weighted_sum, fresh": {"layer_fusion": "weighted_sum"},
}
_TOLERANCE = 1e-4


def embed(model: WhisperClipModel, inputs: dict[str, Any], fusion: str) -> torch.Tensor:
    """`z_a` `(sounds, d_a)` by one model, whose weights the fusions share."""
    settings = {"layer_fusion": fusion, **FUSIONS[fusion]}
    for name, value in settings.items():
        setattr(model.config, name, value)
    with torch.no_grad():
        return model(**inputs).pooler_output


def check(model: WhisperClipModel, name: str, inputs: dict[str, Any]) -> dict[str, float]:
    """Largest difference to what stock transformers gives for `final` and `average_all`."""
    stock = WhisperModel.from_pretrained(name, dtype=torch.float32).get_encoder().eval()
    with torch.no_grad():
        states = stock(inputs["input_features"][:, 0], output_hidden_states=True).hidden_states
    expected = {"final": states[-1].mean(1), "average_all": torch.stack(states[1:]).mean(0).mean(1)}
    found = {fusion: float((embed(model, inputs, fusion) - z).abs().max()) for fusion, z in expected.items()}
    if max(found.values()) > _TOLERANCE:
        raise SystemExit(f"wrong results: {found}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="openai/whisper-tiny.en")
    parser.add_argument("--window", choices=("pad30", "short"), default="pad30")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    extractor = WhisperClipFeatureExtractor.from_whisper(args.model, window=args.window)
    rate = extractor.sampling_rate
    sounds = [read_clip(path, sampling_rate=rate).waveform for path in args.clips]
    inputs = dict(extractor(sounds, sampling_rate=rate, return_tensors="pt"))
    model = WhisperClipModel.from_pretrained(
        args.model, layer_fusion="weighted_sum", window=args.window, dtype=torch.float32
    ).eval()
    checked = check(model, args.model, inputs) if args.window == "pad30" else {}

    alone = {name: values[:1] for name, values in inputs.items()}
    times: dict[str, list[float]] = {fusion: [] for fusion in FUSIONS}
    for _ in range(args.repeats):
        for fusion in FUSIONS:
            start = time.process_time()
            embed(model, alone, fusion)
            times[fusion].append(1e3 * (time.process_time() - start))
    embeddings = {fusion: embed(model, inputs, fusion) for fusion in FUSIONS}
    cosines = {
        first: {second: float(F.cosine_similarity(a, b).mean()) for second, b in embeddings.items()}
        for first, a in embeddings.items()
    }
    floor = statistics.median(times["final"])
    report = {
        "config": {
            "model": args.model if not Path(args.model).exists() else Path(args.model).name,
            "window": args.window,
            "clips": [path.name for path in args.clips],
            "repeats": args.repeats,
            "threads": args.threads,
        },
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "difference_to_stock": checked,
        "ms_per_clip": {
            fusion: {
                "median": statistics.median(values),
                "quartiles": statistics.quantiles(values, n=4)[::2],
                "ratio_to_final": statistics.median(values) / floor,
            }
            for fusion, values in times.items()
        },
        "norm": {fusion: float(z.norm(dim=-1).mean()) for fusion, z in embeddings.items()},
        "mean_cosine": cosines,
    }
    text = json.dumps(report, indent=2)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")
    for fusion, row in report["ms_per_clip"].items():
        print(
            f"{fusion:20} {row['median']:7.1f} ms of CPU  {row['ratio_to_final']:.2f} x final   norm "
            f"{report['norm'][fusion]:6.2f}   cosine to average_all {cosines['average_all'][fusion]:+.3f}"
        )


if __name__ == "__main__":
    main()
