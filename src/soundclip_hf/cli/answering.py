"""Items and a loaded model in; one row per item out, in their order, an `answer` or an `error` in each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import LogitsProcessor
from transformers.image_utils import load_image

from ..media import load_sound, read_clip
from .clips import Item
from .loading import Loaded
from .output import CliError, UsageError, log, one_line


@dataclass(frozen=True)
class Asking:
    """How to ask; None takes the model's own setting."""

    question: str
    top_k: int | None = None
    alignment: str | None = None
    alpha: float | None = None
    patches: str | None = None
    frame: str | float = "middle"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def settled(self, loaded: Loaded) -> "Asking":
        """
        Fill in what the model decides.

        Raises:
            UsageError: If an option does not fit the model, or another option.
        """
        sound = loaded.model.config.sound_config
        patches = loaded.model.config.patches_per_side**2
        top_k = sound.token_budget if self.top_k is None else self.top_k
        ranked_whole = loaded.model.config.llava_variant == "llava_next" and sound.patch_budget_scope == "image"
        if top_k > patches and not ranked_whole:
            raise UsageError(
                f"--top-k {top_k}: the pictures of {loaded.name} have {patches} patches; give 0..{patches}"
            )
        alignment = self.alignment or sound.alignment
        if self.alpha is not None and alignment == "raw":
            raise UsageError("--alpha mixes raw into projected and has no effect here; add --alignment projected")
        return Asking(
            question=self.question,
            top_k=top_k,
            alignment=alignment,
            alpha=(sound.alpha if self.alpha is None else self.alpha) if alignment == "projected" else None,
            patches=self.patches or sound.patches,
            frame=self.frame,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.seed,
        )


@dataclass(frozen=True)
class _Prepared:
    item: Item
    question: str
    picture: Image.Image | None
    sound: np.ndarray | None
    frame_time: float | None
    seconds: float | None


class SeededSampling(LogitsProcessor):
    """
    Add Gumbel noise to `scores / temperature`: the largest is then a sample of their softmax.

    Each row draws from a generator of its own, so that a sampled answer does not depend on what else is in the batch.
    """

    def __init__(self, temperature: float, seed: int, rows: int) -> None:
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for _ in range(rows)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        noise = [torch.empty(scores.shape[1]).exponential_(generator=g).log() for g in self.generators]
        return scores.float() / self.temperature - torch.stack(noise).to(scores.device)


def planned_row(item: Item, asking: Asking, loaded: Loaded) -> dict[str, Any]:
    """What a row says of how it was made; `asking` is settled."""
    return {
        "id": item.id,
        **item.media,
        "question": item.question or asking.question,
        "k": asking.top_k,
        "mode": asking.patches,
        "alignment": asking.alignment,
        "alpha": asking.alpha,
        "encoder": loaded.encoder,
        "model": loaded.name,
        "revision": loaded.revision,
        "frame": asking.frame,
        "seed": asking.seed,
        "temperature": asking.temperature,
        "max_new_tokens": asking.max_new_tokens,
    }


def answer(items: Sequence[Item], asking: Asking, loaded: Loaded, batch_size: int) -> Iterator[dict[str, Any]]:
    """Read, ask and describe; a failing item costs the others nothing. `asking` is settled."""
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        prepared: list[_Prepared] = []
        outcome: dict[str, dict[str, Any]] = {}
        for item in batch:
            try:
                prepared.append(_prepare(item, asking, loaded.processor.feature_extractor.sampling_rate))
            except Exception as error:
                log.debug("%s", item.name, exc_info=True)
                outcome[item.id] = {"error": one_line(error)}
        outcome.update(_outcomes(prepared, asking, loaded))
        for item in batch:
            yield {**planned_row(item, asking, loaded), **outcome[item.id]}


def _outcomes(prepared: Sequence[_Prepared], asking: Asking, loaded: Loaded) -> dict[str, dict[str, Any]]:
    if not prepared:
        return {}
    try:
        return _generate(prepared, asking, loaded)
    except Exception as error:
        log.debug("%s", ", ".join(one.item.name for one in prepared), exc_info=True)
        if len(prepared) == 1:
            return {prepared[0].item.id: {"error": f"{prepared[0].item.name}: {one_line(error)}"}}
    # One of them spoils the batch (or all of them are too much for the memory).
    return {key: value for one in prepared for key, value in _outcomes([one], asking, loaded).items()}


