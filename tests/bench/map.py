"""How far the map moves as clips come, and how well it shows what is near.

    python -m tests.bench.map

4,000 clips of sixty clusters come in twenty rounds, in random order and cluster after cluster. Moved: mean distance
between a clip's places before and after, as a share of the map's width. Trustworthiness (Venna and Kaski 2001) of the
map at the end, and of a t-SNE of its clips that begins from nothing.
"""

from itertools import pairwise

import numpy as np
from sklearn.manifold import TSNE, trustworthiness

from store.clusters.map import ClusterMap, follow_map
from store.clusters.options import ClusterOptions
from store.clusters.sample import Sample
from store.clusters.state import Clusters
from tests.bench.clustering import mixture

_CLIPS, _ROUNDS, _NEAREST = 4_000, 20, 10


def maps(points: np.ndarray, order: np.ndarray) -> list[ClusterMap]:
    """The map after each round."""
    clusters = Clusters(options=ClusterOptions(), sample=Sample.empty(points.shape[1]))
    drawn, found = ClusterMap.empty(), []
    for rows in np.array_split(order, _ROUNDS):
        clusters.add([f"clip{row:06d}" for row in rows], points[rows])
        drawn = follow_map(drawn, clusters)
        found.append(drawn)
    return found


def moved(before: ClusterMap, after: ClusterMap) -> float:
    """Mean distance that clips of both moved, as a share of the map's width."""
    at = dict(zip(after.ids, after.places, strict=True))
    both = zip(before.ids, before.places, strict=True)
    return float(np.mean([np.linalg.norm(at[one] - place) for one, place in both if one in at]) / np.ptp(after.places))


def main() -> None:
    """Print what is measured for both orders."""
    points, label = mixture(_CLIPS, seed=3)
    order = np.random.default_rng(1).permutation(_CLIPS)
    for name, arrival in (("random", order), ("drift", order[np.argsort(label[order], kind="stable")])):
        found = maps(points, arrival)
        last = found[-1]
        own = points[[int(one[4:]) for one in last.ids]]
        steps = [moved(before, after) for before, after in pairwise(found[4:])]
        trust = trustworthiness(own, last.places, n_neighbors=_NEAREST)
        fresh = trustworthiness(own, TSNE(init="pca", random_state=0).fit_transform(own), n_neighbors=_NEAREST)
        print(
            f"{name}: moved {np.mean(steps):.3f} a round (at most {max(steps):.3f}),"
            f" {moved(found[9], last):.3f} in ten rounds; trustworthiness {trust:.3f}, afresh {fresh:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
