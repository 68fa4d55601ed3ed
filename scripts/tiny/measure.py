"""Stage 5: what the small model does on scenes that no part of it has met; every number with its n and interval."""

import warnings
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from soundclip_hf.data.synthetic import KINDS, RATE, Scene, scene
from soundclip_hf.data.synthetic.sounds import mix
from soundclip_hf.evaluation.retrieval import RetrievalResult, evaluate_retrieval

from . import questions, world

BUDGETS = (0, 2, 4, 8, 16, 32, 64)
_BATCH = 125
# A patch belongs to a thing that covers at least this share of it.
_COVERED = 0.25
# Numbers of the random streams of the test's own sounds, apart from those of the scenes.
_SILENT, _SWAPPED_IN, _SWAPPED_OUT = 101, 102, 103


def held_out(wanted: Callable[[Scene], bool], number: int) -> list[Scene]:
    """The first `number` of the test scenes that are wanted."""
    return list(islice(filter(wanted, (scene(index) for index in count(world.TEST))), number))


def asks_for_ears(shown: Scene) -> bool:
    """One source in the picture, beside at least one other thing that could sound."""
    return len(shown.sounding) == 1 and len(able(shown)) >= 2


def able(shown: Scene) -> list[str]:
    """Kinds in the picture that could sound."""
    return [thing.kind for thing in shown.things if thing.kind in KINDS]


def silence(shown: Scene) -> np.ndarray:
    return mix([], np.random.default_rng((shown.number, _SILENT)), snr_db=shown.snr_db)


def swapped(shown: Scene, inside: bool) -> tuple[str, np.ndarray]:
    """Another kind that could sound, of the scene or not of it, and its sound at the scene's noise."""
    rng = np.random.default_rng((shown.number, _SWAPPED_IN if inside else _SWAPPED_OUT))
    others = set(able(shown)) if inside else set(KINDS) - set(able(shown))
    kind = str(rng.choice(sorted(others - set(shown.sources))))
    return kind, mix([(kind, 0.0)], rng, snr_db=shown.snr_db)


