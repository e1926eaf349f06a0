"""Fetching the models of a profile into a models folder, once; from then on nothing here needs a network."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling

from processors.models.find import find_model, needed_files
from processors.models.lock import LockedFile, LockedModel, ModelLock, file_sha256, has_digest, is_url, model_place
from processors.profile import ModelLine
from store.errors import ModelUnavailable

ROOM_BYTES = 100 * 10**6
"""Chosen: what must stay free of the disk when a model has been written."""
TRIES = 5
"""Chosen: of a download that breaks off, which the hub's client does not take up again by itself."""
_BROKEN_OFF = (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout)


def pull_model(
    line: ModelLine,
    models_folder: Path,
    offline: bool,
    endpoint: str | None = None,
    tell: Callable[[str], None] = print,
) -> bool:
    """Make a profile line's model lie in the models folder, whole, and in the lock.

    Args:
        offline: ask no network; what is not there cannot be had.
        endpoint: of the model hub; None: the usual one, or what `HF_ENDPOINT` says.
        tell: told, in words, what is being fetched.

    Returns:
        Whether anything was fetched.

    Raises:
        ModelUnavailable: it cannot be had; the message says why and what to do. Other models are as they were.
    """
    if Path(line.model).exists():
        return False  # a folder or file of one's own
    place = model_place(models_folder, line.model)
    lock = ModelLock(models_folder)
    pinned = lock.models().get(line.model)
    found = find_model(str(place) if place.exists() else line.model, line.revision, line.files, line.sha256)
    if found.state == "present" and (found.locked is not None or offline):
        return False
    if offline:
        raise ModelUnavailable(
            f"{found.problem}, and HF_HUB_OFFLINE forbids to fetch it; unset it, or bring the folder from a machine "
            "where it was pulled"
        )
    revision = line.revision or (pinned.revision if pinned else None)
    with _explained(line.model, revision):
        if is_url(line.model):
            expected = line.sha256 or (pinned.files[place.name].sha256 if pinned else None)
            lock.put(line.model, _pull_file(line, place, expected, tell))
        else:
            lock.put(line.model, _pull_from_hub(line, place, revision, pinned, endpoint, tell))
    return True


def _pull_from_hub(
    line: ModelLine,
    place: Path,
    revision: str | None,
    before: LockedModel | None,
    endpoint: str | None,
    tell: Callable[[str], None],
) -> LockedModel:
    info = HfApi(endpoint=endpoint).model_info(line.model, revision=revision, files_metadata=True)
    there = {file.rfilename: file for file in info.siblings or ()}
    needed = needed_files(there, line.files)
    if not needed or info.sha is None:
        raise ModelUnavailable(
            f"{line.model} has none of the files {', '.join(line.files)}; it is no model of {line.processor}"
        )
    size = sum(there[name].size or 0 for name in needed)
    tell(f"{line.model} at {info.sha}: {len(needed)} files, {size / 1e6:,.1f} MB")
    _check_room(place, sum(there[name].size or 0 for name in needed if not (place / name).is_file()))
    for name in needed:
        _fetch(line.model, info.sha, there[name], place, endpoint)
    files = {name: LockedFile((place / name).stat().st_size, file_sha256(place / name)) for name in needed}
    if before is not None and before.revision == info.sha:
        files = {**before.files, **files}  # another processor needs those
    elif before is not None:
        for name in before.files.keys() - files.keys():  # of another revision, and `from_pretrained` would read it too
            (place / name).unlink(missing_ok=True)
    asked = line.revision or (before.asked if before else None)
    return LockedModel(asked, info.sha, _licence(info), files)


def _fetch(model: str, commit: str, file: RepoSibling, place: Path, endpoint: str | None) -> None:
    """Fetch a file of the hub's; what is there and whole is kept, what is damaged is fetched anew.

    Raises:
        ModelUnavailable: what the hub gives is not what it announces.
    """
    told = file.lfs.sha256 if file.lfs else file.blob_id
    path = place / file.rfilename
    if told and path.is_file() and not has_digest(path, told):
        path.unlink()
    _persistently(lambda: hf_hub_download(model, file.rfilename, revision=commit, local_dir=place, endpoint=endpoint))
    if told and not has_digest(path, told):
        path.unlink()
        raise ModelUnavailable(
            f"{file.rfilename} of {model} came with another digest than {told}; pull again, and do not use this source "
            "if it stays so"
        )


def _licence(info: ModelInfo) -> str | None:
    """The licence by the model's card."""
    tags = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    return tags[0] if tags else None


def _pull_file(line: ModelLine, place: Path, expected: str | None, tell: Callable[[str], None]) -> LockedModel:
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f"{place.name}.part")
    tell(line.model)
    with httpx.Client(follow_redirects=True, timeout=30.0) as client:
        _persistently(lambda: _go_on(client, line.model, unfinished))
    found = file_sha256(unfinished)
    if expected is not None and found != expected:
        unfinished.unlink()
        raise ModelUnavailable(
            f"{line.model} came with SHA-256 {found}, not {expected}; pull again, and change the profile's "
            "sha256 only if its author says so"
        )
    os.replace(unfinished, place)
    return LockedModel(None, None, None, {place.name: LockedFile(place.stat().st_size, found)})


def _persistently(fetch: Callable[[], object]) -> None:
    """Fetch, and go on where it stopped when it breaks off."""
    for left in reversed(range(TRIES)):
        try:
            fetch()
            return
        except _BROKEN_OFF:
            if not left:
                raise


def _go_on(client: httpx.Client, url: str, path: Path) -> None:
    """Append to a file what is missing of it."""
    have = path.stat().st_size if path.is_file() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here
        answer.raise_for_status()
        goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
        _check_room(path, int(answer.headers.get("Content-Length", 0)))
        with path.open("ab" if goes_on else "wb") as file:
            for chunk in answer.iter_bytes():
                file.write(chunk)


def _check_room(place: Path, size: int) -> None:
    """Raises OSError: the disk has no room for so many bytes."""
    folder = next(path for path in place.resolve().parents if path.is_dir())
    if shutil.disk_usage(folder).free < size + ROOM_BYTES:
        raise OSError(errno.ENOSPC, f"{size / 1e6:,.0f} MB are needed", str(folder))


@contextmanager
def _explained(model: str, revision: str | None) -> Iterator[None]:
    """Says of whatever goes wrong what it means and what to do.

    Raises:
        ModelUnavailable: always instead.
    """
    at = f"{model} at revision {revision}" if revision else model
    try:
        yield
    except RevisionNotFoundError as error:
        raise ModelUnavailable(f"{model} has no revision {revision}; correct it in the profile") from error
    except GatedRepoError as error:
        raise ModelUnavailable(
            f"{model} is given only to those who accepted its terms; accept them on its page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailable(
            f"the hub has no model {model}, or not for you; correct the id, or `hf auth login` if it is private"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ModelUnavailable(f"{at} is not here, and HF_HUB_OFFLINE forbids to fetch it; unset it") from error
    except HFValidationError as error:
        raise ModelUnavailable(f"{model!r} is no folder, no URL and no id of the model hub: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError) as error:
        told = str(error).strip().splitlines()
        raise ModelUnavailable(
            f"{at} did not come: {told[0] if told else type(error).__name__}; check the network and HF_ENDPOINT, "
            "and pull again: it goes on where it stopped"
        ) from error
    except OSError as error:
        raise ModelUnavailable(
            f"{at} cannot be written: {error}; make room or choose another --data, and pull again: it goes on where it "
            "stopped"
        ) from error
