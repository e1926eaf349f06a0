"""What processors with a pretrained model share: its files on this machine, their digest, checks.

Never the network: a worker that waits for a download looks dead.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from processors.base import Processor
from processors.models.find import find_model
from processors.models.lock import ModelLock, combined_digest, file_sha256
from store.errors import ModelUnavailable, SettingsError

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


def model_folder(model: str, revision: str | None, read: bool = True) -> Path:
    """The folder that holds a model: `model` itself if it is one, else its place in the Hugging Face cache.

    A profile has put the folder in place of an id that was pulled (see `processors.profile`).

    Args:
        read: compare digests; without it a file of the right size passes for whole.

    Raises:
        ModelUnavailable: it is not on this machine, is another revision, or is damaged; the message says what to do.
    """
    place = _whole(model, revision, Processor.model_files, read)
    if not (place / "config.json").is_file() or not weight_files(place):
        raise ModelUnavailable(f"folder {place} holds no config.json with weights beside it; {remedy(model)}")
    return place


def model_file(model: str, revision: str | None, pattern: str) -> Path:
    """The file that holds a model: `model` itself if it is one, else the one of a folder (see `model_folder`).

    Args:
        pattern: of the file's name in a folder.

    Raises:
        ModelUnavailable: as `model_folder`; also where a folder has several such files.
    """
    place = _whole(model, revision, (pattern,))
    found = sorted(place.glob(pattern)) if place.is_dir() else [place]
    if len(found) != 1:
        raise ModelUnavailable(f"folder {place} holds {len(found)} files {pattern}, not one; {remedy(model)}")
    return found[0]


def _whole(model: str, revision: str | None, patterns: Sequence[str], read: bool = True) -> Path:
    found = find_model(model, revision, patterns, read=read)
    if found.state != "present" or found.place is None:
        raise ModelUnavailable(f"{found.problem}; {remedy(model)}")
    return found.place


def check_told_digest(model: str, sha256: str) -> None:
    """Raises ModelUnavailable where a file is there and is not the one whose SHA-256 the profile tells."""
    path = Path(model)
    if path.is_file() and file_sha256(path) != sha256:
        raise ModelUnavailable(f"{path} has SHA-256 {file_sha256(path)}, not the profile's {sha256}; {remedy(model)}")


def remedy(model: str) -> str:
    """What to do where a model is not to be had."""
    if Path(model).parent.name == "tiny":
        return "build it with `cliploom models pull --profile tiny`, or with the tiny profile that names it"
    return (
        "run `cliploom models pull --profile` with the profile that names it, or bring its files to <models folder>/"
        "<its id>, or choose the profile `measured`, which needs no model"
    )


def model_type(folder: Path) -> str:
    """The class of a model, as transformers names it in its configuration."""
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type"))


def check_size(model: str, found: int, said: int) -> None:
    """Raises SettingsError where a model's vectors are not as long as the profile says."""
    if found != said:
        raise SettingsError(f"model {model!r} gives {found} numbers, not the size = {said} of the profile; correct it")


def weight_files(folder: Path) -> list[Path]:
    """The files that `from_pretrained` reads weights from: safetensors where there are any."""
    for pattern in WEIGHT_FILES:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def weights_digest(folder: Path) -> str:
    """SHA-256 over a model's configuration, preprocessing and weights; of a pulled one, as its lock tells."""
    paths = [*folder.glob("*config.json"), *weight_files(folder)]
    lock = ModelLock.covering(folder)
    locked = lock.at(folder) if lock else None
    told = {name: file.sha256 for name, file in locked.files.items()} if locked else {}
    return combined_digest({path.name: told.get(path.name) or file_sha256(path) for path in paths})
