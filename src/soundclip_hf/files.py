"""Files and folders that are written completely or not at all, locks on them, JSON, and hashes.

What is written gets a temporary name in the same folder, and is then renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20
NAME_BYTES = 255  # of a file name, on the file systems of Linux and macOS
LOCK = ".lock"

_MACHINE = re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:32]
_LEFTOVER = re.compile(r"\..+\.(?P<process>\d+)(?:-(?P<machine>\w*))?\.partial", re.DOTALL)
_tidied: set[Path] = set()


class InUseError(ValueError):
    """Another process has the lock of a file or folder; the message names it and says what to do."""


def name_beside(path: str | Path, ending: str) -> Path:
    """The hidden name `.NAME` + `ending` in the folder of a file; shortened where it would be too long for a name."""
    target = Path(path)
    name = f".{target.name}{ending}"
    if len(os.fsencode(name)) > NAME_BYTES:
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        name = f".{target.name[:32]}-{digest}{ending}"
    return target.with_name(name)


def partial_name(path: str | Path) -> Path:
    """
    The temporary name of a file, for writers that stay open over several calls; others use [`replacing`].

    It says which process on which machine writes, so that the files of a killed process can be recognised. The first
    call for a folder removes such files from it.
    """
    folder = Path(path).parent
    if folder not in _tidied:
        remove_leftovers(folder)
    return name_beside(path, _partial_ending())


def remove_leftovers(folder: Path) -> None:
    """Remove files and folders with temporary names whose processes have ended, on this machine, without finishing."""
    _tidied.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _LEFTOVER.fullmatch(entry.name)
            # Earlier versions did not name the machine.
            if match is None or match["machine"] not in (None, _MACHINE) or _is_running(int(match["process"])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)


def _partial_ending() -> str:
    return f".{os.getpid()}-{_MACHINE}.partial"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _mode_of_new_files(unused: Path) -> int:
    """The permissions that a new file gets, which the umask of the process decides, and the folder."""
    with unused.open("wb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    unused.unlink()
    return mode


@contextmanager
def replacing(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """
    Yield a temporary path in the same folder; it is renamed to `path` if the block ends without an error.

    The file has the permissions of any new file, also where its writer gives it others, as safetensors does.

    Args:
        sync: Wait for the disk before the file is renamed: even after a crash of the machine, it has either its old or
            its new content.
    """
    partial = partial_name(path)
    try:
        mode = _mode_of_new_files(partial)
        yield partial
        if partial.is_file():
            partial.chmod(mode)
        if sync:
            sync_file(partial)
        os.replace(partial, path)
    except OSError as error:
        if error.errno is None or partial.name not in str(error):
            raise
        # The user knows the target, not its temporary name.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        # Where the folder is a file, there is nothing to remove, and the error above says so.
        with suppress(NotADirectoryError):
            partial.unlink(missing_ok=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """
    Put the name of a file in front of errors that do not say which file they are about, as those of decoders.

    Raises:
        OSError: In place of an `OSError` without the name.
        ValueError: In place of a `ValueError` without the name.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if str(path) in str(error):
            raise
        if isinstance(error, OSError):
            number = error.errno or 0
            reason = os.strerror(number) if number else " ".join(str(error).split())
            raise OSError(number, reason, str(path)) from error
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())
        raise ValueError(f"{path}: {reason}") from error


@contextmanager
def replacing_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """
    A new folder beside `path`, which takes its place when the block ends without error.

    Args:
        overwrite: Remove a folder at `path` that has something in it; an empty one is replaced in any case.

    Raises:
        OSError: There is a file at `path`, or a folder that is not empty and must not be overwritten.
    """
    target, mark = Path(path), secrets.token_hex(4)
    # A folder cannot be written over, so its temporary name is one that no run before has left behind.
    partial, old = (name_beside(target, f".{mark}{ending}") for ending in (_partial_ending(), ".old"))
    remove_leftovers(target.parent)
    partial.mkdir()
    try:
        mode = _mode_of_new_files(partial / mark)
        yield partial
        for file in partial.rglob("*"):
            if file.is_file() and not file.is_symlink():
                file.chmod(mode)
        if overwrite and target.is_dir():
            target.rename(old)
        try:
            partial.rename(target)
        except BaseException:
            if old.is_dir():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def expand_user(path: str | Path) -> Path:
    """
    A path with the home folder in the place of `~` or `~user`.

    Raises:
        ValueError: If there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise ValueError(f"{path}: {user} is no home folder of a user here; write the whole path") from error


def sync_file(path: Path) -> None:
    """Return when the file's content is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def open_locked(path: Path) -> BinaryIO:
    """
    Open a file to append to, and keep out all other processes that open it so. The lock ends when the file is closed,
    and with the process, however that ends.

    Raises:
        InUseError: Another process has it.
    """
    return _locked(path, path)


def lock_folder(folder: Path) -> BinaryIO:
    """
    Make a folder unless it is there, and keep out all other processes that ask, until what is returned is closed.

    Raises:
        InUseError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _locked(folder / LOCK, folder)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """
    As [`lock_folder`], for a block. No file of the lock stays behind.

    Raises:
        InUseError: Another process has it.
    """
    with lock_folder(folder):
        try:
            yield
        finally:
            # A process that has opened it meanwhile sees that it is gone, and opens another one.
            with suppress(OSError):
                (folder / LOCK).unlink()


def _locked(path: Path, named: Path) -> BinaryIO:
    remove_leftovers(path.parent)
    # Not the library filelock, which keeps the open file to itself: answers are written to the file that is locked.
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that had the lock may have put another file in its place since it was opened.
            if _is_at(file, path):
                return file
        except BlockingIOError:
            file.close()
            raise InUseError(
                f"{named}: another process is writing to it; wait until it is done, or choose another place"
            ) from None
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8. Even after a crash of the machine, the file has either its old or its new content."""
    with replacing(path, sync=True) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON with sorted keys, as `write_text` does."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file, or it is incomplete."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def sha256(
    path: str | Path, progress: Callable[[Iterable[bytes], int], Iterable[bytes]] = lambda parts, count: parts
) -> str:
    """
    The hash of a file's content, as hexadecimal digits; the Hub identifies large files by it.

    Args:
        progress: Wraps the reading, as `tqdm` does; it is given the parts of the file and their number.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        parts = iter(lambda: file.read(CHUNK), b"")
        for part in progress(parts, -(-os.path.getsize(path) // CHUNK)):
            digest.update(part)
    return digest.hexdigest()


__all__ = [
    "InUseError",
    "expand_user",
    "lock_folder",
    "locked_folder",
    "name_beside",
    "naming",
    "open_locked",
    "partial_name",
    "read_json",
    "remove_leftovers",
    "replacing",
    "replacing_folder",
    "sha256",
    "sync_file",
    "write_json",
    "write_text",
]
