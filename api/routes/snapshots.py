"""Snapshots: tagged, immutable versions of the dataset."""

from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Entered, Name, enter, problems
from api.service import Given
from store.errors import Conflict, NotFound
from store.records import Json, SnapshotRequested
from store.snapshots import check_tag, diff_snapshots
from store.store import Store

router = APIRouter(prefix="/snapshots", tags=["snapshots"])


class SnapshotRequest(Body):
    """A version of the dataset to publish."""

    tag: str = Field(examples=["v1"])
    """1 to 64 letters, digits, `_`, `-` and single dots inside."""
    note: str = Field("", max_length=1000, examples=["first complete shoot"])
    by: Name = "an operator"


class SnapshotDiff(BaseModel):
    """What changed from one snapshot to another."""

    digests: list[str]
    added: list[str]
    """Clips published in the newer one only."""
    removed: list[str]
    """Clips published in the older one only."""
    changed: dict[str, list[str]]
    """Clip to the columns that differ."""
    verdicts: dict[str, list[str | None]]
    """Clip to its verdict in the older and in the newer one, where they differ."""


@router.post("", status_code=201, responses=ENTERED)
async def request_snapshot(body: SnapshotRequest, service: Given, response: Response) -> Entered:
    """Ask for a snapshot; it is written in the background, its document says when it is `created`.

    A tag whose snapshot failed may be asked for again (202).
    """
    failed = await to_thread.run_sync(_failed_before, service.store, body.tag)
    record = SnapshotRequested(tag=body.tag, note=body.note, requested_by=body.by, requested_at=service.clock())
    if failed is None:
        return await enter(service, response, record, service.store.snapshots, body.tag)
    await service.streams.publish(record)
    response.status_code = 202
    return Entered(id=body.tag, durable=False, note=f"tried once more; it failed before: {failed}", document=None)


@router.get("")
def list_snapshots(service: Given) -> list[Json]:
    """Every snapshot, by tag."""
    return list(service.store.snapshots.all().values())


@router.get("/{tag}", responses=problems(404))
def show_snapshot(tag: str, service: Given) -> Json:
    """A snapshot; its files name the clips that it holds."""
    return _snapshot(service.store, tag)


@router.get("/{older}/diff/{newer}", responses=problems(404, 409))
def diff(older: str, newer: str, service: Given) -> SnapshotDiff:
    """What changed from one snapshot to another."""
    return SnapshotDiff(**diff_snapshots(_folder(service.store, older), _folder(service.store, newer)))


def _failed_before(store: Store, tag: str) -> str | None:
    """Why a snapshot of that tag failed, None where there was none.

    Raises:
        InputError: it cannot be a tag.
        Conflict: the tag is taken.
    """
    check_tag(tag)
    snapshot = store.snapshots.get(tag)
    if snapshot is not None and snapshot["status"] != "failed":
        raise Conflict(f"snapshot {tag!r} exists ({snapshot['status']}) and never changes; choose another tag")
    return None if snapshot is None else snapshot["reason"]


def _folder(store: Store, tag: str) -> Path:
    snapshot = _snapshot(store, tag)
    if snapshot["status"] != "created":
        why = snapshot.get("reason") or "it is not written yet"
        raise Conflict(f"snapshot {tag!r} has no content: it is {snapshot['status']} ({why}); take another")
    return Path(snapshot["folder"])


def _snapshot(store: Store, tag: str) -> Json:
    snapshot = store.snapshots.get(tag)
    if snapshot is None:
        there = ", ".join(store.snapshots.all()) or "none"
        raise NotFound(f"no snapshot {tag!r}; there are: {there}")
    return snapshot
