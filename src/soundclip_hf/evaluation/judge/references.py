"""What is known about the clip of an answer: from a data set by the id of the sample, or from the answer's own line."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ...data.ave2.tables import read_rows
from ...files import expand_user
from ...text_tables import json_lines, json_value
from ..samples import Sample, open_samples, read_sample
from .answers import GivenAnswer

TABLES = (".jsonl", ".json", ".parquet")
# Of the sound, which is read with the frame; the judge gets no sound.
_RATE = 16000
_SOURCES = {
    "visible_active_sources": "heard and seen",
    "invisible_active_sources": "heard but not seen",
    "visible_silent_objects": "seen but silent",
}


@dataclass(frozen=True)
class Reference:
    """
    What is known about one clip.

    Attributes:
        texts: By the tags of the prompt (`prompt.REFERENCE_TAGS`); empty ones are left out.
        group: The video that the clip is cut from: answers of one group are not independent.
        picture: Reads the frame; None where there is none to send.
    """

    texts: Mapping[str, str]
    group: str
    picture: Callable[[], Image.Image] | None = None


@dataclass(frozen=True)
class Known:
    """
    What a data set knows about its samples.

    Attributes:
        dataset: Its name.
        revision: Of a data set on a Hub.
        find: Makes the sample of an id.
        ids: Of its samples.
        frames: Whether the judge gets the frame of a sample, too.
    """

    dataset: str
    revision: str | None
    find: Callable[[str], Sample]
    ids: Collection[str]
    frames: bool = False

    @classmethod
    def open(cls, source: str, *, split: str | None = None, media: Path | None = None, frames: bool = False) -> "Known":
        """
        Args:
            source, split, media: As of `evaluation.samples.open_samples`. A table needs its media only for frames.
            frames: Whether the judge gets the frame of a sample, too.

        Raises:
            ValueError: As of `open_samples`.
        """
        path = expand_user(source)
        if path.suffix.lower() in TABLES and path.is_file() and not frames and media is None and split is None:
            rows = _table(path)
            return cls(source, None, rows.__getitem__, rows)
        samples = open_samples(source, split=split, media=media)
        places = {name: index for index, name in enumerate(samples.ids)}
        return cls(samples.name, samples.revision, lambda name: samples[places[name]], places, frames)


def references(answers: Sequence[GivenAnswer], known: Known | None = None) -> list[Reference]:
    """
    The reference of each answer.

    Args:
        known: Where to look for the sample of an answer. None takes what the line of the answer itself says.

    Raises:
        ValueError: If the data set lacks the sample of an answer, a reference is no text, or nothing is known about any
            of the clips.
    """
    missing = [given for given in answers if known is not None and given.id not in known.ids]
    if known is not None and missing:
        raise ValueError(
            f"{known.dataset}: has no sample {missing[0].id!r} ({missing[0].source}); {len(missing)} of "
            f"{len(answers)} answers are about samples that it does not have"
        )
    found = [_reference(given, known) for given in answers]
    if not any(reference.texts for reference in found):
        where = "the answers have no" if known is None else f"{known.dataset}: its rows have no"
        advice = "; give --data, where the references are" if known is None else ""
        raise ValueError(f"{where} reference: columns such as audio_caption, video_caption or reference{advice}")
    return found


def _reference(given: GivenAnswer, known: Known | None) -> Reference:
    if known is None:
        try:
            texts = reference_texts(given.row)
        except ValueError as error:
            raise ValueError(f"{given.source}: {error}") from error
        return Reference(texts, str(given.row.get("youtube_id") or given.row.get("group") or given.id))
    sample = known.find(given.id)
    picture = partial(_frame, partial(known.find, given.id), given.settings.get("frame")) if known.frames else None
    try:
        return Reference(reference_texts(sample.row), sample.group, picture)
    except ValueError as error:
        raise ValueError(f"{known.dataset}, {given.id}: {error}") from error


def reference_texts(row: Mapping[str, Any]) -> dict[str, str]:
    """
    What a row says about its clip, by the tags of the prompt; what is empty is left out.

    Args:
        row: The captions and lists of AVE-2, and `reference` or `references`: a text or a list of texts.

    Raises:
        ValueError: If one of these is neither a text nor a list of texts.
    """
    sources = [f"{words}: {', '.join(names)}" for column, words in _SOURCES.items() if (names := _texts(row, column))]
    texts = {
        "known_sound": "\n".join(_texts(row, "audio_caption") + _texts(row, "environmental_audio")),
        "known_speech": "\n".join(_texts(row, "speech_content")),
        "known_picture": "\n".join(_texts(row, "video_caption")),
        "known_sources": "; ".join(sources),
        "known_label": "\n".join(_texts(row, "audio_visual_label")),
        "reference_answers": "\n".join(_texts(row, "reference") + _texts(row, "references")),
    }
    return {tag: text for tag, text in texts.items() if text}


def _texts(row: Mapping[str, Any], column: str) -> list[str]:
    value = row.get(column)
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(text, str) for text in values):
        raise ValueError(f"{column!r} is {value!r:.60}; expected a text or a list of texts")
    return [text.strip() for text in values if text.strip()]


def _frame(sample: Callable[[], Sample], frame: Any) -> Image.Image:
    moment = frame if isinstance(frame, (str, int, float)) and not isinstance(frame, bool) else "middle"
    picture = read_sample(sample(), sampling_rate=_RATE, frame=moment).picture
    if picture is None:
        raise ValueError("the clip has no picture to send to the judge")
    return picture


def _table(path: Path) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    for number, row in _rows(path):
        name = row.get("sample_id") if row.get("sample_id") is not None else row.get("id")
        if name is None:
            raise ValueError(f"{path}, row {number}: has neither sample_id nor id")
        if str(name) in samples:
            raise ValueError(f"{path}, row {number}: has the id {name!r} of an earlier row; make the ids unique")
        samples[str(name)] = Sample(str(name), str(row.get("youtube_id") or row.get("group") or name), row)
    if not samples:
        raise ValueError(f"{path}: has no rows")
    return samples


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.suffix.lower() != ".jsonl":
        yield from enumerate(read_rows(path), 1)
        return
    for number, line in json_lines(path):
        try:
            row = json_value(line)
            if not isinstance(row, dict):
                raise ValueError("is no JSON object")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        yield number, row


__all__ = ["Known", "Reference", "reference_texts", "references"]
