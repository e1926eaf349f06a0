"""The state where its file is lost: what the tables say of the sample, its clusters, and their space."""

import numpy as np

from store.clusters.options import ClusterOptions
from store.clusters.rows import matrix_of
from store.clusters.sample import Sample, order_of
from store.clusters.space import Space
from store.clusters.state import Clusters
from store.store import Store

_SAMPLED = "sample_threshold IS NOT NULL"
_NOISE = -1


def rebuilt(store: Store, options: ClusterOptions = ClusterOptions()) -> Clusters:
    """The state as the tables tell it; settle it, and it is what it was."""
    clusters = Clusters(options=options)
    foundations = sorted(store.foundations.all().values(), key=lambda body: body["n_clips"])
    if not foundations:
        return clusters
    clusters.space = Space.from_bytes(store.media.read(foundations[-1]["space_key"]))
    clusters.n_founded = foundations[-1]["n_clips"]
    clusters.n_clips = store.clips.count("settled IS NOT NULL")
    events = [body for body in store.cluster_events.all().values() if body["modality"] == "joint"]
    clusters.next_number = 1 + max((body["cluster"] for body in events), default=-1)
    clusters.apart = tuple(
        sorted(
            (min(body["cluster"], body["other"]), max(body["cluster"], body["other"]))
            for body in events
            if body["kind"] == "split" and body["by"] == "people"
        )
    )
    columns = clusters.space.modalities
    rows = store.clips.select(_SAMPLED, columns=["cluster", "sample_threshold", "settled", *columns])
    clusters.settled = max((known["settled"] for known in (*rows, *events)), default=0)
    points = clusters.space.project({name: matrix_of(rows, name) for name in columns})
    number = np.array([_NOISE if row["cluster"] is None else row["cluster"] for row in rows], np.int64)
    clusters.sample = Sample(
        ids=tuple(row["clip_id"] for row in rows),
        order=np.array([order_of(row["clip_id"]) for row in rows]),
        threshold=np.array([row["sample_threshold"] for row in rows], np.float64),
        points=points,
        cluster=number,
        stratum=np.where(number >= 0, 2 * number, 1),
    )
    clusters.unsettled = len(rows)
    return clusters


def rebuilt_facets(store: Store, clusters: Clusters) -> dict[str, Clusters]:
    """The states of single modalities as the tables tell them, for the joint state that they tell."""
    rows = store.clips.select(_SAMPLED, columns=["by_modality"])
    events = store.cluster_events.all().values()
    states = {}
    for name in sorted({name for row in rows for name in row["by_modality"] or {}}):
        state = Clusters(options=clusters.options)
        state.next_number = 1 + max((body["cluster"] for body in events if body["modality"] == name), default=-1)
        inside = [row for row in rows if name in row["by_modality"]]
        number = [_NOISE if row["by_modality"][name] is None else row["by_modality"][name] for row in inside]
        none = np.zeros(len(inside))
        state.sample = Sample(
            ids=tuple(row["clip_id"] for row in inside),
            order=none,
            threshold=none + 1.0,
            points=np.zeros((len(inside), 1), np.float32),  # where they lie is read when they are clustered
            cluster=np.array(number, np.int64),
            stratum=none.astype(np.int64),
        )
        states[name] = state
    return states
