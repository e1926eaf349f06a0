"""Snapshots: tagged, immutable versions of the dataset."""

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import Field

from api.bodies import ENTERED, Body, Entered, Name, enter, problems
from api.service import Given
from store.errors import Conflict, NotFound
from store.records import Json, SnapshotRequested
from store.store import Store

router = APIRouter(prefix="/snapshots", tags=["snapshots"])


class SnapshotRequest(Body):
    """A version of the dataset to publish."""

    tag: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["v1"])
    note: str = Field("", max_length=1000, examples=["first complete shoot"])
    by: Name = "an operator"


@router.post("", status_code=201, responses=ENTERED)
async def request_snapshot(body: SnapshotRequest, service: Given, response: Response) -> Entered:
    """Ask for a snapshot; it is written in the background, its document says when it is `created`."""
    await to_thread.run_sync(_check_free, service.store, body.tag)
    record = SnapshotRequested(tag=body.tag, note=body.note, requested_by=body.by, requested_at=service.clock())
    return await enter(service, response, record, service.store.snapshots, body.tag)


@router.get("")
def list_snapshots(service: Given) -> list[Json]:
    """Every snapshot, by tag; without the ids of its clips."""
    snapshots = service.store.snapshots.all().values()
    return [{name: value for name, value in snapshot.items() if name != "clip_ids"} for snapshot in snapshots]


@router.get("/{tag}", responses=problems(404))
def show_snapshot(tag: str, service: Given) -> Json:
    """A snapshot with the ids of the clips that it holds."""
    return _snapshot(service.store, tag)


def _check_free(store: Store, tag: str) -> None:
    snapshot = store.snapshots.get(tag)
    if snapshot is not None:
        raise Conflict(f"snapshot {tag!r} exists ({snapshot['status']}) and never changes; choose another tag")


def _snapshot(store: Store, tag: str) -> Json:
    snapshot = store.snapshots.get(tag)
    if snapshot is None:
        there = ", ".join(store.snapshots.all()) or "none"
        raise NotFound(f"no snapshot {tag!r}; there are: {there}")
    return snapshot
