"""Footage: submit by path or upload, list, and what became of each video."""

import shutil
import tempfile
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Form, Query, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from api.bodies import Body, Entered, Licence, Limit, Name, Offset, Problem, enter, problems
from api.folders import video_files
from api.intake import (
    Arrival,
    allowed_file,
    allowed_path,
    examine,
    keep,
    known_video,
    plain_name,
)
from api.service import Given, Service
from store.errors import InputError, NotFound
from store.records import FootageSubmitted, Json
from store.tables import sql_in

router = APIRouter(prefix="/footage", tags=["footage"])


class PathSubmission(Body):
    """A video that lies on the service's machine."""

    path: str = Field(examples=["/srv/footage/beach.mp4"])
    source: Name = Field(examples=["beach-shoot"])
    """Who or what the footage comes from; releases and removals are by source."""
    licence: Licence | None = Field(None, examples=["CC-BY-4.0"])
    """Without one, its clips are held until the source's licence is released on record."""


class Submission(Entered):
    """What became of a submitted video; `id` is its SHA-256."""

    outcome: Literal["accepted", "known", "again"]
    """known: the very same bytes were submitted before. again: it had failed and is tried once more (202)."""


class Video(BaseModel):
    """A video and how far it is."""

    model_config = ConfigDict(extra="allow")
    video_id: str
    status: Literal["submitted", "segmented", "done", "dead", "removed"]
    name: str | None = None
    source: str | None = None
    licence: str | None = None
    size_bytes: int | None = None
    submitted_at: datetime | None = None
    reason: str | None = None
    """Why it is dead."""


class VideoPage(BaseModel):
    """Some of the videos, by video id."""

    total: int
    limit: int
    offset: int
    videos: list[Video]


class VideoClip(BaseModel):
    """A clip of a video, in short."""

    clip_id: str
    start_s: float
    duration_s: float
    stage: str
    verdict: str | None
    held_for: list[str] | None


class DroppedFootage(BaseModel):
    """A stretch that became no clip."""

    start_s: float
    end_s: float
    reason: str


class VideoDetail(BaseModel):
    """Everything that is known of a video."""

    video: Video
    clips: list[VideoClip]
    dropped: list[DroppedFootage]
    facts: Json | None
    """What the container was found to hold; None until it was read."""


class FolderFiles(BaseModel):
    """Videos under an allowed folder."""

    folder: str
    files: list[str]
    others: int
    """Files that are no videos by their suffix."""


_SUBMITTED: dict[int | str, dict[str, Any]] = {
    200: {"model": Submission, "description": "Known already; nothing changed"},
    202: {"model": Submission, "description": "The broker has it; the store does not show it yet"},
    403: {"model": Problem, "description": "The path lies outside the allowed folders"},
    **problems(409, 422, 503),
}


@router.post("", status_code=201, responses=_SUBMITTED)
async def submit_path(body: PathSubmission, service: Given, response: Response) -> Submission:
    """Submit a video by its path; it must lie inside a folder that the service was allowed (`--allow`)."""
    path = await to_thread.run_sync(allowed_file, body.path, service.settings.allowed_folders)
    return await _submit(service, path, body.source, body.licence, response)


@router.post("/upload", status_code=201, responses=_SUBMITTED)
async def upload(
    file: UploadFile,
    source: Annotated[Name, Form(examples=["beach-shoot"])],
    service: Given,
    response: Response,
    licence: Annotated[Licence | None, Form(examples=["CC-BY-4.0"])] = None,
) -> Submission:
    """Submit a video by sending its bytes (multipart form)."""
    folder = Path(tempfile.mkdtemp(dir=service.settings.uploads_folder))
    try:
        path = folder / plain_name(file.filename or "")
        await to_thread.run_sync(_write, file, path)
        return await _submit(service, path, source, licence, response)
    finally:
        await to_thread.run_sync(shutil.rmtree, folder)


