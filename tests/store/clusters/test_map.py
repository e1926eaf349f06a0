"""The map: it shows what is near, and stays put as clips come."""

from itertools import pairwise

import numpy as np
from sklearn.manifold import trustworthiness

from store.clusters.map import ClusterMap, follow_map, load_map, save_map
from store.clusters.options import ClusterOptions
from tests.store.clusters.made_points import blobs, names, started

OPTIONS = ClusterOptions()


def grown(points, steps):
    """The maps after each of so many equal shares of the points came, in a random order."""
    order = np.random.default_rng(1).permutation(len(points))
    clusters, drawn, maps = started(points, OPTIONS), ClusterMap.empty(), []
    for rows in np.array_split(order, steps):
        clusters.add([f"clip{row:06d}" for row in rows], points[rows])
        drawn = follow_map(drawn, clusters)
        maps.append(drawn)
    return maps


def test_it_stays_put_as_clips_come_and_still_shows_what_is_near():
    points, _ = blobs([120, 90, 70, 60], d=16, n_noise=20)
    maps = grown(points, 20)
    moved = []
    for before, after in pairwise(maps):
        at = dict(zip(after.ids, after.places, strict=True))
        moved.append(
            np.mean([np.linalg.norm(at[one] - place) for one, place in zip(before.ids, before.places, strict=True)])
        )
    span = np.ptp(maps[-1].places, axis=0).max()
    still = sum(step == 0.0 for step in moved)
    assert still >= 8, "between two drawings nothing moves"
    assert np.mean(moved[5:]) < 0.03 * span
    assert max(moved[5:]) < 0.12 * span
    rows = [int(one[4:]) for one in maps[-1].ids]
    assert trustworthiness(points[rows], maps[-1].places, n_neighbors=10) > 0.85


def test_what_comes_later_is_on_it_as_well_as_what_came_first(monkeypatch):
    """The first thousands of clips must not keep the map to themselves."""
    monkeypatch.setattr("store.clusters.map._MOST", 120)
    early, late = np.random.default_rng(0).normal(0, 1, (2, 300, 6))
    points = np.vstack([early, late + 9.0]).astype(np.float32)
    clusters, drawn = started(points, OPTIONS), ClusterMap.empty()
    for rows in np.array_split(np.arange(600), 12):
        clusters.add([f"clip{row:06d}" for row in rows], points[rows])
        drawn = follow_map(drawn, clusters)
    is_late = np.array([int(one[4:]) >= 300 for one in drawn.ids])
    assert len(drawn.ids) == 120
    assert 0.35 < is_late.mean() < 0.65
    gap = np.linalg.norm(drawn.places[is_late].mean(axis=0) - drawn.places[~is_late].mean(axis=0))
    assert gap > 1.0, "in spreads of the map: the later ones have a place of their own"


def test_however_slowly_landmarks_are_replaced_they_are_drawn_again(monkeypatch):
    """Places between places between places would end in the middle of the map."""
    monkeypatch.setattr("store.clusters.map._MOST", 100)
    points, _ = blobs([200, 200], d=6)
    order = np.random.default_rng(2).permutation(400)
    clusters, drawn = started(points, OPTIONS), ClusterMap.empty()
    for rows in np.array_split(order, 80):
        clusters.add([f"clip{row:06d}" for row in rows], points[rows])
        drawn = follow_map(drawn, clusters)
        assert len(drawn.ids) == 0 or drawn.is_drawn.mean() >= 0.75


def test_clusters_are_apart_on_it():
    points, label = blobs([80, 80, 80], d=8, gap=6.0)
    drawn = grown(points, 4)[-1]
    own = label[[int(one[4:]) for one in drawn.ids]]
    centres = np.array([np.median(drawn.places[own == one], axis=0) for one in range(3)])
    nearest = np.linalg.norm(drawn.places[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == own).mean() > 0.95


def test_the_same_clips_are_the_same_map_and_a_clip_that_is_gone_is_on_none():
    points, _ = blobs([40, 40], d=4)
    one, other = grown(points, 3)[-1], grown(points, 3)[-1]
    np.testing.assert_array_equal(one.places, other.places)
    clusters = started(points, OPTIONS)
    clusters.add(names(80), points)
    clusters.remove(["clip000007"])
    left = follow_map(one, clusters)
    assert "clip000007" not in left.ids
    assert "clip000007" not in one.without(["clip000007"]).ids
    at = dict(zip(one.ids, one.places, strict=True))
    assert all((at[name] == place).all() for name, place in zip(left.ids, left.places, strict=True))


def test_few_clips_have_no_map_and_a_map_is_the_same_from_its_file(tmp_path):
    points, _ = blobs([20, 20], d=4)
    clusters = started(points, OPTIONS)
    clusters.add(names(3), points[:3])
    assert follow_map(ClusterMap.empty(), clusters).ids == ()
    assert load_map(tmp_path).ids == ()
    drawn = grown(points, 1)[0]
    save_map(tmp_path, drawn)
    again = load_map(tmp_path)
    assert again.ids == drawn.ids
    np.testing.assert_array_equal(again.is_drawn, drawn.is_drawn)
    np.testing.assert_array_equal(again.places, drawn.places)
