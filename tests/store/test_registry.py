"""Which version each adapter is, which one is in use, and that neither changes behind anybody's back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store.errors import NotFound
from store.records import AdapterDecided, Json, TrainingFinished, TrainingRequested
from store.registry import adapters_of, find, in_use, lineage, read_adapters
from store.removed import withdraw_run
from store.store import Store
from store.view import View

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def requested(run_id: str, concept: str = "calm", stage: str = "A", parent: str | None = None) -> TrainingRequested:
    told = {"run_id": run_id, "concept": concept, "stage": stage, "parent": parent, "members_key": "k"}
    told |= {"members_digest": f"members of {run_id}", "settings": {"steps": 9}, "requested_by": "scheduler"}
    return TrainingRequested.model_validate(told | {"reason": "due", "requested_at": NOON})


def finished(run_id: str, minutes: float, status: str = "succeeded", **metrics: Any) -> TrainingFinished:
    told = {"run_id": run_id, "concept": "calm", "status": status, "reason": "", "artefacts": {}, "clip_ids": ()}
    return TrainingFinished.model_validate(told | {"metrics": metrics, "finished_at": at(minutes)})


def run(run_id: str, minutes: float, *, promoted: bool = True, **asked: Any) -> Json:
    """The document of a run that succeeded."""
    ended = finished(run_id, minutes, promoted=promoted).model_dump(mode="json", exclude={"reason", "concept"})
    return requested(run_id, **asked).model_dump(mode="json") | ended


def decision(run_id: str, verb: str, minutes: float) -> Json:
    told = {"decision_id": f"{verb}-{run_id}-{minutes}", "run_id": run_id, "verb": verb, "by": "Ada", "reason": "eyes"}
    return AdapterDecided.model_validate(told | {"decided_at": at(minutes)}).model_dump(mode="json")


def states(runs: list[Json], *decisions: Json) -> dict[str, str]:
    return {one.name: one.state for one in adapters_of(runs, decisions)}


def test_adapters_are_numbered_by_concept_and_stage_in_the_order_in_which_their_runs_ended():
    runs = [
        run("z", 1),
        run("a", 2),
        run("b", 3, stage="B", parent="a"),
        run("l", 4, concept="lively"),
        run("f", 5) | {"status": "failed"},
        requested("r").model_dump(mode="json") | {"status": "requested"},
        {"run_id": "u", "status": "succeeded", "finished_at": at(0).isoformat()},
    ]
    named = {one.name: one.run_id for one in adapters_of(reversed(runs), ())}
    assert named == {"calm/A1": "z", "calm/A2": "a", "calm/B1": "b", "lively/A1": "l"}


@pytest.mark.parametrize(
    ("promoted", "decisions", "told"),
    [
        ((True,), [], ["in use"]),
        ((False,), [], ["not promoted"]),
        ((True, False, True), [], ["superseded", "not promoted", "in use"]),
        ((True, False), [], ["in use", "not promoted"]),
        ((True, False), [(1, "promote", 10)], ["superseded", "in use"]),
        ((True, True), [(1, "retire", 10)], ["in use", "retired"]),
        ((True, True, True), [(2, "retire", 10), (1, "retire", 11)], ["in use", "retired", "retired"]),
        ((True,), [(0, "retire", 10)], ["retired"]),
        ((True, True), [(0, "retire", 10)], ["retired", "in use"]),
        ((True, True, True), [(0, "promote", 10)], ["in use", "superseded", "superseded"]),
        ((True, True, True), [(0, "promote", 10), (0, "retire", 11)], ["retired", "superseded", "in use"]),
        ((True, True), [(1, "retire", 10), (1, "promote", 11)], ["superseded", "in use"]),
        ((True, False, True), [(1, "promote", 1.5)], ["superseded", "superseded", "in use"]),
    ],
)
def test_the_last_that_was_put_into_use_and_not_taken_out_again_is_in_use(promoted, decisions, told):
    runs = [run(f"r{number}", number, promoted=one) for number, one in enumerate(promoted)]
    decided = [decision(f"r{number}", verb, minutes) for number, verb, minutes in decisions]
    assert list(states(runs, *decided).values()) == told
    assert states(runs, *reversed(decided)) == states(runs, *decided)


def test_what_happens_to_one_line_of_adapters_leaves_the_others_alone():
    runs = [run("a", 1), run("b", 2, stage="B", parent="a"), run("l", 3, concept="lively")]
    assert states(runs, decision("a", "retire", 9)) == {
        "calm/A1": "retired",
        "calm/B1": "in use",
        "lively/A1": "in use",
    }


def test_an_adapter_that_was_never_judged_is_in_use_as_it_was_then():
    unjudged = run("a", 1) | {"metrics": {"n_clips": 3}}
    assert states([unjudged]) == {"calm/A1": "in use"}


@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_a_withdrawn_adapter_keeps_its_number_and_the_one_before_is_in_use(tmp_path, is_rebuilt):
    store = Store.open(tmp_path)
    records = [one for n in (1, 2, 3) for one in (requested(f"r{n}"), finished(f"r{n}", n, promoted=n != 3))]
    if is_rebuilt:
        store.removals.put({"gone": {"subject": "video", "video_ids": ["v"], "status": "done"}})
        withdraw_run(store, "r2", "removed")
    View(store).apply(records)
    withdraw_run(store, "r2", "removed")
    assert {one.name: (one.run_id, one.state) for one in read_adapters(store)} == {
        "calm/A1": ("r1", "in use"),
        "calm/A2": ("r2", "withdrawn"),
        "calm/A3": ("r3", "not promoted"),
    }


def test_a_run_that_was_withdrawn_before_it_ended_has_no_adapter(tmp_path):
    store = Store.open(tmp_path)
    View(store).apply([requested("r1"), requested("r2"), finished("r2", 2, "failed")])
    for run_id in ("r1", "r2"):
        withdraw_run(store, run_id, "removed")
    assert read_adapters(store) == []


def test_an_adapter_is_found_by_its_name_and_by_its_run():
    adapters = adapters_of([run("a", 1), run("b", 2)], ())
    assert find(adapters, "calm/A2") is find(adapters, "b") is in_use(adapters, "calm", "A")
    assert in_use(adapters, "calm", "B") is None
    with pytest.raises(NotFound, match=r"no adapter 'calm/A3'; give CONCEPT/VERSION, such as calm/A3, or its run's id"):
        find(adapters, "calm/A3")


def test_what_is_decided_next_comes_after_the_end_of_its_run_and_every_decision():
    adapters = adapters_of([run("a", 1), run("b", 2)], [decision("a", "retire", 9)])
    assert [one.last_word_at for one in adapters] == [at(9), at(2)]
    assert [[told["verb"] for told in one.decisions] for one in adapters] == [["retire"], []]


def test_lineage_names_the_parent_the_data_the_base_and_the_verdict():
    told = {"recipe": "r1", "dataset_digest": "d1", "n_clips": 12, "base": "b1", "base_revision": "abc", "drift": 0.2}
    told |= {"settings": {"steps": 9, "lr": 0.1}, "promoted": True, "verdict": ["held-out loss is lower"]}
    told |= {"exports": {"comfy.safetensors": 0.0}}
    heir = run("b", 2, stage="B", parent="a") | {"metrics": told}
    adapters = adapters_of([run("a", 1), heir], ())
    assert lineage(adapters[1], adapters) == {
        "parent": "calm/A1",
        "members_digest": "members of b",
        "dataset": {
            **{"definition": None, "recipe": "r1", "dataset_digest": "d1", "snapshot": None},
            **{"n_clips": 12, "n_videos": None},
        },
        "base": {"base": "b1", "base_label": None, "base_revision": "abc"},
        "settings": {"steps": 9, "lr": 0.1},
        "evaluation": {"drift": 0.2},
        "promoted": True,
        "verdict": ["held-out loss is lower"],
        "exports": {"comfy.safetensors": 0.0},
    }


def test_lineage_of_a_withdrawn_adapter_tells_what_was_asked_for():
    gone = requested("b", parent="lost").model_dump(mode="json")
    gone |= {"status": "withdrawn", "finished_at": at(2).isoformat()}
    adapters = adapters_of([gone], ())
    found = lineage(adapters[0], adapters)
    assert (found["parent"], found["settings"], found["evaluation"]) == ("lost", {"steps": 9}, {})
