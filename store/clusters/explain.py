"""Why a clip lies where it lies, and what a cluster is: what the tables and the state say, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from store.clips import ClipTable
from store.clusters.rows import vectors_of
from store.clusters.state import Clusters
from store.records import Json

_ENDS = ("merged", "died")


@dataclass(frozen=True)
class Neighbour:
    """A clip of the sample near another one. distance: in the joint space, where clips are about 1.4 apart for each
    modality; reach: mutual reachability, the distance or the least density of the two, which decides."""

    clip_id: str
    cluster: int | None
    distance: float
    reach: float


@dataclass(frozen=True)
class Explanation:
    """A clip among the others. to_clusters: distance to the densest clips of each of the nearest clusters."""

    neighbours: tuple[Neighbour, ...]
    to_clusters: tuple[tuple[int, float], ...]


def explain(clips: ClipTable, clusters: Clusters, clip_id: str, n: int) -> Explanation:
    """The `n` clips and the `n` clusters that are nearest to a clip; none where it has no vector, or nothing was
    clustered yet.

    Raises:
        NotFound: no such clip.
    """
    clips.get(clip_id)
    if clusters.space is None or clusters.model is None:
        return Explanation((), ())
    _, vectors = vectors_of(clips, [clip_id], clusters.space.modalities)
    point = clusters.space.project(vectors)[0]
    if not np.isfinite(point).all():
        return Explanation((), ())
    near = [(other, found) for other, found in clusters.near(point, n + 1) if other != clip_id][:n]
    labels = dict(zip(clusters.model_ids, np.array([*clusters.numbers, -1])[clusters.model.labels], strict=True))
    told = [
        Neighbour(other, None if labels[other] < 0 else int(labels[other]), found.distance, found.reach)
        for other, found in near
    ]
    away = clusters.model.distances_to_clusters(point[None])[0]
    order = np.argsort(away, kind="stable")[:n]
    return Explanation(tuple(told), tuple((clusters.numbers[i], float(away[i])) for i in order))


def living(events: Mapping[str, Json], modality: str = "joint") -> dict[int, Json]:
    """The event by which each cluster of a modality came that has not ended, by number."""
    own = [body for body in events.values() if body["modality"] == modality]
    ordered = sorted(own, key=lambda body: (body["settled"], body["kind"] in _ENDS))
    alive: dict[int, Json] = {}
    for body in ordered:
        if body["kind"] in _ENDS:
            alive.pop(body["cluster"], None)
        else:
            alive[body["cluster"]] = body
    return alive


def lineage(events: Mapping[str, Json], number: int) -> list[Json]:
    """All that happened to a cluster of the joint space, and to others through it, in order of time."""
    joint = [body for body in events.values() if body["modality"] == "joint"]
    about = [body for body in joint if number in (body["cluster"], body["other"])]
    return sorted(about, key=lambda body: (body["settled"], body["event_id"]))


def telling_terms(clips: ClipTable, attributes: Sequence[str], where: str, n: int) -> list[Json]:
    """The terms that most of the clips of a condition share: attribute, term, share, the largest shares first."""
    total = clips.count(where)
    told = []
    for attribute in attributes:
        for term, count in clips.counts(attribute, where).items():
            if term is not None:
                told.append({"attribute": attribute, "term": term, "share": count / total})
    return sorted(told, key=lambda one: (-one["share"], one["attribute"], one["term"]))[:n]
