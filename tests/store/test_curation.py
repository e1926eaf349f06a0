"""Judging concepts on a store."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count

import pytest

from store.clusters.state import Clusters
from store.codec import decode, encode
from store.concepts import Concept
from store.curation import find_members, find_pivots, judge_concepts
from store.records import ClipEmbedded, Column, ReviewDecided
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, NOON, Video, all_records
from tests.store.made_looks import curated, put_video
from tests.store.made_meanwhile import Meanwhile

LEAST = {"min_clips": 4, "min_videos": 2, "purity": 0.5}
WIDE = Concept(name="wide", description="D.", query="shot_scale = 'wide'", contrasts=("close",), **LEAST)
CLOSE = Concept(name="close", description="D.", query="shot_scale = 'close'", contrasts=("wide",), **LEAST)


@pytest.fixture
def made(store):
    for i in range(4):
        put_video(store, f"w{i}", ["wide"] * 6, seed=i, source="park" if i else "beach")
        put_video(store, f"c{i}", ["close"] * 6, seed=i)
    return store, curated(store).clusters


def judged(store, clusters, answers=None, concepts=(WIDE, CLOSE)):
    members = find_members(store, concepts, clusters, answers or {}, {})
    found = judge_concepts(store, concepts, members, clusters, answers or {}, NOON)
    return {record.concept: record for record in found}


def test_a_pure_concept_is_ready_and_says_what_it_holds(made):
    store, clusters = made
    wide = judged(store, clusters)["wide"]
    assert (wide.n_members, wide.n_eligible, wide.n_videos, wide.n_sources) == (24, 24, 4, 2)
    assert wide.purity > 0.9
    assert 0.5 < wide.purity_low < wide.purity
    assert wide.ready
    assert wide.reasons == ()
    assert "visual" in wide.purity_by_modality
    assert wide.effective_videos == pytest.approx(4.0)
    manifest = json.loads(store.media.read(wide.members_key))
    assert len(manifest) == 24
    assert all(member["eligible"] and member["agreement"] > 0.6 for member in manifest)


def test_what_the_store_holds_already_is_not_told_again(made):
    store, clusters = made
    View(store).apply(list(judged(store, clusters).values()))
    assert judged(store, clusters) == {}
    past = store.concept_history.under("close@")
    assert sorted(past) == ["close@day/2026-01-01", "close@hour/57/12", "close@minute/12:00"]
    assert all(body["n_members"] == 24 for body in past.values())
    assert not any("clip" in name for body in past.values() for name in body)


def test_a_manifest_that_is_gone_is_written_again_by_the_next_look(made):
    store, clusters = made
    key = judged(store, clusters)["wide"].members_key
    View(store).apply(list(judged(store, clusters).values()))
    store.media.delete(key)
    assert judged(store, clusters) == {}
    assert store.media.exists(key)


def test_the_past_of_a_concept_is_kept_by_minutes_then_hours_then_days(made):
    store, clusters = made
    record = judged(store, clusters)["close"]
    told = [record.model_copy(update={"computed_at": NOON + timedelta(hours=4 * i)}) for i in range(70 * 6)]
    View(store).apply(told)
    past = store.concept_history.under("close@")
    times = sorted({datetime.fromisoformat(body["computed_at"]) for body in past.values()})
    days_old = [(told[-1].computed_at - time).days for time in times]
    assert [days_old.count(day) for day in (0, 1, 30, 58)] == [6, 6, 6, 6]
    assert [days_old.count(day) for day in (62, 69)] == [1, 1]
    assert len(past) == 6 + 60 * 6 + 71
    View(store).apply(told[:50])
    assert store.concept_history.under("close@") == past


def test_an_answer_changes_the_subset_and_its_purity_at_once(made):
    store, clusters = made
    first = judged(store, clusters)["wide"]
    ids = [member["clip_id"] for member in json.loads(store.media.read(first.members_key))]
    told = judged(store, clusters, {"wide": dict.fromkeys(ids[:12], True) | {ids[12]: False}})["wide"]
    assert told.n_members == 23
    assert told.n_asked == 13
    assert told.purity_low != first.purity_low


def test_a_clip_that_is_held_is_a_member_and_counts_for_nothing(made):
    store, clusters = made
    first = judged(store, clusters)["wide"]
    dropped = json.loads(store.media.read(first.members_key))[0]["clip_id"]
    review = ReviewDecided(
        decision_id="d1",
        subject="clip",
        subject_id=dropped,
        verdict="drop",
        by="Ada",
        reason="it is not",
        decided_at=NOON,
    )
    View(store).apply([review])
    after = judged(store, clusters)["wide"]
    assert (after.n_members, after.n_eligible) == (24, 23)


def test_a_concept_that_was_ready_stays_so_with_a_clip_less(made):
    store, clusters = made
    strict = WIDE.model_copy(update={"min_clips": 24})
    members = find_members(store, [strict, CLOSE], clusters, {}, {})
    (first,) = judge_concepts(store, [strict, CLOSE], members, clusters, {}, NOON)[:1]
    assert first.ready
    ids = [member["clip_id"] for member in json.loads(store.media.read(first.members_key))]
    fewer = {"wide": {ids[0]: False}}
    never = judged(store, clusters, fewer, (strict, CLOSE))["wide"]
    assert not never.ready
    View(store).apply([first])
    assert judged(store, clusters, fewer, (strict, CLOSE))["wide"].ready


def test_a_priority_is_told_and_is_no_part_of_what_the_subset_was_computed_by(made):
    store, clusters = made
    first = judged(store, clusters)["wide"]
    View(store).apply([first])
    urgent = judged(store, clusters, concepts=(WIDE.model_copy(update={"priority": 5}), CLOSE))["wide"]
    assert urgent.definition["priority"] == 5
    assert (urgent.recipe, urgent.members_digest) == (first.recipe, first.members_digest)


def test_a_query_that_cannot_be_run_is_a_reason(made):
    store, clusters = made
    broken = Concept(name="broken", description="D.", query="nonsense = 1")
    told = judged(store, clusters, concepts=(broken,))["broken"]
    assert not told.ready
    assert "nonsense" in told.reasons[0]


def test_a_concept_that_is_declared_no_more_is_told_once_and_not_ready(made):
    store, clusters = made
    before = judged(store, clusters)
    View(store).apply(list(before.values()))
    alone = CLOSE.model_copy(update={"contrasts": ()})
    told = judged(store, clusters, concepts=(alone,))
    gone = told["wide"]
    assert (gone.ready, gone.reasons) == (False, ("no longer declared",))
    assert gone.members_key == before["wide"].members_key
    View(store).apply(list(told.values()))
    assert store.concepts.get("wide")["status"] == "waiting"
    assert judged(store, clusters, concepts=(alone,)) == {}
    assert judged(store, clusters)["wide"].ready, "it is declared again"


def test_before_anything_is_clustered_purity_is_unknown(store):
    put_video(store, "w", ["wide"] * 4)
    told = judged(store, Clusters())["wide"]
    assert (told.purity, told.purity_low) == (None, None)
    assert "purity unknown" in told.reasons[-1]


def test_the_record_survives_the_wire_and_an_old_one_is_read(made):
    store, clusters = made
    wide = judged(store, clusters)["wide"]
    assert decode(encode(wide)) == wide
    new = {"n_sources", "n_identities", "n_distinct", "effective_videos", "n_asked", "purity_by_modality", "how"}
    new |= {"computed_at"}
    body = wide.model_dump(mode="json", exclude=new)
    old = json.dumps({"type": "concepts.changed", "version": 1, "body": body}).encode()
    read = decode(old)
    assert read.n_distinct == wide.n_eligible


def test_clips_that_are_removed_during_a_look_leave_the_others_judged(tmp_path):
    store = Store.open(tmp_path / "data", (*COLUMNS, Column(name="signature", kind="vector", size=2)))
    for i in range(4):
        wide = put_video(store, f"w{i}", ["wide"] * 6, seed=i)
        put_video(store, f"c{i}", ["close"] * 6, seed=i)
    clusters = curated(store).clusters
    found = find_members(store, (WIDE, CLOSE), clusters, {}, {})
    for reads in count(1):
        there = [row["clip_id"] for row in store.clips.select("shot_scale = 'wide'", columns=[])]
        changing = Meanwhile(store.clips, reads, partial(store.clips.delete, there[:1]))
        told = judge_concepts(replace(store, clips=changing), (WIDE, CLOSE), found, clusters, {}, NOON)
        if not changing.has_happened:
            break
        assert [one.concept for one in told] == ["wide", "close"]
        assert told[0].n_members in (len(there), len(there) - 1)
        assert told[0].purity > 0.9
    assert reads > 5, "every read of the look is followed by a removal"
    assert len(there) < 24
    assert set(there) & set(wide)


def test_pivots_of_a_video_are_told_once_and_its_other_clips_have_none(store):
    ids = put_video(store, "turns", ["wide"] * 9 + ["close"] * 9)
    clusters = curated(store).clusters
    found = find_members(store, (WIDE, CLOSE), clusters, {}, {})
    told = {record.clip_id: record for record in find_pivots(store, ids[:1], found, {})}
    assert set(told) == set(ids)
    scene = [(one, pivot) for one in ids for pivot in told[one].pivots if pivot["kind"] == "scene"]
    assert [one for one, _ in scene] == [ids[9]]
    assert scene[0][1]["from"]["shot_scale"] == "wide"
    assert scene[0][1]["to"]["shot_scale"] == "close"
    assert scene[0][1]["to"]["concept close"] == "yes"
    assert [pivot["kind"] for pivot in told[ids[9]].pivots] == ["scene", "cluster"]
    View(store).apply(list(told.values()))
    assert store.clips.get(ids[9])["pivots"] == list(told[ids[9]].pivots)
    assert find_pivots(store, ids, found, {}) == []


@pytest.mark.parametrize(
    ("signature", "n_distinct", "reasons"),
    [
        ([1.0, 0.0], 1, ["too few clips, near copies counted once: 1 of 2050"]),
        (None, 2_100, []),
    ],
)
def test_copies_count_once_however_many_clips_a_concept_has(tmp_path, signature, n_distinct, reasons):
    store = Store.open(tmp_path / "data", (*COLUMNS, Column(name="signature", kind="vector", size=2)))
    records = all_records([Video("still", n_clips=2_100)])
    alike = {"signature": signature}
    View(store).apply(
        [
            one.model_copy(update={"values": one.values | alike}) if isinstance(one, ClipEmbedded) else one
            for one in records
        ]
    )
    every = Concept(name="every", description="D.", query="shot_scale IS NOT NULL", min_clips=2_050)
    told = judged(store, Clusters(), concepts=[every])["every"]
    assert (told.n_eligible, told.n_distinct) == (2_100, n_distinct)
    assert [one for one in told.reasons if one.startswith("too few clips")] == reasons
