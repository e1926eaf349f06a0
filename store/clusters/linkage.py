"""Single linkage of weighted points by mutual reachability: the first half of HDBSCAN (Campello et al. 2013).

The minimum spanning tree is exact: Boruvka's rounds over lists of near neighbours, and a look at every point where the
list cannot tell (the bound of March et al. 2010, without their trees, which do not help in 64 dimensions).
"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

_LIST = 64
"""Neighbours that are listed per point. Chosen: with 16 a spanning tree looks at every point 1.6 times as long."""
_AT_ONCE = 2_000
"""Rows of a block of distances. Chosen: with 12,000 points a block is 96 MB."""
_LEAST = 1e-9
"""Distances are at least this, so that densities are finite."""


def neighbours(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of the other points, nearest first.

    Args:
        points: float32 [N, D], N >= 2, no two the same.

    Returns:
        distances float64 [N, K] and indices [N, K], K = min(64, N - 1).
    """
    k = min(_LIST, len(points) - 1)
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors()
    return found[0].astype(np.float64), found[1]


def core_distances(distances: np.ndarray, masses: np.ndarray, mass: float) -> np.ndarray:
    """Distance within which the neighbours stand for `mass` clips: the k-th neighbour's where each stands for one.

    Args:
        distances: float64 [N, K], ascending. masses: float64 [N, K], clips that each neighbour stands for.

    Returns:
        float64 [N]; of the last neighbour where all of them are fewer.
    """
    enough = np.cumsum(masses, axis=1) >= mass - 1e-9
    at = np.where(enough.any(axis=1), enough.argmax(axis=1), distances.shape[1] - 1)
    return np.maximum(distances[np.arange(len(distances)), at], _LEAST)


def spanning_tree(
    points: np.ndarray, near: tuple[np.ndarray, np.ndarray], core: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimum spanning tree of the mutual reachability distances max(core a, core b, distance).

    Args:
        points: float32 [N, D]. near: what `neighbours` gave. core: float64 [N].

    Returns:
        edges int64 [N - 1, 2] and their lengths float64 [N - 1], shortest first.
    """
    outward = _Outward(points, near, core)
    component = np.arange(len(points))
    edges: list[tuple[int, int]] = []
    lengths: list[float] = []
    while component.max() > 0:
        target, length = outward.shortest(component)
        component = _join(component, target, length, edges, lengths)
    order = np.argsort(np.array(lengths), kind="stable")
    return np.array(edges, np.int64).reshape(-1, 2)[order], np.array(lengths)[order]


def _join(
    component: np.ndarray, target: np.ndarray, length: np.ndarray, edges: list[tuple[int, int]], lengths: list[float]
) -> np.ndarray:
    """Join each component by its shortest edge; adds the edges, returns the components, numbered from 0."""
    points = np.arange(len(component))
    low, high = np.minimum(points, target), np.maximum(points, target)
    order = np.lexsort((high, low, length, component))
    first = order[np.r_[True, np.diff(component[order]) > 0]]
    root = list(range(int(component.max()) + 1))
    for point in first[np.lexsort((high[first], low[first], length[first]))].tolist():
        own, other = _find(root, int(component[point])), _find(root, int(component[target[point]]))
        if own != other:
            root[own] = other
            edges.append((point, int(target[point])))
            lengths.append(float(length[point]))
    joined = np.array([_find(root, number) for number in range(len(root))])
    return np.unique(joined[component], return_inverse=True)[1].ravel()


def _find(root: list[int], number: int) -> int:
    while root[number] != number:
        root[number] = root[root[number]]
        number = root[number]
    return number


class _Outward:
    """The shortest way from each component to another one, from round to round."""

    def __init__(self, points: np.ndarray, near: tuple[np.ndarray, np.ndarray], core: np.ndarray) -> None:
        distances, self._listed = near
        self._points = points
        self._core = core
        self._squares = np.einsum("nd,nd->n", points, points)
        self._reach = np.maximum(np.maximum(core[:, None], core[self._listed]), distances)
        everyone = distances.shape[1] == len(points) - 1
        # Whoever is not listed is at least this far away.
        self._bound = np.full(len(points), np.inf) if everyone else np.maximum(core, distances[:, -1])
        self._looked = np.full(len(points), -1)

    def shortest(self, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every point a point of another component and the way there, int64 [N] and float64 [N]; right for the
        point of each component from which the way is shortest."""
        rows = np.arange(len(component))
        outside = component[self._listed] != component[:, None]
        ways = np.where(outside, self._reach, np.inf)
        best = ways.argmin(axis=1)
        target, length = self._listed[rows, best], ways[rows, best]
        # Where all were looked at and the nearest outside still is outside, the way is known.
        known = (self._looked >= 0) & (component[self._looked] != component)
        nearer = known & (self._bound < length)
        target, length = np.where(nearer, self._looked, target), np.where(nearer, self._bound, length)
        unsure = np.where(known, np.inf, self._bound)
        shortest = np.full(int(component.max()) + 1, np.inf)
        np.minimum.at(shortest, component, length)
        while len(asked := np.flatnonzero(unsure < shortest[component])):
            asked = asked[np.argsort(unsure[asked], kind="stable")][:_AT_ONCE]
            found, way = self._look(asked, component)
            self._looked[asked], self._bound[asked], unsure[asked] = found, way, np.inf
            nearer_now = way < length[asked]
            target[asked[nearer_now]], length[asked[nearer_now]] = found[nearer_now], way[nearer_now]
            np.minimum.at(shortest, component[asked], way)
        return target, length

    def _look(self, asked: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest point outside its component for each of those asked for, of all points, and the way there."""
        squared = self._squares[asked, None] + self._squares - 2.0 * (self._points[asked] @ self._points.T)
        ways = np.sqrt(np.maximum(squared, 0.0))
        np.maximum(ways, self._core.astype(np.float32), out=ways)
        ways[component[asked, None] == component] = np.inf
        found = ways.argmin(axis=1)
        apart = np.linalg.norm((self._points[asked] - self._points[found]).astype(np.float64), axis=1)
        return found, np.maximum(np.maximum(self._core[asked], self._core[found]), apart)
