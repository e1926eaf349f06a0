"""Membership: by query, examples, text and cluster, and by what people say."""

import pytest

from store.concepts import Concept
from store.membership import members_of
from tests.store.made_looks import curated, put_video

WIDE = Concept(name="wide", description="D.", query="shot_scale = 'wide'")


@pytest.fixture
def made(store):
    wide = [one for i in range(3) for one in put_video(store, f"w{i}", ["wide"] * 8, seed=i)]
    close = [one for i in range(3) for one in put_video(store, f"c{i}", ["close"] * 8, seed=i)]
    return store.clips, curated(store).clusters, wide, close


def declared(**how):
    return Concept(name="one", description="D.", **how)


def test_a_query_finds_its_clips_as_surely_as_they_were_read(store):
    sure = put_video(store, "sure", ["wide"] * 2, sure=1.0)
    doubtful = put_video(store, "doubtful", ["wide"] * 2, sure=0.75)
    put_video(store, "other", ["close"] * 2)
    clusters = curated(store).clusters
    found = members_of(store.clips, WIDE, clusters, {})
    assert found.probabilities == {**dict.fromkeys(sure, 1.0), **dict.fromkeys(doubtful, 0.75)}
    either = members_of(store.clips, declared(query="shot_scale IN ('wide', 'medium')"), clusters, {})
    assert either.probabilities[doubtful[0]] == pytest.approx(1.0)
    without = members_of(store.clips, declared(query="shot_scale <> 'medium'"), clusters, {})
    assert without.probabilities[doubtful[0]] == pytest.approx(0.75)
    other = members_of(store.clips, declared(query="duration_s > 1"), clusters, {})
    assert set(other.probabilities.values()) == {1.0}


def test_a_query_that_is_no_sql_is_a_fault_and_no_error(made):
    clips, clusters, _, _ = made
    found = members_of(clips, declared(query="nonsense = 3"), clusters, {})
    assert found.probabilities == {}
    assert "nonsense" in found.fault


def test_examples_find_what_is_like_them(made):
    clips, clusters, wide, close = made
    found = members_of(clips, declared(examples=tuple(wide[:2])), clusters, {})
    assert set(wide[:2]) <= found.probabilities.keys()
    assert found.probabilities.keys().isdisjoint(close)
    assert all(p >= 0.5 for p in found.probabilities.values())
    missing = members_of(clips, declared(examples=("no such clip",)), clusters, {})
    assert "no such clip" in missing.fault


def test_a_text_finds_the_strings_that_hold_its_words_where_no_model_compares_it(made):
    clips, clusters, wide, _ = made
    found = members_of(clips, declared(text="wide shot"), clusters, {})
    assert found.probabilities.keys() == set(wide)
    assert found.how == "words of the strings"


def test_a_cluster_is_a_concept_of_its_clips(made):
    clips, clusters, wide, _ = made
    number = clips.get(wide[0])["cluster"]
    found = members_of(clips, declared(cluster=number), clusters, {})
    inside = [row["clip_id"] for row in clips.select(f"cluster = {number}", columns=[])]
    assert sorted(found.probabilities) == inside
    assert set(inside) <= set(wide)


def test_a_persons_answer_stands_above_the_query(made):
    clips, clusters, wide, close = made
    found = members_of(clips, WIDE, clusters, {wide[0]: False, close[0]: True, "gone": True, wide[1]: True})
    assert wide[0] not in found.probabilities
    assert found.probabilities[close[0]] == found.probabilities[wide[1]] == 0.95
    assert "gone" not in found.probabilities
