"""Everything that the page can be asked for, as functions of what a visitor gives: nothing is kept between visitors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..evaluation.generation.answering import AnsweringModel, AnswerSettings, largest_top_k
from ..retrieval.embedding_store import Kind
from . import markup
from .answering import MAX_NEW_TOKENS, stream_answer, what_was_heard
from .examples import Example
from .given import DemoError, Given, read_given
from .hearing import choose_other, did_it_hear
from .patches import patch_view
from .searching import Library

CLIP, PAIR = "A clip", "A picture and a sound"
ANY_OTHER = "any other example"
SOUND_TO_FRAMES, PICTURE_TO_SOUNDS = "its sound finds frames", "its picture finds sounds"
NOTHING_YET = "Give a clip, or a picture and a sound, to see which patches the sound keeps."
# Decoded uploads that are in memory: the slider of k reads the same one again and again.
_READ = 8


@dataclass(frozen=True)
class Media:
    """
    The files of a visitor.

    Attributes:
        mode: `CLIP` or `PAIR`: which of the files count.
        clip, picture, sound: Their paths, or None.
    """

    mode: str
    clip: str | None = None
    picture: str | None = None
    sound: str | None = None

    def path(self, by: Kind) -> str | None:
        """The file that has the sound ("audio") or the picture ("image")."""
        if self.mode == CLIP:
            return self.clip
        return self.sound if by == "audio" else self.picture


@dataclass(frozen=True)
class Choices:
    """What a visitor has set: see [`AnswerSettings`]. `alpha` counts for "projected" alone."""

    top_k: float
    alignment: str
    alpha: float
    patches: str


class Desk:
    """
    Args:
        answering: The model that answers.
        library: What can be searched.
        examples: Clips to begin with; their sounds are the other sounds of "did it hear?".
        top_k: Patches to keep where a visitor does not say; None takes the setting of the model.

    Raises:
        ValueError: If a picture of the model has fewer patches than `top_k`.
    """

    def __init__(
        self, answering: AnsweringModel, library: Library, examples: Sequence[Example], top_k: int | None = None
    ) -> None:
        self.answering, self.library, self.examples = answering, library, list(examples)
        self.rate = int(answering.processor.feature_extractor.sampling_rate)
        sound = answering.model.config.sound_config
        self.most_patches = largest_top_k(answering) or _most_patches(answering)
        if top_k is not None and top_k > self.most_patches:
            raise ValueError(
                f"top_k={top_k}: the pictures of {answering.name} have {self.most_patches} patches; give 0 to that many"
            )
        kept = sound.token_budget if top_k is None else top_k
        self.defaults = Choices(min(kept, self.most_patches), sound.alignment, float(sound.alpha or 0), sound.patches)

    def frame_of(self, example: Example) -> Image.Image | None:
        """The picture of an example."""
        paths = (path and str(path) for path in (example.clip, example.picture, example.sound))
        return _read(*paths, self.rate).picture

    def answer(self, media: Media, question: str, choices: Choices) -> Iterator[tuple[str, str]]:
        """The answer so far, and a line of HTML about it; again and again, as the answer grows."""
        given, settings = self._read(media), self._settings(choices)
        yield "", markup.line(f"{given.summary} · answering …", given.notes)
        for part in stream_answer(given, question, settings, self.answering):
            if isinstance(part, str):
                yield part, markup.line(f"{given.summary} · answering …", given.notes)
            else:
                text = part.text or "(The model gave an empty answer.)"
                yield text, markup.line(what_was_heard(given, part, settings), given.notes)

    def view(self, media: Media, choices: Choices) -> tuple[Image.Image | None, Image.Image | None, str]:
        """The frame, the frame with the patches that the sound keeps, and their legend as HTML."""
        if not any((media.path("audio"), media.path("image"))):
            return None, None, markup.empty(NOTHING_YET)
        given, settings = self._read(media), self._settings(choices)
        assert settings.top_k is not None
        assert settings.alignment is not None
        shown = patch_view(
            given, self.answering, top_k=settings.top_k, alignment=settings.alignment, alpha=settings.alpha
        )
        html = markup.legend(shown, given.notes)
        return (None, None, html) if shown is None else (shown.frame, shown.shown, html)

    def hear(self, media: Media, question: str, choices: Choices, other: str, upload: str | None) -> str:
        """
        What changes with silence, with another sound and without sound, as a table in HTML.

        Args:
            other: Name of an example, or `ANY_OTHER`.
            upload: A sound that is taken in place of `other`, or None.
        """
        given, settings = self._read(media), self._settings(choices)
        if upload:
            sounds = [(Path(upload).name, self._sound_of(upload))]
        else:
            chosen = [one for one in self.examples if other in (ANY_OTHER, one.name)]
            sounds = [(one.name, self._sound_of(str(one.heard))) for one in chosen]
        swapped = choose_other(given, sounds) if other == ANY_OTHER and not upload else sounds[0]
        return markup.hearing_table(did_it_hear(given, swapped, question, settings, self.answering))

    def search(self, media: Media, way: str, count: float) -> str:
        """
        Matches as cards in HTML.

        Args:
            way: `SOUND_TO_FRAMES` or `PICTURE_TO_SOUNDS`.
            count: How many.
        """
        by: Kind = "audio" if way == SOUND_TO_FRAMES else "image"
        path = media.path(by)
        if path is None:
            what = "a clip" if media.mode == CLIP else "a sound" if by == "audio" else "a picture"
            raise DemoError(f"There is nothing to search with. Give {what}, or choose an example.")
        return markup.cards(self.library.search(path, by, max(1, int(count))))

    def _read(self, media: Media) -> Given:
        if media.mode == CLIP:
            return _read(media.clip, None, None, self.rate)
        return _read(None, media.picture, media.sound, self.rate)

    def _sound_of(self, path: str) -> np.ndarray:
        given = _read(path, None, None, self.rate)
        if given.sound is None:
            raise DemoError(f"{Path(path).name}: has no sound. Choose another one.")
        return given.sound

    def _settings(self, choices: Choices) -> AnswerSettings:
        if not 0 <= choices.top_k <= self.most_patches:
            raise DemoError(f"k = {choices.top_k:g}: a picture has {self.most_patches} patches; give 0 to that many.")
        if choices.alignment not in ("projected", "raw") or choices.patches not in ("zero", "drop"):
            raise DemoError(f"{choices.alignment}, {choices.patches}: give projected or raw, and zero or drop.")
        if not 0 <= choices.alpha <= 1:
            raise DemoError(f"alpha = {choices.alpha:g}: give 0 to 1.")
        return AnswerSettings(
            top_k=round(choices.top_k),
            patches=choices.patches,
            alignment=choices.alignment,
            alpha=choices.alpha if choices.alignment == "projected" else None,
            max_new_tokens=MAX_NEW_TOKENS,
        )


@lru_cache(maxsize=_READ)
def _read(clip: str | None, picture: str | None, sound: str | None, rate: int) -> Given:
    # Gradio puts the hash of an upload into its path, so the same path is the same file.
    return read_given(clip=clip, picture=picture, sound=sound, rate=rate)


def _most_patches(answering: AnsweringModel) -> int:
    """Of a LLaVA-1.6 whose budget counts over the base view and all tiles: those of its largest picture."""
    config = answering.model.config
    tile = config.vision_config.image_size
    tiles = max((height // tile) * (width // tile) for height, width in config.image_grid_pinpoints)
    return (1 + tiles) * config.patches_per_side**2


__all__ = [
    "ANY_OTHER",
    "CLIP",
    "NOTHING_YET",
    "PAIR",
    "PICTURE_TO_SOUNDS",
    "SOUND_TO_FRAMES",
    "Choices",
    "Desk",
    "Media",
]
