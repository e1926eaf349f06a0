"""Points of known clusters."""

import numpy as np

from store.clusters.options import ClusterOptions
from store.clusters.sample import Sample
from store.clusters.state import Clusters


def blobs(
    sizes: list[int], d: int = 16, n_noise: int = 0, seed: int = 0, gap: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [N, d] of Gaussian clusters with standard deviations from 0.5 to 1.5, and their labels; -1 is
    noise. Clusters come one after another."""
    drawn = np.random.default_rng(seed)
    centres = drawn.normal(0, gap, (len(sizes), d))
    parts = [drawn.normal(centre, drawn.uniform(0.5, 1.5), (n, d)) for centre, n in zip(centres, sizes, strict=True)]
    noise = drawn.normal(0, 1.5 * gap, (n_noise, d))
    label = np.repeat([*range(len(sizes)), -1], [*sizes, n_noise])
    return np.vstack([*parts, noise]).astype(np.float32), label


def names(n: int, first: int = 0) -> list[str]:
    return [f"clip{row:06d}" for row in range(first, first + n)]


def started(points: np.ndarray, options: ClusterOptions) -> Clusters:
    """A state without clips, of points that are in their space already."""
    return Clusters(options=options, sample=Sample.empty(points.shape[1]))


def maintained(points: np.ndarray, order: np.ndarray, options: ClusterOptions, at_once: int = 200) -> Clusters:
    """The state after the points came in this order."""
    clusters = started(points, options)
    for first in range(0, len(points), at_once):
        rows = order[first : first + at_once]
        clusters.add([f"clip{row:06d}" for row in rows], points[rows])
        if clusters.is_due:
            clusters.settle()
    clusters.settle()
    return clusters
