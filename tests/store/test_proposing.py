"""Concepts that clusters suggest."""

from math import log, sqrt

import pytest

from store.concepts import Concept, parse_concepts
from store.curation import find_members, judge_concepts
from store.proposing import Term, distinctive_terms, propose
from store.view import View
from tests.store.made_footage import NOON
from tests.store.made_looks import curated, put_video

WIDE = Concept(name="far", description="D.", query="shot_scale = 'wide'")


@pytest.fixture
def made(store):
    """Twenty-four clips of four videos that look wide and are read so, and as many close ones."""
    for i in range(4):
        put_video(store, f"w{i}", ["wide"] * 6, seed=i)
        put_video(store, f"c{i}", ["close"] * 6, seed=i)
    return store, curated(store).clusters


def declare(store, clusters, *concepts):
    members = find_members(store, concepts, clusters, {}, {})
    View(store).apply(judge_concepts(store, concepts, members, clusters, {}, NOON))


def test_a_cluster_that_a_term_sets_apart_suggests_its_condition(made):
    store, _ = made
    found = propose(store)
    assert {one.concept.query for one in found} == {"shot_scale = 'wide'", "shot_scale = 'close'"}
    for one in found:
        assert 20 <= one.n_clips <= 24
        assert one.n_videos == 4
        assert one.agreement == pytest.approx(one.n_clips / 24)
        (term,) = one.terms
        assert term.share == 1.0
        assert term.share_elsewhere < 0.15
        assert one.concept.name == term.term


def test_proposals_contrast_with_the_cluster_that_lies_next(made):
    store, _ = made
    assert {one.concept.name: one.concept.contrasts for one in propose(store)} == {
        "wide": ("close",),
        "close": ("wide",),
    }


def test_proposals_can_be_declared_as_they_stand(made):
    store, _ = made
    entries = [one.concept.entry for one in propose(store)]
    assert parse_concepts(str({"concepts": entries}), "c.yaml") == tuple(one.concept for one in propose(store))


@pytest.mark.parametrize("declared", ["query", "cluster", "examples"])
def test_what_a_declared_concept_is_already_is_not_proposed_but_contrasted_with(made, declared):
    store, clusters = made
    number = next(one.cluster for one in propose(store) if one.concept.name == "wide")
    ids = [row["clip_id"] for row in store.clips.select("shot_scale = 'wide'", columns=[])]
    given = {"query": WIDE.query, "cluster": number, "examples": tuple(ids)}[declared]
    declare(store, clusters, Concept(name="far", description="D.", **{declared: given}))
    (left,) = propose(store)
    assert (left.concept.name, left.concept.contrasts) == ("close", ("far",))


def test_what_a_concept_is_that_is_declared_no_more_is_proposed(made):
    store, clusters = made
    declare(store, clusters, WIDE)
    declare(store, clusters, Concept(name="few", description="D.", query="face_count > 5"))
    assert {one.concept.query for one in propose(store)} == {"shot_scale = 'wide'", "shot_scale = 'close'"}


def test_a_concept_that_shares_little_with_a_cluster_does_not_cover_it(made):
    store, clusters = made
    ids = [row["clip_id"] for row in store.clips.select("shot_scale = 'wide'", columns=[])]
    few = ", ".join(f"'{one}'" for one in ids[:6])
    declare(store, clusters, Concept(name="far", description="D.", query=f"clip_id IN ({few})"))
    assert len(propose(store)) == 2


def test_a_cluster_that_no_term_sets_apart_is_proposed_as_it_is(store):
    for i in range(4):
        put_video(store, f"w{i}", ["wide"] * 6, seed=i)
        put_video(store, f"c{i}", ["close"] * 6, seed=i)
    rows = [row | {"shot_scale": "medium"} for row in store.clips.select()]
    store.clips.upsert(rows)
    curated(store)
    found = propose(store)
    assert {one.concept.query for one in found} == {None}
    assert {one.concept.cluster for one in found} == {one.cluster for one in found}
    assert {one.concept.name for one in found} == {f"cluster-{one.cluster}" for one in found}
    assert all("no attribute sets apart" in one.concept.description for one in found)


def test_a_cluster_of_few_videos_is_not_proposed(store):
    put_video(store, "w", ["wide"] * 24)
    put_video(store, "c", ["close"] * 24)
    curated(store)
    assert propose(store) == []


def test_a_name_that_is_taken_gets_the_number_of_the_cluster(made):
    store, clusters = made
    other = Concept(name="wide", description="D.", query="face_count > 5")
    declare(store, clusters, other)
    number = next(one.cluster for one in propose(store) if one.concept.query == WIDE.query)
    assert f"wide-{number}" in {one.concept.name for one in propose(store)}


def test_a_terms_log_odds_are_those_of_monroe_and_others(made):
    store, _ = made
    number, size = next((one.cluster, one.n_clips) for one in propose(store) if one.concept.name == "wide")
    (term,) = distinctive_terms(store.clips, [number])[number]
    assert term.share_elsewhere == pytest.approx((24 - size) / (48 - size))
    # Half of all clips are wide, so that of ten clips of prior five are.
    inside, elsewhere = (size + 5) / 5, (24 - size + 5) / (24 + 5)
    spread = sqrt(1 / (size + 5) + 1 / (24 - size + 5))
    assert term.z == pytest.approx((log(inside) - log(elsewhere)) / spread)


def test_a_quote_in_a_term_is_no_end_of_the_condition():
    assert Term("mood", "o'clock", 1.0, 0.0, 4.0).condition == "mood = 'o''clock'"
