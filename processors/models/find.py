"""Where a pretrained model lies on this machine, and whether it is what was pulled. Never the network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal
from zipfile import is_zipfile

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from processors.models.lock import LockedModel, ModelLock, has_digest

State = Literal["present", "missing", "corrupt", "other revision"]
_SIDE_FILES = (".json", ".txt", ".model", ".jinja")
"""Suffixes of what lies beside weights: settings, vocabularies and templates."""


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine, or its absence.

    place: its folder or file. files: name to path of those that are needed of it.
    locked: how it was pulled, where the models folder's lock tells. revision: that of the files, where anybody tells.
    problem: empty where it is present.
    """

    state: State
    problem: str = ""
    place: Path | None = None
    files: Mapping[str, Path] | None = None
    locked: LockedModel | None = None
    revision: str | None = None


def find_model(
    model: str, revision: str | None, patterns: Sequence[str], sha256: str | None = None, read: bool = True
) -> FoundModel:
    """Where a model lies, and whether it is what was pulled.

    Args:
        model: a folder, a file, or an id of the model hub, which is looked for in the Hugging Face cache.
        patterns: of the names of the files that are needed of a folder.
        sha256: that a file must have, where the profile tells.
        read: compare digests; without it a file of the right size passes for whole.
    """
    place = Path(model) if Path(model).exists() else _snapshot(model, revision)
    if place is None:
        if revision and (here := sorted(path.name for path in _snapshots(model).glob("*"))):
            return FoundModel("other revision", f"of {model!r} revision {', '.join(here)} is here, not {revision}")
        return FoundModel("missing", f"model {model!r} is not on this machine")
    if place.is_dir():
        names = {path.relative_to(place).as_posix() for pattern in patterns for path in place.glob(pattern)}
        files = {name: place / name for name in needed_files(names, patterns)}
    else:
        files = {place.name: place}
    lock = ModelLock.covering(place)
    locked = lock.at(place) if lock else None
    in_cache = place.parent.name == "snapshots"
    pulled = locked.revision if locked else None
    found = FoundModel("present", "", place, files, locked, place.name if in_cache else pulled)
    if locked and not locked.is_revision(revision):
        return replace(
            found, state="other revision", problem=f"{place} holds revision {locked.revision}, not {revision}"
        )
    if all(path.suffix in _SIDE_FILES for path in files.values()):
        return replace(found, state="missing", problem=f"folder {place} holds no weights ({', '.join(patterns)})")
    sizes = {name: file.bytes for name, file in locked.files.items()} if locked else {}
    digests = {name: file.sha256 for name, file in locked.files.items()} if locked else {}
    if in_cache:  # the cache names a file's content by the digest that the hub told
        digests = {name: path.resolve().name for name, path in files.items() if path.is_symlink()}
    if sha256 is not None and place.is_file():
        digests[place.name] = sha256
    damage = _damage(place, sizes) or (_unequal(place, digests) if read else []) or _unreadable(files)
    if damage:
        return replace(found, state="corrupt", problem=f"{place} is damaged: {'; '.join(damage)}")
    return found


def needed_files(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Names that match a pattern, in the pattern's own folder; no pickled weights where there are safetensors."""
    fitting = {n for n in names for p in patterns if fnmatch(n, p) and n.count("/") == p.count("/")}
    if any(name.endswith(".safetensors") for name in fitting):
        fitting = {name for name in fitting if not name.endswith(".bin")}
    return sorted(fitting)


def _snapshot(model: str, revision: str | None) -> Path | None:
    """The folder of a model's revision in the Hugging Face cache."""
    try:
        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _snapshots(model: str) -> Path:
    """The folder of a model's revisions in the Hugging Face cache."""
    return Path(constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}", "snapshots")


def _damage(place: Path, sizes: Mapping[str, int]) -> list[str]:
    """Files that are missing or not as long as when they were pulled."""
    damage = []
    for name, size in sizes.items():
        path = place / name if place.is_dir() else place
        if not path.is_file():
            damage.append(f"{name} is missing")
        elif path.stat().st_size != size:
            damage.append(f"{name} has {path.stat().st_size} bytes, not {size}")
    return damage


def _unequal(place: Path, digests: Mapping[str, str]) -> list[str]:
    """Files whose digest is another than the one told."""
    paths = {name: place / name if place.is_dir() else place for name in digests}
    return [
        f"{name} has another digest than told" for name, path in paths.items() if not has_digest(path, digests[name])
    ]


def _unreadable(files: Mapping[str, Path]) -> list[str]:
    """Files of weights that are cut off, as far as their own headers tell."""
    return [f"{name} cannot be read" for name, path in files.items() if not _readable(path)]


def _readable(path: Path) -> bool:
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="np"):
                return True
        except SafetensorError:
            return False
    if path.suffix in (".bin", ".pt", ".pth"):
        with path.open("rb") as file:
            start = file.read(2)
        # torch.save writes a zip archive, whose table is at its end; before torch 1.6 it wrote a pickle.
        return is_zipfile(path) if start == b"PK" else start[:1] == b"\x80"
    return path.stat().st_size > 0
