"""When a run is due: a table of situations, and what the scheduler says of each."""

from dataclasses import replace
from datetime import timedelta

import pytest

from store.records import ConceptChanged
from tests.trainer.made_discs import NOW
from trainer.scheduler import PastRun, RunPlan, SchedulerSettings, SchedulerState, decide, due, request_run
from trainer.settings import LoraSettings

SETTINGS = SchedulerSettings()
TOKENS = {"tension": "zivtek", "calm": "bakdom", "joy": "golnup"}


def concept(name: str = "tension", **changes: object) -> ConceptChanged:
    fields = {
        "concept": name,
        "definition": {"name": name},
        "members_key": f"members/{name}",
        "members_digest": "m1",
        "n_members": 50,
        "n_eligible": 40,
        "n_videos": 5,
        "purity": 0.9,
        "purity_low": 0.8,
        "ready": True,
        "reasons": (),
        "recipe": "r",
    }
    return ConceptChanged.model_validate(fields | changes)


def run(**changes: object) -> PastRun:
    past = PastRun("a" * 32, "tension", "A", "m1", None, 40, "succeeded", NOW - timedelta(hours=1))
    return replace(past, **changes)


STAGE_B = run(run_id="b" * 32, stage="B", parent="a" * 32)

SITUATIONS = {
    "not ready": (
        concept(ready=False, reasons=("12 clips, 20 are asked",)),
        [],
        None,
        "not ready: 12 clips, 20 are asked",
    ),
    "first": (concept(), [], "A", "stage A: the first adapter, of 40 clips of 5 videos"),
    "same members": (concept(), [run()], None, "no stage A: the subset grew by 0%"),
    "grew too little": (concept(members_digest="m2", n_eligible=45), [run()], None, "grew by 12%"),
    "grew enough": (concept(members_digest="m2", n_eligible=50), [run()], "A", "stage A: the subset grew by 25%"),
    "shrank": (concept(members_digest="m2", n_eligible=30), [run()], None, "grew by -25%"),
    "cooling down": (
        concept(members_digest="m2", n_eligible=80),
        [run(finished_at=NOW - timedelta(seconds=9))],
        None,
        "it cools down from its last run until 2026-01-02T03:13:56+00:00",
    ),
    "withdrawn is as if it never was": (concept(), [run(status="withdrawn")], "A", "first adapter"),
    "failed with other clips": (concept(members_digest="m2"), [run(status="failed")], "A", "first adapter"),
    "purity unknown": (concept(purity=None, purity_low=None), [run()], None, "no stage B: purity is unknown"),
    "pure enough": (concept(purity_low=0.93), [run()], "B", "stage B: purity is at least 0.93"),
    "stage B done": (concept(purity_low=0.93), [run(), STAGE_B], None, "stage B is done"),
    "stage B failed before, members changed": (
        concept(purity_low=0.93, members_digest="m2"),
        [run(), replace(STAGE_B, status="failed")],
        "B",
        "stage B",
    ),
    "stage B of an older stage A": (
        concept(purity_low=0.93),
        [run(run_id="0" * 32, finished_at=NOW - timedelta(days=1)), replace(STAGE_B, parent="0" * 32), run()],
        "B",
        "stage B",
    ),
    "one is under way": (
        concept(),
        [run(concept="calm", status="running", finished_at=None)],
        None,
        "of 'calm' is under way",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_decision_and_its_reason(situation):
    now, runs, stage, reason = SITUATIONS[situation]
    (decision,) = decide(SchedulerState((now,), tuple(runs), TOKENS), NOW, SETTINGS)
    assert reason in decision.reason
    assert (decision.request.stage if decision.request else None) == stage
    assert decision.verdict == ("train" if stage else "wait")


def test_a_run_is_asked_for_with_the_token_and_never_without():
    (request,) = due(SchedulerState((concept(),), (), TOKENS), NOW, SETTINGS)
    assert request.token == "zivtek"
    (decision,) = decide(SchedulerState((concept(),), (), {"calm": "bakdom"}), NOW, SETTINGS)
    assert (decision.verdict, decision.reason) == ("wait", "its trigger token is not reserved yet")


def test_a_failed_run_is_not_asked_for_again():
    state = SchedulerState((concept(),), (), TOKENS)
    (request,) = due(state, NOW, SETTINGS)
    failed = run(run_id=request.run_id, status="failed")
    (decision,) = decide(SchedulerState((concept(),), (failed,), TOKENS), NOW, SETTINGS)
    assert decision.verdict == "wait"
    assert "stage A failed with these clips" in decision.reason


def test_of_several_only_the_one_that_waited_longest_goes():
    concepts = tuple(concept(name) for name in ("calm", "joy", "tension"))
    runs = tuple(
        run(run_id=name, concept=name, status="withdrawn", finished_at=NOW - timedelta(hours=hours))
        for name, hours in (("calm", 2), ("joy", 5), ("tension", 3))
    )
    decisions = decide(SchedulerState(concepts, runs, TOKENS), NOW, SETTINGS)
    assert [decision.concept for decision in decisions] == ["calm", "joy", "tension"]
    assert [decision.verdict for decision in decisions] == ["wait", "train", "wait"]
    assert "'joy' goes first" in decisions[0].reason


def test_stage_b_starts_from_the_last_stage_a_at_a_lower_rate():
    (request,) = due(SchedulerState((concept(purity_low=0.95),), (run(),), TOKENS), NOW, SETTINGS)
    assert request.parent == run().run_id
    assert 0.2 <= LoraSettings.of(request.settings).lr / LoraSettings().lr <= 0.3


def test_the_same_request_has_the_same_id_whenever_it_is_made():
    plan = RunPlan("A", None, {}, "because")
    first = request_run(concept(), "zivtek", plan, "scheduler", NOW)
    later = request_run(concept(), "zivtek", replace(plan, reason="asked"), "ada", NOW + timedelta(days=1))
    assert first.run_id == later.run_id
    assert (
        len(
            {
                first.run_id,
                *(
                    request_run(*other, "ada", NOW).run_id
                    for other in (
                        (concept(members_digest="m2"), "zivtek", plan),
                        (concept("calm"), "zivtek", plan),
                        (concept(), "bakdom", plan),
                        (concept(), "zivtek", replace(plan, settings={"steps": 9})),
                        (concept(), "zivtek", RunPlan("B", "p", {}, "")),
                    )
                ),
            }
        )
        == 6
    )
