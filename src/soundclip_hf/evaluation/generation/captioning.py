"""Captions of samples under every cell of a grid: media are read, and sounds encoded, once for all cells."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import align_module_device
from torch import Tensor

from ...media import MediaError
from ...modeling.checkpoints.fingerprint import fingerprint
from ...retrieval.embedding import READERS
from ..samples import Media, Sample, Samples, read_sample
from .answering import (
    Answer,
    AnsweringModel,
    each_or_its_error,
    embed_sounds,
    generate_answers,
    largest_top_k,
    prepare,
    question_about,
)
from .caption_files import CaptionFile
from .cells import Cell, model_label

log = logging.getLogger(__name__)

QUESTION = "Describe what you see and hear."
CAPTIONS = "captions"  # the folder of their files


@dataclass(frozen=True)
class Asked:
    """
    What all cells share.

    Attributes:
        question: For every sample.
        frame: "middle", "first" or seconds: which frame of a clip is its picture.
        max_new_tokens: Of a caption.
        temperature: 0 takes the most probable token.
        seed: Of sampling.
    """

    question: str = QUESTION
    frame: str | float = "middle"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class CellRun:
    """
    Attributes:
        name: Of the file, without its ending.
        path: The captions.
        captioned: Samples that have got a caption now.
        skipped: Samples that had one.
        failed: Samples without one.
    """

    name: str
    path: Path
    captioned: int
    skipped: int
    failed: int


def cell_name(answering_name: str, cell: Cell) -> str:
    """The name of the files of a model's cell, without their ending."""
    return f"{model_label(answering_name)}-{cell.name}"


def generate_captions(
    samples: Samples,
    cells: Sequence[Cell],
    answering: AnsweringModel,
    folder: Path,
    asked: Asked | None = None,
    *,
    batch_size: int = 8,
    advance: Callable[[int], None] = lambda steps: None,
) -> list[CellRun]:
    """
    Write the captions of all samples, one file for each cell: `folder/captions/<model>-<cell>.jsonl`.

    A file grows with each batch, and is on disk then: a run that was killed loses the batch in flight, and the next run
    with the same settings goes on there. A sample that fails (media that cannot be read, no sound, no picture, numbers
    that are not finite) gets a row with its `error`, and is tried again by the next run.

    Args:
        samples: What to caption.
        cells: Of one grid, see `grid`.
        answering: The model.
        folder: Where the files go.
        asked: Question, frame and the like; None takes the defaults.
        batch_size: Samples at a time.
        advance: Called with the number of captions that have been done since its last call, `len(samples)` times
            `len(cells)` in all.

    Raises:
        ValueError: If a file was made with other settings, or a budget does not fit the model; before anything is done.
    """
    asked = asked or Asked()
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be at least 1")
    most = largest_top_k(answering)
    for cell in cells:
        if most is not None and cell.top_k > most:
            raise ValueError(
                f"top_k={cell.top_k}: the pictures of {answering.name} have {most} patches; give 0..{most}"
            )
    shared = _shared_settings(samples, answering, asked)
    ids = samples.ids
    failed = dict.fromkeys(cells, 0)
    with ExitStack() as stack:
        files: dict[Cell, CaptionFile] = {}
        for cell in cells:
            path = folder / CAPTIONS / f"{cell_name(answering.name, cell)}.jsonl"
            files[cell] = CaptionFile(path, {**shared, **_own_settings(cell)})
            stack.callback(files[cell].close)
        skipped = {cell: len(file.done) for cell, file in files.items()}
        batches = stack.enter_context(closing(_read_ahead(samples, files, answering, asked, batch_size)))
        for batch, left in batches:
            for cell, (some, before) in left.items():
                rows = batch.rows(some, cell)
                if rows:
                    files[cell].append(rows)
                failed[cell] += sum("error" in row for row in rows)
                advance(before + len(rows))
    return [
        CellRun(
            cell_name(answering.name, cell),
            files[cell].path,
            len(ids) - skipped[cell] - failed[cell],
            skipped[cell],
            failed[cell],
        )
        for cell in cells
    ]


