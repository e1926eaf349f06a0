"""Readiness: why a concept is not ready, and why one that was ready stays so."""

from dataclasses import replace

import pytest

from store.concepts import Concept
from store.readiness import Standing, shortcomings

CONCEPT = Concept(
    name="lively", description="D.", query="shot = 1", purity=0.8, min_clips=20, min_videos=4, min_sources=2
)
GOOD = Standing(n_distinct=20, n_videos=4, n_sources=2, purity=0.95, purity_low=0.8)


def test_a_concept_that_meets_every_threshold_is_ready():
    assert shortcomings(CONCEPT, GOOD, was_ready=False) == ()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n_distinct": 19}, "too few clips, near copies counted once: 19 of 20"),
        ({"n_videos": 3}, "too few source videos: 3 of 4"),
        ({"n_sources": 1}, "too few sources: 1 of 2"),
        ({"purity_low": 0.79}, "purity bound 0.79 < 0.80"),
        ({"purity": None, "purity_low": None}, "purity unknown: it takes two clips"),
    ],
)
def test_each_shortcoming_is_told(changed, told):
    (reason,) = shortcomings(CONCEPT, replace(GOOD, **changed), was_ready=False)
    assert reason.startswith(told)


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({"purity_low": 0.775}, True),
        ({"purity_low": 0.76}, False),
        ({"n_distinct": 18}, True),
        ({"n_distinct": 17}, False),
        ({"n_sources": 1}, False),
    ],
)
def test_a_ready_concept_stays_so_until_it_falls_clearly_below(changed, stays):
    standing = replace(GOOD, **changed)
    assert shortcomings(CONCEPT, standing, was_ready=False) != ()
    assert (shortcomings(CONCEPT, standing, was_ready=True) == ()) is stays