@router.get("")
def list_videos(
    service: Given,
    status: Literal["submitted", "segmented", "done", "dead", "removed"] | None = None,
    limit: Annotated[Limit, Query()] = 100,
    offset: Annotated[Offset, Query()] = 0,
) -> VideoPage:
    """Videos, all or of one status."""
    documents = service.store.videos.all(status)
    page = list(documents)[offset : offset + limit]
    videos = [Video(**{"video_id": id_, **_short(documents[id_])}) for id_ in page]
    return VideoPage(total=len(documents), limit=limit, offset=offset, videos=videos)


@router.get("/files", responses={403: {"model": Problem}, **problems(422)})
def list_files(path: str, service: Given) -> FolderFiles:
    """Videos in an allowed folder on the service's machine, to be submitted one by one."""
    folder = allowed_path(path, service.settings.allowed_folders)
    if not folder.is_dir():
        raise InputError(f"path {path!r} is no folder; POST /footage submits a single file")
    files, others = video_files(folder)
    return FolderFiles(folder=str(folder), files=[str(file) for file in files], others=others)


@router.get("/{video_id}", responses=problems(404))
def show_video(video_id: str, service: Given) -> VideoDetail:
    """A video with its clips, dropped stretches and what its container holds."""
    document = video_document(service, video_id)
    columns = list(VideoClip.model_fields)
    rows = service.store.clips.select(where=sql_in("video_id", [video_id]), columns=columns)
    clips = sorted((VideoClip(**{name: row[name] for name in columns}) for row in rows), key=lambda clip: clip.start_s)
    return VideoDetail(
        video=Video(**{"video_id": video_id, **_short(document)}),
        clips=clips,
        dropped=dropped_footage(document),
        facts=document.get("facts"),
    )


def video_document(service: Service, video_id: str) -> Json:
    """The video's document.

    Raises:
        NotFound: no such video.
    """
    document = service.store.videos.get(video_id)
    if document is None:
        raise NotFound(f"no video {video_id!r}; GET /footage lists videos")
    return document


def dropped_footage(document: Json) -> list[DroppedFootage]:
    """What of a video became no clip, in seconds of its presentation time."""
    time_base = Fraction(*(document.get("facts") or {}).get("time_base", (1, 1)))
    return [
        DroppedFootage(
            start_s=float(span["start_pts"] * time_base),
            end_s=float(span["end_pts"] * time_base),
            reason=span["reason"],
        )
        for span in document.get("dropped", ())
    ]


async def _submit(service: Service, path: Path, source: str, licence: str | None, response: Response) -> Submission:
    store = service.store
    arrival = await to_thread.run_sync(examine, path)
    video = await to_thread.run_sync(known_video, store, arrival.video_id)
    if video is not None:
        response.status_code = 200
        note = f"already submitted as {video.get('name')!r} from source {video.get('source')!r}; nothing changed"
        return Submission(id=arrival.video_id, durable=True, note=note, document=video, outcome="known")
    failed_before = await to_thread.run_sync(store.videos.get, arrival.video_id)
    key = await to_thread.run_sync(keep, store, arrival)
    submitted_at = service.now_after(failed_before.get("submitted_at") if failed_before else None)
    record = _record(arrival, key, source, licence, submitted_at)
    if failed_before is not None:
        await service.streams.publish(record)
        response.status_code = 202
        note = f"tried once more; it failed before: {failed_before.get('reason')}"
        return Submission(id=record.video_id, durable=False, note=note, document=failed_before, outcome="again")
    entered = await enter(service, response, record, store.videos, record.video_id)
    return Submission(outcome="accepted", **entered.model_dump())


def _record(arrival: Arrival, key: str, source: str, licence: str | None, submitted_at: datetime) -> FootageSubmitted:
    return FootageSubmitted(
        video_id=arrival.video_id,
        name=arrival.name,
        media_key=key,
        size_bytes=arrival.size_bytes,
        source=source,
        licence=licence,
        submitted_at=submitted_at,
    )


def _write(upload_: UploadFile, path: Path) -> None:
    with path.open("wb") as stream:
        shutil.copyfileobj(upload_.file, stream, 1 << 20)


def _short(document: Json) -> Json:
    return {name: document[name] for name in Video.model_fields if name in document}
