"""The gate: what is held, dropped or let through, and what a person's word changes."""

import pytest

from store.filters import FILTERS, Filter
from store.gate import GateOptions, judge, verdict_of

OPTIONS = GateOptions()
CLEAN = {"source": "park", "licence": "CC0-1.0", "face_count": 0, "black_share": 0.0}
RELEASE = {"by": "Ada", "reason": "releases are on file", "decided_at": "2026-01-01T12:00:00Z"}


def outcome(row: dict, source: dict | None = None) -> tuple[str, list[str]]:
    return verdict_of(judge(row, source, OPTIONS))


def decision(rule: str, row: dict, source: dict | None = None):
    return next(one for one in judge(row, source, OPTIONS) if one.rule == rule)


def test_a_licensed_clip_without_faces_is_kept():
    assert outcome(CLEAN) == ("keep", [])


def test_what_nobody_answered_holds_the_clip():
    assert outcome({"source": "park"}) == ("hold", ["age", "licence"])
    assert "faces were not looked for" in decision("age", {"source": "park"}).reason


@pytest.mark.parametrize("licence", [None, ""])
def test_a_clip_without_a_licence_is_held_until_its_source_is_released(licence):
    row = CLEAN | {"licence": licence}
    assert outcome(row) == ("hold", ["licence"])
    assert "'park' was submitted without a licence" in decision("licence", row).reason
    assert outcome(row, {"released": {"licence": RELEASE}}) == ("keep", [])


def test_a_face_holds_the_clip_until_its_source_is_released_for_age():
    row = CLEAN | {"face_count": 2}
    held = decision("age", row)
    assert (held.verdict, held.score, held.threshold) == ("hold", 2.0, 0.0)
    assert held.reason.startswith("2 face(s)")
    assert outcome(row, {"released": {"licence": RELEASE}}) == ("hold", ["age"])
    released = decision("age", row, {"released": {"age": RELEASE}})
    assert (released.verdict, released.by) == ("keep", "Ada")
    assert "releases are on file" in released.reason


@pytest.mark.parametrize(("share", "verdict"), [(0.79, "keep"), (0.8, "drop"), (1.0, "drop")])
def test_black_footage_is_dropped_from_the_threshold_on(share, verdict):
    row = CLEAN | {"black_share": share}
    assert outcome(row)[0] == verdict
    assert (decision("black", row).score, decision("black", row).threshold) == (share, 0.8)


@pytest.mark.parametrize("one", FILTERS, ids=lambda one: one.rule)
def test_every_filter_catches_what_is_beyond_its_own_threshold_and_nothing_else(one):
    step = 0.01 if one.beyond == "above" else -0.01
    clean = {other.column: other.threshold - (0.01 if other.beyond == "above" else -0.01) for other in FILTERS}
    assert outcome(CLEAN | clean) == ("keep", [])
    row = CLEAN | clean | {one.column: one.threshold + step}
    assert outcome(row) == (one.verdict, [one.rule])
    caught = decision(one.rule, row)
    assert (caught.score, caught.threshold, caught.reason) == (one.threshold + step, one.threshold, one.found)
    assert outcome(CLEAN | clean | {one.column: one.threshold}) == (one.verdict, [one.rule])


def test_what_was_not_measured_is_not_judged():
    assert outcome(CLEAN | dict.fromkeys(one.column for one in FILTERS)) == ("keep", [])
    assert not {one.rule for one in judge(CLEAN, None, OPTIONS)} & {"blur", "nsfw"}


def test_a_person_keeps_what_a_filter_caught():
    row = CLEAN | {"blur": 0.9, "review": {"verdict": "keep", "by": "Ada", "reason": "meant to be soft"}}
    assert outcome(row) == ("keep", [])
    assert (decision("blur", row).by, decision("blur", row).score) == ("Ada", 0.9)


def test_no_two_filters_share_a_name_with_each_other_or_with_another_rule():
    rules = [one.rule for one in FILTERS]
    assert len(set(rules)) == len(rules)
    assert not set(rules) & {"licence", "age", "outlier", "reasoning", "review"}


def test_an_outlier_waits_for_a_person_who_may_keep_it():
    row = CLEAN | {"is_outlier": True, "outlier_score": 0.97}
    assert outcome(row) == ("hold", ["outlier"])
    assert decision("outlier", row).by == "clustering"
    kept = row | {"review": {"verdict": "keep", "by": "Ada", "reason": "rare but good"}}
    assert outcome(kept) == ("keep", [])
    assert decision("outlier", kept).by == "Ada"


def test_a_clip_that_was_not_clustered_has_no_decision_about_it():
    assert {one.rule for one in judge(CLEAN, None, OPTIONS)} == {"licence", "age", "black"}


def test_a_person_drops_what_every_rule_lets_through():
    row = CLEAN | {"review": {"verdict": "drop", "by": "Ada", "reason": "blurred"}}
    assert outcome(row) == ("drop", ["review"])
    assert decision("review", row).reason == "blurred"


def test_a_person_who_keeps_a_clip_answers_neither_for_age_nor_for_licence():
    row = {"source": "park", "face_count": 1, "review": {"verdict": "keep", "by": "Ada", "reason": "good"}}
    assert outcome(row) == ("hold", ["age", "licence"])


def test_a_drop_outweighs_a_hold():
    row = CLEAN | {"licence": None, "black_share": 1.0}
    assert outcome(row) == ("drop", ["black", "licence"])


def test_every_decision_names_the_thresholds_that_it_was_made_with():
    recipes = {one.recipe for one in judge(CLEAN, None, OPTIONS)}
    assert recipes == {OPTIONS.recipe}
    stricter = GateOptions(filters=(Filter("black", "black_share", "above", 0.5, "drop", "its frames are black"),))
    assert stricter.recipe != OPTIONS.recipe
    assert verdict_of(judge(CLEAN | {"black_share": 0.6}, None, stricter))[0] == "drop"


CONTRADICTED = {"engine": "endpoint:made", "contradiction": 0.6, "reason_limit": 0.25, "is_contradicted": True}
"""What the description of a clip is worth, as columns."""


def test_a_description_that_contradicts_what_was_measured_waits_for_a_person_who_may_keep_it():
    row = CLEAN | CONTRADICTED
    assert outcome(row) == ("hold", ["reasoning"])
    held = decision("reasoning", row)
    assert (held.score, held.threshold, held.by) == (0.6, 0.25, "endpoint:made")
    assert "contradicts what was measured" in held.reason
    kept = row | {"review": {"verdict": "keep", "by": "Ada", "reason": "the model is right"}}
    assert outcome(kept) == ("keep", [])
    assert decision("reasoning", kept).by == "Ada"
    dropped = row | {"review": {"verdict": "drop", "by": "Ada", "reason": "no use"}}
    assert outcome(dropped) == ("drop", ["reasoning", "review"])


def test_a_description_that_agrees_is_let_through_on_record():
    row = CLEAN | CONTRADICTED | {"contradiction": 0.1, "is_contradicted": False}
    assert outcome(row) == ("keep", [])
    assert (decision("reasoning", row).score, decision("reasoning", row).by) == (0.1, "endpoint:made")


def test_a_source_released_on_record_does_not_answer_for_a_contradiction():
    released = {"released": {"licence": RELEASE, "age": RELEASE}}
    assert outcome(CLEAN | CONTRADICTED, released) == ("hold", ["reasoning"])


def test_a_clip_that_was_not_reasoned_about_has_no_decision_about_it():
    assert "reasoning" not in {one.rule for one in judge(CLEAN | {"is_contradicted": None}, None, OPTIONS)}
