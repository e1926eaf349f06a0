"""Membership: by query, examples, text and cluster, and by what people say."""

from dataclasses import replace

import numpy as np
import pytest

from store.concepts import Concept
from store.membership import members_of
from store.modalities import TEXT_COLUMN
from store.records import ClipEmbedded, Column
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, Video, all_records
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


def standing_for(clusters, n, clip_ids):
    """The clusters, as if each of these clips of the sample stood for n, and the others for one."""
    few = np.array([1.0 / n if one in clip_ids else 1.0 for one in clusters.sample.ids])
    clusters.sample = replace(clusters.sample, threshold=few)
    return clusters


def test_what_is_near_an_example_is_told_by_all_clips_and_not_by_those_that_stand_for_them(made):
    """As many of them are wide as close; of all clips one in a hundred is."""
    clips, clusters, wide, close = made
    found = members_of(clips, declared(examples=(wide[0],)), standing_for(clusters, 100, close), {})
    assert len(found.probabilities.keys() & set(wide)) > 0.8 * len(wide)
    every_other = members_of(clips, declared(examples=(wide[0],)), standing_for(clusters, 1, close), {})
    assert len(every_other.probabilities) < len(wide) / 2


def test_what_is_like_a_text_is_told_by_all_clips(tmp_path):
    store = Store.open(tmp_path / "data", (*COLUMNS, Column(name=TEXT_COLUMN, kind="vector", size=2)))
    rare, usual = Video("rare", n_clips=10), Video("usual", n_clips=30)
    looks = {one: [0.1 * (i % 3), 1.0] for i, one in enumerate(usual.clip_ids)}
    looks |= {one: [1.0, 0.0] for one in rare.clip_ids}
    View(store).apply(
        [
            one.model_copy(update={"values": one.values | {TEXT_COLUMN: looks[one.clip_id]}})
            if isinstance(one, ClipEmbedded)
            else one
            for one in all_records([rare, usual])
        ]
    )
    clusters, text = curated(store).clusters, declared(text="a rare sight")
    found = members_of(store.clips, text, standing_for(clusters, 20, usual.clip_ids), {}, [2.0, 0.0])
    assert found.probabilities.keys() == set(rare.clip_ids)
    assert found.how == "what a model sees"
    often = members_of(store.clips, text, standing_for(clusters, 1, usual.clip_ids), {}, [2.0, 0.0])
    assert often.probabilities == {}, "a quarter of all clips is no more than usual"


def test_a_text_finds_nothing_where_no_clip_of_the_sample_was_seen_by_the_model(tmp_path):
    store = Store.open(tmp_path / "data", (*COLUMNS, Column(name=TEXT_COLUMN, kind="vector", size=2)))
    View(store).apply(all_records([Video("blind", n_clips=4)]))
    found = members_of(store.clips, declared(text="a rare sight"), curated(store).clusters, {}, [1.0, 0.0])
    assert (found.probabilities, found.how) == ({}, "what a model sees")


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
