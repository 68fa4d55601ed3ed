"""What a Hub keeps: repositories with commits, branches and tags, files by hash, and who may do what."""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Larger files, and those with these endings, are kept by hash and not in the history.
LARGE, ENDINGS = 10_000_000, (".parquet", ".safetensors", ".mp4", ".bin", ".zip")


class RefusedError(Exception):
    """An answer that is no success: status, and the code that clients know errors by."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message or code)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Blob:
    """One version of a file: its content, or the file that holds it."""

    content: bytes | Path
    large: bool = False

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def oid(self) -> str:
        """Git's hash."""
        data = self.read()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        if not self.large:
            return self.oid
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        about = self.content.stat()
        return _sha256(self.content, about.st_mtime_ns, about.st_size)

    def entry(self, path: str) -> dict[str, Any]:
        """As in a listing."""
        found = {"type": "file", "path": path, "size": self.size, "oid": self.oid}
        if self.large:
            found["lfs"] = {"oid": self.etag, "size": self.size, "pointerSize": 130}
        return found


@dataclass
class Commit:
    files: dict[str, Blob]
    title: str = "initial commit"
    parent: str | None = None


@dataclass
class Settings:
    """`gated` is False, "auto" or "manual"; `granted` users may read what is gated."""

    private: bool = False
    gated: bool | str = False
    granted: set[str] = field(default_factory=set)


@dataclass
class Hub:
    """Repositories are named as in an address: `org/name` for models, `datasets/org/name`.

    Attributes:
        revisions: Repository -> branch, tag or hash -> hash. Removing one makes the repository unknown.
        objects: What was uploaded by hash.
        tokens: Token -> (user, role); "read" may not write.
        members: Organisation -> who may write there and see what is private.
        requests: (method, path) of all.
        uploads: Hashes of what was sent, in order.
        part: Larger uploads go in parts of this size.
        break_after: Answer this many uploads, then 500; None never.
        xet: Folder of a store that takes uploads in chunks; None offers none.
        cut: (number, moment): the connection is cut at this request from now on, counted from 1, "before" it is
            handled or "after", so that its answer is lost; None once that is done, and never.
        together: Commits wait here for each other, so that none sees the others'.
        pushes: Repository -> (old commit, new commit), between which "main" moves at the request `push_at`.
        push_at: The number of this request from now on, counted from 1, before which the pushes come; None once they
            came, and never.
    """

    revisions: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    tokens: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {
            "hf_alice": ("alice", "write"),
            "hf_reader": ("alice", "read"),
            "hf_bob": ("bob", "write"),
        }
    )
    members: dict[str, set[str]] = field(default_factory=lambda: {"org": {"alice"}})
    requests: list[tuple[str, str]] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    part: int = 5_000_000
    break_after: int | None = None
    xet: Path | None = None
    cut: tuple[int, str] | None = None
    together: threading.Barrier | None = None
    pushes: dict[str, tuple[str, str]] = field(default_factory=dict)
    push_at: int | None = None
    url: str = ""
    counter: Any = field(default_factory=lambda: itertools.count())

    def commit(self, repo: str, folder: Path, *names: str) -> str:
        """Make `folder` the next commit of `repo`, known as "main" and by `names`; returns its hash."""
        files = {
            file.relative_to(folder).as_posix(): Blob(file, _is_large(file.name, file.stat().st_size))
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        self.settings.setdefault(repo, Settings())
        return self.add(repo, Commit(files, f"{folder}"), "main", *names)

    def create(self, repo: str, private: bool = False) -> None:
        self.settings[repo] = Settings(private)
        self.tags[repo] = set()
        self.add(repo, Commit({".gitattributes": Blob(b"*.parquet filter=lfs\n")}), "main")

    def add(self, repo: str, commit: Commit, *names: str) -> str:
        sha = hashlib.sha1(f"{repo}/{next(self.counter)}/{commit.title}".encode()).hexdigest()
        self.commits[sha] = commit
        self.revisions.setdefault(repo, {}).update(dict.fromkeys((sha, *names), sha))
        return sha

    def files(self, repo: str, revision: str = "main") -> dict[str, Blob]:
        return self.commits[self.revisions[repo][revision]].files

    def user(self, token: str | None) -> tuple[str | None, str]:
        if token is None:
            return None, "none"
        if token not in self.tokens:
            raise RefusedError(401, message="Invalid credentials in Authorization header")
        return self.tokens[token]

    def is_member(self, repo: str, user: str | None) -> bool:
        owner = repo.split("/")[-2]
        return user is not None and (user == owner or user in self.members.get(owner, ()))

    def check(self, repo: str, token: str | None, *, content: bool = False, write: bool = False) -> None:
        """Refuse what this token may not do."""
        user, role = self.user(token)
        hidden = repo in self.settings and self.settings[repo].private and not self.is_member(repo, user)
        if repo not in self.revisions or hidden:
            raise RefusedError(401 if user is None else 404, "RepoNotFound", "Repository not found")
        settings = self.settings[repo]
        if write and (role != "write" or not self.is_member(repo, user)):
            raise RefusedError(401 if user is None else 403, message="You may not write here")
        if content and settings.gated and not self.is_member(repo, user) and user not in settings.granted:
            raise RefusedError(401 if user is None else 403, "GatedRepo", f"Access to {repo} is restricted")

    def resolve(self, repo: str, revision: str) -> str:
        if revision not in self.revisions[repo]:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.revisions[repo][revision]

    def cuts(self) -> str | None:
        """The moment of this request at which its connection is cut, if it is."""
        if self.cut is None:
            return None
        number, moment = self.cut
        self.cut = (number - 1, moment) if number > 1 else None
        return moment if number == 1 else None

    def push_when_due(self) -> None:
        """Move "main" if the pushes come before this request."""
        if self.push_at is None:
            return
        self.push_at = self.push_at - 1 or None
        if self.push_at is None:
            self.move(1)

    def move(self, side: int) -> None:
        """Let "main" of the repositories in `pushes` be the old (0) or the new (1) commit."""
        for repo, commits in self.pushes.items():
            self.revisions[repo]["main"] = commits[side]

    def read_paths(self, repo: str, method: str = "GET") -> list[str]:
        """The files of a repository that were asked for, in order."""
        start = f"{repo}/resolve/"
        return [path.removeprefix(start) for asked, path in self.requests if asked == method and path.startswith(start)]

    def upload_mode(self, name: str, size: int) -> str:
        return "lfs" if _is_large(name, size) else "regular"


@functools.cache
def _sha256(path: Path, *_: int) -> str:
    # Every question about a file asks for it, and of a large one it takes seconds, during which nobody is answered.
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_large(name: str, size: int) -> bool:
    return name.endswith(ENDINGS) or size > LARGE


__all__ = ["Blob", "Commit", "Hub", "RefusedError", "Settings"]
