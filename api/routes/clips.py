"""Clips: filter, search by words or by likeness, and fetch their media.

A route's function has one parameter for each of the request's, however many these are.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from api.bodies import Body, Limit, Offset, problems
from api.service import Given, Service
from store.clip_columns import ClipRow
from store.clips import ClipTable
from store.duplicates import NEAR, group_of
from store.errors import InputError, NotFound
from store.modalities import TEXT_COLUMN, by_likeness
from store.tables import sql_in, sql_text

router = APIRouter(prefix="/clips", tags=["clips"])

_BULKY_KINDS = (b"vector", b"curve")
_PRIVATE = ("face", "identity")
"""Vector columns whose names begin so tell people apart: they are not given out, searched or tested."""
_PRIVATE_JSON = frozenset({"identity_faces", "identity_bodies"})
"""Columns that hold such vectors by track. Who they were taken for is told: `identity_ids`."""

Where = Annotated[str | None, Query(description="SQL condition over the clip table", examples=["duration_s > 2"])]
Vectors = Annotated[bool, Query(description="Also give vectors and curves")]
_CLIP_EXAMPLE: dict[str, Any] = {
    "clip_id": "0b1c5d2e9f0a4b6c8d7e6f5a4b3c2d1e",
    "video_id": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "source": "beach-shoot",
    "licence": "CC-BY-4.0",
    "start_s": 12.5,
    "duration_s": 4.0,
    "stage": "densified",
    "verdict": "hold",
    "held_for": ["age"],
    "conditioning": "medium shot, high motion",
}
Clip = Annotated[dict[str, Any], Field(examples=[_CLIP_EXAMPLE])]
"""A row of the clip table: fixed columns, and those of the profile's processors."""


class ClipPage(BaseModel):
    """Some of the clips, by clip id."""

    total: int
    limit: int
    offset: int
    clips: list[Clip]


class Found(BaseModel):
    """Clips that a search found, best first.

    Each has `distance` (cosine, to the vector) or `score` (BM25, of the words).
    """

    column: str | None
    """Vector column that was compared; None for a search by words."""
    clips: list[Clip]


class Duplicates(BaseModel):
    """Other clips of the same footage, nearest first.

    Each has `distance` (cosine, of the signatures: 0 the same) and `score` (1 the same, 0 nothing in common).
    """

    within: float
    """Distance under which two clips are copies; a clip beyond it is a copy of one of the others."""
    clips: list[Clip]


class VectorSearch(Body):
    """A vector of one's own, such as of a picture that is no clip."""

    vector: list[float] = Field(min_length=1, max_length=4096)
    column: str = Field(examples=["visual_embedding"])
    where: str | None = None
    limit: Limit = 10


@router.get("", responses=problems(422))
def list_clips(
    service: Given,
    where: Where = None,
    source: str | None = None,
    verdict: Literal["keep", "drop", "hold"] | None = None,
    stage: Literal["segmented", "embedded", "densified", "dead"] | None = None,
    cluster: int | None = None,
    limit: Annotated[Limit, Query()] = 100,
    offset: Annotated[Offset, Query()] = 0,
    vectors: Vectors = False,
) -> ClipPage:
    """Clips that meet every condition given."""
    table = service.store.clips
    texts = {"source": source, "verdict": verdict, "stage": stage}
    conditions = [f"({public_condition(table, where)})"] if where else []
    conditions += [f"{name} = {sql_text(value)}" for name, value in texts.items() if value is not None]
    conditions += [f"cluster = {cluster}"] if cluster is not None else []
    ids = [row["clip_id"] for row in table.select(where=" AND ".join(conditions) or None, columns=[])]
    page = sql_in("clip_id", ids[offset : offset + limit])
    rows = table.select(where=page, columns=_shown_columns(table, vectors))
    return ClipPage(total=len(ids), limit=limit, offset=offset, clips=rows)


@router.get("/search", responses=problems(404, 422, 503))
async def search(
    service: Given,
    text: Annotated[str | None, Query(min_length=1, examples=["high motion"])] = None,
    looks: Annotated[
        str | None,
        Query(min_length=1, max_length=500, examples=["a man juggling"], description="What is seen, in a text"),
    ] = None,
    like: Annotated[str | None, Query(description="A clip id: find its neighbours")] = None,
    column: Annotated[str | None, Query(description="Vector column to compare by; by default how it looks")] = None,
    where: Where = None,
    limit: Annotated[Limit, Query()] = 10,
) -> Found:
    """Clips whose conditioning string matches words, which show what a text says, or which lie nearest to a clip."""
    if sum(given is not None for given in (text, looks, like)) != 1:
        raise InputError("give text=WORDS, looks=TEXT or like=CLIP, one of them")
    if looks is None:
        return await to_thread.run_sync(_search_stored, service.store.clips, text, like, column, where, limit)
    if TEXT_COLUMN not in service.store.clips.vector_columns:
        raise InputError(
            f"no clip here has {TEXT_COLUMN}, which a text is compared with: no profile with vision.siglip has measured"
            " them; start the service with --profile pretrained, or search the conditioning strings with text="
        )
    vector = np.asarray(await service.texts.encode(looks))
    return await to_thread.run_sync(_search_nearest, service.store.clips, vector, TEXT_COLUMN, where, limit)


