"""What is asked about a scene, and the answer that a picture allows."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from soundclip_hf.data.synthetic import COLOURS, KINDS, PLACES, sentence, with_article
from soundclip_hf.data.synthetic.questions import (
    COLOUR,
    HIDDEN,
    NOTHING,
    PLACE,
    SOURCE,
    colour_answer,
    place_answer,
    source_answer,
)

from . import world

PICTURE = ("Describe the picture.", "What do you see?", "What is in the picture?")
BOTH = ("Describe what you see and hear.", "Describe the clip.", "What happens here?")
EMPTY = "Nothing can be seen."
# A thing counts as seen where this share of its area is in the patches that were kept.
_SEEN = 0.3
TURNS = 5


def sound_sentence(kind: str | None) -> str:
    return NOTHING if kind is None else f"The {kind} makes the sound."


@dataclass(frozen=True)
class Seen:
    """
    One scene as its arrays tell it.

    Attributes:
        things: (kind, colour, place, seen), by size, the largest first.
    """

    things: tuple[tuple[str, str, str, bool], ...]

    @property
    def loudest(self) -> tuple[str, str, str, bool] | None:
        """A picture does not tell what sounds: of what could, the largest is taken."""
        return next((thing for thing in self.things if thing[0] in KINDS), None)


def seen_scene(scenes: dict[str, Tensor], row: int, kept: Tensor) -> Seen:
    """Of a batch of scenes the one in this row, of which the patches `kept` `(64,)` bool can be seen."""
    covered = scenes["covered"][row].float()
    found = []
    for place in covered.sum(1).argsort(descending=True).tolist():
        kind = int(scenes["kinds"][row, place])
        if kind < 0:
            continue
        share = float((covered[place] * kept).sum() / covered[place].sum().clamp(min=1e-6))
        colour, where = COLOURS[scenes["colours"][row, place]], PLACES[scenes["places"][row, place]]
        found.append((world.NAMES[kind], colour, where, share >= _SEEN))
    return Seen(tuple(found))


def ask(seen: Seen, generator: torch.Generator) -> list[tuple[str, str]]:
    """`TURNS` questions with their answers: one of each sort."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(torch.randint(len(options), (), generator=generator))]

    loudest = seen.loudest
    visible = [with_article(f"{colour} {kind}") for kind, colour, _, is_seen in seen.things if is_seen]
    picture = sentence(visible, EMPTY)
    turns = [(pick(SOURCE), NOTHING if loudest is None else source_answer(loudest[0]))]
    for questions, answer in ((COLOUR, colour_answer), (PLACE, place_answer)):
        text = NOTHING if loudest is None else answer(loudest[1 if answer is colour_answer else 2])
        turns.append((pick(questions), HIDDEN if loudest is not None and not loudest[3] else text))
    if torch.rand((), generator=generator) < 0.5:
        turns.append((pick(PICTURE), picture))
    else:
        turns.append((pick(BOTH), f"{picture} {sound_sentence(None if loudest is None else loudest[0])}"))
    if seen.things and torch.rand((), generator=generator) < 0.85:
        kind, colour, _, is_seen = seen.things[int(torch.randint(len(seen.things), (), generator=generator))]
    else:
        kind, colour, is_seen = pick(world.NAMES), "", False
        same = [thing for thing in seen.things if thing[0] == kind]
        if same:
            kind, colour, _, is_seen = same[0]
    turns.append((f"What colour is the {kind}?", colour_answer(colour) if is_seen else HIDDEN))
    return turns


def corpus() -> list[str]:
    """Sentences whose words become whole tokens."""
    names = [with_article(f"{colour} {kind}") for colour, kind in product(COLOURS, world.NAMES)]
    told = [sentence([first, second, third], EMPTY) for first, second, third in zip(names, names[7:], names[13:])]
    told += [sentence([name], EMPTY) for name in names]
    told += [source_answer(kind) + " " + sound_sentence(kind) for kind in KINDS]
    told += [colour_answer(colour) for colour in COLOURS] * 8 + [place_answer(place) for place in PLACES] * 8
    asked = [*SOURCE, *COLOUR, *PLACE, *PICTURE, *BOTH, *(f"What colour is the {kind}?" for kind in world.NAMES)]
    # An answer comes after "ASSISTANT:", with a space.
    shown = [f"USER: \n{question} ASSISTANT: {NOTHING} {HIDDEN} {EMPTY}" for question in asked]
    return [f" {text}" for text in told] * 3 + shown * 4


__all__ = [
    "BOTH",
    "COLOUR",
    "HIDDEN",
    "NOTHING",
    "PICTURE",
    "PLACE",
    "SOURCE",
    "TURNS",
    "Seen",
    "ask",
    "colour_answer",
    "corpus",
    "place_answer",
    "seen_scene",
    "sound_sentence",
    "source_answer",
]  # fmt: skip
