"""Density clustering of the clips: which cluster, how surely, what fits nowhere, what lies between two.

A pure function of vectors and options: the order of the clips does not matter, and cluster numbers carry over
from an earlier labelling, so that `cluster = 3` goes on meaning the same clips as footage arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from hdbscan import HDBSCAN
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA

from store.errors import InputError
from store.records import ClipCurated, digest

_VERSION = 1
_DENSEST = 3.0
"""A clip counts as at most this many times as dense as the median clip. Chosen: without the limit seven copies of
one static clip lift the GLOSH score of all noise above 0.9 (`test_near_copies_make_no_other_clip_an_outlier`)."""


@dataclass(frozen=True)
class ClusterOptions:
    """How clips are clustered and flagged.

    min_cluster_size: fewest clips that are a cluster. Chosen: a demo's few dozen clips still have clusters.
    min_samples: neighbours that make a point dense; more of them, more noise. Chosen for few clips.
    dimensions: most dimensions of the joint space. 64 kept the noise recall that HDBSCAN loses in 1,024 (.94).
    outlier_score: GLOSH score from which a clip outside every cluster is an outlier.
    boundary_margin: margin below which a clip lies between two clusters. Chosen: distances within a tenth.
    """

    min_cluster_size: int = 5
    min_samples: int = 3
    dimensions: int = 64
    outlier_score: float = 0.9
    boundary_margin: float = 0.1

    @property
    def recipe(self) -> str:
        """Hash of the options and of this module's version."""
        return digest(["clustering", _VERSION, asdict(self)])[:16]


@dataclass(frozen=True)
class Clustering:
    """Where every clip lies.

    clip_ids: in ascending order.
    points: float64 [N, D], the joint space; a row of NaN for a clip without any vector.
    curated: one record per clip, in the same order.
    recipe: hash of the options and of the modalities that the joint space is made of.
    """

    clip_ids: tuple[str, ...]
    points: np.ndarray
    curated: tuple[ClipCurated, ...]
    recipe: str


def cluster(
    clip_ids: Sequence[str],
    vectors: Mapping[str, np.ndarray],
    options: ClusterOptions = ClusterOptions(),
    previous: Mapping[str, int] | None = None,
) -> Clustering:
    """Cluster the clips in the joint space of their vectors (HDBSCAN; Campello et al. 2013).

    A clip without any vector is in no cluster and is not flagged: nothing is known of it. Fewer than two times
    `min_cluster_size` clips make no clusters, and without clusters no clip is flagged.

    Args:
        clip_ids: unique.
        vectors: modality to float [N, D], rows as `clip_ids`; a row with a NaN is missing.
        previous: clip id to cluster of an earlier run; a cluster keeps the number that most of its clips had.

    Raises:
        InputError: ids that repeat, or a modality whose rows are not as many as the ids.
    """
    _check(clip_ids, vectors)
    order = np.argsort(np.asarray(clip_ids, dtype=object), kind="stable")
    ids = tuple(clip_ids[i] for i in order)
    points = np.full((len(ids), 1), np.nan)
    if vectors:
        ordered = {name: np.asarray(rows, np.float64)[order] for name, rows in vectors.items()}
        points = joint_space(ordered, options.dimensions)
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    recipe = digest([options.recipe, sorted(vectors)])[:16]
    curated = [_unplaced(clip_id, recipe) for clip_id in ids]
    for i, place in zip(known, _place(points[known], options), strict=True):
        curated[i] = curated[i].model_copy(update=place)
    numbers = _numbers({c.clip_id: c.cluster for c in curated if c.cluster is not None}, previous or {})
    numbered = tuple(c if c.cluster is None else c.model_copy(update={"cluster": numbers[c.cluster]}) for c in curated)
    return Clustering(ids, points, numbered, recipe)


def joint_space(vectors: Mapping[str, np.ndarray], dimensions: int) -> np.ndarray:
    """One space for several modalities, in which each weighs the same.

    Columns are standardised over the clips that have the modality; each modality is scaled to a mean squared
    length of 1 (as in multiple factor analysis, Escofier and Pages 1994, but by total instead of first-axis
    inertia); principal components keep at most `dimensions`. A missing modality adds nothing, and the clip's
    other modalities are scaled up by sqrt(all / present), so that clips that lack the same modality keep the
    distances that Gower's coefficient (1971) gives them.

    Args:
        vectors: at least one modality; float64 [N, D], a row with a NaN is missing.

    Returns:
        float64 [N, at most `dimensions`]; a row of NaN where every modality is missing.
    """
    blocks, present = [], []
    for name in sorted(vectors):
        has = np.isfinite(vectors[name]).all(axis=1)
        if has.any():
            blocks.append(_standardised(vectors[name], has))
            present.append(has)
    n_clips = len(next(iter(vectors.values())))
    if not blocks:
        return np.full((n_clips, 1), np.nan)
    n_present = np.sum(present, axis=0)
    some = n_present > 0
    wide = np.hstack(blocks)[some] * np.sqrt(len(blocks) / n_present[some])[:, None]
    size = min(dimensions, *wide.shape)
    solver = "full" if wide.shape[0] <= wide.shape[1] else "covariance_eigh"
    points = np.full((n_clips, size), np.nan)
    points[some] = PCA(size, svd_solver=solver).fit_transform(wide) if wide.any() else 0.0
    return points


def _check(clip_ids: Sequence[str], vectors: Mapping[str, np.ndarray]) -> None:
    if len(set(clip_ids)) != len(clip_ids):
        raise InputError(f"{len(clip_ids)} clip ids but only {len(set(clip_ids))} different ones; give every clip once")
    for name, rows in vectors.items():
        if np.ndim(rows) != 2 or len(rows) != len(clip_ids):
            raise InputError(
                f"vectors {name!r} have shape {np.shape(rows)}; expected [{len(clip_ids)}, D], a row per clip id"
            )


