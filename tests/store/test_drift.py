"""Drift: no alarm while footage stays what it was, and one when it moves."""

import numpy as np
import pytest

from store.drift import PLACE, Videos, take_reference, watch


def videos(rng, n, prefix, place=0.0, motion=0.0, per=3):
    """n videos of a few clips each, `place` and `motion` away from what is usual."""
    centre = rng.normal(0, 1, (n, 6)) + np.eye(6)[0] * place
    rows = np.repeat(np.arange(n), per)
    points = centre[rows] + rng.normal(0, 0.2, (n * per, 6))
    control = rng.normal(motion, 0.3, n)[rows]
    return Videos(tuple(f"{prefix}{row:04d}" for row in rows), points, {"motion": control})


def test_footage_that_stays_what_it_was_raises_no_alarm():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        drift = watch(take_reference(videos(rng, 40, "r")), videos(rng, 80, "n"), {})
        assert not drift.is_alarming
        assert drift.n_videos == 80


@pytest.mark.parametrize(("moved", "stream"), [({"place": 8.0}, PLACE), ({"motion": 3.0}, "motion")])
def test_footage_that_moves_raises_an_alarm_that_says_what_moved_and_where_from(moved, stream):
    rng = np.random.default_rng(1)
    drift = watch(take_reference(videos(rng, 60, "r")), videos(rng, 40, "n"), {})
    strange = videos(rng, 60, "s", **moved)
    drift = watch(drift, strange, dict.fromkeys(strange.ids, "winter"))
    assert drift.is_alarming
    assert max(drift.capital, key=drift.capital.get) == stream
    assert drift.recent["winter"] >= 15
    assert drift.n_videos < 100, "nothing is compared after an alarm"


def test_a_single_strange_video_is_no_drift():
    rng = np.random.default_rng(2)
    drift = watch(take_reference(videos(rng, 60, "r")), videos(rng, 1, "s", place=30.0, per=200), {})
    assert drift.score < 2.0


def test_a_video_counts_once():
    rng = np.random.default_rng(3)
    drift = take_reference(videos(rng, 30, "r"))
    strange = videos(rng, 5, "s", place=9.0)
    once = watch(drift, strange, {})
    assert watch(once, strange, {}) == once
    assert once.n_videos == 5


def test_few_videos_are_no_reference():
    rng = np.random.default_rng(4)
    drift = watch(take_reference(videos(rng, 19, "r")), videos(rng, 50, "s", place=50.0), {})
    assert drift.n_videos == 0
    assert drift.score == 1.0


def test_a_control_that_no_clip_has_says_nothing():
    rng = np.random.default_rng(5)
    blank = videos(rng, 30, "r")
    blank = Videos(blank.video, blank.points, {"pose": np.full(90, np.nan)})
    drift = take_reference(blank)
    assert set(drift.accounts) == {PLACE}
