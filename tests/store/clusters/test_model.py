"""The model: HDBSCAN of weighted points, and where other clips lie in it."""

import numpy as np
import pytest
from hdbscan import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from store.clusters.linkage import core_distances, neighbours, spanning_tree
from store.clusters.model import Model
from tests.store.clusters.made_points import blobs


def fitted(points, masses=None, least=5, dense=3):
    return Model.fit(points, np.ones(len(points)) if masses is None else masses, least, dense)


def two(seed=0, n=20, spread=0.1):
    drawn = np.random.default_rng(seed)
    return np.vstack([drawn.normal(0, spread, (n, 3)), drawn.normal(5, spread, (n, 3))]).astype(np.float32)


@pytest.mark.parametrize("d", [2, 16, 64])
def test_it_is_hdbscan_where_every_point_stands_for_one_clip(d):
    points, _ = blobs([200, 120, 60, 30, 300], d=d, n_noise=50, gap=3.0)
    theirs = HDBSCAN(min_cluster_size=15, min_samples=5, approx_min_span_tree=False).fit(points)
    ours = fitted(points, least=15, dense=5)
    assert adjusted_rand_score(theirs.labels_, ours.labels) > 0.99  # ties are broken otherwise
    # They divide by the cluster's own greatest density; ours is limited to three times the median.
    both = (theirs.probabilities_ < 1) & (ours.own().probability < 1)
    assert np.corrcoef(theirs.probabilities_[both], ours.own().probability[both])[0, 1] > 0.9


def test_the_spanning_tree_is_as_short_as_prims():
    points, _ = blobs([150, 100], d=32, n_noise=30)
    near = neighbours(points)
    core = core_distances(near[0], np.ones_like(near[0]), 5)
    edges, lengths = spanning_tree(points, near, core)
    theirs = HDBSCAN(min_cluster_size=5, min_samples=5, algorithm="prims_kdtree", gen_min_span_tree=True).fit(points)
    assert len(edges) == len(points) - 1
    assert lengths.sum() == pytest.approx(theirs.minimum_spanning_tree_.to_numpy()[:, 2].sum(), rel=1e-5)
    assert (np.diff(lengths) >= 0).all()


def test_a_heavy_point_is_as_dense_as_the_clips_that_it_stands_for_and_no_cluster_alone():
    points, _label = blobs([400, 400], n_noise=40)
    kept = np.r_[0:800:8, 800:840]
    masses = np.where(kept < 800, 8.0, 1.0)
    thinned = fitted(points[kept], masses, least=20, dense=5)
    assert thinned.n_clusters == 2
    assert (thinned.labels[masses == 1] < 0).mean() > 0.8
    lonely = np.vstack([points[:400], [[30.0] * 16]]).astype(np.float32)
    heavy = fitted(lonely, np.r_[np.ones(400), 100.0], least=20, dense=5)
    assert heavy.labels[-1] < 0


def test_a_point_is_placed_where_it_lies_and_a_stray_nowhere():
    points, _label = blobs([200, 150, 100], n_noise=30)
    model = fitted(points, least=10, dense=5)
    assert (model.place(points + 1e-4).cluster == model.labels).mean() > 0.99
    stray = model.place(np.full((1, 16), 40.0, np.float32))
    assert stray.cluster[0] == -1
    assert stray.outlier_score[0] > 0.9
    assert stray.probability[0] == 0.0


def test_the_margin_is_small_half_way_between_two_clusters_and_large_inside():
    model = fitted(two())
    assert model.n_clusters == 2
    between = model.place(np.full((1, 3), 2.5, np.float32))
    assert between.margin[0] < 0.1
    assert {int(between.nearest[0]), int(between.next_cluster[0])} == {0, 1}
    assert (model.own().margin > 0.8).all()


def test_with_one_cluster_or_none_there_is_no_margin():
    cloud = np.random.default_rng(3).normal(0, 1, (60, 8)).astype(np.float32)
    model = fitted(cloud)
    assert model.n_clusters == 0
    assert np.isnan(model.own().margin).all()
    assert (model.own().next_cluster == -1).all()


def test_near_copies_make_no_other_clip_an_outlier():
    drawn = np.random.default_rng(0)
    loose = np.vstack([drawn.normal(0, 1, (40, 8)), drawn.normal(6, 1, (40, 8)), drawn.normal(3, 2.5, (10, 8))])
    copies = np.full((7, 8), 9.0) + drawn.normal(0, 1e-4, (7, 8))
    own = fitted(np.vstack([loose, copies]).astype(np.float32)).own()
    assert ((own.cluster[:90] < 0) & (own.outlier_score[:90] < 0.9)).any()
    assert not ((own.cluster[:80] < 0) & (own.outlier_score[:80] >= 0.9)).any()


def test_clusters_of_unequal_density_are_all_found():
    drawn = np.random.default_rng(7)
    points = np.vstack([drawn.normal(at, spread, (30, 3)) for at, spread in ((0, 0.05), (10, 0.5), (30, 2.0))])
    labels = fitted(points.astype(np.float32)).labels
    groups = [set(labels[first : first + 30].tolist()) - {-1} for first in (0, 30, 60)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_the_order_of_the_points_changes_nothing_but_numbers():
    points, _ = blobs([80, 60, 40], n_noise=20)
    shuffled = np.random.default_rng(4).permutation(len(points))
    straight, mixed = fitted(points), fitted(points[shuffled])
    assert adjusted_rand_score(straight.labels[shuffled], mixed.labels) == 1.0
    np.testing.assert_allclose(straight.own().outlier_score[shuffled], mixed.own().outlier_score, atol=1e-6)


def test_points_that_are_told_apart_are_in_different_clusters_and_joined_ones_are_one():
    drawn = np.random.default_rng(5)
    # Two clouds that touch: one cluster by their mass, two where a person says so.
    points = np.vstack([drawn.normal(0, 1, (100, 2)), drawn.normal(4.4, 1, (100, 2)), drawn.normal(40, 1, (100, 2))])
    model = fitted(points.astype(np.float32), least=20, dense=10)
    first = int(model.labels[0])
    if model.n_clusters == 2:
        halves = model.halves(first)
        assert halves is not None
        model.keep_apart([halves])
    assert model.n_clusters == 3
    of = model.labels
    model.join([np.array([of[0], of[150]])])
    assert model.n_clusters == 2
    assert model.labels[0] == model.labels[150] != model.labels[250]