def _standardised(rows: np.ndarray, has: np.ndarray) -> np.ndarray:
    """float64 [N, D]: mean 0 and equal spread in every column over the rows that are there, zeros elsewhere."""
    there = rows[has]
    spread = there.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1.0, np.abs(there).max(axis=0))
    scaled = np.where(varies, (there - there.mean(axis=0)) / np.where(varies, spread, 1.0), 0.0)
    block = np.zeros(rows.shape)
    block[has] = scaled / np.sqrt(max(1, varies.sum()))
    return block


def _unplaced(clip_id: str, recipe: str) -> ClipCurated:
    return ClipCurated(
        clip_id=clip_id,
        cluster=None,
        cluster_probability=0.0,
        outlier_score=0.0,
        is_outlier=False,
        margin=None,
        is_boundary=False,
        recipe=recipe,
    )


def _place(points: np.ndarray, options: ClusterOptions) -> list[dict[str, object]]:
    """For each of points (float64 [N, D], no NaN) the fields of `ClipCurated` that say where it lies."""
    if len(points) == 0:
        return []
    # Copies of one clip are one point: HDBSCAN divides by their distance, and ten copies are no cluster.
    single, copy_of = np.unique(points.round(9), axis=0, return_inverse=True)
    if len(single) < 2 * options.min_cluster_size:
        return [{} for _ in points]
    model = HDBSCAN(
        min_cluster_size=options.min_cluster_size,
        min_samples=options.min_samples,
        algorithm="boruvka_kdtree",
        approx_min_span_tree=False,
        core_dist_n_jobs=1,
        prediction_data=True,
    ).fit(single)
    scores = _glosh(model.condensed_tree_.to_numpy(), len(single))
    margins = _margins(single, model.labels_, model.exemplars_)
    any_cluster = bool((model.labels_ >= 0).any())
    places: list[dict[str, object]] = []
    for i in copy_of.ravel():
        label, score = int(model.labels_[i]), float(scores[i])
        margin = None if margins is None else float(margins[i])
        is_outlier = any_cluster and label < 0 and score >= options.outlier_score
        places.append(
            {
                "cluster": None if label < 0 else label,
                "cluster_probability": float(model.probabilities_[i]),
                "outlier_score": score,
                "is_outlier": is_outlier,
                "margin": margin,
                "is_boundary": margin is not None and margin < options.boundary_margin and not is_outlier,
            }
        )
    return places


def _glosh(tree: np.ndarray, n_points: int) -> np.ndarray:
    """GLOSH scores (Campello et al. 2015) with the density limited to `_DENSEST` times the median.

    Args:
        tree: HDBSCAN's condensed tree; clusters are numbered from `n_points`, parents before children.

    Returns:
        float64 [N] in [0, 1]: 1 - (density at which the clip leaves) / (greatest density in what it leaves).
    """
    leaves = tree[tree["child"] < n_points]
    density = np.minimum(leaves["lambda_val"], _DENSEST * np.median(leaves["lambda_val"]))
    greatest = np.zeros(int(tree["parent"].max()) + 1)
    np.maximum.at(greatest, leaves["parent"], density)
    for row in tree[tree["child"] >= n_points][::-1]:
        greatest[row["parent"]] = max(greatest[row["parent"]], greatest[row["child"]])
    scores = np.empty(n_points)
    scores[leaves["child"]] = 1.0 - density / greatest[leaves["parent"]]
    return scores


def _margins(points: np.ndarray, labels: np.ndarray, exemplars: Sequence[np.ndarray]) -> np.ndarray | None:
    """How much nearer each point is to its own cluster than to the next: (next - own) / next.

    A simplified silhouette (Rousseeuw 1987) over HDBSCAN's exemplars, the densest points of each cluster; the
    own cluster of noise is the nearest one. A clip nearer to another cluster's exemplars has 0.

    Returns:
        float64 [N] in [0, 1], or None with fewer than two clusters.
    """
    if len(exemplars) < 2:
        return None
    distances = np.stack([cKDTree(rows).query(points)[0] for rows in exemplars], axis=1)
    own = np.where(labels >= 0, labels, distances.argmin(axis=1))
    at = np.arange(len(points))
    own_distance = distances[at, own]
    distances[at, own] = np.inf
    next_distance = distances.min(axis=1)
    return np.clip((next_distance - own_distance) / np.maximum(next_distance, 1e-12), 0.0, 1.0)


def _numbers(labels: Mapping[str, int], previous: Mapping[str, int]) -> dict[int, int]:
    """Label of this run to cluster number.

    Pairs of new and old cluster are matched greedily by the number of clips in common; what is left over gets
    numbers above all earlier ones, by smallest clip id.
    """
    first: dict[int, str] = {}
    common: dict[tuple[int, int], int] = {}
    for clip_id in sorted(labels):
        label = labels[clip_id]
        first.setdefault(label, clip_id)
        if clip_id in previous:
            pair = (label, previous[clip_id])
            common[pair] = common.get(pair, 0) + 1
    numbers: dict[int, int] = {}
    for label, number in sorted(common, key=lambda pair: (-common[pair], pair[1], first[pair[0]])):
        if label not in numbers and number not in numbers.values():
            numbers[label] = number
    fresh = max(previous.values(), default=-1) + 1
    for label in sorted(first, key=first.__getitem__):
        if label not in numbers:
            numbers[label] = fresh
            fresh += 1
    return numbers