def _read_ahead(
    samples: Samples, files: Mapping[Cell, CaptionFile], answering: AnsweringModel, asked: Asked, batch_size: int
) -> Generator[tuple["_Batch", dict[Cell, tuple[list[str], int]]], None, None]:
    """
    Batches in order, while the media of the next one are read; and for each cell the ids of a batch that have no
    caption yet, and how many have one.
    """
    ids = samples.ids
    rate = answering.processor.feature_extractor.sampling_rate
    waiting: deque[tuple[list[tuple[Sample, Future[Media]]], dict[Cell, tuple[list[str], int]]]] = deque()
    pool = ThreadPoolExecutor(READERS)
    try:
        for start in range(0, len(ids), batch_size):
            part = ids[start : start + batch_size]
            missing = {cell: [one for one in part if one not in file.done] for cell, file in files.items()}
            wanted = {one for some in missing.values() for one in some}
            opened = [samples[start + place] for place, one in enumerate(part) if one in wanted]
            reading = [(sample, pool.submit(_read, sample, rate, asked.frame)) for sample in opened]
            waiting.append((reading, {cell: (some, len(part) - len(some)) for cell, some in missing.items()}))
            if len(waiting) > 1:
                reading, left = waiting.popleft()
                yield _Batch(reading, answering, asked), left
        while waiting:
            reading, left = waiting.popleft()
            yield _Batch(reading, answering, asked), left
    finally:
        pool.shutdown(cancel_futures=True)


def _read(sample: Sample, rate: int, frame: str | float) -> Media:
    media = read_sample(sample, sampling_rate=rate, frame=frame)
    if media.sound is None:
        raise MediaError(f"{sample.id}: has no sound")
    if media.picture is None:
        raise MediaError(f"{sample.id}: has no picture")
    return media


class _Batch:
    """Some samples, read once; what cells share of them is computed once."""

    def __init__(
        self, reading: Sequence[tuple[Sample, "Future[Media]"]], answering: AnsweringModel, asked: Asked
    ) -> None:
        self.answering, self.asked = answering, asked
        self.groups = {sample.id: sample.group for sample, _ in reading}
        self.media: dict[str, Media] = {}
        self.errors: dict[str, Exception] = {}
        for sample, media in reading:
            try:
                self.media[sample.id] = media.result()
            except Exception as error:
                log.debug("%s", sample.id, exc_info=True)
                self.errors[sample.id] = error
        self._inputs: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self._embeds: dict[tuple[str, ...], Tensor] = {}

    def rows(self, ids: Sequence[str], cell: Cell) -> list[dict[str, Any]]:
        """The rows of samples, in order, with `answer` or `error`."""
        readable = [one for one in ids if one in self.media]
        found: dict[str, Answer | Exception] = dict(self.errors)
        found.update(zip(readable, each_or_its_error(readable, lambda some: self._answers(some, cell))))
        return [
            {"id": one, "group": self.groups[one], "question": self.asked.question, **_outcome(found[one])}
            for one in ids
        ]

    def _answers(self, ids: Sequence[str], cell: Cell) -> list[Answer]:
        asked = self.asked
        settings = cell.answer_settings(asked.max_new_tokens, asked.temperature, asked.seed)
        together = tuple(ids)
        layout = (cell.top_k, cell.patches, together)
        if layout not in self._inputs:
            conversations = [
                question_about(asked.question, media.picture, media.sound, media.sampling_rate)
                for media in (self.media[one] for one in ids)
            ]
            self._inputs[layout] = prepare(conversations, settings, self.answering)
        inputs = self._inputs[layout]
        if together not in self._embeds:
            self._embeds[together] = embed_sounds(inputs, self.answering)
        return generate_answers(inputs, settings, self.answering, self._embeds[together])


def _outcome(found: Answer | Exception) -> dict[str, str]:
    if isinstance(found, Answer):
        return {"answer": found.text}
    return {"error": " ".join(str(found).split()) or type(found).__name__}


def _own_settings(cell: Cell) -> dict[str, Any]:
    return {"alignment": cell.alignment, "alpha": cell.alpha, "k": cell.top_k, "mode": cell.patches}


def _shared_settings(samples: Samples, answering: AnsweringModel, asked: Asked) -> dict[str, Any]:
    return {
        "model": answering.name,
        "revision": answering.revision,
        "weights": weights_hash(answering),
        "encoder": answering.encoder,
        "dtype": str(answering.model.dtype).removeprefix("torch."),
        "dataset": samples.name,
        "dataset_revision": samples.revision,
        "data": samples.identity(),
        **asdict(asked),
    }


def weights_hash(answering: AnsweringModel) -> str:
    """
    16 hexadecimal digits that change when a model in a folder is trained again: a hash of the whole projector and of
    256 other weights.
    """
    projector = answering.model.base_model.audio_projection
    sampled = fingerprint(answering.model, answering.model.config.vision_feature_layer)["values"]
    digest = sha256(np.array(sampled, dtype=np.float64).tobytes())
    for module in projector.modules():
        with align_module_device(module):  # offloaded weights lie on the meta device
            for weight in module.parameters(recurse=False):
                digest.update(weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


__all__ = ["CAPTIONS", "QUESTION", "Asked", "CellRun", "cell_name", "generate_captions", "weights_hash"]
