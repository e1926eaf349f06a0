"""A map of the clips in two dimensions that stays put as clips come.

Landmarks, a bounded part of the sample, have their places from t-SNE (van der Maaten and Hinton 2008). A new one is put
between those that it is nearest to, and nothing else moves. Only when a quarter of them is new, t-SNE goes on from
the places that there are, and the outcome is turned and moved onto the old map (Procrustes; Gower 1975).
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from store.clusters.folder import FOLDER
from store.clusters.state import Clusters

_MOST = 1_500
"""Landmarks. Chosen: t-SNE of so many takes 6 s, and a picture shows no more."""
_NEW = 0.25
_NEAREST = 5
_FILE = "map.npz"


@dataclass(frozen=True)
class ClusterMap:
    """Places of clips. ids: of M clips, ascending. places: float32 [M, 2], about 0 with a spread of 1. n_drawn: clips
    that had a place when t-SNE ran last."""

    ids: tuple[str, ...]
    places: np.ndarray
    n_drawn: int

    @classmethod
    def empty(cls) -> "ClusterMap":
        """Of no clips."""
        return cls((), np.empty((0, 2), np.float32), 0)

    def without(self, clip_ids: Collection[str]) -> "ClusterMap":
        """Without these clips; the others stay."""
        kept = [i for i, one in enumerate(self.ids) if one not in clip_ids]
        return ClusterMap(tuple(self.ids[i] for i in kept), self.places[kept], self.n_drawn)


def follow_map(before: ClusterMap, clusters: Clusters) -> ClusterMap:
    """The map of the clips that the sample holds now."""
    sample = clusters.sample
    kept = set(before.ids) & set(sample.ids)
    # Whoever has a place keeps it; the others come in an order that is as good as random.
    ranked = sorted(range(len(sample)), key=lambda i: (sample.ids[i] not in kept, sample.order[i]))[:_MOST]
    rows = np.array(sorted(ranked, key=lambda i: sample.ids[i]), np.int64)
    ids, points = tuple(sample.ids[i] for i in rows), sample.points[rows]
    known = np.array([one in kept for one in ids], bool)
    if len(ids) < 4:
        return ClusterMap.empty()
    at = dict(zip(before.ids, before.places, strict=True))
    places = np.zeros((len(ids), 2), np.float32)
    for row in np.flatnonzero(known):
        places[row] = at[ids[row]]
    if known.sum() >= 4:
        places[~known] = _between(points, places, known)
    n_new = len(ids) - min(before.n_drawn, int(known.sum()))
    if n_new <= _NEW * len(ids):
        return ClusterMap(ids, places, before.n_drawn)
    drawn = _drawn(points, places if known.sum() >= 4 else None)
    return ClusterMap(ids, _onto(drawn, places, known), len(ids))


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


def _onto(drawn: np.ndarray, places: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The drawing turned and moved onto the places that there were, float32 [n, 2], with a spread of 1."""
    scaled = (drawn - drawn.mean(axis=0)) / max(1e-9, float(drawn.std()))
    if known.sum() >= 4:
        old = places[known].astype(np.float64)
        new = scaled[known]
        turn, _ = orthogonal_procrustes(new - new.mean(axis=0), old - old.mean(axis=0))
        scaled = (scaled - new.mean(axis=0)) @ turn + old.mean(axis=0)
    return scaled.astype(np.float32)


def save_map(folder: Path, drawn: ClusterMap) -> None:
    """Keep the map of the store under `folder`."""
    path = folder / FOLDER / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as stream:
        np.savez(stream, ids=np.array(drawn.ids, dtype=str), places=drawn.places, n_drawn=np.array(drawn.n_drawn))
    unfinished.replace(path)


def load_map(folder: Path) -> ClusterMap:
    """The map of the store under `folder`; an empty one while there is none."""
    path = folder / FOLDER / _FILE
    if not path.is_file():
        return ClusterMap.empty()
    with np.load(path, allow_pickle=False) as arrays:
        return ClusterMap(tuple(str(one) for one in arrays["ids"]), arrays["places"], int(arrays["n_drawn"]))