class Subject:
    """A SoundLlava and its processor, asked in batches; sounds are embedded once."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model, processor

    @torch.no_grad()
    def embed(self, sounds: Sequence[np.ndarray]) -> Tensor:
        """`z_a` `(n, d_a)`."""
        found = []
        for start in range(0, len(sounds), _BATCH):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # digital silence is one of the sounds
                inputs = self.processor.feature_extractor(
                    list(sounds[start : start + _BATCH]), sampling_rate=RATE, return_tensors="pt"
                )
            found.append(self.model.model.audio_tower(**inputs).pooler_output)
        return torch.cat(found)

    def pixels(self, scenes: Sequence[Scene]) -> Tensor:
        """`pixel_values` `(n, 3, 64, 64)` of the pictures as they are written to files."""
        images = [shown.draw(256) for shown in scenes]
        return torch.cat(
            [
                self.processor.image_processor(images[start : start + _BATCH], return_tensors="pt")["pixel_values"]
                for start in range(0, len(images), _BATCH)
            ]
        )

    @torch.no_grad()
    def cls(self, pixels: Tensor) -> Tensor:
        """`c` `(n, width)`: [CLS] of the feature layer."""
        layer = self.model.config.vision_feature_layer
        return torch.cat(
            [
                self.model.model.vision_tower(part, output_hidden_states=True).hidden_states[layer][:, 0]
                for part in pixels.split(_BATCH)
            ]
        )

    @torch.no_grad()
    def similarity(self, pixels: Tensor, sounds: Tensor, alignment: str) -> Tensor:
        """Cosine of `f_a` and each patch, `(n, 64)`."""
        found = []
        for part, heard in zip(pixels.split(_BATCH), sounds.split(_BATCH)):
            features = self.model.model.get_image_features(
                pixel_values=part, sound_embeds=heard, sound_alignment=alignment, return_dict=True
            )
            found += [info.similarity for info in features.sound_info]
        return torch.stack(found)

    @torch.no_grad()
    def ask(
        self, question: str, pixels: Tensor, sounds: Tensor | None, *, k: int = 0, alignment: str = "projected"
    ) -> list[str]:
        """Greedy answers; `sounds` None: the picture alone."""
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            add_generation_prompt=True,
        )
        image = self.model.config.image_token_index
        ids = self.processor.tokenizer(prompt, return_tensors="pt").input_ids[0]
        at = int((ids == image).nonzero()[0])
        ids = torch.cat([ids[:at], torch.full((world.GRID**2 + 1,), image), ids[at + 1 :]])
        answers = []
        for start in range(0, len(pixels), _BATCH):
            part = pixels[start : start + _BATCH]
            heard: dict[str, Any] = {}
            if sounds is not None:
                heard = {
                    "sound_embeds": sounds[start : start + _BATCH],
                    "sound_top_k": k,
                    "sound_alignment": alignment,
                }
            rows = ids.expand(len(part), -1)
            output = self.model.generate(
                input_ids=rows,
                attention_mask=torch.ones_like(rows),
                pixel_values=part,
                max_new_tokens=40,
                do_sample=False,
                **heard,
            )
            answers += self.processor.batch_decode(output[:, rows.shape[1] :], skip_special_tokens=True)
        return [answer.strip() for answer in answers]


def retrieval(subject: Subject, number: int, seed: int) -> dict[str, Any]:
    """Raw, projected, and what somebody who knows every kind in sound and picture would reach in this world."""
    scenes = held_out(lambda shown: bool(shown.sounding), number)
    sounds = subject.embed([shown.sound for shown in scenes])
    seen = subject.cls(subject.pixels(scenes))
    projection = subject.model.model.audio_projection
    with torch.no_grad():
        raw, projected = projection.match_width(sounds), projection.project(sounds)
    # What shows the same kinds is alike to who knows kinds alone, who then takes any: a whiff of noise does that.
    draws = torch.Generator().manual_seed(seed)
    heard_kinds, seen_kinds = (1e-4 * torch.randn(len(scenes), len(KINDS), generator=draws) for _ in range(2))
    for row, shown in enumerate(scenes):
        for kind in shown.sources:
            heard_kinds[row, KINDS.index(kind)] = 1
        for kind in able(shown):
            seen_kinds[row, KINDS.index(kind)] = 1

    def measured(audio: Tensor, vision: Tensor) -> dict[str, Any]:
        found: RetrievalResult = evaluate_retrieval(audio, vision, seed=seed)
        values = found.to_dict()
        return {way: values[way] for way in ("a2v", "v2a")}

    return {
        "n": len(scenes),
        "raw": measured(raw, seen),
        "projected": measured(projected, seen),
        "ceiling": measured(heard_kinds, seen_kinds),
        "norms": {
            "projected": float(projected.norm(dim=-1).mean()),
            "cls": float(seen.norm(dim=-1).mean()),
        },
    }


def hearing(subject: Subject, number: int, budgets: Sequence[int] = BUDGETS) -> dict[str, Any]:
    """Answers about scenes with one source and at least one other thing that could sound."""
    scenes = held_out(asks_for_ears, number)
    pixels = subject.pixels(scenes)
    inside, outside = ([swapped(shown, within) for shown in scenes] for within in (True, False))
    sounds = {
        "true": subject.embed([shown.sound for shown in scenes]),
        "silent": subject.embed([silence(shown) for shown in scenes]),
        "swapped_in_scene": subject.embed([sound for _, sound in inside]),
        "swapped_not_in_scene": subject.embed([sound for _, sound in outside]),
    }
    sources = [shown.things[shown.sounding[0]] for shown in scenes]
    expected = {
        "true": [questions.source_answer(thing.kind) for thing in sources],
        "silent": [questions.NOTHING] * len(scenes),
        "swapped_in_scene": [questions.source_answer(kind) for kind, _ in inside],
        "swapped_not_in_scene": [questions.source_answer(kind) for kind, _ in outside],
    }
    asked, colours, places = questions.SOURCE[0], questions.COLOUR[0], questions.PLACE[0]
    colour = [questions.colour_answer(thing.colour) for thing in sources]
    place = [questions.place_answer(thing.place) for thing in sources]
    kinds = [{thing.kind for thing in shown.things} for shown in scenes]
    report: dict[str, Any] = {
        "n": len(scenes),
        "things_that_could_sound": float(np.mean([len(able(shown)) for shown in scenes])),
        "snr_db": [min(shown.snr_db for shown in scenes), max(shown.snr_db for shown in scenes)],
        "no_sound": {
            "source": share(subject.ask(asked, pixels, None), expected["true"]),
            "colour": share(subject.ask(colours, pixels, None), colour),
            "place": share(subject.ask(places, pixels, None), place),
            "objects": object_f1(subject.ask(questions.PICTURE[0], pixels, None), kinds),
        },
        "blind_pick": float(np.mean([1 / len(able(shown)) for shown in scenes])),
    }
    bar = tqdm(total=len(budgets) * 2, desc="questions", unit="k")
    for alignment in ("projected", "raw"):
        table: dict[str, Any] = {}
        conditions = sounds if alignment == "projected" else {"true": sounds["true"], "silent": sounds["silent"]}
        for k in budgets:
            told = {
                name: subject.ask(asked, pixels, heard, k=k, alignment=alignment) for name, heard in conditions.items()
            }
            row = {name: share(answers, expected[name]) for name, answers in told.items()}
            for name, text, right in (("colour", colours, colour), ("place", places, place)):
                row[name] = share(subject.ask(text, pixels, sounds["true"], k=k, alignment=alignment), right)
            described = subject.ask(questions.PICTURE[0], pixels, sounds["true"], k=k, alignment=alignment)
            table[str(k)] = {**row, "objects": object_f1(described, kinds)}
            bar.update()
        similarity = subject.similarity(pixels, sounds["true"], alignment)
        report[alignment] = {"by_k": table, "kept_on_source": on_source(similarity, sources, budgets)}
    bar.close()
    report["area_share"] = float(np.mean([covers(thing).float().mean() for thing in sources]))
    return report


def covers(thing: Any) -> Tensor:
    """`(64,)` bool: the patches that belong to a thing."""
    return torch.from_numpy(thing.coverage(world.GRID)) >= _COVERED


def on_source(similarity: Tensor, sources: Sequence[Any], budgets: Sequence[int]) -> dict[str, Any]:
    """Share of the kept patches that belong to the source, by k."""
    own = torch.stack([covers(thing) for thing in sources])
    order = torch.sort(similarity, dim=1, descending=True, stable=True).indices
    found = {}
    for k in budgets:
        if k:
            shares = own.gather(1, order[:, :k]).float().mean(1)
            found[str(k)] = {
                "mean": float(shares.mean()),
                "interval_95": _around(float(shares.mean()), float(shares.std()) / len(shares) ** 0.5),
            }
    return found


def share(answers: Sequence[str], expected: Sequence[str]) -> dict[str, Any]:
    """Share of the answers that are word for word as expected, with Wilson's 95 % interval."""
    right = sum(answer == wanted for answer, wanted in zip(answers, expected, strict=True))
    number, z = len(answers), 1.959964
    middle = (right + z * z / 2) / (number + z * z)
    width = z / (number + z * z) * (right * (number - right) / number + z * z / 4) ** 0.5
    return {"mean": right / number, "interval_95": [middle - width, middle + width]}


def object_f1(answers: Sequence[str], kinds: Sequence[set[str]]) -> dict[str, Any]:
    """F1 of the kinds that a description names, over all scenes."""
    right = named = there = 0
    for answer, wanted in zip(answers, kinds, strict=True):
        told = {name for name in world.NAMES if name in answer.rstrip(".").replace(",", "").split()}
        right += len(told & wanted)
        named += len(told)
        there += len(wanted)
    return {
        "f1": 2 * right / max(1, named + there),
        "precision": right / max(1, named),
        "recall": right / max(1, there),
    }


def _around(mean: float, error: float) -> list[float]:
    return [mean - 1.959964 * error, mean + 1.959964 * error]


__all__ = [
    "BUDGETS",
    "Subject",
    "asks_for_ears",
    "hearing",
    "held_out",
    "object_f1",
    "retrieval",
    "share",
    "swapped",
]
