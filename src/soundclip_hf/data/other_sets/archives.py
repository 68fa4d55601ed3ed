"""Reads the clips of a manifest from tar archives, one by one; what is damaged is named and skipped.

Large sets come so, such as VGGSound's twenty parts of which one is known to be cut off. Nothing is unpacked.
"""

from __future__ import annotations

import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ...media_kinds import CLIPS
from .manifest import AVManifest, Entry, probe

ENDINGS = (".tar", ".tar.gz", ".tgz")
BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error)
END_OF_ARCHIVE = 512


@dataclass(frozen=True)
class Damage:
    """What could not be read.

    Attributes:
        archive: File name of the archive.
        member: Name of the clip; None if the archive itself breaks off, with all that comes after.
        reason: In words.
        read: Clips that were read from this archive before.
    """

    archive: str
    member: str | None
    reason: str
    read: int

    def __str__(self) -> str:
        what = self.member if self.member is not None else f"breaks off after {self.read} clips"
        return f"{self.archive}: {what}: {self.reason}"


def archives(source: str | Path) -> list[Path]:
    """The archive itself, or all of a folder.

    Raises:
        ValueError: There are none.
    """
    root = Path(source)
    found = [root] if root.is_file() else sorted(root.glob("*")) if root.is_dir() else []
    found = [path for path in found if path.name.lower().endswith(ENDINGS) and path.is_file()]
    if not found:
        raise ValueError(f"{root}: has no {', '.join(ENDINGS)} files")
    return found


def stream_archives(manifest: AVManifest, source: str | Path, damage: list[Damage]) -> Iterator[tuple[Entry, bytes]]:
    """Clips in the order of the archives, each read once and held alone.

    Args:
        manifest: What is wanted; other members are passed over. Names are those of `Entry.names`.
        source: An archive, or a folder of them.
        damage: Filled with what could not be read. A clip that does not decode is skipped, and taken from a later
            member of the same name if there is one; an archive that breaks off gives what comes before.

    Yields:
        The entry, with `media_status` and `offset`, and the bytes of its file. A file that is a whole video comes
        once for each of its entries.
    """
    wanted = _wanted(manifest)
    for archive in archives(source):
        read = 0
        try:
            with tarfile.open(archive) as opened:
                for member in opened:
                    name = PurePosixPath(member.name)
                    media = member.isfile() and name.suffix.lower() in CLIPS
                    if not media or not wanted.get(name.stem):
                        continue
                    file = opened.extractfile(member)
                    content = file.read() if file is not None else b""
                    read += 1
                    left = {}
                    for sample, (entry, whole) in wanted[name.stem].items():
                        offset = entry.start or 0.0 if whole else 0.0
                        status = probe(content, offset)
                        if status == "decode_error":
                            left[sample] = (entry, whole)
                            continue
                        yield replace(entry, offset=offset, media_status=status), content
                    if left:
                        damage.append(Damage(archive.name, member.name, "is no clip that can be decoded", read))
                    _taken(wanted, name.stem, left)
            _check_end(archive)
        except BROKEN as error:
            damage.append(Damage(archive.name, None, str(error) or type(error).__name__, read))


def resolve_archives(
    manifest: AVManifest,
    source: str | Path,
    damage: list[Damage],
    streamed: Iterator[tuple[Entry, bytes]] | None = None,
) -> AVManifest:
    """The manifest with the `media_status` of each entry; entries that no archive has are "missing".

    Args:
        streamed: What `stream_archives` gives, if it is to be watched on its way.
    """
    found = {entry.sample_id: entry for entry, _ in streamed or stream_archives(manifest, source, damage)}
    broken = {PurePosixPath(one.member).stem for one in damage if one.member is not None}
    entries = []
    for entry in manifest:
        lost = "decode_error" if any(name in broken for name, _ in entry.names()) else "missing"
        entries.append(found.get(entry.sample_id) or replace(entry, media_status=lost))
    return replace(manifest, entries=tuple(entries))


Wanted = dict[str, dict[str, tuple[Entry, bool]]]


def _wanted(manifest: AVManifest) -> Wanted:
    """File name without suffix -> id -> entry that has it, and whether that file is the whole video."""
    wanted: Wanted = defaultdict(dict)
    for entry in manifest:
        for name, whole in entry.names():
            wanted[name].setdefault(entry.sample_id, (entry, whole))
    return dict(wanted)


def _taken(wanted: Wanted, stem: str, left: dict[str, tuple[Entry, bool]]) -> None:
    for sample, (entry, _) in list(wanted[stem].items()):
        if sample in left:
            continue
        for name, _ in entry.names():
            wanted.get(name, {}).pop(sample, None)


def _check_end(archive: Path) -> None:
    """tarfile takes a plain archive that is cut between two members for whole; a compressed one has its own end."""
    if not archive.name.lower().endswith(".tar"):
        return
    with archive.open("rb") as file:
        file.seek(-min(END_OF_ARCHIVE, archive.stat().st_size), 2)
        if any(file.read()):
            raise tarfile.ReadError("has no end mark; it is cut off")


__all__ = ["Damage", "archives", "resolve_archives", "stream_archives"]
