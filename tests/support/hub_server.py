"""A Hub on 127.0.0.1: models and data sets, read and written, private and gated, as huggingface_hub asks for them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub_repositories import Blob, Commit, Hub, RefusedError
from hub_xet import copy_store, find_file, from_store

FRONT = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
ENTRIES_PER_PAGE = 100


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the client would wait 40 ms for the second
    hub: Hub
    lock: threading.Lock

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        address = urlsplit(self.path)
        path = address.path.strip("/")
        self.query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.hub.requests.append((self.command, unquote(path)))
        bearer = self.headers.get("Authorization", "")
        self.token = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        self.content = self.body()
        parts = [unquote(part) for part in path.split("/")]
        if parts[0] == "test":
            return self.control(parts[1:])
        with self.lock:
            self.hub.push_when_due()
            cut = self.hub.cuts()
        if cut == "before":
            return self.hang_up()
        if cut == "after":
            self.wfile = io.BytesIO()
        if "commit" in parts and self.hub.together is not None:
            self.hub.together.wait(60)
        try:
            with self.lock:
                self.route(parts)
        except RefusedError as refused:
            headers = {"X-Error-Code": refused.code} if refused.code else {}
            self.send({"error": str(refused)}, {**headers, "X-Error-Message": str(refused)}, refused.status)
        if cut == "after":
            self.hang_up()

    def control(self, parts: list[str]) -> None:
        """
        What a client cannot do: `POST /test/cut/3/after` sets `cut`, `POST /test/push/3` sets `push_at` and "main" to
        the old commits; a `GET` says whether that is still to come.
        """
        if parts[0] == "push":
            if self.command == "POST":
                self.hub.move(0)
                self.hub.push_at = int(parts[1])
            self.send({"pending": self.hub.push_at is not None})
            return
        if self.command == "POST":
            self.hub.cut = (int(parts[1]), parts[2])
        self.send({"pending": self.hub.cut is not None})

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def json(self) -> Any:
        return json.loads(self.content or b"{}")

    def route(self, parts: list[str]) -> None:
        if parts[0] == "objects":
            return self.receive(parts[1], parts[2:])
        if parts[0] != "api":
            kind, rest = ("datasets", parts[1:]) if parts[0] == "datasets" else ("models", parts)
            if len(rest) >= 6 and rest[2:5] == ["info", "lfs", "objects"]:
                return self.lfs_batch(kind, f"{rest[0]}/{rest[1].removesuffix('.git')}")
            if len(rest) >= 5 and rest[2] == "resolve":
                return self.send_file(_key(kind, rest), rest[3], "/".join(rest[4:]))
            raise RefusedError(404, "EntryNotFound", "no such page")
        if parts[1:] == ["whoami-v2"]:
            user, role = self.hub.user(self.token)
            if user is None:
                raise RefusedError(401, message="Invalid username or password")
            orgs = [{"name": name} for name, members in self.hub.members.items() if user in members]
            return self.send({"type": "user", "name": user, "orgs": orgs, "auth": {"accessToken": {"role": role}}})
        if parts[1:3] == ["repos", "create"]:
            return self.create()
        if parts[1:3] == ["repos", "delete"]:
            asked = self.json()
            key = _key(f"{asked.get('type') or 'model'}s", [asked["organization"], asked["name"]])
            self.hub.check(key, self.token, write=True)
            del self.hub.revisions[key]
            return self.send({})
        if parts[1:] == ["validate-yaml"]:
            return self.validate_yaml()
        if parts[1] in ("models", "datasets") and len(parts) >= 4:
            return self.repository(_key(parts[1], parts[2:4]), parts[4:])
        raise RefusedError(404, "EntryNotFound", "no such page")

    def create(self) -> None:
        asked = self.json()
        user, role = self.hub.user(self.token)
        if user is None:
            raise RefusedError(401, message="Invalid username or password.")
        name = f"{asked.get('organization') or user}/{asked['name']}"
        key = _key(f"{asked.get('type') or 'model'}s", name.split("/"))
        if role != "write" or not self.hub.is_member(key, user):
            raise RefusedError(403, message="You don't have the rights to create a repository there")
        found = {"url": f"{self.hub.url}/{key}", "name": name, "id": name}
        if key in self.hub.revisions:
            return self.send({**found, "error": "You already created this repository"}, status=409)
        self.hub.create(key, asked.get("visibility") == "private" or bool(asked.get("private")))
        return self.send(found)

    def validate_yaml(self) -> None:
        errors = []
        try:
            found = FRONT.match(self.json()["content"])
            yaml.safe_load(found.group(1) if found else "")
        except yaml.YAMLError as error:
            errors = [{"message": str(error)}]
        self.send({"errors": errors, "warnings": []}, status=400 if errors else 200)

    def repository(self, key: str, rest: list[str]) -> None:
        hub, what = self.hub, rest[0] if rest else "revision"
        writing = self.command in ("POST", "PUT", "DELETE") and what not in ("paths-info", "preupload")
        hub.check(key, self.token, write=writing or what in ("preupload", "xet-write-token"))
        if what == "auth-check":
            hub.check(key, self.token, content=True, write=rest[1:] == ["write"])
            self.send({})
        elif what == "revision":
            self.send(self.info(key, hub.resolve(key, rest[1] if rest else "main")))
        elif what == "tree":
            self.tree(key, rest[1], "/".join(rest[2:]))
        elif what == "paths-info":
            asked = parse_qs(self.content.decode()).get("paths", [])
            files = hub.files(key, hub.resolve(key, rest[1]))
            folders = [path for path in asked if path not in files and any(f.startswith(f"{path}/") for f in files)]
            entries = [files[path].entry(path) for path in asked if path in files]
            self.send(entries + [_folder(path) for path in folders])
        elif what == "preupload":
            self.preupload(key, hub.resolve(key, rest[1]))
        elif what in ("xet-write-token", "xet-read-token"):
            if hub.xet is None:
                raise RefusedError(404, "EntryNotFound", "no Xet here")
            # A client that reads gets a store of its own, since others may hold a lock on ours.
            place = hub.xet if "write" in what else copy_store(hub.xet, hub.xet.with_name(f"read-{next(hub.counter)}"))
            grant = {"casUrl": f"local://{place}", "accessToken": "xet", "exp": 2**32 - 1}
            names = {"casUrl": "Cas-Url", "accessToken": "Access-Token", "exp": "Token-Expiration"}
            self.send(grant, {f"X-Xet-{names[name]}": str(value) for name, value in grant.items()})
        elif what == "commit":
            self.commit(key, rest[1])
        elif what in ("branch", "tag"):
            self.reference(key, what, rest[1])
        elif what == "refs":
            known = hub.revisions[key]
            names = {"tags": hub.tags[key], "branches": {n for n in known if n not in hub.tags[key] and n != known[n]}}
            listed = {
                kind: [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": known[n]} for n in sorted(found)]
                for kind, found in names.items()
            }
            self.send({**listed, "converts": [], "pullRequests": []})
        elif what == "commits":
            self.send(self.history(hub.resolve(key, rest[1])))
        elif what == "settings":
            asked = self.json()
            settings = hub.settings[key]
            settings.gated = asked.get("gated", settings.gated)
            settings.private = asked.get("visibility", "private" if settings.private else "public") == "private"
            self.send({})
        elif rest == ["user-access-request", "grant"]:
            hub.settings[key].granted.add(self.json()["user"])
            self.send({})
        else:
            raise RefusedError(404, "EntryNotFound", "no such page")

    def info(self, key: str, sha: str) -> dict[str, Any]:
        files, settings = self.hub.commits[sha].files, self.hub.settings[key]
        card = FRONT.match(files["README.md"].read().decode()) if "README.md" in files else None
        name = key.removeprefix("datasets/")
        return {
            "id": name,
            "modelId": name,
            "sha": sha,
            "private": settings.private,
            "gated": settings.gated,
            "tags": [],
            "cardData": yaml.safe_load(card.group(1)) if card else {},
            "lastModified": "2025-01-01T00:00:00.000Z",
            "siblings": [{"rfilename": path} for path in files],
        }

    def tree(self, key: str, revision: str, folder: str) -> None:
        files = self.hub.files(key, self.hub.resolve(key, revision))
        start = f"{folder}/" if folder else ""
        below = sorted(path for path in files if path.startswith(start))
        if folder and not below:
            raise RefusedError(404, "EntryNotFound", f"{folder} does not exist")
        folders: dict[str, None] = {}
        for path in below:
            steps = path[len(start) :].split("/")[:-1]
            folders.update((start + "/".join(steps[: n + 1]), None) for n in range(len(steps)))
        if self.query.get("recursive", "false").lower() != "true":
            below = [path for path in below if "/" not in path[len(start) :]]
            folders = {path: None for path in folders if "/" not in path[len(start) :]}
        entries = [_folder(path) for path in folders] + [files[path].entry(path) for path in below]
        first = int(self.query.get("cursor", 0))
        headers = {}
        if first + ENTRIES_PER_PAGE < len(entries):
            again = "&".join(f"{n}={v}" for n, v in {**self.query, "cursor": first + ENTRIES_PER_PAGE}.items())
            headers["Link"] = f'<{self.hub.url}{urlsplit(self.path).path}?{again}>; rel="next"'
        self.send(entries[first : first + ENTRIES_PER_PAGE], headers)

    def preupload(self, key: str, sha: str) -> None:
        known, answers = self.hub.commits[sha].files, []
        for file in self.json()["files"]:
            mode = self.hub.upload_mode(file["path"], file["size"])
            answer = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if file["path"] in known:
                answer["oid"] = known[file["path"]].etag
            answers.append(answer)
        self.send({"files": answers})

    def lfs_batch(self, kind: str, name: str) -> None:
        self.hub.check(_key(kind, name.split("/")), self.token, write=True)
        objects = []
        for asked in self.json()["objects"]:
            oid, size, found = asked["oid"], asked["size"], {**asked}
            if oid not in self.hub.objects:
                upload: dict[str, Any] = {"href": f"{self.hub.url}/objects/{oid}"}
                if size > self.hub.part:
                    count = -(-size // self.hub.part)
                    upload["header"] = {f"{n:05d}": f"{self.hub.url}/objects/{oid}/{n}" for n in range(1, count + 1)}
                    upload["header"]["chunk_size"] = str(self.hub.part)
                found["actions"] = {"upload": upload}
            objects.append(found)
        self.send({"transfer": "basic", "objects": objects})

    def receive(self, oid: str, part: list[str]) -> None:
        hub = self.hub
        if hub.break_after is not None and len(hub.uploads) >= hub.break_after:
            raise RefusedError(400, message="the store is out of order")
        if part:
            hub.parts.setdefault(oid, {})[int(part[0])] = self.content
            return self.send({}, {"ETag": f'"{len(self.content)}"'})
        content = self.content
        if self.command == "POST":
            content = b"".join(data for _, data in sorted(hub.parts.pop(oid).items()))
        if hashlib.sha256(content).hexdigest() != oid:
            raise RefusedError(400, message="the content has another hash")
        hub.objects[oid] = content
        hub.uploads.append(oid)
        return self.send({})

    def commit(self, key: str, revision: str) -> None:
        hub = self.hub
        lines = [json.loads(line) for line in self.content.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        parent = hub.resolve(key, revision)
        if header.get("parentCommit", parent) != parent:
            raise RefusedError(412, message="A commit has happened since. Please refresh and try again.")
        files = dict(hub.commits[parent].files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                files[value["path"]] = Blob(self.uploaded(value["oid"]), large=True)
            elif line["key"] == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise RefusedError(404, "EntryNotFound", "A file with this name doesn't exist")
            elif line["key"] == "deletedFolder":
                files = {path: blob for path, blob in files.items() if not path.startswith(f"{value['path']}/")}
        if self.query.get("create_pr"):
            number = 1 + sum(name.startswith("refs/pr/") for name in hub.revisions[key])
            sha = hub.add(key, Commit(files, header["summary"], parent), f"refs/pr/{number}")
            request = f"{hub.url}/{key}/discussions/{number}"
        else:
            sha, request = hub.add(key, Commit(files, header["summary"], parent), revision), ""
        self.send({"commitOid": sha, "commitUrl": f"{hub.url}/{key}/commit/{sha}", "pullRequestUrl": request})

    def uploaded(self, oid: str) -> bytes:
        if oid not in self.hub.objects and self.hub.xet is not None:
            with suppress(KeyError):
                self.hub.objects[oid] = from_store(self.hub.xet, oid)
                self.hub.uploads.append(oid)
        if oid not in self.hub.objects:
            raise RefusedError(400, message=f"the file {oid} was never uploaded")
        return self.hub.objects[oid]

    def reference(self, key: str, what: str, name: str) -> None:
        known, asked = self.hub.revisions[key], self.json()
        if self.command == "DELETE":
            known.pop(name, None)
            self.hub.tags[key].discard(name)
        else:
            target = asked.get("startingPoint", "main") if what == "branch" else name
            name = name if what == "branch" else asked["tag"]
            if name in known:
                raise RefusedError(409, message=f"{what} {name} exists already")
            known[name] = self.hub.resolve(key, target)
            if what == "tag":
                self.hub.tags[key].add(name)
        self.send({})

    def history(self, sha: str | None) -> list[dict[str, Any]]:
        found = []
        while sha is not None:
            commit = self.hub.commits[sha]
            about = {"id": sha, "title": commit.title, "message": "", "date": "2025-01-01T00:00:00.000Z"}
            found.append({**about, "authors": [{"user": "alice"}]})
            sha = commit.parent
        return found

    def send_file(self, key: str, revision: str, path: str) -> None:
        self.hub.check(key, self.token, content=True)
        sha = self.hub.resolve(key, revision)
        blob = self.hub.commits[sha].files.get(path)
        if blob is None:
            raise RefusedError(404, "EntryNotFound", f"{path} does not exist")
        headers = {"X-Repo-Commit": sha, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
        if blob.large:
            headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
            if self.hub.xet is not None and (stored := find_file(self.hub.xet, blob.etag)) is not None:
                kind = "datasets" if key.startswith("datasets/") else "models"
                route = f"{self.hub.url}/api/{kind}/{key.removeprefix('datasets/')}/xet-read-token/{sha}"
                headers |= {"X-Xet-Hash": stored[0], "X-Xet-Refresh-Route": route}
        data, asked = blob.read(), re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self.send(data, headers)
        first, last = asked.groups()
        start = int(first) if first else len(data) - int(last)
        end = min(int(last) + 1 if first and last else len(data), len(data))
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        return self.send(data[start:end], headers, 206)

    def send(self, body: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _key(kind: str, name: list[str]) -> str:
    return ("datasets/" if kind == "datasets" else "") + "/".join(name[:2])


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # a client that was killed is no news
        pass


@contextmanager
def serve():
    """Run a [`Hub`] on a free port of 127.0.0.1."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub, "lock": threading.Lock()})
    server = _Server(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


__all__ = ["Hub", "serve"]
