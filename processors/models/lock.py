"""What was pulled into a models folder: `models.lock.json` keeps each model's revision and its files' SHA-256.

By it an id without a revision stays what its first pull made it, and files can be compared later, without a network.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import file_digest, sha1, sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from store.errors import SettingsError

LOCK_FILE = "models.lock.json"
_VERSION = 1


@dataclass(frozen=True)
class LockedFile:
    """A file as it was when it was pulled."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class LockedModel:
    """A model as it was pulled.

    asked: the revision that was asked for; None: the newest. revision: the commit that this was; None for an URL.
    files: by name below the model's folder; an URL has one.
    """

    asked: str | None
    revision: str | None
    licence: str | None
    files: Mapping[str, LockedFile]

    def is_revision(self, wanted: str | None) -> bool:
        """Whether this is what a profile line wants that names `wanted`, a commit, branch or tag; None: any."""
        return wanted is None or wanted in (self.asked, self.revision)


class ModelLock:
    """The lock of one models folder."""

    def __init__(self, models_folder: Path) -> None:
        self.models_folder = models_folder
        self._path = models_folder / LOCK_FILE

    @classmethod
    def covering(cls, place: Path) -> "ModelLock | None":
        """The lock of the nearest folder above `place` that has one."""
        folders = [folder for folder in place.resolve().parents if (folder / LOCK_FILE).is_file()]
        return cls(folders[0]) if folders else None

    def models(self) -> dict[str, LockedModel]:
        """Model id or URL to how it was pulled.

        Raises:
            SettingsError: the file is no lock.
        """
        if not self._path.is_file():
            return {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']}, not {_VERSION}")
            return {model: _locked(entry) for model, entry in content["models"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "delete it and run `cliploom models pull`"
            raise SettingsError(f"{self._path} is no lock of models ({error!r}); {remedy}") from error

    def at(self, place: Path) -> LockedModel | None:
        """The model that lies at `place`, if it was pulled there."""
        for model, locked in self.models().items():
            if model_place(self.models_folder, model).resolve() == place.resolve():
                return locked
        return None

    def put(self, model: str, locked: LockedModel) -> None:
        """Write down a model, whole or not at all."""
        models = self.models() | {model: locked}
        content = {"version": _VERSION, "models": {name: asdict(models[name]) for name in sorted(models)}}
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(unfinished, self._path)


def is_url(model: str) -> bool:
    """Whether a model is one file at an address, not an id of the model hub."""
    return model.startswith(("https://", "http://"))


def model_place(models_folder: Path, model: str) -> Path:
    """Where a pulled model lies: an id's folder, or the file of an URL below the name of its host."""
    if not is_url(model):
        return models_folder / model
    address = urlsplit(model)
    return models_folder / (address.hostname or "") / address.path.strip("/")


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file; read once per process as long as it stays the same."""
    stat = path.stat()
    return _file_sha256(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _file_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 (hex) for several files: over each one's name and SHA-256, by name."""
    return sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()


def has_digest(path: Path, digest: str) -> bool:
    """Whether a file has a digest as the hub tells them: SHA-256 of large files, git's SHA-1 of small ones."""
    if len(digest) == 64:
        return file_sha256(path) == digest
    content = path.read_bytes()
    return sha1(b"blob %d\0" % len(content) + content).hexdigest() == digest


def _locked(entry: Mapping[str, Any]) -> LockedModel:
    files = {name: LockedFile(file["bytes"], file["sha256"]) for name, file in entry["files"].items()}
    return LockedModel(entry["asked"], entry["revision"], entry["licence"], files)
