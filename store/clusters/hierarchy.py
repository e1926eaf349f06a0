"""The cluster hierarchy of a single linkage: the second half of HDBSCAN (Campello et al. 2013), for weighted points.

Density is 1 / distance. A branch is a cluster while it stands for enough clips; what splits off with fewer has left it.
Of nested clusters those are selected that have the greatest excess of mass, the whole never being one.
"""

from dataclasses import dataclass

import numpy as np

_DENSEST = 3.0
"""A point counts as at most this many times as dense as the median point. Chosen: without the limit seven copies of
one static clip lift the GLOSH score of all noise above 0.9 (`test_near_copies_make_no_other_clip_an_outlier`)."""


@dataclass(frozen=True)
class Hierarchy:
    """Branches from the whole (0) to the leaves, parents before children.

    parent: int64 [B], -1 for the whole. birth: float64 [B], density at which it split off. mass: float64 [B], clips
    that it stood for then. branch: int64 [N], the last branch that each point was in. density: float64 [N], at which
    it left it.
    """

    parent: np.ndarray
    birth: np.ndarray
    mass: np.ndarray
    branch: np.ndarray
    density: np.ndarray

    def branch_at(self, branch: np.ndarray, density: np.ndarray) -> np.ndarray:
        """The branch that clips of these densities are in, int64 [M], that lie where `branch` [M] ends."""
        at = branch.copy()
        while (outside := (at > 0) & (self.birth[at] > density)).any():
            at[outside] = self.parent[at[outside]]
        return at

    def greatest(self, densities: np.ndarray) -> np.ndarray:
        """Greatest of the points' densities in each branch with all that splits off from it, float64 [B]."""
        greatest = np.zeros(len(self.parent))
        np.maximum.at(greatest, self.branch, densities)
        for branch in range(len(self.parent) - 1, 0, -1):
            greatest[self.parent[branch]] = max(greatest[self.parent[branch]], greatest[branch])
        return greatest


def limited(densities: np.ndarray) -> np.ndarray:
    """Densities float64 [N], at most three times the median."""
    return np.minimum(densities, _DENSEST * np.median(densities)) if len(densities) else densities


def hierarchy(edges: np.ndarray, lengths: np.ndarray, masses: np.ndarray, least_mass: float, least: int) -> Hierarchy:
    """The hierarchy of a spanning tree.

    Args:
        edges, lengths: see `linkage.spanning_tree`; shortest first.
        masses: float64 [N], clips that each point stands for.
        least_mass: fewest clips that are a cluster. least: and fewest points, since one heavy point shows no density.
    """
    linkage = _Linkage(edges, lengths, masses)
    branches = _Branches(linkage, least_mass - 1e-9, least)
    return branches.grown()


def select(tree: Hierarchy, masses: np.ndarray, split: frozenset[int] = frozenset()) -> np.ndarray:
    """For each branch the cluster (a branch) that it belongs to, int64 [B]; -1: none. Greatest excess of mass.

    Args:
        split: branches that are no cluster, whatever their mass.
    """
    n = len(tree.parent)
    stability = np.bincount(tree.branch, masses * (tree.density - tree.birth[tree.branch]), minlength=n)
    for branch in range(1, n):
        at = tree.parent[branch]
        stability[at] += tree.mass[branch] * (tree.birth[branch] - tree.birth[at])
    chosen = np.zeros(n, bool)
    below = np.zeros(n)
    for branch in range(n - 1, 0, -1):
        chosen[branch] = below[branch] <= stability[branch] and branch not in split
        below[tree.parent[branch]] += stability[branch] if chosen[branch] else below[branch]
    cluster = np.full(n, -1)
    for branch in range(1, n):
        above = cluster[tree.parent[branch]]
        cluster[branch] = above if above >= 0 else branch if chosen[branch] else -1
    return cluster


class _Linkage:
    """Merges of a spanning tree: node N + i joins two nodes at `length[i]`; nodes below N are points."""

    def __init__(self, edges: np.ndarray, lengths: np.ndarray, masses: np.ndarray) -> None:
        self.n_points = len(masses)
        self.length = lengths.tolist()
        self.left: list[int] = []
        self.right: list[int] = []
        self.mass = masses.tolist()
        self.count = [1] * self.n_points
        root = list(range(self.n_points))
        node = list(range(self.n_points))
        for i, (a, b) in enumerate(edges.tolist()):
            while root[a] != a:
                root[a] = root[root[a]]
                a = root[a]
            while root[b] != b:
                root[b] = root[root[b]]
                b = root[b]
            x, y = node[a], node[b]
            self.left.append(x)
            self.right.append(y)
            self.mass.append(self.mass[x] + self.mass[y])
            self.count.append(self.count[x] + self.count[y])
            root[a] = b
            node[b] = self.n_points + i

    @property
    def top(self) -> int:
        """The node that is everything."""
        return self.n_points + len(self.left) - 1

    def parts(self, node: int) -> tuple[int, int, float]:
        """The two nodes that a merge joined, and the density at which it did."""
        i = node - self.n_points
        return self.left[i], self.right[i], 1.0 / self.length[i]

    def points(self, node: int) -> list[int]:
        """The points of a node."""
        found, waiting = [], [node]
        while waiting:
            node = waiting.pop()
            if node < self.n_points:
                found.append(node)
            else:
                waiting += (self.left[node - self.n_points], self.right[node - self.n_points])
        return found


class _Branches:
    """Follows the linkage from the top down, and notes where branches split and where points leave them."""

    def __init__(self, linkage: _Linkage, least_mass: float, least: int) -> None:
        self._linkage = linkage
        self._least_mass = least_mass
        self._least = least
        self._parent, self._birth, self._mass = [-1], [0.0], [linkage.mass[linkage.top]]
        self._branch = np.zeros(linkage.n_points, np.int64)
        self._density = np.zeros(linkage.n_points)

    def grown(self) -> Hierarchy:
        waiting = [(self._linkage.top, 0)]
        while waiting:
            waiting += self._follow(*waiting.pop())
        numbers = (np.array(self._parent), np.array(self._birth), np.array(self._mass))
        return Hierarchy(*numbers, self._branch, self._density)

    def _follow(self, node: int, branch: int) -> list[tuple[int, int]]:
        """Follow a branch to where it ends; the branches that it splits into, with their nodes."""
        while True:
            left, right, density = self._linkage.parts(node)
            large = [one for one in (left, right) if self._is_large(one)]
            if len(large) == 2:
                return [(one, self._split(branch, density, one)) for one in large]
            for one in (left, right):
                if one not in large:
                    points = self._linkage.points(one)
                    self._branch[points], self._density[points] = branch, density
            if not large:
                return []
            node = large[0]

    def _split(self, branch: int, density: float, node: int) -> int:
        self._parent.append(branch)
        self._birth.append(density)
        self._mass.append(self._linkage.mass[node])
        return len(self._parent) - 1

    def _is_large(self, node: int) -> bool:
        return self._linkage.mass[node] >= self._least_mass and self._linkage.count[node] >= self._least
