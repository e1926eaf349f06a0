"""Footage at the door: which paths may be read, what a file is, and whether the store knows it already."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.problems import OutsideAllowedFolders
from processors.decode import probe
from store.errors import Conflict, InputError
from store.media import file_sha256, media_key
from store.records import Json
from store.removed import delete_media
from store.store import Store

_NAME_CHARACTERS = 60
"""Chosen: at most 240 bytes of UTF-8, which every file system takes."""


@dataclass(frozen=True)
class Arrival:
    """A file that holds a video."""

    path: Path
    name: str
    video_id: str
    suffix: str
    """Of its object in media storage; from the container found, so that equal bytes are one object."""
    size_bytes: int


def allowed_path(given: str, folders: Sequence[Path]) -> Path:
    """The path with every `..` and symbolic link resolved, if it lies inside one of the folders.

    Nothing is opened, and what lies outside is refused alike whether it exists or not.

    Raises:
        OutsideAllowedFolders: it lies elsewhere.
        InputError: it is no absolute path, or cannot be resolved.
    """
    if not Path(given).is_absolute():
        raise InputError(f"path {given!r} is relative; give an absolute path on the service's machine")
    try:
        path = Path(given).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"path {given!r} cannot be resolved: {error}") from error
    if not any(path.is_relative_to(folder.resolve()) for folder in folders):
        allowed = ", ".join(str(folder) for folder in folders) or "none"
        raise OutsideAllowedFolders(f"path {given!r} lies outside the allowed folders ({allowed})")
    return path


def allowed_file(given: str, folders: Sequence[Path]) -> Path:
    """As `allowed_path`, of a regular file.

    Raises:
        OutsideAllowedFolders, InputError: as there, or it is missing, a folder, a pipe or a device.
    """
    path = allowed_path(given, folders)
    if path.is_dir():
        raise InputError(f"path {given!r} is a folder; GET /footage/files lists its videos, submit each of them")
    if not path.is_file():
        found = "not a regular file" if path.exists() else "no such file"
        raise InputError(f"path {given!r}: {found}; give a video file")
    return path


def plain_name(given: str) -> str:
    """The file name alone, printable and short: fit for people and as a name of a file of ours."""
    base = given.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character for character in base if character.isprintable())[-_NAME_CHARACTERS:].strip(". ")
    return name or "unnamed"


def examine(path: Path) -> Arrival:
    """Look at a file's headers and first pictures, and take its content id.

    Raises:
        InputError: it is empty, no video, without a picture track, truncated, or cannot be read.
    """
    try:
        facts = probe(path)
        video_id = file_sha256(path)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    return Arrival(path, plain_name(path.name), video_id, facts["container"].split(",")[0], size_bytes)


def known_video(store: Store, video_id: str) -> Json | None:
    """The video's document if it was submitted before and needs no second try; None if it should be submitted.

    Raises:
        Conflict: it was removed.
    """
    video = store.videos.get(video_id)
    if video is None or video["status"] == "dead":
        return None
    if video["status"] == "removed":
        raise Conflict(f"video {video_id} was removed and stays out: {removal_of(store, video_id, video)}")
    return video


def removal_of(store: Store, video_id: str, video: Json) -> str:
    """Which removal took a removed video (its document), for a person."""
    removals = store.removals.all()
    took = [id_ for id_, removal in removals.items() if video_id in removal.get("video_ids", ())]
    removal_id = video.get("removal_id") or next(iter(took), None)
    if removal_id not in removals:
        return f"with everything of source {video.get('source')!r}"
    removal = removals[removal_id]
    subject, subject_id = removal["subject"], removal["subject_id"]
    return f"removal {removal_id} of {subject} {subject_id!r}, by {removal['by']}: {removal['reason']}"


def keep(store: Store, arrival: Arrival) -> str:
    """Put the file into media storage; returns its key. Durable on return.

    Raises:
        InputError: the file changed since it was examined.
    """
    key = store.media.put_file(arrival.path, arrival.suffix)
    if key == media_key(arrival.video_id, arrival.suffix):
        return key
    delete_media(store, {key})
    raise InputError(f"{arrival.name}: the file changed while it was read; submit it when it is complete")
