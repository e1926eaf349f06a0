"""The review queue: what stands, what is asked first and why, what is proposed, and what an answer puts on record."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from store.documents import record_of
from store.errors import InputError, NotFound
from store.filters import FILTERS
from store.gate import GateOptions
from store.records import ClipCurated, Column, ConceptChanged, Json, ReviewDecided, digest
from store.reviewing.answering import drafts, recorded, undoing
from store.reviewing.candidates import features_of, hold_questions
from store.reviewing.ledger import Ledger, answered_on, cluster_decisions, unrefuted
from store.reviewing.proposals import Example, examples, fitted
from store.reviewing.queue import proposals, queue
from store.reviewing.ranking import Candidate, needs, rank
from store.store import Store
from store.view import View
from tests.bench import review as bench
from tests.store.made_footage import COLUMNS, NOON, Video, all_records, later
from tests.store.made_meanwhile import Meanwhile

GATE = GateOptions()
MODELS = {kind: fitted(kind, ()) for kind in ("member", "hold")}
PARK, STREET = Video("park", n_clips=6), Video("street", n_clips=4, source="street", face_count=1)


def decided(number: int, **said: object) -> dict[str, Json]:
    body = {"decision_id": f"d{number}", "subject": "clip", "subject_id": "c1", "verdict": "keep", "by": "Ada"}
    record = ReviewDecided.model_validate(body | {"reason": "seen", "decided_at": later(number)} | said)
    return {f"d{number}": record.model_dump(mode="json") | {"status": "decided"}}


def candidate(name: str, membership: float = 0.5, **said: object) -> Candidate:
    told = {"kind": "member", "because": "uncertain", "gains": "purity", "why": ""} | said
    return Candidate(item_id=name, features={"membership": membership}, **told)


def ids(ranked: list) -> list[str]:
    return [one.candidate.item_id for one in ranked]


# --- what stands -----------------------------------------------------------------------------------------


def test_a_label_counts_until_it_is_undone_and_then_what_was_said_before():
    said = decided(1, verdict="relabel", concepts={"calm": True, "lively": False})
    said |= decided(2, verdict="relabel", concepts={"calm": False})
    assert Ledger.of(said).answers("calm") == {"c1": False}
    undone = said | decided(3, verdict="undo", undoes="d2")
    assert Ledger.of(undone).answers("calm") == {"c1": True}
    assert Ledger.of(undone | decided(4, verdict="undo", undoes="d3")).answers("calm") == {"c1": False}
    assert Ledger.of(undone).answers("lively") == {"c1": False}
    assert Ledger.of(undone).answers("rain") == {}


def test_clusters_that_people_join_or_part_are_told_in_order_of_time():
    cluster = {"subject": "cluster", "subject_id": "7"}
    said = decided(2, **cluster, verdict="merge", others=("9", "11")) | decided(1, **cluster, verdict="split")
    assert cluster_decisions(said) == ([(7, 9, 11)], [7])
    assert cluster_decisions(said | decided(3, **cluster, verdict="undo", undoes="d1")) == ([(7, 9, 11)], [])


def test_a_split_of_a_merged_cluster_takes_back_the_last_merge_and_undoing_it_brings_that_back():
    cluster = {"subject": "cluster", "subject_id": "3"}
    said = decided(1, **cluster, verdict="merge", others=("7",)) | decided(2, **cluster, verdict="merge", others=("9",))
    assert cluster_decisions(said | decided(3, **cluster, verdict="split")) == ([(3, 7)], [])
    said |= decided(3, **cluster, verdict="split") | decided(4, **cluster, verdict="undo", undoes="d3")
    assert cluster_decisions(said) == ([(3, 7), (3, 9)], [])


def test_answers_of_a_day_are_counted_once_and_undoing_is_free():
    said = decided(1) | decided(2) | decided(3, verdict="undo", undoes="d2")
    together = decided(4) | {"d5": decided(4)["d4"] | {"decision_id": "d5", "subject_id": "c2"}}
    assert answered_on(NOON, said | together) == 3
    assert answered_on(NOON + timedelta(days=1), said | together) == 0


# --- the order of questions ------------------------------------------------------------------------------


def test_the_likeliest_wrong_member_and_the_largest_source_come_first():
    asked = [candidate("sure", 0.95), candidate("doubtful", 0.1), candidate("unclear", 0.5)]
    assert ids(rank(asked, MODELS, 2)) == ["doubtful", "unclear"]
    source = candidate("source", kind="source", gains="coverage", n_affected=40)
    first, second, *_ = rank([*asked, source], MODELS, 4)
    assert (first.candidate.item_id, first.gain, first.low) == ("source", 20.0, None)
    assert second.gain == pytest.approx(1.0 - second.probability)


def test_what_a_concept_lacks_counts_more():
    definition = {"purity": 0.8, "min_clips": 10, "min_videos": 4}
    concept = {"definition": definition, "purity_low": 0.6, "n_eligible": 5, "n_videos": 4}
    assert needs(concept) == pytest.approx((1.25, 1.5))
    assert needs(concept | {"purity_low": None, "n_eligible": 30, "n_videos": 9}) == (2.0, 1.0)
    asked = [candidate("satisfied", 0.3), candidate("needy", 0.3, need=1.25)]
    assert ids(rank(asked, MODELS, 1)) == ["needy"]


def test_clips_of_one_video_in_one_cluster_wait_for_each_other():
    alike = [candidate(f"alike-{i}", 0.2, cluster=1, video_id="v") for i in range(3)]
    asked = [*alike, candidate("other", 0.3, cluster=1, video_id="w")]
    assert ids(rank(asked, MODELS, 4)) == ["alike-0", "other", "alike-1", "alike-2"]
    assert rank(asked[::-1], MODELS, 4) == rank(asked, MODELS, 4)


# --- what is proposed ------------------------------------------------------------------------------------


def test_a_clip_is_known_by_its_place_its_worst_excess_and_its_strongest_change():
    row = {"margin": 0.5, "outlier_score": None, "blur": 0.9, "nsfw": 0.1, "pivots": [{"score": 0.25}, {"score": 0.75}]}
    told = features_of(row, 0.25, FILTERS)
    assert told == pytest.approx({"membership": 0.25, "margin": 0.5, "excess": 0.2, "pivot": 0.75})
    assert features_of({}, None, FILTERS) == {}


def test_without_answers_the_prior_orders_but_proposes_nothing():
    model = fitted("member", ())
    unlikely, likely = model.predict([{"membership": 0.1}, {"membership": 0.9}])
    assert unlikely[0] < 0.6 < 0.85 < likely[0]
    assert "not enough decisions yet: 0 of 20" in (model.lacks or "")


def test_answers_teach_what_the_prior_did_not_expect_and_narrow_the_interval():
    taught = [Example({"membership": m}, m < 0.5) for m in np.linspace(0.0, 1.0, 40).tolist()]
    model = fitted("member", taught)
    (p_low, low, high), (p_high, _, _) = model.predict([{"membership": 0.1}, {"membership": 0.9}])
    assert model.lacks is None
    assert p_high < 0.4 < 0.6 < p_low
    assert low < p_low < high
    before = fitted("member", ()).predict([{"membership": 0.1}])[0]
    assert high - low < before[2] - before[1]


def test_only_answers_of_which_is_known_what_was_shown_are_learnt_from():
    said = decided(1, verdict="relabel", concepts={"calm": True}, shown={"membership.calm": 0.25, "margin": 0.5})
    said |= decided(2, verdict="relabel", subject_id="c2", concepts={"calm": True})
    said |= decided(3, verdict="drop", subject_id="c3", shown={"outlier_score": 0.75})
    ledger = Ledger.of(said)
    assert examples(ledger, "member") == [Example({"membership": 0.25, "margin": 0.5}, True)]
    assert examples(ledger, "hold") == [Example({"outlier_score": 0.75}, False)]


def test_proposals_are_calibrated_on_answers_that_they_did_not_learn_from():
    errors = [bench.calibration(bench.subset(0.15, 0.1, seed), seed) for seed in range(3)]
    assert np.mean(errors) < 0.08


@pytest.mark.parametrize("seed", range(2))
def test_the_queue_makes_a_subset_pure_with_a_third_of_the_decisions_of_random_order(seed):
    made = bench.subset(0.15, 0.1, seed)
    queued = bench.needed(bench.purities(made, bench.queued(made), seed))
    by_chance = bench.needed(bench.purities(made, bench.shuffled(seed), seed))
    assert queued is not None
    assert by_chance is not None
    assert queued <= by_chance / 3


# --- questions about a store -----------------------------------------------------------------------------


def place(clip_id: str, **said: object) -> ClipCurated:
    body = {"cluster": 1, "cluster_probability": 0.9, "outlier_score": 0.1, "is_outlier": False, "margin": 0.8}
    return ClipCurated.model_validate({"clip_id": clip_id, **body, "is_boundary": False, "recipe": "r"} | said)


def concept(store: Store, name: str, members: dict[str, float | None]) -> ConceptChanged:
    listed = [{"clip_id": c, "probability": p, "eligible": True, "held_for": []} for c, p in sorted(members.items())]
    definition = {"name": name, "description": "d", "query": "true", "contrasts": []}
    return ConceptChanged(
        concept=name,
        definition=definition | {"purity": 0.8, "min_clips": 4, "min_videos": 1},
        members_key=store.media.put_bytes(json.dumps(listed).encode(), "json"),
        members_digest=digest(listed),
        n_members=len(listed),
        n_eligible=len(listed),
        n_videos=1,
        purity=0.7,
        purity_low=0.6,
        ready=False,
        reasons=("purity bound 0.60 < 0.80",),
        recipe="r",
    )


@pytest.fixture
def filled(store):
    """Six clips of a park, all of them calm, one doubtful and one between clusters, one more held as an outlier; four
    of a street that wait for consent."""
    for video in (PARK, STREET):
        video.put_media(store.media)
    View(store).apply(all_records([PARK, STREET]))
    a, b, c, d, e, f = PARK.clip_ids
    View(store).apply([place(b, is_boundary=True, margin=0.02), place(f, outlier_score=0.95, is_outlier=True)])
    View(store).apply([place(one) for one in (a, c, d, e)])
    View(store).apply([concept(store, "calm", {a: 0.3, b: 0.8, c: 0.9, d: 0.9, e: None})])
    return store


def test_the_extremes_of_a_column_and_the_groups_of_another_are_found_without_the_rest(filled):
    f = PARK.clip_ids[-1]
    first, second, *_ = filled.clips.top("outlier_score", "true", 3, columns=["held_for"])
    assert (first["clip_id"], first["held_for"], set(first)) == (
        f,
        ["outlier"],
        {"clip_id", "outlier_score", "held_for"},
    )
    assert second["clip_id"] == min(set(PARK.clip_ids) - {f})
    assert [one["clip_id"] for one in filled.clips.top("margin", "true", 1, is_highest=False)] == [PARK.clip_ids[1]]
    assert filled.clips.top("margin", "source = 'moon'", 3) == []
    assert filled.clips.groups("source", "true") == {
        "park": (6, min(PARK.clip_ids)),
        "street": (4, min(STREET.clip_ids)),
    }
    with pytest.raises(InputError, match="does not work on the clip table"):
        filled.clips.top("margin", "no such thing", 3)


def answer(store: Store, item_id: str, said: str, minutes: float = 0.0) -> list[ReviewDecided]:
    made = [recorded(draft, "Ada", "seen", later(minutes)) for draft in drafts(store, item_id, said, GATE)]
    View(store).apply(made)
    return made


def test_an_answer_rests_on_the_thresholds_that_held_the_clip(store):
    video = Video("dim", n_clips=1, black_share=0.6)
    View(store).apply(all_records([video]))
    strict = GateOptions(filters=(replace(FILTERS[0], threshold=0.4, verdict="hold"),))
    item = f"hold:{video.clip_ids[0]}"
    (by_strict,), (by_default,) = (drafts(store, item, "keep", gate) for gate in (strict, GATE))
    assert by_strict["shown"]["excess"] == pytest.approx(0.5)
    assert by_default["shown"]["excess"] == 0.0


def test_the_day_asks_about_sources_doubts_and_holds_with_reasons_and_pictures(filled):
    asked = {one.item_id: one for one in queue(filled, None, 30, NOON, GATE).items}
    a, b, *_, f = PARK.clip_ids
    assert next(iter(asked)) == "source:age:street"
    assert asked["source:age:street"].gain == pytest.approx(2.0)
    assert (asked[f"member:{a}:calm"].because, asked[f"member:{b}:calm"].because) == ("uncertain", "boundary")
    assert "its probability in calm is 0.30" in asked[f"member:{a}:calm"].why
    assert (asked[f"hold:{f}"].answers, asked[f"hold:{f}"].because) == (("keep", "drop"), "outlier")
    assert asked[f"hold:{f}"].proposed is None
    (picture,) = asked[f"hold:{f}"].pictures
    with open(picture, "rb") as stream:
        assert stream.read().startswith(b"strip:")
    assert not any(clip_id in item for item in asked for clip_id in STREET.clip_ids)


def test_nothing_is_asked_for_a_concept_that_is_declared_no_more(filled):
    calm = record_of(ConceptChanged, filled.concepts.get("calm"))
    View(filled).apply([calm.model_copy(update={"reasons": ("no longer declared",)})])
    asked = queue(filled, None, 30, NOON, GATE).items
    assert {one.kind for one in asked} == {"source", "hold"}
    assert {one.concept for one in asked} == {None}


def test_what_was_answered_counts_against_the_budget_and_is_not_asked_again(filled):
    first = queue(filled, ["calm"], 3, NOON, GATE)
    assert len(first.items) == 3
    for number, one in enumerate(first.items[:2]):
        answer(filled, one.item_id, one.answers[0], number)
    second = queue(filled, ["calm"], 3, NOON, GATE)
    assert (second.n_answered, len(second.items)) == (2, 1)
    tomorrow = queue(filled, ["calm"], 30, NOON + timedelta(days=1), GATE)
    assert tomorrow.n_answered == 0
    assert not {one.item_id for one in first.items[:2]} & {one.item_id for one in tomorrow.items}


def test_an_undone_answer_is_asked_again(filled):
    item = f"member:{PARK.clip_ids[0]}:calm"
    (made,) = answer(filled, item, "no")
    assert item not in {one.item_id for one in queue(filled, None, 30, NOON, GATE).items}
    assert Ledger.of(filled.reviews.all()).answers("calm") == {PARK.clip_ids[0]: False}
    View(filled).apply([recorded(undoing(made.model_dump(mode="json")), "Ada", "oh", later(1))])
    assert item in {one.item_id for one in queue(filled, None, 30, NOON, GATE).items}
    assert [one["verdict"] for one in unrefuted(filled.reviews.all())] == ["undo"]


def test_an_answer_keeps_what_was_shown_and_acts_through_the_gate(filled):
    f = PARK.clip_ids[-1]
    (made,) = answer(filled, f"hold:{f}", "keep")
    assert made.shown["outlier_score"] == pytest.approx(0.95)
    assert filled.clips.get(f)["verdict"] == "keep"
    (label,) = answer(filled, f"member:{PARK.clip_ids[0]}:calm", "yes", 1)
    assert (label.shown["membership.calm"], label.concepts) == (0.3, {"calm": True})
    answer(filled, "source:age:street", "release", 2)
    assert filled.clips.count("verdict = 'hold'") == 0


def test_a_clip_that_another_reviewer_opens_meanwhile_is_not_asked_about(filled):
    f = PARK.clip_ids[-1]
    assert [one.item_id for one in hold_questions(filled, (), GATE)] == [f"hold:{f}"]
    changing = Meanwhile(filled.clips, 1, lambda: answer(filled, f"hold:{f}", "keep"))
    assert hold_questions(replace(filled, clips=changing), (), GATE) == []


def test_too_few_answers_propose_nothing_and_say_so(filled):
    assert proposals(filled, None, 10, GATE) == ([], dict(queue(filled, None, 30, NOON, GATE).notes))
    assert "0 of 20" in proposals(filled, None, 10, GATE)[1]["member"]


def test_enough_answers_propose_the_rest_the_surest_first(filled):
    taught = []
    for number in range(24):
        is_calm = number % 2 == 1
        said = {"subject_id": f"c{number}", "verdict": "relabel", "concepts": {"calm": is_calm}}
        told = decided(number, **said, shown={"membership.calm": 0.9 if is_calm else 0.3})
        taught += [record_of(ReviewDecided, body) for body in told.values()]
    View(filled).apply(taught)
    found, notes = proposals(filled, None, 10, GATE)
    by_clip = {one.clip_id: one for one in found}
    a, _, c, *_ = PARK.clip_ids
    assert (by_clip[a].answer, by_clip[c].answer, set(notes)) == (False, True, {"hold"})
    surest = [max(one.low, 1.0 - one.high) for one in found]
    assert surest == sorted(surest, reverse=True)
    assert by_clip[a].low < by_clip[a].probability < by_clip[a].high
    by_id = {one.item_id: one for one in queue(filled, None, 30, NOON + timedelta(days=1), GATE).items}
    assert by_id[f"member:{a}:calm"].proposed == "no"


@pytest.mark.parametrize(
    ("item", "said", "error", "text"),
    [
        ("nonsense", "yes", InputError, "item 'nonsense' is no question"),
        ("member:{clip}:calm", "maybe", InputError, "cannot be answered with 'maybe'; member:CLIP:CONCEPT takes yes"),
        ("member:{clip}:rain", "yes", NotFound, "no concept 'rain'; there are calm"),
        ("hold:gone", "keep", NotFound, "no clip 'gone'"),
        ("source:age:moon", "release", NotFound, "no source 'moon'"),
        ("source:taste:street", "release", InputError, "cannot be answered"),
        ("cluster:1", "merge", InputError, "cannot be answered with 'merge'"),
        ("cluster:99", "split", NotFound, "no cluster '99'"),
        ("identity:p-1:p-2", "same", NotFound, "no identity 'p-1'"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_with_the_remedy(filled, item, said, error, text):
    with pytest.raises(error, match=text):
        drafts(filled, item.format(clip=PARK.clip_ids[0]), said, GATE)


def test_a_cluster_is_split_or_joined_with_others(filled):
    (made,) = answer(filled, "cluster:1", "split")
    assert cluster_decisions(filled.reviews.all()) == ([], [1])
    assert made.key == "1"


def test_copies_are_asked_about_once_and_the_best_stays(tmp_path):
    columns = (*COLUMNS, Column(name="signature", kind="vector", size=2))
    store = Store.open(tmp_path / "copies", columns)
    alike = [one.model_copy(update={"values": one.values | {"signature": [1.0, 0.0]}}) for one in PARK.embedded]
    View(store).apply([one for one in all_records([PARK]) if one.topic != "clips.embedded"])
    View(store).apply(alike)
    View(store).apply([concept(store, "calm", dict.fromkeys(PARK.clip_ids, 0.9))])
    copies = [one for one in queue(store, None, 30, NOON, GATE).items if one.kind == "copies"]
    assert [one.clip_ids for one in copies] == [tuple(sorted(PARK.clip_ids))]
    answer(store, copies[0].item_id, "drop-others")
    assert store.clips.count("verdict = 'keep'") == 1
    assert answered_on(NOON, store.reviews.all()) == 1
    assert not [one for one in queue(store, None, 30, NOON, GATE).items if one.kind == "copies"]
