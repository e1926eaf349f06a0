"""The dataset as a whole: the map of the clips, outlier scores, growth, and alarms of drift."""

from datetime import datetime
from typing import Literal

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Entered, Name, enter, problems
from api.service import Given
from store.clusters.map import load_map
from store.clusters.options import ClusterOptions
from store.errors import Conflict, NotFound
from store.records import DriftAnswered

router = APIRouter(prefix="/curation", tags=["curation"])

_BINS = 20


class MapPoint(BaseModel):
    """A clip on the map; x and y are about 0 with a spread of 1, and stay as clips come."""

    clip_id: str
    x: float
    y: float
    cluster: int | None
    is_outlier: bool
    is_boundary: bool


class Histogram(BaseModel):
    """Clips by outlier score, in bins of equal width from 0 to 1."""

    edges: list[float]
    in_clusters: list[int]
    in_none: list[int]
    threshold: float
    """From which a clip in no cluster is an outlier."""


class Alarm(BaseModel):
    """New footage is no longer like what the clusters and the control vectors were built on."""

    alarm_id: str
    status: Literal["open", "answered"]
    score: float
    threshold: float
    streams: dict[str, float]
    """What moved: `place` is where clips lie, by all modalities or by one; the others are controls."""
    n_videos: int
    """Videos since the reference was taken."""
    sources: dict[str, int]
    """Where the videos came from since the capital began to grow."""
    clusters: dict[str, int]
    """The clusters that they are in, by number; `none`: away from all."""
    raised_at: datetime
    by: str | None = None
    """Who answered it."""
    reason: str | None = None


class Answer(Body):
    """What was done about an alarm, or why nothing is to be done."""

    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["winter footage is expected; recalibrated"])


class Day(BaseModel):
    """What had come by the end of a day (UTC)."""

    day: str
    videos: int
    clips: int


@router.get("/map", responses=problems(404))
def show_map(service: Given) -> list[MapPoint]:
    """Where the clips of the sample lie, in two dimensions."""
    drawn = load_map(service.store.folder)
    if not drawn.ids:
        raise NotFound("there is no map yet; it is drawn once four clips are annotated and curated")
    rows = service.store.clips.get_many(drawn.ids, ["cluster", "is_outlier", "is_boundary"])
    return [
        MapPoint(
            clip_id=clip_id,
            x=float(x),
            y=float(y),
            cluster=rows[clip_id]["cluster"],
            is_outlier=bool(rows[clip_id]["is_outlier"]),
            is_boundary=bool(rows[clip_id]["is_boundary"]),
        )
        for clip_id, (x, y) in zip(drawn.ids, drawn.places, strict=True)
        if clip_id in rows
    ]


@router.get("/outliers")
def show_outliers(service: Given) -> Histogram:
    """How the outlier scores are spread."""
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    rows = service.store.clips.select("settled IS NOT NULL", columns=["outlier_score", "cluster"])
    inside, outside = (
        np.histogram([row["outlier_score"] for row in rows if (row["cluster"] is None) is none], edges)[0]
        for none in (False, True)
    )
    return Histogram(
        edges=edges.tolist(),
        in_clusters=inside.tolist(),
        in_none=outside.tolist(),
        threshold=ClusterOptions().outlier_score,
    )


@router.get("/growth")
def show_growth(service: Given) -> list[Day]:
    """Videos and clips that had come by the end of each day on which any came."""
    came: dict[str, tuple[int, int]] = {}
    for body in service.store.videos.all().values():
        if body["status"] != "removed" and "submitted_at" in body:
            day = f"{datetime.fromisoformat(body['submitted_at']):%Y-%m-%d}"
            videos, clips = came.get(day, (0, 0))
            came[day] = (videos + 1, clips + len(body.get("clip_ids") or ()))
    days, videos, clips = [], 0, 0
    for day in sorted(came):
        videos, clips = videos + came[day][0], clips + came[day][1]
        days.append(Day(day=day, videos=videos, clips=clips))
    return days


@router.get("/drift")
def list_alarms(service: Given) -> list[Alarm]:
    """Every alarm of drift, the newest first."""
    alarms = [Alarm.model_validate(body) for body in service.store.alarms.all().values()]
    return sorted(alarms, key=lambda alarm: (alarm.raised_at, alarm.alarm_id), reverse=True)


@router.post("/drift/{alarm_id}/answer", status_code=201, responses=ENTERED)
async def answer_alarm(alarm_id: str, body: Answer, service: Given, response: Response) -> Entered:
    """Answer an alarm: from here on, new footage is compared with the clips that there are now."""
    known = await to_thread.run_sync(service.store.alarms.get, alarm_id)
    if known is None:
        raise NotFound(f"no alarm {alarm_id!r}; GET /curation/drift lists them")
    if known["status"] == "answered":
        raise Conflict(f"alarm {alarm_id} was answered by {known['by']}: {known['reason']}")
    record = DriftAnswered(alarm_id=alarm_id, answered_at=service.clock(), **body.model_dump())
    alarms = service.store.alarms
    return await enter(service, response, record, alarms, alarm_id, lambda alarm: alarm["status"] == "answered")
