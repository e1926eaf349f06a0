"""A model hub on this machine: the few endpoints that the hub's client asks, with faults on demand."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE_BYTES = 1000
"""Files from this size on are stored as large files, told by SHA-256; smaller ones by git's SHA-1."""


def commit_of(number: int) -> str:
    """A commit hash that a person can tell from others."""
    return f"{number:040x}"


@dataclass
class Repository:
    """A model's files by commit; `names`: branch or tag to commit."""

    commits: dict[str, dict[str, bytes]]
    names: dict[str, str]
    licence: str = "apache-2.0"

    @classmethod
    def of(cls, folder: Path, commit: str = commit_of(1)) -> "Repository":
        """One commit with a folder's files."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return cls({commit: files}, {"main": commit})


@dataclass
class Hub:
    """What the hub has, how it misbehaves, and what it was asked.

    refuse: (status, error code) for every question. spoil: file name to bytes that are sent instead.
    announce: file name to a size that is told instead.
    cut: file name to how many bytes are sent before the connection breaks, once for each number.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    spoil: dict[str, bytes] = field(default_factory=dict)
    announce: dict[str, int] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for, with the first byte asked for."""
        return [line.removeprefix("GET ") for line in self.asked if line.startswith("GET ")]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers at `url`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if self.hub.refuse is not None:
            self._refuse(*self.hub.refuse)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
            self._tell(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._give(match[1], match[2], match[3], with_body)
        else:
            self._refuse(404, "RepoNotFound")

    def _commit(self, model: str, revision: str) -> str | None:
        """The commit that is meant; refuses what is not there."""
        repository = self.hub.repositories.get(model)
        if repository is None:
            self._refuse(401, "RepoNotFound")
            return None
        commit = repository.names.get(revision, revision)
        if commit not in repository.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return commit

    def _tell(self, model: str, revision: str) -> None:
        commit = self._commit(model, revision)
        if commit is None:
            return
        repository = self.hub.repositories[model]
        siblings = []
        for name, content in repository.commits[commit].items():
            told: dict[str, Any] = {
                "rfilename": name,
                "size": self.hub.announce.get(name, len(content)),
                "blobId": git_sha1(content),
            }
            if len(content) >= LARGE_BYTES:
                told["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
            siblings.append(told)
        answer = {"id": model, "sha": commit, "tags": [f"license:{repository.licence}"], "siblings": siblings}
        body = json.dumps(answer).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _give(self, model: str, revision: str, name: str, with_body: bool) -> None:
        commit = self._commit(model, revision)
        if commit is None:
            return
        told = self.hub.repositories[model].commits[commit].get(name)
        if told is None:
            self._refuse(404, "EntryNotFound")
            return
        content = self.hub.spoil.get(name, told)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            self._refuse(416, "")
            return
        digest = sha256(told) if len(told) >= LARGE_BYTES else git_sha1(told)
        headers = {
            "ETag": f'"{digest}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(content) - start),
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:] if with_body else b""
        if with_body:
            self.hub.asked.append(f"GET {name} {start}")
            if cuts := self.hub.cut.get(name):
                body = body[: cuts.pop(0)]
                self.close_connection = True
        self._send(206 if start else 200, headers, body)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"X-Error-Code": code, "Content-Length": "0"}, b"")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def sha256(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    """Git's name of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
