"""The sample: as many clips as there is room for, none of what is small left out, and an honest count."""

import numpy as np

from store.clusters.sample import Sample, admitted, order_of, thinned
from tests.store.clusters.made_points import names


def everyone(sizes):
    n = sum(sizes)
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    return admitted(names(n), np.zeros((n, 2), np.float32), stratum, {})


def test_a_sample_with_room_keeps_everyone():
    sample, thresholds = thinned(everyone([30, 20]), 100)
    assert len(sample) == 50
    assert thresholds == {}
    assert (sample.masses == 1).all()


def test_large_strata_are_thinned_to_one_size_and_small_ones_stay_whole():
    sample, thresholds = thinned(everyone([5000, 2000, 40, 3]), 1000)
    kept = np.bincount(sample.stratum, minlength=4)
    assert kept[2] == 40
    assert kept[3] == 3
    assert abs(kept[0] - kept[1]) < 100
    assert 600 < len(sample) < 900
    assert thresholds[0] < thresholds[1] < 1.0
    assert thresholds[2] == thresholds[3] == 1.0


def test_those_who_stay_stand_for_those_who_left():
    whole = everyone([6000, 3000, 50])
    sample, thresholds = thinned(whole, 1000)
    told = np.bincount(sample.stratum, sample.masses)
    np.testing.assert_allclose(told, [6000, 3000, 50], rtol=0.1)
    later = admitted(names(4000, 9050), np.zeros((4000, 2), np.float32), np.zeros(4000, int), thresholds)
    assert 0.85 < later.masses.sum() / 4000 < 1.15
    again, _ = thinned(sample.joined(later), 400)
    np.testing.assert_allclose(np.bincount(again.stratum, again.masses)[:2], [10000, 3000], rtol=0.2)


def test_who_is_kept_depends_on_ids_and_thresholds_alone():
    assert order_of("clip000001") == order_of("clip000001") != order_of("clip000002")
    orders = np.array([order_of(one) for one in names(4000)])
    assert abs(orders.mean() - 0.5) < 0.02
    assert 0.0 <= orders.min() < orders.max() < 1.0
    forward, backward = everyone([900]), everyone([900]).taken(np.arange(899, -1, -1))
    assert set(thinned(forward, 100)[0].ids) == set(thinned(backward, 100)[0].ids)


def test_joined_samples_are_in_order_of_their_ids_and_clips_can_be_taken_out():
    whole = everyone([10])
    halves = whole.taken(np.arange(5, 10)).joined(whole.taken(np.arange(5)))
    assert halves.ids == whole.ids
    assert halves.without(["clip000003", "no such clip"]).ids == tuple(names(3) + names(6, 4))
    assert len(Sample.empty(4)) == 0
    assert Sample.empty(4).points.shape == (0, 4)
