"""Purity: the bound holds, people's answers count at once, and what tells nothing is no proof."""

from dataclasses import replace

import numpy as np
import pytest

from store.asked import Asked, by_answers
from store.purity import Side, purity
from tests.bench.purity import Condition, coverage, drawn


def side(videos, **vectors):
    return Side(np.array(videos), {name: np.asarray(rows, float) for name, rows in vectors.items()})


def two(n=24, m=24, gap=6.0, seed=0, wrong=0):
    """A concept of n clips of four videos, of which some are wrong, and its contrast."""
    drawn_ = np.random.default_rng(seed)
    ours = drawn_.normal(0, 1, (n, 4)) + np.where(np.arange(n)[:, None] < n - wrong, gap, 0.0) * np.eye(4)[0]
    theirs = drawn_.normal(0, 1, (m, 4))
    return side(np.arange(n) % 4, look=ours), side(4 + np.arange(m) % 4, look=theirs)


def judged(members, contrast, labels=None, yes=0, no=0, said=None):
    n = len(members)
    said = np.full(n, np.nan) if said is None else said
    return purity(members, contrast, np.ones(n) if labels is None else labels, Asked(n, yes, no, said))


CONDITIONS = [
    Condition(true_purity=0.5),
    Condition(true_purity=0.95),
    Condition(gap=1.5),
    Condition(telling=1, true_purity=0.8),
    Condition(n_videos=5, per_video=3),
    Condition(n_videos=30, per_video=8),
    Condition(together=1.0),
    Condition(n_asked=50, true_purity=0.7),
    Condition(n_asked=10, telling=0),
    Condition(n_asked=90, true_purity=0.9),
    Condition(n_asked=30, true_purity=0.7, doubtful=True),
    Condition(spoilt=0.2),
    Condition(strange=0.2),
    Condition(strange=0.5, n_asked=50),
    Condition(strange=1.0, n_asked=30, doubtful=True),
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_stated_bound_holds_in_at_least_95_of_100_subsets(condition):
    holds, _, error = coverage(condition, 60)
    assert holds >= 0.93, "of 60: one more than a right bound misses"
    assert -0.7 < error < 0.06


def test_a_pure_subset_of_many_clips_has_a_high_bound_and_an_impure_one_does_not():
    pure = judged(*two(n=200, m=200))
    assert pure.value == pytest.approx(1.0, abs=0.02)
    assert pure.low > 0.93
    impure = judged(*two(n=200, m=200, wrong=60))
    assert impure.value == pytest.approx(0.7, abs=0.08)
    assert impure.low < 0.72


def test_more_clips_raise_the_bound_and_fewer_videos_lower_it():
    assert judged(*two(n=20, m=20)).low < judged(*two(n=60, m=60)).low < judged(*two(n=200, m=200)).low
    whole = drawn(Condition(together=1.0, true_purity=0.8, n_videos=12), 3)[0]
    single = drawn(Condition(together=0.0, true_purity=0.8, n_videos=12), 3)[0]
    assert whole.low < single.low


def test_a_subset_that_nothing_tells_apart_is_not_known_to_be_pure():
    assert judged(*two(n=100, m=100, gap=0.0)).low < 0.2


def test_one_telling_modality_of_three_is_enough():
    rng = np.random.default_rng(0)
    members, contrast = two(n=100, m=100)
    noisy = [
        Side(one.videos, dict(one.vectors) | {"a": rng.normal(size=(100, 4)), "b": rng.normal(size=(100, 4))})
        for one in (members, contrast)
    ]
    told = judged(*noisy)
    assert told.low > 0.8
    assert told.by_modality["look"] > 0.9
    assert max(told.by_modality["a"], told.by_modality["b"]) < 0.6


def test_a_doubtful_label_bounds_the_estimate():
    told = judged(*two(n=100, m=100), labels=np.full(100, 0.8))
    assert told.value == pytest.approx(0.8)
    assert told.low <= 0.8


def test_answers_of_people_count_at_once():
    members, contrast = two(n=60, m=60, gap=0.0)
    before = judged(members, contrast)
    after = judged(members, contrast, yes=40, no=2)
    assert after.value > before.value
    assert after.low > before.low + 0.3
    assert judged(members, contrast, yes=10, no=30).low < after.low


def test_what_people_took_out_is_subtracted_from_what_the_vectors_tell():
    impure = two(n=200, m=200, wrong=60)
    before, after = judged(*impure), judged(*impure, yes=2, no=58)
    assert after.value > before.value + 0.15
    assert after.low > before.low + 0.1


def test_by_answers_alone_a_wrong_yes_is_allowed_for():
    # Nine in ten of those asked belong, by 19 of 20 that people get right; nobody was asked about half of the clips.
    members, _ = two(n=200)
    told = purity(members, side([], look=np.empty((0, 4))), np.ones(100), Asked(200, 86, 14, np.full(200, np.nan)))
    assert told.value == pytest.approx((86 * 0.95 * 0.9 / (0.95 * 0.9 + 0.05 * 0.1) + 100 * 0.9) / 186)
    assert 0.8 < told.low < 0.9


def said_of(n, **answers):
    said = np.full(n, np.nan)
    for answer, rows in answers.items():
        said[rows] = float(answer == "yes")
    return said


def test_answers_that_no_contrast_explains_refute_what_the_vectors_tell():
    # All look like the concept, and a third of those asked about are something else.
    members, contrast = two(n=100, m=100)
    explained = judged(members, contrast, yes=28, no=2, said=said_of(100, yes=slice(0, 28), no=slice(28, 30)))
    refuted = judged(members, contrast, yes=20, no=10, said=said_of(100, yes=slice(0, 20), no=slice(20, 30)))
    assert explained.low > 0.9
    assert refuted.low < 0.65
    assert refuted.value == pytest.approx(0.7, abs=0.1)


def test_answers_about_members_of_the_contrast_refute_nothing():
    members, contrast = two(n=100, m=100, wrong=30)
    asked = said_of(100, yes=slice(0, 10), no=slice(70, 90))
    assert judged(members, contrast, yes=10, no=20, said=asked).low > judged(members, contrast).low + 0.1


def test_the_rest_is_judged_by_the_answers_about_its_like():
    # The doubtful ones, of the lowest scores, were asked about: the first of them are wrong, the last are not.
    members = two(n=100)[0]
    nothing = side([], look=np.empty((0, 4)))
    scores = np.linspace(0.0, 1.0, 100)
    asked = Asked(100, 20, 20, said_of(100, no=slice(0, 20), yes=slice(20, 40)))
    assert by_answers(asked, scores)[1] > 0.8
    assert by_answers(replace(asked, said=np.full(100, np.nan)), scores)[1] < 0.6
    assert by_answers(replace(asked, said=said_of(100, yes=slice(0, 20), no=slice(20, 40))), scores)[1] < 0.6
    assert purity(members, nothing, np.ones(60), asked).low < 0.6, "where no score is known, all are alike"


def test_a_half_that_nobody_was_asked_about_is_not_judged_by_no_answers():
    # Where both sides lie far apart, most scores are the same.
    scores = np.where(np.arange(100) < 60, 1.0, 0.5)
    asked = Asked(100, 8, 4, said_of(100, yes=slice(0, 8), no=slice(8, 12)))
    assert by_answers(asked, scores) == by_answers(replace(asked, said=np.full(100, np.nan)), scores)


def test_people_who_took_everything_out_leave_nothing_to_judge():
    members, contrast = two(n=20)
    assert judged(members, contrast, np.empty(0), no=20).value is None


def test_where_nobody_was_asked_and_no_vector_is_known_nothing_is_said():
    members, contrast = two(n=6, m=6)
    blank = Side(members.videos, {"look": np.full((6, 4), np.nan)})
    for pair in ((blank, contrast), (members, side([], look=np.empty((0, 4)))), (two(n=1)[0], contrast)):
        told = judged(*pair)
        assert (told.value, told.low) == (None, None)


def test_clips_of_ones_own_video_do_not_vouch_for_a_clip():
    # Each video is a place of its own: the concept is not to be told from the contrast by anything but the video.
    rng = np.random.default_rng(1)
    centres = 20.0 * rng.normal(size=(12, 4))
    video = np.repeat(np.arange(12), 10)
    rows = centres[video] + rng.normal(size=(120, 4))
    told = judged(Side(video[:60], {"look": rows[:60]}), Side(video[60:], {"look": rows[60:]}))
    assert told.low < 0.4


def test_the_order_of_the_clips_changes_nothing():
    members, contrast = two(n=40, m=30, wrong=5)
    shuffled = np.random.default_rng(2).permutation(40)
    mixed = Side(members.videos[shuffled], {"look": members.vectors["look"][shuffled]})
    one, other = judged(members, contrast), judged(mixed, contrast)
    assert (one.value, one.low) == (pytest.approx(other.value), pytest.approx(other.low))
    np.testing.assert_allclose(one.agreement[shuffled], other.agreement)


def test_the_bench_has_conditions_of_every_kind():
    assert replace(Condition(), gap=1.0) != Condition()
    told, truth = drawn(Condition(true_purity=1.0), 0)
    assert truth == 1.0
    assert told.value is not None
