"""Time the audio encoders against the straightforward way to compute the same, and write the figures as JSON.

Embeddings per second of the model alone, from features in memory, with random weights of the released sizes. The two
contestants of a row get the same weights; they are compared before they are timed, and a row that differs gets no
figures. They take turns, so that a disturbance hits both; the figures are medians with quartiles. On a CPU, one thread
and its own time by default, which hardly depends on what else the machine does.

    python scripts/bench_encoders.py --output encoders.json
    python scripts/bench_encoders.py --encoders imagebind --batch 8 --dtype fp32 bf16 --device cuda

    imagebind   scaled_dot_product_attention against nn.MultiheadAttention(add_bias_kv=True), modules otherwise shared
    audioclip   filter bank kept between calls against kernels built in each call
    wav2clip    one batch, with statistics per sound, against one sound per call (the original's only way to get them)
    whisper     a running sum over the layers against all hidden states, stacked and averaged
    clap        our interface against transformers' ClapAudioModelWithProjection, which it wraps
    peav        our interface against transformers' PeAudioModel.get_audio_embeds, whose parts it has
    msclap      no implementation at hand to compare with: its figures stand alone
"""

import argparse
import copy
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ClapAudioModelWithProjection, PeAudioConfig, PeAudioModel
from transformers.models.clap.configuration_clap import ClapAudioConfig

from soundclip_hf.modeling.audio_encoders.audioclip.configuration_audioclip import AudioClipConfig
from soundclip_hf.modeling.audio_encoders.audioclip.feature_extraction_audioclip import AudioClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.audioclip.modeling_audioclip import AudioClipModel
from soundclip_hf.modeling.audio_encoders.clap.configuration_clap import SoundClapConfig
from soundclip_hf.modeling.audio_encoders.clap.feature_extraction_clap import SoundClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.clap.modeling_clap import SoundClapModel
from soundclip_hf.modeling.audio_encoders.imagebind.configuration_imagebind import ImageBindAudioConfig
from soundclip_hf.modeling.audio_encoders.imagebind.feature_extraction_imagebind import ImageBindFeatureExtractor
from soundclip_hf.modeling.audio_encoders.imagebind.modeling_imagebind import ImageBindAudioModel
from soundclip_hf.modeling.audio_encoders.msclap.configuration_msclap import MsClapConfig
from soundclip_hf.modeling.audio_encoders.msclap.feature_extraction_msclap import MsClapFeatureExtractor
from soundclip_hf.modeling.audio_encoders.msclap.modeling_msclap import MsClapModel
from soundclip_hf.modeling.audio_encoders.peav.configuration_peav import PeAvAudioConfig
from soundclip_hf.modeling.audio_encoders.peav.feature_extraction_peav import PeAvFeatureExtractor
from soundclip_hf.modeling.audio_encoders.peav.modeling_peav import PeAvAudioModel
from soundclip_hf.modeling.audio_encoders.wav2clip.configuration_wav2clip import Wav2ClipConfig
from soundclip_hf.modeling.audio_encoders.wav2clip.feature_extraction_wav2clip import Wav2ClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.wav2clip.modeling_wav2clip import Wav2ClipModel
from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Largest difference, relative to the largest value, of the same sums in another order.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}
Call = Callable[[], Tensor]


class PlainAttention(nn.Module):
    """torch's own attention with the weights of ours."""

    def __init__(self, ours: nn.Module, heads: int) -> None:
        super().__init__()
        state = ours.state_dict()
        self.attention = nn.MultiheadAttention(ours.proj.in_features, heads, add_bias_kv=True, batch_first=True)
        names = {"qkv.": "in_proj_", "proj.": "out_proj."}
        renamed = {}
        for key, value in state.items():
            prefix = next((prefix for prefix in names if key.startswith(prefix)), "")
            renamed[names.get(prefix, "") + key.removeprefix(prefix)] = value
        self.attention.load_state_dict(renamed)
        self.to(ours.proj.weight.dtype)

    def forward(self, x: Tensor, **kwargs: object) -> tuple[Tensor, None]:
        return self.attention(x, x, x, need_weights=False)[0], None


def imagebind(inputs: dict[str, Tensor], model: ImageBindAudioModel) -> tuple[Call, Call]:
    plain = copy.deepcopy(model)
    for block in plain.blocks:
        block.attn = PlainAttention(block.attn, model.config.num_attention_heads).to(model.device).eval()
    return lambda: model(**inputs).pooler_output, lambda: plain(**inputs).pooler_output


def audioclip(inputs: dict[str, Tensor], model: AudioClipModel) -> tuple[Call, Call]:
    plain = copy.deepcopy(model)
    plain.fbsp.filters = plain.fbsp._make_filters
    return lambda: model(**inputs).pooler_output, lambda: plain(**inputs).pooler_output


def wav2clip(inputs: dict[str, Tensor], model: Wav2ClipModel) -> tuple[Call, Call]:
    features = inputs["input_features"]

    def one_by_one() -> Tensor:
        return torch.cat([model(features[row : row + 1]).pooler_output for row in range(len(features))])

    return lambda: model(**inputs).pooler_output, one_by_one


def whisper(inputs: dict[str, Tensor], model: WhisperClipModel) -> tuple[Call, Call]:
    features = inputs["input_features"][:, 0]

    def stacked() -> Tensor:
        states = model.encoder(features, output_hidden_states=True).hidden_states
        return torch.stack(states[1:]).float().mean(0).mean(1)

    return lambda: model(**inputs).pooler_output, stacked


def clap(inputs: dict[str, Tensor], model: SoundClapModel) -> tuple[Call, Call]:
    stock = ClapAudioModelWithProjection(ClapAudioConfig(**fields_of(model, ClapAudioConfig)))
    stock.load_state_dict(model.state_dict())
    stock = stock.eval().to(model.device, model.dtype)
    features = inputs["input_features"]  # one window: (batch, 1, frames, mels) is what the stock model takes
    return lambda: model(**inputs).pooler_output, lambda: stock(features).audio_embeds


