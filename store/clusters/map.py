"""A map of the clips in two dimensions that stays put as clips come.

Landmarks, those of the sample that come first in an order that is as good as random, have their places from t-SNE (van
der Maaten and Hinton 2008). As clips come, new ones take the turn of some. A new one is put between those that it is
nearest to, and nothing else moves. Only when a quarter of them was put so, t-SNE goes on from the places that there
are, and the outcome is turned and moved onto the old map (Procrustes; Gower 1975).
"""

import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from store.clusters.folder import keep, kept
from store.clusters.state import Clusters

_MOST = 1_500
"""Landmarks. Chosen: t-SNE of so many takes 3.4 s, and a picture shows no more."""
_NEW = 0.25
_NEAREST = 5
_LEAST = 4
"""Clips of a map: t-SNE needs more than three."""
_FILE = "map.npz"


@dataclass(frozen=True)
class ClusterMap:
    """Places of clips. ids: of M clips, ascending. places: float32 [M, 2], about 0 with a spread of 1. is_drawn: bool
    [M], by t-SNE; the others were put between those."""

    ids: tuple[str, ...]
    places: np.ndarray
    is_drawn: np.ndarray

    @classmethod
    def empty(cls) -> "ClusterMap":
        """Of no clips."""
        return cls((), np.empty((0, 2), np.float32), np.empty(0, bool))

    def without(self, clip_ids: Collection[str]) -> "ClusterMap":
        """Without these clips; the others stay."""
        kept = [i for i, one in enumerate(self.ids) if one not in clip_ids]
        return ClusterMap(tuple(self.ids[i] for i in kept), self.places[kept], self.is_drawn[kept])


def follow_map(before: ClusterMap, clusters: Clusters) -> ClusterMap:
    """The map of the clips that the sample holds now."""
    sample = clusters.sample
    # By threshold, so that small clusters, of which the sample keeps all, are shown as well as large ones.
    rows = np.sort(np.argsort(sample.order / sample.threshold, kind="stable")[:_MOST])
    if len(rows) < _LEAST:
        return ClusterMap.empty()
    ids, points = tuple(sample.ids[i] for i in rows), sample.points[rows]
    row_of = {clip_id: row for row, clip_id in enumerate(before.ids)}
    was = np.array([row_of.get(clip_id, -1) for clip_id in ids], np.int64)
    known = was >= 0
    if known.sum() < _LEAST:
        return ClusterMap(ids, _scaled(_drawn(points, None)), np.ones(len(ids), bool))
    places = np.zeros((len(ids), 2), np.float32)
    places[known] = before.places[was[known]]
    places[~known] = _between(points, places, known)
    is_drawn = known & before.is_drawn[was]
    if (~is_drawn).sum() <= _NEW * len(ids):
        return ClusterMap(ids, places, is_drawn)
    return ClusterMap(ids, _onto(_scaled(_drawn(points, places)), places, known), np.ones(len(ids), bool))


def _between(points: np.ndarray, places: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Places of those that have none, float32 [n, 2]: means of their nearest, weighted by nearness."""
    if known.all():
        return np.empty((0, 2), np.float32)
    k = min(_NEAREST, int(known.sum()))
    distance, index = NearestNeighbors(n_neighbors=k).fit(points[known]).kneighbors(points[~known])
    weight = 1.0 / np.maximum(distance, 1e-9)
    near = places[known][index]
    return (near * (weight / weight.sum(axis=1, keepdims=True))[:, :, None]).sum(axis=1)


def _drawn(points: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """t-SNE of points, float64 [n, 2]; gently, where it goes on from places that there are."""
    perplexity = min(30.0, (len(points) - 1) / 3.0)
    if start is None:
        model = TSNE(perplexity=perplexity, init="pca" if points.shape[1] > 1 else "random", random_state=0)
    else:
        # t-SNE starts small; the distances between the places are what matters.
        first = start / max(1e-9, float(start.std())) * 10.0
        model = TSNE(perplexity=perplexity, init=first, early_exaggeration=1.0, max_iter=300, random_state=0)
    return model.fit_transform(np.ascontiguousarray(points, np.float32)).astype(np.float64)


def _scaled(drawn: np.ndarray) -> np.ndarray:
    """The drawing about 0 with a spread of 1, float32 [n, 2]."""
    return ((drawn - drawn.mean(axis=0)) / max(1e-9, float(drawn.std()))).astype(np.float32)


def _onto(drawn: np.ndarray, places: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The drawing turned and moved onto the places that there were, float32 [n, 2]."""
    old, new = places[known], drawn[known]
    turn, _ = orthogonal_procrustes(new - new.mean(axis=0), old - old.mean(axis=0))
    return ((drawn - new.mean(axis=0)) @ turn + old.mean(axis=0)).astype(np.float32)


def save_map(folder: Path, drawn: ClusterMap) -> None:
    """Keep the map of the store under `folder`."""
    file = io.BytesIO()
    np.savez(file, ids=np.array(drawn.ids, dtype=str), places=drawn.places, is_drawn=drawn.is_drawn)
    keep(folder, _FILE, file.getvalue())


def load_map(folder: Path) -> ClusterMap:
    """The map of the store under `folder`; an empty one while there is none."""
    path = kept(folder, _FILE)
    if not path.is_file():
        return ClusterMap.empty()
    with np.load(path, allow_pickle=False) as arrays:
        return ClusterMap(tuple(str(one) for one in arrays["ids"]), arrays["places"], arrays["is_drawn"])
