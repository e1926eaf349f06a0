"""How far everything is, and whether the service is well."""

from collections import Counter
from dataclasses import asdict

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.service import Given
from api.streaming import absent_of
from store.store import Store

router = APIRouter(tags=["status"])

_OPEN = {
    "videos": ("submitted", "segmented"),
    "runs": ("requested", "running"),
    "snapshots": ("requested",),
    "removals": ("requested",),
}
"""Statuses, by table, of what has not come to its end."""


class ClipCounts(BaseModel):
    """Clips by how far they are and what was decided."""

    total: int
    by_stage: dict[str, int]
    by_verdict: dict[str, int]
    reasons: dict[str, int]
    """`verdict: rule` to the number of clips that the rule keeps out; a clip may be kept out by several."""


class Counts(BaseModel):
    """Counts of everything, and what is still on its way."""

    videos: dict[str, int]
    clips: ClipCounts
    concepts: dict[str, int]
    runs: dict[str, int]
    snapshots: dict[str, int]
    removals: dict[str, int]
    dead_letters: dict[str, int]
    in_flight: dict[str, int]
    settled: bool
    """Every video, run, snapshot and removal that was asked for has come to its end, and every clip has its place
    among the others."""


class Step(BaseModel):
    """How a step fares; None: nobody tells."""

    step: str
    lag: int | None
    """Records that wait for it."""
    done: int | None
    """Records that it has finished; the growth of it is its rate."""
    workers: int | None


class Reading(BaseModel):
    """Long footage of which a part has been read."""

    video_id: str
    name: str | None
    chunk: int
    """Number of chunks that have been read."""
    share: float
    """How much of it has been read, 0 to 1; 0 where its length is not declared."""


class Status(Counts):
    """Counts of everything, what is still on its way, and how the steps fare."""

    reading: list[Reading]
    """Long footage that is being read, by video id."""
    steps: list[Step]
    steps_note: str
    """Who told of the steps, or why there are none."""
    absent: dict[str, str]
    """Optional processors that the worker of this service leaves out for lack of their models, with the reason."""


class Alive(BaseModel):
    """The process answers."""

    alive: bool = True


class Ready(BaseModel):
    """Whether requests can be served."""

    ready: bool
    store: str
    broker: str


def status_of(store: Store) -> Counts:
    """Counts over the whole store."""
    tables = {name: getattr(store, name).counts() for name in ("videos", "concepts", "runs", "snapshots", "removals")}
    in_flight = {name: sum(tables[name].get(status, 0) for status in open_) for name, open_ in _OPEN.items()}
    in_flight["clips"] = store.clips.count("stage = 'densified' AND curation_recipe IS NULL")
    return Counts(
        **tables,
        clips=_clip_counts(store),
        dead_letters=store.dead_letters.counts(),
        in_flight=in_flight,
        settled=not any(in_flight.values()),
    )


@router.get("/status")
async def show_status(service: Given) -> Status:
    """Counts by stage, status, verdict and reason; `settled` once nothing is on its way."""
    counted = await to_thread.run_sync(status_of, service.store)
    reading = await to_thread.run_sync(_reading, service.store)
    told = await service.streams.steps()
    steps = [Step(**asdict(step)) for step in told.steps]
    absent = absent_of(await service.streams.exposition())
    return Status(**counted.model_dump(), reading=reading, steps=steps, steps_note=told.note, absent=absent)


@router.get("/health")
async def show_health() -> Alive:
    """Answers as long as the process lives."""
    return Alive()


@router.get("/ready", responses={503: {"model": Ready, "description": "Not ready"}})
async def show_ready(service: Given, response: Response) -> Ready:
    """Whether the store can be read and the broker answers."""
    store = await to_thread.run_sync(_store_state, service.store)
    broker = "ok" if await service.streams.ready() else "the broker does not answer; is the service starting?"
    ready = store == broker == "ok"
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, store=store, broker=broker)


def _reading(store: Store) -> list[Reading]:
    begun = {id_: video for id_, video in store.videos.all("submitted").items() if video.get("chunk")}
    return [
        Reading(video_id=id_, name=video.get("name"), chunk=video["chunk"], share=video["share"])
        for id_, video in begun.items()
    ]


def _store_state(store: Store) -> str:
    try:
        store.videos.counts()
    except (OSError, RuntimeError, ValueError) as error:
        return f"cannot be read: {error}"
    return "ok"


def _clip_counts(store: Store) -> ClipCounts:
    rows = store.clips.select(columns=["stage", "verdict", "held_for"])
    verdicts = Counter(row["verdict"] for row in rows if row["verdict"] is not None)
    reasons = Counter(f"{row['verdict']}: {rule}" for row in rows for rule in row["held_for"] or ())
    stages = Counter(row["stage"] for row in rows)
    return ClipCounts(total=len(rows), by_stage=stages, by_verdict=verdicts, reasons=reasons)
