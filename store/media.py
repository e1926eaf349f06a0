"""Content-addressed media storage over fsspec: a local folder by default, S3 and the like by URL.

A key is `ab/abcdef….suffix`: the SHA-256 of the bytes, under a folder of its first two digits. Storing the
same bytes twice is one object; an object never changes.
"""

import hashlib
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from store.errors import InputError, NotFound, Unavailable

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]{1,16}")
_NAME = re.compile(r"answers/[0-9a-f]{2}/[0-9a-f]{32}(/[0-9a-f]{16}\.json)?")
"""Objects that are found by name and may change, and the folder of a clip's (see `store.answers`)."""
_CHUNK_BYTES = 1 << 20
_UNFINISHED = ".unfinished-"
_WAITS_S = (0.1, 0.4, 1.6, 6.4)
"""Between the tries of a call over a network. Chosen: of a storage that fails one call in five, 24 calls in a row, as
the files of eight clips take, succeed once in 200 tries, and with five tries each 99 times in 100."""

T = TypeVar("T")


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def media_key(sha256: str, suffix: str) -> str:
    """Key of an object with this digest; `suffix` without its dot."""
    return f"{sha256[:2]}/{sha256}.{suffix}"


class MediaStore:
    """Objects by content key.

    Args:
        url: a folder or any fsspec URL (`s3://bucket/prefix`).
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises Unavailable, as every method: the storage does not answer, is full or read-only, or refuses us.

        sleep: between the tries of a call to a storage over a network.
        """
        self.url = url
        self._sleep = sleep
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._faults: tuple[type[Exception], ...] = (OSError,) if self._local else (OSError, *_client_faults())
        self._reach(lambda: self._fs.makedirs(self._root, exist_ok=True))

    def put_file(self, path: Path, suffix: str) -> str:
        """Store a file's bytes; returns the key. Durable on return."""
        key = media_key(file_sha256(path), suffix)
        if not self.exists(key):
            self._reach(lambda: self._write(key, _pieces(path)))
        return key

    def put_bytes(self, data: bytes, suffix: str) -> str:
        """Store bytes; returns the key. Durable on return. Where they are there already, their age begins anew."""
        key = media_key(hashlib.sha256(data).hexdigest(), suffix)
        if self.exists(key):
            self.touch(key)
        else:
            self._reach(lambda: self._write(key, iter((data,))))
        return key

    def read(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: no such object.
        """
        try:
            return self._reach(lambda: self._fs.cat_file(self._path(key)))
        except FileNotFoundError as error:
            raise NotFound(f"media object {key} is not in {self._root}; was its source removed?") from error

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        return self._reach(lambda: self._fs.exists(self._path(key)))

    def changed_at(self, key: str) -> datetime | None:
        """When the object was written or touched last; None where it is not there."""
        try:
            self._fs.invalidate_cache()  # another process may have touched it since we listed it
            return self._reach(lambda: self._fs.modified(self._path(key)))
        except FileNotFoundError:
            return None

    def touch(self, key: str) -> None:
        """Let the object's age begin anew; touching what is not there is no error."""
        try:
            if self._local:
                self._reach(lambda: os.utime(self._path(key)))
            else:
                data = self._reach(lambda: self._fs.cat_file(self._path(key)))
                self._reach(lambda: self._write(key, iter((data,))))
        except FileNotFoundError:
            return

    def delete(self, key: str) -> None:
        """Remove the object; removing what is not there is no error."""
        try:
            self._reach(lambda: self._fs.rm_file(self._path(key)))
        except FileNotFoundError:
            return

    def write_named(self, name: str, data: bytes) -> None:
        """Write, or replace, an object that is found by name; durable on return."""
        self._reach(lambda: self._write(name, iter((data,))))

    def read_named(self, name: str) -> bytes | None:
        """A named object's bytes; None where there is none."""
        try:
            return self._reach(lambda: self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Names of the objects in a folder of named ones, in order."""
        found = [path[len(self._root) + 1 :] for path in self._reach(lambda: self._fs.find(self._path(folder)))]
        return sorted(name for name in found if _NAME.fullmatch(name))

    def keys(self, folder: str | None = None) -> list[str]:
        """Keys of all objects (of those that begin with two digits), in order; named ones have none."""
        root = self._root if folder is None else f"{self._root}/{folder}"
        found = [path[len(self._root) + 1 :] for path in self._reach(lambda: self._fs.find(root))]
        return sorted(key for key in found if _KEY.fullmatch(key))

    def sweep(self, before: datetime) -> None:
        """Delete what is left of writes that were killed before that time."""
        if self._local:
            for path in Path(self._root).rglob(f"{_UNFINISHED}*"):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()

    def local_path(self, key: str) -> str | None:
        """Where the object lies on this machine; None where media are kept elsewhere."""
        return self._path(key) if self._local else None

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """A path on this machine that holds the object's bytes for the length of the `with` block."""
        if self._local:
            path = Path(self._path(key))
            if not path.is_file():
                raise NotFound(f"media object {key} is not in {self._root}; was its source removed?")
            yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, key.rsplit("/", 1)[1])
            path.write_bytes(self.read(key))
            yield path

    def _reach(self, call: Callable[[], T]) -> T:
        """What a call to the storage gives, which may be made several times.

        Raises:
            FileNotFoundError: as the call does.
            Unavailable: the storage does not answer, is full or read-only, or refuses us.
        """
        waits_s = iter(() if self._local else _WAITS_S)
        while True:
            try:
                return call()
            except FileNotFoundError:
                raise
            except self._faults as error:
                wait_s = next(waits_s, None)
                if wait_s is None:
                    raise Unavailable(f"media storage {self._root} failed: {error!r}") from error
                self._sleep(wait_s * random.uniform(0.8, 1.2))

    def _path(self, key: str) -> str:
        if not _KEY.fullmatch(key) and not _NAME.fullmatch(key):
            raise InputError(f"{key!r} is no media key; keys look like ab/<64 hex digits>.mp4")
        return f"{self._root}/{key}"

    def _write(self, key: str, pieces: Iterator[bytes]) -> None:
        path = self._path(key)
        if not self._local:
            with self._fs.open(path, "wb") as stream:
                for piece in pieces:
                    stream.write(piece)
            return
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as stream:
                for piece in pieces:
                    stream.write(piece)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            yield piece


def _client_faults() -> tuple[type[Exception], ...]:
    """What S3's client raises besides OSError."""
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return ()
    return (BotoCoreError,)
