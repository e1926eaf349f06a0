"""The state: it agrees with a clustering of everything, stays small, and goes on from a file."""

from pathlib import Path

import numpy as np
import pytest
from hdbscan import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from store.clusters.file import StateReader, load_state, save_state, state_digest
from store.clusters.folder import forget_all
from store.clusters.options import ClusterOptions
from store.clusters.state import Clusters, PeopleSay
from tests.store.clusters.made_points import blobs, maintained, names, started

OPTIONS = ClusterOptions(min_cluster_size=20, min_cluster_share=0.0, capacity=1200)
SIZES = [900, 700, 600, 500, 400, 300, 250, 150, 120, 80, 60, 60]


def arrivals(label, order):
    drawn = np.random.default_rng(3)
    if order == "random":
        return drawn.permutation(len(label))
    at = np.where(label < 0, drawn.uniform(0, 12, len(label)), label + drawn.uniform(-1, 2, len(label)))
    return np.argsort(at, kind="stable")


@pytest.mark.parametrize("order", ["random", "drift"])
def test_it_agrees_with_hdbscan_of_all_clips_though_it_keeps_a_quarter_of_them(order):
    points, label = blobs(SIZES, d=16, n_noise=200)
    clusters = maintained(points, arrivals(label, order), OPTIONS)
    full = HDBSCAN(min_cluster_size=20, min_samples=4, approx_min_span_tree=False).fit(points).labels_
    ours = clusters.place(points).cluster
    assert len(clusters.sample) <= 1200
    assert adjusted_rand_score(full, ours) >= 0.95
    assert adjusted_rand_score(label, ours) >= adjusted_rand_score(label, full) - 0.02
    assert (ours[label < 0] < 0).mean() >= 0.9


