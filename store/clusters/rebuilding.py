"""The state where its file is lost: what the tables say of the sample, its clusters, and their space."""

from contextlib import suppress

import numpy as np

from store.clusters.options import ClusterOptions
from store.clusters.rows import matrix_of
from store.clusters.sample import Sample, order_of
from store.clusters.space import Space
from store.clusters.state import Clusters
from store.errors import InputError
from store.store import Store

_SAMPLED = "sample_threshold IS NOT NULL"
_NOISE = -1


def rebuilt(store: Store, options: ClusterOptions = ClusterOptions()) -> Clusters:
    """The state as the tables tell it; settle it, and it is what it was."""
    clusters = Clusters(options=options)
    foundations = store.foundations.all().values()
    if not foundations:
        return clusters
    # A space may be fitted anew to the clips that were there before: it is the one that they were placed in last.
    placed = store.clips.select(_SAMPLED, columns=["settled", "curation_recipe"])
    last = max(placed, key=lambda row: row["settled"])["curation_recipe"] if placed else None
    foundation = max(foundations, key=lambda body: (body["recipe"] == last, body["n_clips"]))
    clusters.n_founded = foundation["n_clips"]
    clusters.n_clips = store.clips.count("settled IS NOT NULL")
    events = [body for body in store.cluster_events.all().values() if body["modality"] == "joint"]
    clusters.next_number = 1 + max((body["cluster"] for body in events), default=-1)
    space = Space.from_bytes(store.media.read(foundation["space_key"]))
    there = [name for name in space.modalities if name in store.clips.schema.names]
    rows = store.clips.select(_SAMPLED, columns=["cluster", "sample_threshold", "settled", *there])
    clusters.settled = max((known["settled"] for known in (*rows, *events)), default=0)
    points = np.zeros((len(rows), space.size), np.float32)
    # A space that does not fit what clips are measured by now is not taken up: the curator founds another.
    with suppress(InputError):
        if len(there) == len(space.modalities):
            points = space.project({name: matrix_of(rows, name) for name in there})
            clusters.space = space
    number = np.array([_NOISE if row["cluster"] is None else row["cluster"] for row in rows], np.int64)
    splits = [body for body in events if body["kind"] == "split" and body["by"] == "people"]
    splits.sort(key=lambda body: (body["settled"], body["other"]))
    pairs = [(body["other"], *sorted((body["cluster"], body["other"]))) for body in splits]
    # Those that people undid since are forgotten when it is settled.
    clusters.apart = tuple((said, a, b) for said, a, b in pairs if {a, b} <= set(number.tolist()))
    clusters.obeyed = tuple(sorted(body["other"] for body in splits))
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
