"""Clips: filter, search by words or by likeness, and fetch their media.

A route's function has one parameter for each of the request's, however many these are.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from api.bodies import Body, Limit, Offset, problems
from api.service import Given, Service
from store.clips import ClipRow, ClipTable
from store.errors import InputError, NotFound
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


@router.get("/search", responses=problems(404, 422))
def search(
    service: Given,
    text: Annotated[str | None, Query(min_length=1, examples=["high motion"])] = None,
    like: Annotated[str | None, Query(description="A clip id: find its neighbours")] = None,
    column: Annotated[str | None, Query(description="Vector column to compare by; by default how it looks")] = None,
    where: Where = None,
    limit: Annotated[Limit, Query()] = 10,
) -> Found:
    """Clips whose conditioning string matches words, or which lie nearest to a clip."""
    table = service.store.clips
    condition = public_condition(table, where) if where else None
    if (text is None) == (like is None):
        raise InputError("give either text=WORDS or like=CLIP, one of both")
    if text is not None:
        return Found(column=None, clips=_shown(table, table.matching(text, condition, limit)))
    assert like is not None
    row = table.get(like)
    name = _vector_column(table, row, column)
    others = f"clip_id != {sql_text(like)}" + (f" AND ({condition})" if condition else "")
    return Found(column=name, clips=_shown(table, table.nearest(np.asarray(row[name]), name, others, limit)))


@router.post("/search", responses=problems(422))
def search_by_vector(body: VectorSearch, service: Given) -> Found:
    """Clips nearest to a vector."""
    table = service.store.clips
    _check_public(table, body.column)
    condition = public_condition(table, body.where) if body.where else None
    rows = table.nearest(np.asarray(body.vector), body.column, condition, body.limit)
    return Found(column=body.column, clips=_shown(table, rows))


@router.get("/{clip_id}", responses=problems(404))
def show_clip(clip_id: str, service: Given, vectors: Vectors = False) -> Clip:
    """One clip."""
    table = service.store.clips
    rows = table.select(where=sql_in("clip_id", [clip_id]), columns=_shown_columns(table, vectors))
    return rows[0] if rows else table.get(clip_id)


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
    present = [name for name in names if row[name] is not None and wanted in (None, name)]
    if not present:
        there = ", ".join(name for name in names if row[name] is not None) or "none"
        raise InputError(f"clip {row['clip_id']} has no vector in column {wanted or '(any)'}; it has {there}")
    return min(present, key=lambda name: (not name.startswith("visual"), name))


def _local(service: Service, clip_id: str, column: str) -> Iterator[Path]:
    key = service.store.clips.get(clip_id)[column]
    if key is None:
        raise NotFound(f"clip {clip_id} has no media yet; GET /clips/{clip_id} shows how far it is")
    with service.store.media.local_file(key) as path:
        yield path
