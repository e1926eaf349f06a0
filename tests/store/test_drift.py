"""Drift: no alarm while footage stays what it was, and one when it moves."""

import numpy as np
import pytest

from store.drift import Video, take_reference, watch


def videos(rng, n, prefix, place=0.0, motion=0.0, per=3, source="", cluster=0):
    """n videos of a few clips each, `place` and `motion` away from what is usual."""
    made = []
    for number in range(n):
        centre = rng.normal(0, 1, 6) + np.eye(6)[0] * place
        points = {"place": centre + rng.normal(0, 0.2, (per, 6))}
        controls = {"motion": float(rng.normal(motion, 0.3))}
        made.append(Video(f"{prefix}{number:04d}", points, controls, source, cluster))
    return made


def test_footage_that_stays_what_it_was_raises_no_alarm():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        drift = watch(take_reference(videos(rng, 40, "r")), videos(rng, 80, "n"))
        assert not drift.is_alarming
        assert drift.n_videos == 80


@pytest.mark.parametrize(
    ("moved", "stream"), [({"place": 8.0}, "place"), ({"motion": 0.6}, "motion"), ({"motion": -0.6}, "motion")]
)
def test_footage_that_moves_raises_an_alarm_that_says_what_moved_and_where_from(moved, stream):
    rng = np.random.default_rng(1)
    drift = watch(take_reference(videos(rng, 60, "r")), videos(rng, 40, "n"))
    drift = watch(drift, videos(rng, 60, "s", source="winter", cluster=None, **moved))
    assert drift.is_alarming
    assert max(drift.capital, key=drift.capital.get) == stream
    assert drift.sources["winter"] >= 15
    assert drift.clusters["none"] == drift.sources["winter"]
    assert drift.n_videos < 100, "nothing is compared after an alarm"


def test_a_single_strange_video_is_no_drift():
    rng = np.random.default_rng(2)
    drift = watch(take_reference(videos(rng, 60, "r")), videos(rng, 1, "s", place=30.0, per=200))
    assert drift.score < 2.0


def test_a_video_counts_once():
    rng = np.random.default_rng(3)
    drift = take_reference(videos(rng, 30, "r"))
    strange = videos(rng, 5, "s", place=9.0)
    once = watch(drift, strange)
    assert watch(once, strange) == once
    assert once.n_videos == 5


def test_few_videos_are_no_reference():
    rng = np.random.default_rng(4)
    drift = watch(take_reference(videos(rng, 19, "r")), videos(rng, 50, "s", place=50.0))
    assert drift.n_videos == 0
    assert drift.score == 1.0


def test_a_control_or_a_modality_that_no_clip_has_says_nothing():
    rng = np.random.default_rng(5)
    blank = [
        Video(f"r{i}", {"place": rng.normal(0, 1, (2, 6)), "place sound": np.empty((0, 6))}, {}, "") for i in range(30)
    ]
    drift = take_reference(blank)
    assert set(drift.accounts) == {"place"}
    assert watch(drift, videos(rng, 1, "n")).n_videos == 1


def test_one_is_known_again_by_its_videos():
    rng = np.random.default_rng(6)
    some = videos(rng, 20, "r")
    assert take_reference(some).reference == take_reference(some[::-1]).reference
    assert take_reference(some).reference != take_reference(some[1:]).reference