def _search_stored(
    table: ClipTable, text: str | None, like: str | None, column: str | None, where: str | None, limit: int
) -> Found:
    condition = public_condition(table, where) if where else None
    if text is not None:
        return Found(column=None, clips=_shown(table, table.matching(text, condition, limit)))
    assert like is not None
    row = table.get(like)
    name = _vector_column(table, row, column)
    others = f"clip_id != {sql_text(like)}" + (f" AND ({condition})" if condition else "")
    return Found(column=name, clips=_shown(table, table.nearest(np.asarray(row[name]), name, others, limit)))


def _search_nearest(table: ClipTable, vector: np.ndarray, column: str, where: str | None, limit: int) -> Found:
    condition = public_condition(table, where) if where else None
    return Found(column=column, clips=_shown(table, table.nearest(vector, column, condition, limit)))


@router.post("/search", responses=problems(422))
def search_by_vector(body: VectorSearch, service: Given) -> Found:
    """Clips nearest to a vector."""
    _check_public(service.store.clips, body.column)
    return _search_nearest(service.store.clips, np.asarray(body.vector), body.column, body.where, body.limit)


@router.get("/{clip_id}", responses=problems(404))
def show_clip(clip_id: str, service: Given, vectors: Vectors = False) -> Clip:
    """One clip."""
    table = service.store.clips
    rows = table.select(where=sql_in("clip_id", [clip_id]), columns=_shown_columns(table, vectors))
    return rows[0] if rows else table.get(clip_id)


@router.get("/{clip_id}/duplicates", responses=problems(404, 422))
def list_duplicates(
    clip_id: str,
    service: Given,
    within: Annotated[float, Query(gt=0.0, le=1.0, description="Distance under which two clips are copies")] = NEAR,
) -> Duplicates:
    """Copies of a clip, and copies of these: re-encoded, brightened, cropped or letterboxed."""
    table = service.store.clips
    group = group_of(table, clip_id, within)
    rows = table.select(where=sql_in("clip_id", [one.clip_id for one in group]), columns=_shown_columns(table, False))
    by_id = {row["clip_id"]: row for row in rows}
    copies = [
        by_id[one.clip_id] | {"distance": one.distance, "score": one.score} for one in group if one.clip_id in by_id
    ]
    return Duplicates(within=within, clips=copies)


def _media_file(clip_id: str, service: Given) -> Iterator[Path]:
    yield from _local(service, clip_id, "media_key")


def _strip_file(clip_id: str, service: Given) -> Iterator[Path]:
    yield from _local(service, clip_id, "strip_key")


@router.get("/{clip_id}/media", response_class=FileResponse, responses=problems(404))
def fetch_media(clip_id: str, path: Annotated[Path, Depends(_media_file)]) -> FileResponse:
    """The clip itself: H.264 and AAC in MP4. Ranges are served."""
    return FileResponse(path, media_type="video/mp4", filename=f"{clip_id}.mp4", content_disposition_type="inline")


@router.get("/{clip_id}/strip", response_class=FileResponse, responses=problems(404))
def fetch_strip(clip_id: str, path: Annotated[Path, Depends(_strip_file)]) -> FileResponse:
    """The clip's thumbnail strip, JPEG."""
    return FileResponse(path, media_type="image/jpeg", filename=f"{clip_id}.jpg", content_disposition_type="inline")


def public_condition(table: ClipTable, where: str) -> str:
    """The condition, if it tests no private column.

    Raises:
        InputError: it does.
    """
    for word in re.findall(r"\w+", where):
        _check_public(table, word)
    return where


def _check_public(table: ClipTable, name: str) -> None:
    if name.lower() in _private_columns(table):
        raise InputError(f"column {name!r} tells people apart and is not given out; choose another column")


def _private_columns(table: ClipTable) -> set[str]:
    return {*_PRIVATE_JSON} | {name.lower() for name in table.vector_columns if name.lower().startswith(_PRIVATE)}


def _shown_columns(table: ClipTable, vectors: bool) -> list[str]:
    private = _private_columns(table)
    return [
        field.name
        for field in table.schema
        if field.name.lower() not in private and (vectors or (field.metadata or {}).get(b"kind") not in _BULKY_KINDS)
    ]


def _shown(table: ClipTable, rows: list[ClipRow]) -> list[ClipRow]:
    columns = _shown_columns(table, vectors=False)
    ranks = {"_distance": "distance", "_score": "score"}
    return [
        {name: row[name] for name in columns} | {told: row[name] for name, told in ranks.items() if name in row}
        for row in rows
    ]


def _vector_column(table: ClipTable, row: ClipRow, wanted: str | None) -> str:
    if wanted is not None:
        _check_public(table, wanted)
    names = [name for name in table.vector_columns if name.lower() not in _private_columns(table)]
    compared = by_likeness(names) if wanted is None else [name for name in names if name == wanted]
    present = [name for name in compared if row[name] is not None]
    if not present:
        there = ", ".join(name for name in names if row[name] is not None) or "none"
        raise InputError(f"clip {row['clip_id']} has no vector in column {wanted or '(any)'}; it has {there}")
    return present[0]


def _local(service: Service, clip_id: str, column: str) -> Iterator[Path]:
    key = service.store.clips.get(clip_id)[column]
    if key is None:
        raise NotFound(f"clip {clip_id} has no media yet; GET /clips/{clip_id} shows how far it is")
    with service.store.media.local_file(key) as path:
        yield path
