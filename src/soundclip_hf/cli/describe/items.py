"""Finds what to describe: reads the files of a command line, or the lines of a manifest, as `Item`s."""

import reprlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...bundled import CLIP
from ...files import expand_user
from ...media import MediaError, shown, without_password
from ...media_kinds import kind_of
from ...text_tables import check_question, json_lines, json_value
from ..output import CliError, UsageError, about, log, note
from ..sources import check_source

MEDIA_KEYS = ("video", "image", "audio")


@dataclass(frozen=True)
class Item:
    """
    One question about one clip, picture or sound.

    Attributes:
        id: Unique in its batch.
        video, image, audio: Paths or URLs; `audio` beside a video takes the place of its sound.
        question: None takes the command's.
        folder: What relative paths are relative to; None is the working directory.
        error: Why there is nothing to describe (a broken manifest line).
    """

    id: str
    video: str | None = None
    image: str | None = None
    audio: str | None = None
    question: str | None = None
    folder: Path | None = None
    error: str | None = None

    @property
    def media(self) -> dict[str, str]:
        """The sources that were given, by kind, as they are printed: without the passwords of URLs."""
        given = {key: getattr(self, key) for key in MEDIA_KEYS}
        return {key: without_password(source) for key, source in given.items() if source is not None}

    @property
    def name(self) -> str:
        """The name of the item in messages."""
        return shown(" + ".join(self.media.values()) or self.id)

    def locate(self, source: str) -> str:
        """The path or URL to open for one of the sources."""
        if self.folder is None or "://" in source:
            return source
        return str(self.folder / expand_user(source))


def bundled_item() -> Item:
    """The clip that comes with the package, for a command line without files."""
    note("no clip given: the bundled one, a car, a clock and a piano, one of which sounds")
    return Item(CLIP.name, video=CLIP.name, folder=CLIP.parent)


def items_of_arguments(sources: Sequence[str]) -> list[Item]:
    """
    Pair the files of a command line: a sound belongs to the picture or clip right before it, else it stands alone.

    Raises:
        UsageError: If that could have meant something else: two sounds after one picture, or a sound alone beside a
            picture alone.
    """
    groups: list[dict[str, str]] = []
    named = {source: shown(without_password(source)) for source in sources}
    for source in sources:
        kind = kind_of(source)
        if kind != "audio" or not groups:
            groups.append({kind: source})
        elif "audio" not in groups[-1]:
            groups[-1]["audio"] = source
        elif len(groups[-1]) > 1:
            picture = groups[-1].get("image") or groups[-1]["video"]
            raise UsageError(
                f"{named[source]}: {named[groups[-1]['audio']]} is already the sound of {named[picture]}. Give one "
                "sound after each picture or clip, or use --manifest, which says what belongs together."
            )
        else:
            groups.append({kind: source})
    alone = [next(iter(group.items())) for group in groups if len(group) == 1]
    pictures = [source for kind, source in alone if kind == "image"]
    sounds = [source for kind, source in alone if kind == "audio"]
    if pictures and sounds:
        raise UsageError(
            f"does {named[sounds[0]]} belong to {named[pictures[0]]}? Write the sound right after its picture, "
            "or use --manifest, which says what belongs together."
        )
    seen: dict[str, int] = {}
    items = []
    for group in groups:
        name = "+".join(map(without_password, group.values()))
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        items.append(Item(unique, group.get("video"), group.get("image"), group.get("audio")))
    return items


def checked(item: Item) -> Item:
    """The item, with its `error` if one of its files cannot be media: it is missing, empty, a folder or a device."""
    for key, source in item.media.items() if item.error is None else ():
        located = item.locate(getattr(item, key))
        try:
            check_source(located)
        except MediaError as error:
            log.debug("%s", located, exc_info=True)
            return replace(item, error=about(shown(source), error))
    return item


def read_manifest(path: Path) -> list[Item]:
    """
    Read JSON lines such as `{"id": "a", "video": "a.mp4", "question": "…"}`.

    Media are named by `video`, or `image` and/or `audio`; `path` is any of them, told by its ending. Paths are relative
    to the manifest's folder. Without `id` the media's names are it. Other fields are ignored. A line that cannot be
    used becomes an item with its `error`.

    Raises:
        CliError: If the file cannot be read, holds no line, or two lines have the same id.
    """
    try:
        lines = list(json_lines(path))
    except OSError as error:
        raise CliError(f"manifest {path}: {error.strerror}; pass a file with one JSON object per line") from error
    except ValueError as error:
        raise CliError(f"manifest {error}") from error
    items: list[Item] = []
    first: dict[str, int] = {}
    for number, line in lines:
        try:
            item = _manifest_item(line, path.parent)
        except ValueError as error:
            item = Item(f"line {number}", error=f"{path} line {number}: {error}")
        if item.id in first:
            raise CliError(
                f"{path}: lines {first[item.id]} and {number} have the same id {item.id!r}; make the ids unique, "
                "answers are found again by them"
            )
        first[item.id] = number
        items.append(item)
    if not items:
        raise CliError(f'manifest {path}: is empty; write lines such as {{"id": "a", "video": "a.mp4"}}')
    return items


def _manifest_item(line: str, folder: Path) -> Item:
    values = json_value(line)
    if not isinstance(values, dict):
        raise ValueError('not a JSON object; write {"id": …, "video": …}')
    for key in ("id", "path", "question", *MEDIA_KEYS):
        if not isinstance(values.get(key), (str, int, type(None)) if key == "id" else (str, type(None))):
            raise ValueError(f"{key!r} is {reprlib.repr(values[key])}; it must be a text")
    if values.get("question") is not None:
        try:
            check_question(values["question"])
        except ValueError as error:
            raise ValueError(f"'question' {error}; without the field, --question is asked") from error
    media = {key: values[key] for key in MEDIA_KEYS if values.get(key)}
    if values.get("path"):
        media.setdefault(kind_of(values["path"]), values["path"])
    if not media:
        found = textwrap.shorten(", ".join(values), 200) or "no field"
        raise ValueError(f"no media; give 'video', 'image' or 'audio' (found {found})")
    if "video" in media and "image" in media:
        raise ValueError("both 'video' and 'image'; give one")
    name = str(values["id"]) if values.get("id") is not None else "+".join(map(without_password, media.values()))
    return Item(
        name,
        video=media.get("video"),
        image=media.get("image"),
        audio=media.get("audio"),
        question=values.get("question"),
        folder=folder,
    )


__all__ = ["Item", "bundled_item", "checked", "items_of_arguments", "read_manifest"]
