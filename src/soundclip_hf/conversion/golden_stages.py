"""Compares an encoder with its golden vectors stage by stage: front end, blocks, embedding."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import FeatureExtractionMixin, PreTrainedModel

from .golden import GOLDEN, Comparison, Golden

Comparisons = Iterator[Comparison]

# An fp32 FFT errs by about eps times its frame's norm in every bin, quiet or loud: 1.4 eps in the root mean square over
# frames, so 4 eps are three deviations. The frames' norm is at most 2; the logarithm of power P moves by 2 error /
# sqrt(P), over a standard deviation of 2.6: 7e-5 at this power, and 1e-3 near the 1e-7 that is added to it.
_WAV2CLIP_QUIET = 1e-4


def compare_stages(golden: Golden, model: PreTrainedModel, feature_extractor: FeatureExtractionMixin) -> Comparisons:
    """
    Compare an encoder that has the golden weights with the reference outputs, stage by stage.

    Args:
        model: In fp32 and eval mode, on the CPU.
    """
    (encoder,) = (encoder for encoder, names in GOLDEN.items() if golden.name in names)
    with torch.no_grad():
        yield from _STAGES[encoder](golden, model, feature_extractor)


def imagebind(golden: Golden, model: Any, extractor: Any) -> Comparisons:
    sounds = golden.sounds()
    original = type(extractor)(clip_mean="in_place")
    yield golden.compare("audio_input", _features(original, sounds)["input_features"], 1e-3)
    watched = {"tokens": model.patches, "head": model.head, "clip_embedding": model.scaled_normalize}
    with _seen(watched, {"trunk_cls": (model.norm, 0)}) as seen:
        output = model(golden["audio_input"], output_hidden_states=True)
    yield golden.compare("tokens_sub", seen["tokens"][:, ::16, ::8], 1e-4)
    for number in (0, 5, 11):
        yield golden.compare(f"block{number}_sub", output.hidden_states[number + 1][:, ::16, ::8], 2e-4)
    yield golden.compare("trunk_cls", seen["trunk_cls"], 2e-4)
    yield golden.compare("head", seen["head"], 1e-4)
    yield golden.compare("clip_embedding", seen["clip_embedding"], 1e-4)
    yield golden.compare("embedding", output.pooler_output, 1e-5)
    yield golden.compare("embedding_float64", output.pooler_output, 1e-5)
    yield golden.compare("embedding_independent_clips", model(**_features(extractor, sounds)).pooler_output, 1e-4)


def audioclip(golden: Golden, model: Any, extractor: Any) -> Comparisons:
    bank, net, pcm = model.fbsp, model.backbone, golden["audio_pcm"]
    frames = nn.functional.pad(bank.frames(pcm.float()), (197, 197))
    yield golden.compare("frames_sub", frames[:, ::39, ::16], 1e-6)
    kernels = torch.stack(bank.kernels(), -1)
    yield golden.compare("fbsp_weights_sub", kernels[::41, ::64], 1e-6)
    response = torch.einsum("ntk,bkc->ntbc", frames[:, ::13], kernels[::16])
    yield golden.compare("spectrogram_sub", response, 1e-5)
    yield golden.compare("db", bank(pcm.float())[..., ::4, ::3], 1e-2)
    numbered = list(enumerate(model.attention, start=1))
    outputs = {"stem": net.maxpool, **{f"att{number}": attention.bn for number, attention in numbered}}
    inputs = {"pooled": (net.fc, 0), **{f"layer{number}": (attention, 1) for number, attention in numbered}}
    with _seen(outputs, inputs) as seen:
        z = model(**_features(extractor, golden.sounds())).pooler_output
    yield golden.compare("stem_sub", seen["stem"][:, ::8, ::8, ::8], 1e-3)
    for number, (c, s) in enumerate([(16, 8), (32, 4), (64, 3), (64, 2)], start=1):
        yield golden.compare(f"layer{number}_sub", seen[f"layer{number}"][:, ::c, ::s, ::s], 1e-4)
        yield golden.compare(f"att{number}_sub", seen[f"att{number}"].sigmoid()[:, ::c, ::s, ::s], 1e-4)
    yield golden.compare("att5", seen["att5"].sigmoid().flatten(1), 1e-4)
    yield golden.compare("pooled", seen["pooled"], 1e-4)
    yield golden.compare("embedding", z, 1e-5)
    yield golden.compare("embedding_float64", z, 1e-5)
    yield golden.compare("embedding_normalized", nn.functional.normalize(z, dim=-1), 1e-5)
    decibels, expected = bank(pcm.float() / 32768)[..., ::8, ::6], golden["db_unit_scale_sub"]
    # Another order of summation moves a response by 2e-12 (0.07 eps times the norms of frame and kernel): by 5e-3 dB of
    # a bin at -170 dB, and by 0.1 dB of the quietest, at -198 dB.
    loud = expected > -170
    for part, chosen, atol, remark in (
        ("above -170 dB", loud, 1e-2, ""),
        ("below -170 dB", ~loud, 0.2, "the reference states 1e-02; such a bin holds little but fp32's rounding"),
    ):
        yield golden.compare(
            "db_unit_scale_sub", decibels[chosen], atol, expected=expected[chosen], part=part, remark=remark
        )
    yield golden.compare("embedding_unit_scale", model(pcm[:, None].float() / 32768).pooler_output, 1e-4)


def wav2clip(golden: Golden, model: Any, extractor: Any) -> Comparisons:
    sounds, net = golden.sounds(), model.backbone
    power = torch.from_numpy(np.stack([extractor.power_spectrogram(sound) for sound in sounds]))[:, None]
    yield golden.compare("spectrogram", power, 1e-5, rtol=1e-4)
    single = _features(type(extractor)(statistics="item"), sounds)
    batch = _features(type(extractor)(statistics="batch"), sounds)
    quiet = golden["spectrogram"][..., ::2, ::2] < _WAV2CLIP_QUIET
    for array, inputs in (("normalized_single", single), ("normalized_batch", batch)):
        found, expected = inputs["input_features"][..., ::2, ::2], golden[array]
        for part, chosen, atol, remark in (
            ("of loud bins", ~quiet, 1e-4, ""),
            ("of quiet bins", quiet, 1e-3, "the reference states 1e-04; the logarithm magnifies the FFT's rounding"),
        ):
            yield golden.compare(array, found[chosen], atol, expected=expected[chosen], part=part, remark=remark)
    stages = {f"layer{n}": getattr(net, f"layer{n}")[-1].act2 for n in (1, 2, 3, 4)}
    with _seen({"stem": net.maxpool, **stages}, {"pooled": (model.projection, 0)}) as seen:
        z = model(**batch).pooler_output
    for name, step in {"stem": 4, "layer1": 4, "layer2": 3, "layer3": 2, "layer4": 1}.items():
        yield golden.compare(f"{name}_sub", seen[name][:, ::8, ::step, ::step], 1e-4)
    yield golden.compare("pooled_batch", seen["pooled"], 1e-4)
    yield golden.compare("embedding_batch", z, 1e-4)
    output = model(**single)
    yield golden.compare("pooled_single", output.last_hidden_state.mean((-2, -1)), 1e-4)
    yield golden.compare("embedding_single", output.pooler_output, 1e-4)
    yield golden.compare("embedding_single_float64", output.pooler_output, 1e-4)


def clap(golden: Golden, model: Any, extractor: Any) -> Comparisons:
    inputs = _features(extractor, golden.sounds())
    yield golden.compare("input_features_sub", inputs["input_features"][..., ::7, ::2], 1e-4)
    with _seen({}, {"pooler_output": (model.audio_projection, 0)}) as seen:
        output = model(**inputs)
    yield golden.compare("last_hidden_sub", output.last_hidden_state[:, ::8], 1e-4)
    yield golden.compare("pooler_output", seen["pooler_output"], 1e-4)
    yield golden.compare("audio_embeds", output.pooler_output, 1e-4)
    normalised = nn.functional.normalize(output.pooler_output, dim=-1)
    yield golden.compare("audio_embeds_normalized", normalised, 1e-4)


def whisper(golden: Golden, model: Any, extractor: Any) -> Comparisons:
    inputs = _features(extractor, golden.sounds())
    features, mask = inputs["input_features"][:, 0], inputs["input_features_mask"][:, 0]
    yield golden.compare("input_features_sub", features[:, ::4, :304:2], 1e-4)
    yield golden.compare("input_features_pad_value", features[:, :, -1], 1e-4)
    yield golden.compare("attention_mask_frames", mask.sum(-1), 0)
    output = model(**inputs, output_hidden_states=True)
    states = output.hidden_states
    for name, state in (("embeddings", states[0]), ("layer1", states[1]), ("last_hidden", states[-1])):
        yield golden.compare(f"{name}_sub", state[:, ::25, ::8], 1e-4)
    layers = torch.stack(states[1:])
    valid = torch.stack([layers[:, row, frames].mean(1) for row, frames in enumerate(mask[:, ::2] != 0)], dim=1)
    yield golden.compare("ln_all/per_layer", layers.mean(2), 1e-4)
    yield golden.compare("ln_valid/per_layer", valid, 1e-4)
    yield golden.compare("ln_all/average_all", output.pooler_output, 1e-4)


_STAGES: dict[str, Callable[[Golden, Any, Any], Comparisons]] = {
    "imagebind": imagebind,
    "audioclip": audioclip,
    "wav2clip": wav2clip,
    "clap": clap,
    "whisper": whisper,
}


def _features(extractor: Any, sounds: list[np.ndarray]) -> Any:
    return extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt")


@contextmanager
def _seen(outputs: Mapping[str, nn.Module], inputs: Mapping[str, tuple[nn.Module, int]]) -> Iterator[dict[str, Tensor]]:
    """What modules return, and which argument (by position) they get, copied: some layers write in place."""
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.clone()}))
        for name, module in outputs.items()
    ]
    handles += [
        module.register_forward_pre_hook(lambda _m, args, name=name, at=at: seen.update({name: args[at].clone()}))
        for name, (module, at) in inputs.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


__all__ = ["compare_stages"]
