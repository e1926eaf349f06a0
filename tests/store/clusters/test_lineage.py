"""The lives of clusters."""

import numpy as np

from store.clusters.lineage import Event, lives


def told(before, after, masses=None, next_number=10):
    before, after = np.array(before, int), np.array(after, int)
    return lives(before, after, np.ones(len(before)) if masses is None else np.array(masses, float), next_number)


def test_a_cluster_keeps_its_number_as_it_grows_and_others_are_found_before_it():
    numbers, events, following = told([7] * 5 + [-1] * 5 + [3] * 4, [1] * 5 + [1] * 3 + [-1] * 2 + [0] * 4)
    assert numbers == {1: 7, 0: 3}
    assert events == []
    assert following == 10


def test_a_cluster_of_clips_that_were_in_none_is_born():
    numbers, events, following = told([-1] * 4 + [3] * 6, [0] * 4 + [1] * 6)
    assert numbers == {0: 10, 1: 3}
    assert events == [Event("born", 10, None, 4.0)]
    assert following == 11


def test_of_a_cluster_that_splits_the_larger_part_keeps_the_number():
    numbers, events, _ = told([3] * 10, [0] * 4 + [1] * 6)
    assert numbers == {0: 10, 1: 3}
    assert events == [Event("split", 10, 3, 4.0)]


def test_of_clusters_that_merge_the_larger_one_goes_on():
    numbers, events, _ = told([3] * 4 + [5] * 9, [0] * 13)
    assert numbers == {0: 5}
    assert events == [Event("merged", 3, 5, 4.0)]


def test_clusters_that_merge_go_on_under_the_number_that_is_wanted_while_it_lives():
    before, after = np.array([3] * 4 + [5] * 9), np.zeros(13, int)
    numbers, events, _ = lives(before, after, np.ones(13), 10, {0: (3, 5)})
    assert numbers == {0: 3}
    assert events == [Event("merged", 5, 3, 9.0)]
    assert lives(before, after, np.ones(13), 10, {0: (2, 5)})[0] == {0: 5}
    elsewhere = np.array([1] * 3 + [0] * 10)
    assert lives(before, elsewhere, np.ones(13), 10, {0: (3, 5)})[0] == {0: 5, 1: 3}


def test_a_cluster_whose_clips_are_scattered_or_in_none_dies():
    _, events, _ = told([3] * 6 + [5] * 6, [-1] * 6 + [0] * 6)
    assert events == [Event("died", 3, None, 6.0)]
    _, events, _ = told([3] * 6 + [4] * 9 + [5] * 9, [0, 0, 1, 1, -1, -1] + [0] * 9 + [1] * 9)
    assert events == [Event("died", 3, None, 6.0)]


def test_a_number_is_never_given_again():
    _, first, following = told([3] * 4, [-1] * 4, next_number=4)
    assert [event.kind for event in first] == ["died"]
    numbers, _, _ = told([-1] * 4, [0] * 4, next_number=following)
    assert numbers == {0: 4}


def test_what_a_clip_stands_for_counts():
    numbers, events, _ = told([3] * 3 + [3], [0, 0, 0, 1], masses=[1, 1, 1, 50])
    assert numbers == {0: 10, 1: 3}
    assert events == [Event("split", 10, 3, 3.0)]


def test_no_clips_are_no_clusters():
    assert told([], []) == ({}, [], 10)
