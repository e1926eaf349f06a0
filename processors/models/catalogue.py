"""The models of a profile on this machine."""

from dataclasses import dataclass
from pathlib import Path

from processors.models.find import FoundModel, find_model
from processors.models.lock import file_sha256, model_place
from processors.profile import ModelLine, Profile


@dataclass(frozen=True)
class ModelState:
    """A profile's model on this machine.

    licence: as the profile says, else as the hub told at the pull.
    size_bytes, sha256: of each of its files, by name; sha256 of those that were read or are in the lock.
    """

    line: ModelLine
    found: FoundModel
    licence: str | None
    size_bytes: dict[str, int]
    sha256: dict[str, str]


def model_states(profile: Profile, models_folder: Path, read: bool) -> list[ModelState]:
    """The state of each of the profile's models.

    Args:
        read: read every file and compare digests; without it a file of the right size passes for whole.
    """
    return [_state(line, models_folder, read) for line in profile.models]


def _state(line: ModelLine, models_folder: Path, read: bool) -> ModelState:
    place = model_place(models_folder, line.model)
    model = str(place) if place.exists() else line.model
    found = find_model(model, line.revision, line.files, line.sha256, read)
    files, locked = found.files or {}, found.locked
    if read:
        sha256 = {name: file_sha256(path) for name, path in files.items()}
    else:
        sha256 = {name: file.sha256 for name, file in locked.files.items()} if locked else {}
    licence = line.licence or (locked.licence if locked else None)
    return ModelState(line, found, licence, {name: path.stat().st_size for name, path in files.items()}, sha256)
