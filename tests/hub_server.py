"""A Hub on 127.0.0.1, for reading: model repositories with revisions, made of folders."""

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Repositories by name: revision to commit, commit to folder; `requests` logs (method, path)."""

    revisions: dict[str, dict[str, str]] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def commit(self, repo: str, folder: Path, *names: str) -> str:
        """Make `folder` the next commit of `repo`, known as "main" and by `names`; returns its hash."""
        known = self.revisions.setdefault(repo, {})
        sha = hashlib.sha1(f"{repo}/{len(known)}/{folder}".encode()).hexdigest()
        self.folders[sha] = folder
        known.update(dict.fromkeys(("main", sha, *names), sha))
        return sha


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append((self.command, path))
        parts = path.split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            repo, rest = "/".join(parts[2:4]), parts[4:]
            revision = rest[1] if rest[:1] in (["revision"], ["tree"]) else "main"
            folder, sha = self.find(repo, revision)
            if folder is None:
                return
            below = folder.joinpath(*rest[2:]) if rest[:1] == ["tree"] else folder
            if not below.is_dir():
                self.refuse("EntryNotFound", sha)
                return
            files = sorted(file for file in below.rglob("*") if file.is_file())
            names = [file.relative_to(folder).as_posix() for file in files]
            if rest[:1] == ["tree"]:
                body = [
                    {"type": "file", "path": name, "size": file.stat().st_size, "oid": etag(file)}
                    for name, file in zip(names, files)
                ]
                self.send(json.dumps(body).encode(), {})
            else:
                info = {"id": repo, "modelId": repo, "sha": sha, "private": False, "tags": []}
                self.send(json.dumps({**info, "siblings": [{"rfilename": name} for name in names]}).encode(), {})
        elif len(parts) >= 5 and parts[2] == "resolve":
            folder, sha = self.find("/".join(parts[:2]), parts[3])
            if folder is None:
                return
            file = folder / "/".join(parts[4:])
            if not file.is_file():
                self.refuse("EntryNotFound", sha)
                return
            self.send(file.read_bytes(), {"X-Repo-Commit": sha, "ETag": f'"{etag(file)}"'})
        else:
            self.refuse("EntryNotFound")

    def find(self, repo: str, revision: str) -> tuple[Path | None, str]:
        if repo not in self.hub.revisions:
            self.refuse("RepoNotFound")
            return None, ""
        sha = self.hub.revisions[repo].get(revision, "")
        if not sha:
            self.refuse("RevisionNotFound")
            return None, ""
        return self.hub.folders[sha], sha

    def send(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, code: str, sha: str = "") -> None:
        self.send_response(404)
        for name, value in {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"}.items():
            self.send_header(name, value)
        if sha:
            self.send_header("X-Repo-Commit", sha)
        self.end_headers()


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def serve():
    """Run a [`Hub`] on a free port of 127.0.0.1."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
