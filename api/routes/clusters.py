"""Clusters: which there are, what they hold, what became of them, and why a clip lies where it lies."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.bodies import problems
from api.service import Given
from store.clips import ClipTable
from store.clusters.explain import explain, lineage, living, telling_terms
from store.errors import NotFound
from store.membership import attributes_of

router = APIRouter(tags=["clusters"])

_EXAMPLES = 8
_TERMS = 6
Modality = Annotated[
    str, Query(description="`joint`: all modalities together; or a vector column: by what looks, or sounds, alike")
]
Few = Annotated[int, Query(ge=1, le=50, description="How many of the nearest to tell of")]


class ClusterEvent(BaseModel):
    """Something that happened to a cluster; `other` is what it split off from or was merged into."""

    event_id: str
    modality: str
    """`joint`, or the vector column that it is a cluster of."""
    kind: Literal["born", "split", "merged", "died"]
    cluster: int
    other: int | None
    n_clips: int
    settled: int
    """How many times the clips had been clustered then."""
    by: str
    """`clustering`, or `people` who asked for it on record."""


class Cluster(BaseModel):
    """A cluster that lives."""

    cluster: int
    n_clips: int
    n_boundary: int
    """Of these, clips that lie next to another cluster as well."""
    came: Literal["born", "split"]
    split_from: int | None


class ClusterList(BaseModel):
    """Every cluster of a modality that lives, the largest first, and what is in none."""

    clusters: list[Cluster]
    n_noise: int
    """Clips in no cluster."""
    n_outliers: int
    """Clips that fit nowhere in the joint space."""
    n_waiting: int
    """Annotated clips that were not placed yet."""


class Term(BaseModel):
    """A term that a share of the clips has."""

    attribute: str
    term: str
    share: float


class ClusterDetail(BaseModel):
    """One cluster."""

    cluster: Cluster
    terms: list[Term]
    """What most of its clips share."""
    examples: list[str]
    """Clips that are surest to belong to it."""
    events: list[ClusterEvent]
    """All that happened to it, and to others through it."""


class Neighbour(BaseModel):
    """A clip of the sample that is clustered. reach: mutual reachability, which decides; distance: the bare one."""

    clip_id: str
    cluster: int | None
    distance: float
    reach: float


class Towards(BaseModel):
    """How far the densest clips of a cluster are."""

    cluster: int
    distance: float


class Neighbourhood(BaseModel):
    """Why a clip lies where it lies: the nearest clips, and the nearest clusters."""

    clip_id: str
    neighbours: list[Neighbour]
    to_clusters: list[Towards]


@router.get("/clusters")
def list_clusters(service: Given, modality: Modality = "joint") -> ClusterList:
    """Every cluster that lives."""
    clips = service.store.clips
    alive = living(service.store.cluster_events.all(), modality)
    sizes, n_noise = _sizes(clips, modality)
    boundary = clips.counts("cluster", "is_boundary") if modality == "joint" else {}
    told = [
        Cluster(
            cluster=number,
            n_clips=sizes.get(number, 0),
            n_boundary=boundary.get(number, 0),
            came=event["kind"],
            split_from=event["other"],
        )
        for number, event in alive.items()
    ]
    return ClusterList(
        clusters=sorted(told, key=lambda one: (-one.n_clips, one.cluster)),
        n_noise=n_noise,
        n_outliers=clips.count("is_outlier"),
        n_waiting=clips.count("stage = 'densified' AND settled IS NULL"),
    )


def _sizes(clips: ClipTable, modality: str) -> tuple[Mapping[int, int], int]:
    """Clips by cluster, and in none."""
    if modality == "joint":
        return clips.counts("cluster"), clips.count("cluster IS NULL AND settled IS NOT NULL")
    rows = clips.select("by_modality IS NOT NULL", columns=["by_modality"])
    found = Counter(row["by_modality"][modality] for row in rows if modality in row["by_modality"])
    return found, found.pop(None, 0)


@router.get("/clusters/events")
def list_events(service: Given) -> list[ClusterEvent]:
    """Births, deaths, merges and splits, in order of time."""
    events = service.store.cluster_events.all().values()
    ordered = sorted(events, key=lambda body: (body["settled"], body["event_id"]))
    return [ClusterEvent.model_validate(body, extra="ignore") for body in ordered]


@router.get("/clusters/{number}", responses=problems(404))
def show_cluster(number: int, service: Given) -> ClusterDetail:
    """One cluster: what its clips share, the surest of them, and what became of it."""
    listed = list_clusters(service)
    found = next((one for one in listed.clusters if one.cluster == number), None)
    events = lineage(service.store.cluster_events.all(), number)
    if found is None:
        ended = next((body for body in reversed(events) if body["cluster"] == number), None)
        fate = (
            f"it {ended['kind']}" + (f" into {ended['other']}" if ended["other"] is not None else "") if ended else ""
        )
        there = ", ".join(str(one.cluster) for one in listed.clusters) or "none"
        raise NotFound(f"no cluster {number} lives{': ' + fate if fate else ''}; there are: {there}")
    clips = service.store.clips
    where = f"cluster = {number}"
    rows = clips.select(where, columns=["cluster_probability"])
    surest = sorted(rows, key=lambda row: (-row["cluster_probability"], row["clip_id"]))[:_EXAMPLES]
    return ClusterDetail(
        cluster=found,
        terms=[Term(**one) for one in telling_terms(clips, attributes_of(clips), where, _TERMS)],
        examples=[row["clip_id"] for row in surest],
        events=[ClusterEvent.model_validate(body, extra="ignore") for body in events],
    )


@router.get("/clips/{clip_id}/neighbourhood", responses=problems(404))
def show_neighbourhood(clip_id: str, service: Given, limit: Few = 8) -> Neighbourhood:
    """Why a clip lies in its cluster, or in none: its nearest clips and clusters, with the distances that decided."""
    found = explain(service.store.clips, service.clusters.clusters(), clip_id, limit)
    return Neighbourhood(
        clip_id=clip_id,
        neighbours=[Neighbour(**vars(one)) for one in found.neighbours],
        to_clusters=[Towards(cluster=number, distance=distance) for number, distance in found.to_clusters],
    )