def _prepare(item: Item, asking: Asking, rate: int) -> _Prepared:
    """Open an item's files."""
    if item.error is not None:
        raise CliError(item.error)
    picture, sound, frame_time = None, None, None
    if item.video is not None:
        clip = read_clip(item.locate(item.video), frame=asking.frame, sampling_rate=rate)
        picture, frame_time, sound = clip.frame, clip.frame_time, clip.waveform
        if picture is None and item.audio is not None:
            raise CliError(
                f"{item.video}: has no video stream, so {item.audio} would be a second sound; give one of them"
            )
        if sound is None and item.audio is None:
            raise CliError(f"{item.video}: has no audio stream; give a sound file after it, or a picture of it alone")
    elif item.image is not None:
        picture = _load_picture(item.image, item.locate(item.image))
    if item.audio is not None:
        sound = load_sound(item.locate(item.audio), sampling_rate=rate)
    seconds = None if sound is None else len(sound) / rate
    return _Prepared(item, item.question or asking.question, picture, sound, frame_time, seconds)


def _load_picture(name: str, source: str) -> Image.Image:
    try:
        if "://" not in source:
            with open(source, "rb"):
                pass  # a missing file is told in its own words, not as a bad URL
        return load_image(source)
    except FileNotFoundError as error:
        raise CliError(f"{name}: no such file; pass a picture") from error
    except (OSError, ValueError) as error:
        raise CliError(
            f"{name}: cannot be read as a picture ({one_line(error)}); it is corrupt or something else"
        ) from error


def _generate(prepared: Sequence[_Prepared], asking: Asking, loaded: Loaded) -> dict[str, dict[str, Any]]:
    processor, model = loaded.processor, loaded.model
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    options: dict[str, Any] = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    call: dict[str, Any] = {}
    if any(one.sound is not None for one in prepared):
        options["sound_patches"] = asking.patches
        # In drop mode k sets the prompt's length, so the processor needs it; in zero mode the model alone does.
        (options if asking.patches == "drop" else call)["sound_top_k"] = asking.top_k
        call |= {"sound_alignment": asking.alignment, "sound_alpha": asking.alpha}
    inputs = processor.apply_chat_template(
        [_conversation(one, processor.feature_extractor.sampling_rate) for one in prepared],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs=options,
    ).to(model.device, model.dtype)
    if asking.temperature > 0:
        call["logits_processor"] = [SeededSampling(asking.temperature, asking.seed, len(prepared))]
    with torch.inference_mode():
        output = model.generate(
            **inputs,
            **call,
            max_new_tokens=asking.max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=processor.tokenizer.pad_token_id,
            return_sound_info=True,
        )
    texts = processor.batch_decode(output.sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    infos = output.sound_info or [None] * len(prepared)
    rows = {}
    for one, text, info in zip(prepared, texts, infos, strict=True):
        rows[one.item.id] = {"answer": text.strip(), **_sound_fields(info, one), **_media_fields(one)}
    return rows


def _conversation(one: _Prepared, rate: int) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = []
    if one.picture is not None:
        content.append({"type": "image", "image": one.picture})
    # Also where there is none: in a batch, None is what keeps a picture silent.
    if one.sound is not None:
        content.append({"type": "audio", "audio": one.sound, "sampling_rate": rate})
    content.append({"type": "text", "text": one.question})
    return [{"role": "user", "content": content}]


def _sound_fields(info: Any, one: _Prepared) -> dict[str, Any]:
    if info is None or info.kept is None:
        return {"k": None, "mode": "silent", "kept": None, "patches": None}
    kept = None if one.picture is None else int(info.kept.sum())
    return {"k": info.k, "mode": info.mode, "kept": kept, "patches": None if kept is None else info.kept.numel()}


def _media_fields(one: _Prepared) -> dict[str, Any]:
    frame_time = None if one.frame_time is None else round(one.frame_time, 3)
    seconds = None if one.seconds is None else round(one.seconds, 3)
    return {"frame_time": frame_time, "sound_seconds": seconds}


__all__ = ["Asking", "SeededSampling", "answer", "planned_row"]
