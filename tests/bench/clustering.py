"""The maintained clustering against a full HDBSCAN of the same data, and what adding to it costs as data grow.

    python -m tests.bench.clustering                 # agreement at 10,000 and 50,000 points
    python -m tests.bench.clustering --sizes 100000  # the full HDBSCAN takes minutes
    python -m tests.bench.clustering --cost          # adding 1,000 to 10,000 and to 1,000,000

Data: `mixture`, 60 Gaussian clusters of unequal size and spread in 64 dimensions; `flat`, the same on planes of 8
dimensions; `chains`, 30 curved lines; each with 5 % noise. Arrival: `random`, or `drift`, cluster after cluster.
Agreement is the adjusted Rand index of all points' labels; the maintained clustering saw each point once.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np
from hdbscan import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from store.clusters.file import state_bytes
from store.clusters.options import ClusterOptions
from store.clusters.sample import Sample
from store.clusters.state import Clusters

DIMENSIONS = 64
OPTIONS = ClusterOptions(min_cluster_size=50, min_cluster_share=0.0)
_AT_ONCE, _ROUNDS = 1000, 20


def mixture(n: int, seed: int = 0, plane: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [n, 64] of Gaussian clusters, on planes of so many dimensions, and their labels; -1 is noise."""
    shape = np.random.default_rng(seed)
    centres = shape.normal(0, 4, (60, DIMENSIONS))
    spread = shape.uniform(0.5, 2, 60)
    share = np.maximum(shape.dirichlet(np.full(60, 1.2)), 0.002)
    planes = shape.normal(size=(60, plane or 1, DIMENSIONS)) / np.sqrt(plane or 1)
    drawn = np.random.default_rng(seed + 1)
    label = drawn.choice(60, n, p=share / share.sum())
    if plane is None:
        around = drawn.normal(size=(n, DIMENSIONS))
    else:
        within = np.einsum("np,npd->nd", drawn.normal(size=(n, plane)), planes[label])
        around = within + 0.05 * drawn.normal(size=(n, DIMENSIONS))
    return _with_noise(centres[label] + spread[label, None] * around, label, drawn)


def chains(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [n, 64] along curved lines, and their labels."""
    drawn = np.random.default_rng(seed)
    start, way, bend = (drawn.normal(size=(30, DIMENSIONS)) for _ in range(3))
    way, bend = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (way, bend))
    thick = drawn.uniform(0.5, 1.5, 30)
    label = drawn.integers(0, 30, n)
    at = drawn.uniform(0, 1, n)[:, None]
    line = 4 * start[label] + 12 * at * way[label] + 4 * np.sin(3 * at) * bend[label]
    return _with_noise(line + 0.15 * thick[label, None] * drawn.normal(size=(n, DIMENSIONS)), label, drawn)


def _with_noise(points: np.ndarray, label: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    is_noise = drawn.random(len(points)) < 0.05
    points[is_noise] = drawn.normal(0, 5, (is_noise.sum(), DIMENSIONS))
    return points.astype(np.float32), np.where(is_noise, -1, label)


DATA: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "mixture": mixture,
    "flat": lambda n: mixture(n, plane=8),
    "chains": chains,
}


def arrival(label: np.ndarray, order: str) -> np.ndarray:
    """Indices in order of arrival: `random`, or `drift`: clusters one after another, with some overlap."""
    drawn = np.random.default_rng(2)
    if order == "random":
        return drawn.permutation(len(label))
    at = np.where(label < 0, drawn.uniform(0, label.max() + 1, len(label)), label + drawn.uniform(-1, 2, len(label)))
    return np.argsort(at, kind="stable")


def maintained(points: np.ndarray, order: np.ndarray, options: ClusterOptions = OPTIONS) -> tuple[Clusters, np.ndarray]:
    """The state after all points came in this order, and the label of every point."""
    clusters = empty(options)
    for first in range(0, len(points), _AT_ONCE):
        add(clusters, order[first : first + _AT_ONCE], points)
    clusters.settle()
    parts = (points[first : first + 4 * _AT_ONCE] for first in range(0, len(points), 4 * _AT_ONCE))
    return clusters, np.concatenate([clusters.place(part).cluster for part in parts])


def empty(options: ClusterOptions = OPTIONS) -> Clusters:
    """A state without clips, of points that are in their space already."""
    return Clusters(options=options, sample=Sample.empty(DIMENSIONS))


def add(clusters: Clusters, rows: np.ndarray, points: np.ndarray) -> None:
    """Let points come."""
    clusters.add([f"{row:08d}" for row in rows], points[rows])
    if clusters.is_due:
        clusters.settle()


def _agreement(names: list[str], sizes: list[int]) -> Iterator[str]:
    yield "data      n        order    clusters  sample  ARI to full  to truth      full to truth  noise recall full  s"
    for name in names:
        for n in sizes:
            points, truth = DATA[name](n)
            started = time.perf_counter()
            full = HDBSCAN(min_cluster_size=50, min_samples=10, core_dist_n_jobs=1).fit(points).labels_
            full_s = time.perf_counter() - started
            for order in ("random", "drift"):
                started = time.perf_counter()
                clusters, labels = maintained(points, arrival(truth, order))
                took_s = time.perf_counter() - started
                agreed = [adjusted_rand_score(*pair) for pair in ((full, labels), (truth, labels), (truth, full))]
                recall = [(one[truth < 0] < 0).mean() for one in (labels, full)]
                yield (
                    f"{name:9} {n:<8} {order:8} {len(clusters.numbers):<9} {len(clusters.sample):<7} {agreed[0]:<12.4f}"
                    f" {agreed[1]:<13.4f} {agreed[2]:<14.4f} {recall[0]:<13.3f} {recall[1]:<5.3f}"
                    f" {took_s:.0f} ({full_s:.0f})"
                )


def _cost(sizes: list[int]) -> Iterator[str]:
    """What adding 1,000 points costs: the mean of the next 20 thousands, settling included."""
    clusters, came = empty(), 0

    def thousand() -> None:
        nonlocal came
        clusters.add([f"{came + row:08d}" for row in range(_AT_ONCE)], mixture_part(came)[0])
        came += _AT_ONCE
        if clusters.is_due:
            clusters.settle()

    yield "n          s per 1,000  settled  sample  state MB  peak RSS MB"
    for n in sizes:
        while came < n:
            thousand()
        settled, started = clusters.settled, time.perf_counter()
        for _ in range(_ROUNDS):
            thousand()
        took_s = (time.perf_counter() - started) / _ROUNDS
        size_mb = len(state_bytes(clusters, {})) / 1e6
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        yield (
            f"{n:<10} {took_s:<12.2f} {clusters.settled - settled:<8} {len(clusters.sample):<7} {size_mb:<9.1f}"
            f" {peak_mb:.0f}"
        )


def mixture_part(at: int) -> tuple[np.ndarray, np.ndarray]:
    """The thousand points of one mixture that come after `at` of them."""
    shape = np.random.default_rng(0)
    centres = shape.normal(0, 4, (60, DIMENSIONS))
    spread = shape.uniform(0.5, 2, 60)
    drawn = np.random.default_rng(1000 + at)
    label = drawn.integers(0, 60, _AT_ONCE)
    around = drawn.normal(size=(_AT_ONCE, DIMENSIONS))
    return _with_noise(centres[label] + spread[label, None] * around, label, drawn)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=sorted(DATA))
    parser.add_argument("--cost", action="store_true", help="what adding costs, instead of agreement")
    parsed = parser.parse_args()
    lines = _cost([10_000, 100_000, 1_000_000]) if parsed.cost else _agreement(parsed.data, parsed.sizes)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