def msclap(inputs: dict[str, Tensor], model: MsClapModel) -> tuple[Call, None]:
    return lambda: model(**inputs).pooler_output, None


def peav(inputs: dict[str, Tensor], model: PeAvAudioModel) -> tuple[Call, Call]:
    # A text tower of one layer: it is not run, but there is no model without one.
    text = {"model_type": "modernbert", "num_hidden_layers": 1, "hidden_size": model.config.projection_dim}
    text |= {"num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 8}
    text |= dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), 1)
    audio = fields_of(model, type(PeAudioConfig().audio_config))
    stock = PeAudioModel(PeAudioConfig(audio_config=audio, text_config=text))
    stock.load_state_dict({**stock.state_dict(), **model.state_dict()})
    stock = stock.eval().to(model.device, model.dtype)
    samples = inputs["input_features"].flatten(2)  # (batch, 1, samples): one window
    return lambda: model(**inputs).pooler_output, lambda: stock.get_audio_embeds(samples)


def fields_of(model: nn.Module, config_class: type) -> dict:
    """Those of our configuration that a stock one has, besides its kind."""
    known = set(config_class().to_dict()) - {"model_type", "architectures"}
    return {name: value for name, value in model.config.to_dict().items() if name in known}


ENCODERS = {
    "imagebind": (ImageBindAudioModel, ImageBindAudioConfig, ImageBindFeatureExtractor, imagebind),
    "audioclip": (AudioClipModel, AudioClipConfig, AudioClipFeatureExtractor, audioclip),
    "wav2clip": (Wav2ClipModel, Wav2ClipConfig, Wav2ClipFeatureExtractor, wav2clip),
    "whisper": (WhisperClipModel, WhisperClipConfig, WhisperClipFeatureExtractor, whisper),
    "clap": (SoundClapModel, SoundClapConfig, SoundClapFeatureExtractor, clap),
    "msclap": (MsClapModel, MsClapConfig, MsClapFeatureExtractor, msclap),
    "peav": (PeAvAudioModel, PeAvAudioConfig, PeAvFeatureExtractor, peav),
}


def sounds(batch: int, rate: int, seconds: float) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [(0.1 * generator.standard_normal(round(rate * seconds))).astype(np.float32) for _ in range(batch)]


def seconds_of(call: Call, device: str) -> float:
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(calls: dict[str, Call], batch: int, repeats: int, device: str) -> dict[str, dict[str, float]]:
    """Embeddings per second of each contestant: median and quartiles over `repeats` turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name in list(calls) if turn % 2 else list(calls)[::-1]:
            times[name].append(seconds_of(calls[name], device))
    rates = {name: sorted(batch / t for t in values) for name, values in times.items()}
    return {
        name: dict(zip(("q1", "median", "q3"), statistics.quantiles(values, n=4, method="inclusive"), strict=True))
        for name, values in rates.items()
    }


def run(encoder: str, batch: int, dtype: str, arguments: argparse.Namespace) -> dict:
    model_class, config_class, extractor_class, contest = ENCODERS[encoder]
    extractor = extractor_class()
    waves = sounds(batch, extractor.sampling_rate, arguments.seconds)
    features = extractor(waves, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    torch.manual_seed(0)
    model = model_class(config_class()).eval().to(arguments.device, DTYPES[dtype])
    # Made outside of inference mode: tensors of that mode have no version by which a change could be seen.
    ours, plain = contest(dict(features.to(arguments.device, DTYPES[dtype])), model)
    return compare(ours, plain, {"encoder": encoder, "batch": batch, "dtype": dtype}, arguments)


@torch.inference_mode()
def compare(ours: Call, plain: Call | None, row: dict, arguments: argparse.Namespace) -> dict:
    """`row` with the figures of both, or with an error if they differ; of ours alone where there is no other."""
    dtype, batch = row["dtype"], row["batch"]
    if plain is None:
        ours()
        return {**row, **measure({"ours": ours}, batch, arguments.repeats, arguments.device)}
    expected, answer = plain().float(), ours().float()
    difference = float((answer - expected).abs().max() / expected.abs().max())
    row = {**row, "relative_difference": difference}
    if not difference <= TOLERANCE[dtype]:
        return {**row, "error": f"differs by more than {TOLERANCE[dtype]}: not timed"}
    figures = measure({"ours": ours, "plain": plain}, batch, arguments.repeats, arguments.device)
    return {**row, **figures, "ratio": figures["ours"]["median"] / figures["plain"]["median"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=list(ENCODERS))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--dtype", nargs="+", default=["fp32", "bf16"], choices=list(DTYPES))
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each sound")
    parser.add_argument("--repeats", type=int, default=7, help="turns per contestant, at least 2")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU; more than one is timed by the wall clock")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    rows = []
    for encoder in arguments.encoders:
        for dtype in arguments.dtype:
            for batch in arguments.batch:
                row = run(encoder, batch, dtype, arguments)
                rows.append(row)
                told = row.get("error") or " ".join(
                    f"{name} {row[name]['median']:.2f}/s [{row[name]['q1']:.2f}, {row[name]['q3']:.2f}]"
                    for name in ("ours", "plain")
                    if name in row
                )
                ratio = f" (ratio {row['ratio']:.2f})" if "ratio" in row else ""
                print(f"{encoder} {dtype} batch {batch}: {told}{ratio}", flush=True)
    result = {
        "unit": "embeddings per second",
        "seconds_per_sound": arguments.seconds,
        "repeats": arguments.repeats,
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": rows,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if any("error" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
