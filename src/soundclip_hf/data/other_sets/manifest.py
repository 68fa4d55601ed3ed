"""A list of excerpts of videos: finds the files that a user has, and reports what is missing.

Nothing is fetched: media come from a folder that the user names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import av

from ...media import MediaError, choose_streams, open_media
from ...media_kinds import CLIPS, media_files
from ..ave2.schema import MEDIA_STATUS, SECONDS

SHORTEST = SECONDS - 0.05


@dataclass(frozen=True)
class Entry:
    """An excerpt of a video, with whatever its data set says about it.

    Attributes:
        sample_id: Unique in its manifest.
        youtube_id: Of the video; for other sources, whatever identifies the whole video there. Splits follow it.
        start: Seconds from the start of the video; None if the data set does not say (the excerpt is a file then).
        end: Seconds; None means to the end.
        captions: All captions of the excerpt, in the order of the table.
        labels: Class names.
        event: Seconds from the start of the excerpt between which the labels hold; None means all of it.
        split: As the data set calls it.
        extra: Other columns of the table.
        path: The file that has the excerpt, once resolved; before that, as the table has it, below the folder of media.
        offset: Seconds into `path` at which the excerpt starts.
        media_status: One of `schema.MEDIA_STATUS`.
    """

    sample_id: str
    youtube_id: str
    start: float | None = 0.0
    end: float | None = None
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    event: tuple[float, float] | None = None
    split: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    offset: float = 0.0
    media_status: str = "missing"

    def names(self) -> Iterator[tuple[str, bool]]:
        """File names without suffix under which the excerpt is kept, with whether that file is the whole video."""
        yield self.sample_id, False
        if self.start is None:
            yield self.youtube_id, False
            return
        seconds, milliseconds = int(self.start), round(1000 * self.start)
        # VGGSound's six digits; plain seconds; AudioSet's downloaders count milliseconds, with and without the end.
        yield f"{self.youtube_id}_{seconds:06d}", False
        yield f"{self.youtube_id}_{seconds}", False
        if self.end is not None:
            yield f"{self.youtube_id}_{milliseconds}_{round(1000 * self.end)}", False
            yield f"{self.youtube_id}_{seconds}_{int(self.end)}", False
        yield self.youtube_id, True


@dataclass(frozen=True)
class AVManifest:
    """Excerpts of one data set.

    Attributes:
        source: Name of the data set, which becomes `source_dataset`.
        entries: In the order of its table.
    """

    source: str
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(entry.sample_id for entry in self.entries).items() if count > 1]
        if repeated:
            raise ValueError(f"{self.source}: sample_id {repeated[0]!r} comes more than once; ids must be unique")

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def resolve(self, folder: str | Path, *, known: Mapping[str, str] | None = None, probe: bool = True) -> AVManifest:
        """Find the entries' files in a folder and below; the first name of `Entry.names` that is there counts.

        Args:
            folder: Searched once, at any depth.
            known: `youtube_id` -> why there is no file, such as "removed" or "private", from whoever fetched them.
            probe: Also open each file, to tell files without sound, too short and broken ones from good ones.

        Raises:
            ValueError: No such folder, or a status that is not in `schema.MEDIA_STATUS`.
        """
        root, reasons = Path(folder), dict(known or {})
        if not root.is_dir():
            raise ValueError(f"{root}: is no folder; give the one that has the media files")
        wrong = sorted(set(reasons.values()) - set(MEDIA_STATUS))
        if wrong:
            raise ValueError(f"media status {wrong[0]!r} is none of {', '.join(MEDIA_STATUS)}")
        files = {path.stem: path for path in reversed(media_files(root, CLIPS).paths)}
        return replace(self, entries=tuple(_resolved(entry, files, root, reasons, probe) for entry in self.entries))

    def coverage(self) -> dict[str, Any]:
        """
        What there is: `total`, `videos` (distinct), `ok_share` in [0, 1], the count of each `media_status`, and
        `ok_sha256`, the `fingerprint` of what is left.
        """
        counts = Counter(entry.media_status for entry in self.entries)
        return {
            "source": self.source,
            "total": len(self.entries),
            "videos": len({entry.youtube_id for entry in self.entries}),
            "ok_share": counts["ok"] / len(self.entries) if self.entries else 0.0,
            **{status: counts[status] for status in MEDIA_STATUS},
            "ok_sha256": self.available().fingerprint(),
        }

    def fingerprint(self) -> str:
        """SHA-256 of the ids, whatever their order: numbers of two runs compare if they were measured on the same."""
        return sha256("\n".join(sorted(entry.sample_id for entry in self.entries)).encode()).hexdigest()

    def available(self) -> AVManifest:
        """Only the entries whose media are good."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.media_status == "ok"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Plain dicts, for `datasets.Dataset.from_list` or JSON."""
        for entry in self.entries:
            row = asdict(entry) | {"source_dataset": self.source, "path": entry.path and str(entry.path)}
            yield row | {"extra": dict(entry.extra)}


def probe(media: str | Path | bytes, start: float = 0.0) -> str:
    """Media status of a file from its header: "ok", "missing", "no_audio", "too_short" or "decode_error".

    Args:
        media: Path of a media file, or its bytes.
        start: Seconds into the file; what follows must be as long as a segment.
    """
    if not isinstance(media, bytes) and not Path(media).is_file():
        return "missing"
    try:
        with open_media(media) as container:
            video, audio = choose_streams(container)
            if audio is None and video is not None:
                return "no_audio"
            if video is None or video.codec_context is None or audio.codec_context is None:
                return "decode_error"
            # Only some containers write a duration down; FFmpeg estimates it for the others.
            known = container.duration is not None
            short = known and (container.duration or 0) / av.time_base - start < SHORTEST
            return "too_short" if short else "ok"
    except (av.FFmpegError, MediaError, OSError, ValueError):
        return "decode_error"


def from_entries(source: str, entries: Iterable[Entry]) -> AVManifest:
    return AVManifest(source, tuple(entries))


def _resolved(entry: Entry, files: Mapping[str, Path], root: Path, reasons: Mapping[str, str], probing: bool) -> Entry:
    # A table that names its files knows better than any rule.
    if entry.path is not None and (root / entry.path).is_file():
        files = {entry.sample_id if entry.path.stem != entry.youtube_id else entry.youtube_id: root / entry.path}
    for name, whole in entry.names():
        if name in files:
            offset = entry.start or 0.0 if whole else 0.0
            status = probe(files[name], offset) if probing else "ok"
            return replace(entry, path=files[name], offset=offset, media_status=status)
    return replace(entry, path=None, media_status=reasons.get(entry.youtube_id, "missing"))


__all__ = ["AVManifest", "Entry", "from_entries", "probe"]
