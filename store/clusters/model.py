"""What a set of weighted points shows: its clusters, and where any clip lies among them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from store.clusters.hierarchy import Hierarchy, hierarchy, limited, select
from store.clusters.linkage import core_distances, neighbours, spanning_tree

_EXEMPLARS = 16
"""Densest points per branch without branches that tell where a cluster is. Chosen."""
_FEWEST = 5
"""Points that a cluster has at the least, whatever they stand for. Chosen."""


@dataclass(frozen=True)
class Places:
    """Where clips lie; arrays of one length M.

    cluster: int64, -1 in none. probability: float64 in [0, 1], of the cluster. outlier_score: float64 in [0, 1],
    GLOSH (Campello et al. 2015). margin: float64 in [0, 1], how much nearer the own cluster is than the next, of
    noise the nearest; NaN with fewer than two clusters. nearest: int64, the own cluster, of noise the nearest; -1:
    there is none. next_cluster: int64, the next one; -1: there is none.
    """

    cluster: np.ndarray
    probability: np.ndarray
    outlier_score: np.ndarray
    margin: np.ndarray
    nearest: np.ndarray
    next_cluster: np.ndarray

    def taken(self, rows: np.ndarray) -> "Places":
        """Of these rows, int64."""
        return Places(*(getattr(self, one.name)[rows] for one in fields(self)))

    def mended(self, other: "Places", rows: np.ndarray) -> "Places":
        """With those of `other` in these rows, a mask."""
        mended = {one.name: getattr(self, one.name).copy() for one in fields(self)}
        for name, values in mended.items():
            values[rows] = getattr(other, name)
        return Places(**mended)


@dataclass(frozen=True)
class Near:
    """A point near a clip. distance: between them; reach: mutual reachability, which decides."""

    index: int
    distance: float
    reach: float


class Model:
    """The clusters of weighted points.

    Args:
        points: float32 [N, D], no two the same. masses: float64 [N], clips that each point stands for.
        core: float64 [N], core distances, within which lie `dense` clips. tree: of the points.
        chosen: int64 [B], for each branch of the tree the one that is its cluster, -1: none.
    """

    def __init__(
        self, points: np.ndarray, masses: np.ndarray, core: np.ndarray, dense: int, tree: Hierarchy, chosen: np.ndarray
    ) -> None:
        self.points = points
        self.masses = masses
        self.core = core
        self.dense = dense
        self.tree = tree
        self._greatest = tree.greatest(limited(tree.density))
        self._finder = NearestNeighbors(algorithm="brute").fit(points)
        self.choose(chosen)

    @classmethod
    def fit(cls, points: np.ndarray, masses: np.ndarray, least_mass: int, dense: int) -> "Model":
        """HDBSCAN's clusters of the points; `least_mass` clips are one at the fewest."""
        near = neighbours(points)
        core = core_distances(near[0], masses[near[1]], dense)
        edges, lengths = spanning_tree(points, near, core)
        tree = hierarchy(edges, lengths, masses, least_mass, min(_FEWEST, least_mass))
        return cls(points, masses, core, dense, tree, select(tree, masses))

    def choose(self, cluster: np.ndarray) -> None:
        """Take these branches, int64 [B], for clusters: for each branch the one that it belongs to, -1: none."""
        self.chosen = cluster
        found, numbers = np.unique(cluster[cluster >= 0], return_inverse=True)
        self._numbers = np.full(len(cluster), -1)
        self._numbers[cluster >= 0] = numbers.ravel()
        self._top = np.array([self._greatest[cluster == one].max() for one in found])
        self._exemplars = [self._exemplars_of(number) for number in range(len(found))]

    def keep_apart(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Let no cluster hold both points of a pair; branches of the hierarchy below take its place."""
        if not pairs:
            return
        split = {branch for a, b in pairs for branch in self._line(a) & self._line(b)}
        self.choose(select(self.tree, self.masses, frozenset(split)))

    def join(self, groups: Sequence[np.ndarray]) -> None:
        """Let the clusters of a group be one."""
        cluster = self.chosen.copy()
        for group in groups:
            if len(group) < 2:
                continue
            # With all that an earlier group joined to one of them.
            inside = np.isin(cluster, cluster[np.isin(self._numbers, group)])
            cluster[inside] = cluster[inside].min()
        self.choose(cluster)

    def halves(self, number: int) -> tuple[int, int] | None:
        """The densest points of the two branches into which a cluster splits first; None where it never does."""
        for branch in np.flatnonzero(self._numbers == number):
            parts = np.flatnonzero(self.tree.parent == branch)
            if len(parts):
                first, second = (self.densest(self._below(int(part))) for part in parts)
                return first, second
        return None

    def densest(self, points: np.ndarray) -> int:
        """The densest of these points, int64 [n], n >= 1."""
        return int(points[self.tree.density[points].argmax()])

    def _below(self, branch: int) -> np.ndarray:
        """The points of a branch and of all that splits off from it."""
        inside = {branch}
        for other in range(branch + 1, len(self.tree.parent)):
            if int(self.tree.parent[other]) in inside:
                inside.add(other)
        return np.flatnonzero(np.isin(self.tree.branch, sorted(inside)))

    def _line(self, point: int) -> set[int]:
        """The branches that a point was in."""
        line, branch = set(), int(self.tree.branch[point])
        while branch >= 0:
            line.add(branch)
            branch = int(self.tree.parent[branch])
        return line

    @property
    def n_clusters(self) -> int:
        """Clusters that were found; they are numbered from 0."""
        return len(self._exemplars)

    @property
    def labels(self) -> np.ndarray:
        """Cluster of every point, int64 [N]; -1 in none."""
        return self._numbers[self.tree.branch]

    def exemplars(self, number: int) -> np.ndarray:
        """Indices of the densest points of a cluster, int64 [E]."""
        return self._exemplars[number]

    def own(self) -> Places:
        """Where the points themselves lie."""
        return self._places(self.points, self.tree.branch, self.tree.density)

    def place(self, points: np.ndarray) -> Places:
        """Where other clips lie, float32 [M, D], as if each were the next point (McInnes et al. 2017)."""
        if not len(points):
            return self._places(points, np.empty(0, np.int64), np.empty(0))
        index, _, reach = self._reach(points)
        nearest = reach.argmin(axis=1)
        rows = np.arange(len(points))
        density = 1.0 / reach[rows, nearest]
        branch = self.tree.branch_at(self.tree.branch[index[rows, nearest]], density)
        return self._places(points, branch, density)

    def near(self, point: np.ndarray, n: int) -> list[Near]:
        """The points nearest to a clip, float32 [D], by mutual reachability."""
        index, distance, reach = (one[0] for one in self._reach(point[None]))
        order = np.lexsort((distance, reach))[:n]
        return [Near(int(index[i]), float(distance[i]), float(reach[i])) for i in order]

    def distances_to_clusters(self, points: np.ndarray) -> np.ndarray:
        """Distance of clips to the nearest exemplar of each cluster, float64 [M, clusters]."""
        columns = [cdist(points, self.points[chosen]).min(axis=1) for chosen in self._exemplars]
        return np.stack(columns, axis=1) if columns else np.empty((len(points), 0))

    def _reach(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k = min(len(self.points), max(2 * self.dense, 32))
        distance, index = self._finder.kneighbors(points, k)
        distance = distance.astype(np.float64)
        core = core_distances(distance, self.masses[index], self.dense)
        return index, distance, np.maximum(np.maximum(core[:, None], self.core[index]), distance)

    def _places(self, points: np.ndarray, branch: np.ndarray, density: np.ndarray) -> Places:
        cluster = self._numbers[branch]
        held = _held(density, self.tree.density)
        score = 1.0 - held / np.maximum(self._greatest[branch], held)
        inside = cluster >= 0
        top = self._top[cluster[inside]]
        probability = np.zeros(len(points))
        probability[inside] = np.minimum(held[inside], top) / top
        return Places(cluster, probability, score, *self._margins(points, cluster))

    def _margins(self, points: np.ndarray, cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(next - own) / next, a simplified silhouette (Rousseeuw 1987) over exemplars; own and next cluster."""
        if self.n_clusters < 2:
            none = np.full(len(points), -1)
            return np.full(len(points), np.nan), none + self.n_clusters, none
        distances = self.distances_to_clusters(points)
        rows = np.arange(len(points))
        own = np.where(cluster >= 0, cluster, distances.argmin(axis=1))
        own_distance = distances[rows, own]
        distances[rows, own] = np.inf
        other = distances.argmin(axis=1)
        next_distance = distances[rows, other]
        return np.clip((next_distance - own_distance) / np.maximum(next_distance, 1e-12), 0.0, 1.0), own, other

    def _exemplars_of(self, number: int) -> np.ndarray:
        """The densest points of each branch of the cluster that splits no further."""
        branches = np.flatnonzero(self._numbers == number)
        ends = [branch for branch in branches if not np.isin(self.tree.parent, branch).any()]
        chosen = []
        for end in ends:
            own = np.flatnonzero(self.tree.branch == end)
            chosen.append(own[np.argsort(-self.tree.density[own], kind="stable")[:_EXEMPLARS]])
        return np.concatenate(chosen)


def _held(densities: np.ndarray, all_densities: np.ndarray) -> np.ndarray:
    """Densities float64 [M] under the limit that those of all points set."""
    return np.minimum(densities, limited(all_densities).max())