def test_memory_does_not_follow_the_number_of_clips(tmp_path):
    sizes = []
    for n in (2000, 8000):
        points, label = blobs([n // 4] * 4, d=8, n_noise=n // 20)
        clusters = maintained(points, arrivals(label, "random"), OPTIONS)
        assert clusters.n_clips == len(points)
        save_state(tmp_path, clusters, {})
        sizes.append((tmp_path / "clustering" / "state.npz").stat().st_size)
    assert sizes[1] < 1.5 * sizes[0]


def test_clusters_keep_their_numbers_as_they_grow_and_new_ones_get_new_numbers():
    points, _label = blobs([300, 300, 300], d=8)
    clusters = started(points, OPTIONS)
    clusters.add(names(600), points[:600])
    born = clusters.settle()
    assert [event.kind for event in born] == ["born", "born"]
    before = clusters.place(points[:600]).cluster
    clusters.add(names(300, 600), points[600:])
    events = clusters.settle()
    assert [(event.kind, event.number) for event in events] == [("born", 2)]
    after = clusters.place(points[:600]).cluster
    assert (before == after).mean() > 0.98


def test_the_same_clips_in_another_order_are_the_same_clusters():
    points, _label = blobs([300, 200, 100], d=8, n_noise=30)
    straight = maintained(points, np.arange(len(points)), OPTIONS)
    mixed = maintained(points, np.random.default_rng(0).permutation(len(points)), OPTIONS)
    assert straight.sample.ids == mixed.sample.ids
    assert adjusted_rand_score(straight.own().cluster, mixed.own().cluster) == 1.0


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_too_few_clips_make_no_cluster(n):
    points = np.random.default_rng(2).normal(0, 1, (n, 3)).astype(np.float32)
    clusters = started(points, ClusterOptions())
    clusters.add(names(n), points)
    assert clusters.settle() == []
    own = clusters.own()
    assert (own.cluster == -1).all()
    assert np.isnan(own.margin).all()


@pytest.mark.filterwarnings("error")
def test_clips_that_are_all_alike_make_no_cluster():
    points = np.ones((30, 4), np.float32)
    clusters = started(points, ClusterOptions())
    clusters.add(names(30), points)
    clusters.settle()
    assert clusters.numbers == ()


def test_copies_of_one_clip_share_its_place():
    drawn = np.random.default_rng(0)
    points = np.vstack(
        [drawn.normal(0, 0.1, (20, 3)), drawn.normal(5, 0.1, (20, 3)), np.tile([[0.0, 0.1, 0.0]], (12, 1))]
    )
    clusters = started(points, ClusterOptions())
    clusters.add(names(52), points.astype(np.float32))
    clusters.settle()
    own = clusters.own()
    assert len(clusters.numbers) == 2
    assert set(own.cluster[40:]) == {own.cluster[0]}
    assert np.isfinite(own.outlier_score).all()


def test_a_clip_that_is_gone_is_in_nothing_that_is_kept():
    points, _ = blobs([40, 40], d=4)
    clusters = maintained(points, np.arange(80), ClusterOptions())
    clusters.remove(["clip000003", "clip000050"])
    clusters.settle()
    assert {"clip000003", "clip000050"}.isdisjoint({*clusters.sample.ids, *clusters.model_ids})
    assert len(clusters.model.points) == 78


def test_it_goes_on_from_its_file_as_if_nothing_had_been(tmp_path: Path):
    points, label = blobs([300, 200, 100], d=8, n_noise=30)
    order = arrivals(label, "random")
    whole = maintained(points, order, ClusterOptions(capacity=200))
    half = started(points, ClusterOptions(capacity=200))
    for first in range(0, len(points), 200):
        rows = order[first : first + 200]
        half.add([f"clip{row:06d}" for row in rows], points[rows])
        if half.is_due:
            half.settle()
        save_state(tmp_path, half, {"noted": first})
        known = load_state(tmp_path, half.options)
        assert known is not None
        half = known.clusters
        assert known.notes == {"noted": first}
    half.settle()
    assert state_digest(half) == state_digest(whole)
    np.testing.assert_array_equal(half.place(points).margin, whole.place(points).margin)


def test_a_file_of_other_options_is_none_and_a_reader_sees_each_new_one(tmp_path: Path):
    points, _ = blobs([40, 40], d=4)
    clusters = maintained(points, np.arange(80), ClusterOptions())
    reader = StateReader(tmp_path)
    assert reader.clusters().model is None
    save_state(tmp_path, clusters, {})
    assert load_state(tmp_path, ClusterOptions(capacity=77)) is None
    assert reader.clusters().numbers == clusters.numbers
    forget_all(tmp_path)
    assert reader.clusters().model is None


def touching() -> tuple[np.ndarray, Clusters]:
    """Two clouds that touch and are one cluster by their mass, and one far away."""
    drawn = np.random.default_rng(5)
    points = np.vstack([drawn.normal(0, 1, (100, 2)), drawn.normal(2.2, 1, (100, 2)), drawn.normal(40, 1, (100, 2))])
    points = points.astype(np.float32)
    clusters = started(points, ClusterOptions(min_cluster_size=30))
    clusters.add(names(300), points)
    clusters.settle()
    return points, clusters


def test_a_cluster_that_a_person_splits_stays_two():
    points, clusters = touching()
    one = int(clusters.place(points[:1]).cluster[0])
    assert len(clusters.numbers) == 2
    events = clusters.settle(PeopleSay(split=(one,)))
    assert [(event.kind, event.other) for event in events] == [("split", one)]
    assert len(clusters.numbers) == 3
    new = events[0].number
    for _ in range(2):
        assert clusters.settle(PeopleSay(split=(one,))) == []
        assert clusters.apart == ((one, min(one, new), max(one, new)),)


def test_a_split_that_is_undone_is_one_cluster_again_and_may_be_split_again():
    points, clusters = touching()
    one = int(clusters.place(points[:1]).cluster[0])
    (split,) = clusters.settle(PeopleSay(split=(one,)))
    (merged,) = clusters.settle()
    assert (merged.kind, {merged.number, merged.other}) == ("merged", {one, split.number})
    assert (clusters.apart, len(clusters.numbers)) == ((), 2)
    assert clusters.settle() == []
    left = int(clusters.place(points[:1]).cluster[0])
    assert [event.kind for event in clusters.settle(PeopleSay(split=(left,)))] == ["split"]


def in_a_row(*places: float) -> tuple[np.ndarray, Clusters]:
    """Clouds at these places of a line, of which those that touch are one cluster by their mass."""
    drawn = np.random.default_rng(5)
    points = np.vstack([drawn.normal([x, 0], 1, (100, 2)) for x in places]).astype(np.float32)
    clusters = started(points, ClusterOptions(min_cluster_size=30))
    clusters.add(names(len(points)), points)
    clusters.settle()
    return points, clusters


def test_what_is_left_of_a_split_whose_other_side_is_gone_stays_whole_until_it_is_said_again():
    points, clusters = in_a_row(0, 2.2, 4.4, 40)
    one = int(clusters.place(points[150:151]).cluster[0])
    assert len(clusters.numbers) == 2
    (split,) = clusters.settle(PeopleSay(split=(one,)))
    for _ in range(2):
        ids, cluster = np.array(clusters.sample.ids), clusters.sample.cluster
        clusters.remove(ids[cluster == split.number].tolist())
        assert clusters.settle(PeopleSay(split=(one,))) == []
        assert one in clusters.numbers
        assert len(clusters.numbers) == 2
    again = clusters.settle(PeopleSay(split=(one, one)))
    assert [(event.kind, event.other) for event in again] == [("split", one)]


def test_halves_that_people_join_are_one_and_two_again_once_that_is_undone():
    points, clusters = touching()
    one = int(clusters.place(points[:1]).cluster[0])
    (split,) = clusters.settle(PeopleSay(split=(one,)))
    both = PeopleSay(joined=((one, split.number),), split=(one,))
    assert [event.kind for event in clusters.settle(both)] == ["merged"]
    assert clusters.settle(both) == []
    assert [event.kind for event in clusters.settle(PeopleSay(split=(one,)))] == ["split"]


@pytest.mark.parametrize("first", [0, 1])
def test_clusters_that_a_person_joins_go_on_under_the_first_number_whichever_is_larger(first):
    points, clusters = touching()
    group = tuple(int(n) for n in clusters.place(points[[0, 250]]).cluster)[:: -1 if first else 1]
    clusters.settle(PeopleSay(joined=(group,)))
    assert clusters.numbers == (group[0],)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_groups_that_share_a_cluster_are_one(order):
    _, clusters = in_a_row(0, 40, 80)
    a, b, c = (clusters.numbers[i] for i in order)
    clusters.settle(PeopleSay(joined=((a, b), (b, c))))
    assert clusters.numbers == (b,)
