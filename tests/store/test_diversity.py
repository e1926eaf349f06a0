"""Diversity: what a subset holds, copies counted once."""

import numpy as np
import pytest

from store.diversity import diversity, n_distinct


def row(video, source="park", identities=()):
    return {"video_id": video, "source": source, "identity_ids": [{"identity": one} for one in identities]}


def test_videos_sources_and_people_are_counted_once():
    rows = [row("a", "park", ["p-1", None]), row("a", "park", ["p-1", "p-2"]), row("b", "beach")]
    held = diversity(rows, [None] * 3)
    assert (held.n_videos, held.n_sources, held.n_identities, held.n_distinct) == (2, 2, 2, 3)


def test_a_subset_of_mostly_one_video_is_worth_little_more_than_one():
    even = diversity([row(video) for video in "abcd" for _ in range(5)], [])
    assert even.effective_videos == pytest.approx(4.0)
    uneven = diversity([row("a")] * 97 + [row(video) for video in "bcd"], [])
    assert 1.0 < uneven.effective_videos < 1.3


def test_near_copies_and_copies_of_copies_count_once():
    straight = np.eye(8)
    step = np.array([1.0, 0.35, *[0.0] * 6])
    further = np.array([1.0, 0.85, *[0.0] * 6])
    assert n_distinct([straight[0], step]) == 1
    assert n_distinct([straight[0], further]) == 2
    assert n_distinct([straight[0], step, further]) == 1
    assert n_distinct([straight[0], 7 * straight[0], straight[1], None, None]) == 4


def test_nothing_holds_nothing():
    held = diversity([], [])
    assert (held.n_videos, held.n_distinct, held.effective_videos) == (0, 0, 0.0)
    assert n_distinct([]) == 0
