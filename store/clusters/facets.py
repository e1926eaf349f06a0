"""Clusters by each modality alone: what looks alike, what sounds alike.

The clips of the joint sample are clustered once more for each modality, by what it adds to the joint space. Each has
numbers and lives of its own. A modality holds no points of clips that the sample does not hold.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from store.clips import ClipTable
from store.clusters.lineage import Event
from store.clusters.rows import CONTROL, vectors_of
from store.clusters.sample import Sample
from store.clusters.space import Space, Vectors
from store.clusters.state import Clusters

Labels = Mapping[str, int | None]
"""Modality to the number of the cluster that a clip is in; None: none. Without a vector it has no entry."""


class Facets:
    """The clusters of each modality; `states` go on from clustering to clustering."""

    def __init__(self, states: Mapping[str, Clusters]) -> None:
        self.states = dict(states)

    @property
    def clip_ids(self) -> set[str]:
        """All clips that the models hold."""
        return {one for state in self.states.values() for one in (*state.sample.ids, *state.model_ids)}

    def settle(self, clips: ClipTable, clusters: Clusters) -> list[tuple[str, Event]]:
        """Cluster the clips of the joint sample by each modality; what happened to which modality's clusters."""
        if clusters.space is None:
            return []
        names = [name for name in clusters.space.modalities if name != CONTROL]
        ids, vectors = vectors_of(clips, clusters.sample.ids, names)
        told: list[tuple[str, Event]] = []
        states: dict[str, Clusters] = {}
        for name in names:
            state = self.states.get(name) or Clusters(options=clusters.options)
            points = clusters.space.project({name: vectors[name]})
            state.sample = _renewed(state.sample, clusters.sample, ids, points)
            state.settled = clusters.settled - 1
            told += [(name, event) for event in state.settle()]
            states[name] = state
        self.states = states
        return told

    def place(self, space: Space, vectors: Vectors) -> Sequence[Labels]:
        """The clusters that clips are in, a row each; none by a modality that is not among their vectors any more."""
        n_clips = len(next(iter(vectors.values()))) if vectors else 0
        labels: list[dict[str, int | None]] = [{} for _ in range(n_clips)]
        for name, state in self.states.items():
            if name not in vectors:
                continue
            points = space.project({name: vectors[name]})
            known = np.flatnonzero(np.isfinite(points).all(axis=1))
            for row, number in zip(known.tolist(), state.place(points[known]).cluster.tolist(), strict=True):
                labels[row][name] = None if number < 0 else number
        return labels

    def own(self) -> dict[str, Labels]:
        """The clusters that the clips of the sample were in when they were clustered last, by clip id."""
        found: dict[str, dict[str, int | None]] = {}
        for name, state in self.states.items():
            for clip_id, number in zip(state.sample.ids, state.own().cluster.tolist(), strict=True):
                found.setdefault(clip_id, {})[name] = None if number < 0 else number
        return dict(found)


def _renewed(before: Sample, joint: Sample, ids: Sequence[str], points: np.ndarray) -> Sample:
    """The clips of the joint sample at their places by one modality, those that were known in the clusters where they
    were."""
    was = dict(zip(before.ids, before.cluster.tolist(), strict=True))
    at = {clip_id: row for row, clip_id in enumerate(joint.ids)}
    rows = np.array([at[clip_id] for clip_id in ids], np.int64)
    chosen = joint.taken(rows)
    cluster = np.array([was.get(clip_id, -1) for clip_id in ids], np.int64)
    whole = Sample(chosen.ids, chosen.order, chosen.threshold, points, cluster, np.zeros(len(ids), np.int64))
    return whole.taken(np.isfinite(points).all(axis=1))
