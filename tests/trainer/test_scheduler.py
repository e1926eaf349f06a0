"""When a run is due: a table of situations, and what the scheduler says of each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.errors import SettingsError
from store.records import ConceptChanged
from tests.trainer.made_discs import NOW
from trainer.scheduler import PastRun, RunPlan, SchedulerState, decide, device_hours, due, request_run
from trainer.scheduler_settings import SchedulerSettings, load_training
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
    asked, ended = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    past = PastRun("a" * 32, "tension", "A", "m1", None, 40, "succeeded", asked, ended)
    adapter = "in use" if changes.get("status", "succeeded") == "succeeded" else None
    return replace(past, **{"adapter": adapter} | changes)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


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
        "it cools down from its last run until 2026-01-02T03:13:56+00:00, 600 s after its end",
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
        [
            run(run_id="0" * 32, finished_at=NOW - timedelta(days=1), adapter="superseded"),
            replace(STAGE_B, parent="0" * 32),
            run(),
        ],
        "B",
        "stage B",
    ),
    "on from stage A, and stage B not done": (
        concept(purity_low=0.93),
        [
            run(),
            run(
                run_id="c" * 32, parent="a" * 32, finished_at=NOW - timedelta(hours=1, seconds=1), adapter="superseded"
            ),
        ],
        "B",
        "stage B",
    ),
    "the only stage A was not promoted": (
        concept(purity_low=0.93),
        [run(adapter="not promoted")],
        None,
        "no stage B: no adapter of stage A is in use, the last, of run aaaaaaaaaaaa, is not promoted",
    ),
    "the only stage A was retired, and the subset grew": (
        concept(members_digest="m2", n_eligible=50),
        [run(adapter="retired")],
        "A",
        "from nothing: no adapter of stage A is in use, the last, of run aaaaaaaaaaaa, is retired",
    ),
    "the last try was not promoted, and nothing grew since": (
        concept(members_digest="m2", n_eligible=60),
        [run(finished_at=NOW - timedelta(days=1)), run(run_id="c" * 32, n_clips=55, adapter="not promoted")],
        None,
        "no stage A: the subset grew by 9% since the last",
    ),
    "stage B of what is in use, where the last stage A was not promoted": (
        concept(purity_low=0.93),
        [run(finished_at=NOW - timedelta(days=1)), run(run_id="c" * 32, adapter="not promoted")],
        "B",
        "stage B: purity",
    ),
    "stage B was done from what was rolled back to": (
        concept(purity_low=0.93),
        [run(finished_at=NOW - timedelta(days=1)), STAGE_B, run(run_id="c" * 32, adapter="retired")],
        None,
        "stage B is done",
    ),
    "one is under way": (
        concept(),
        [run(concept="calm", status="running", finished_at=None)],
        None,
        "none of 1 device(s) is free: run aaaaaaaaaaaa of 'calm' is under way",
    ),
    "its own is under way": (
        concept(),
        [run(status="requested", finished_at=None)],
        None,
        "run aaaaaaaaaaaa of 'tension' is under way, stage A, requested",
    ),
    "its own is paused": (
        concept(),
        [run(status="paused", finished_at=None, halted="Ada: the machine is needed")],
        None,
        "was paused by Ada: the machine is needed; it keeps its place until it is resumed or cancelled",
    ),
    "another's is paused": (
        concept(),
        [run(concept="calm", status="paused", finished_at=None)],
        "A",
        "0 of 1 device(s) taken",
    ),
    "cancelled with these clips": (
        concept(),
        [run(status="cancelled", halted="Ada: too early")],
        None,
        "run aaaaaaaaaaaa of 'tension' with these clips was cancelled by Ada: too early; it waits until the subset",
    ),
    "cancelled with other clips": (concept(members_digest="m2"), [run(status="cancelled")], "A", "first adapter"),
    "cancelled, and a person asked": (
        concept(members_digest="m2", n_eligible=50),
        [run(status="cancelled", members_digest="m2"), run(run_id="c" * 32, members_digest="m2", n_clips=50)],
        None,
        "no stage A: the subset grew by 0%",
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


@pytest.mark.parametrize(("status", "told"), [("failed", "failed"), ("withdrawn", "was withdrawn")])
def test_a_run_that_came_to_nothing_is_not_asked_for_again(status, told):
    state = SchedulerState((concept(),), (), TOKENS)
    (request,) = due(state, NOW, SETTINGS)
    ended = run(run_id=request.run_id, status=status)
    (decision,) = decide(SchedulerState((concept(),), (ended,), TOKENS), NOW, SETTINGS)
    assert decision.verdict == "wait"
    assert f"stage A {told} with these clips" in decision.reason


def test_clips_that_came_to_an_unpromoted_adapter_are_not_trained_on_again_when_the_subset_is_as_it_was():
    (request,) = due(SchedulerState((concept(),), (), TOKENS), NOW, SETTINGS)
    first = run(run_id=request.run_id, finished_at=ago(9), adapter="not promoted")
    smaller = run(members_digest="m2", n_clips=20, adapter="not promoted")
    (decision,) = decide(SchedulerState((concept(),), (first, smaller), TOKENS), NOW, SETTINGS)
    assert decision.verdict == "wait"
    assert "stage A was trained with these clips" in decision.reason


def test_what_was_rolled_back_is_not_gone_on_from():
    grown = concept(members_digest="m2", n_eligible=80)
    runs = (run(finished_at=ago(9)), run(run_id="c" * 32, adapter="retired"))
    (request,) = due(SchedulerState((grown,), runs, TOKENS), NOW, SETTINGS)
    assert (request.stage, request.parent) == ("A", "a" * 32)
    assert "on from run aaaaaaaaaaaa" in request.reason


def test_from_nothing_a_run_has_the_settings_of_a_first_one():
    grown = concept(members_digest="m2", n_eligible=80)
    (request,) = due(SchedulerState((grown,), (run(adapter="not promoted"),), TOKENS), NOW, SETTINGS)
    assert (request.parent, request.settings) == (None, {})


def three(settings: SchedulerSettings = SETTINGS, *others: PastRun, **priorities: int) -> list[tuple[str, str, str]]:
    """What is decided of three concepts that are due, of which joy waited longest: (concept, verdict, reason)."""
    concepts = tuple(
        concept(name, definition={"priority": priorities.get(name, 0)}) for name in ("calm", "joy", "tension")
    )
    runs = tuple(
        run(run_id=name, concept=name, status="withdrawn", requested_at=ago(30), finished_at=ago(hours))
        for name, hours in (("calm", 2), ("joy", 5), ("tension", 3))
    )
    decisions = decide(SchedulerState(concepts, (*runs, *others), TOKENS), NOW, settings)
    return [(decision.concept, decision.verdict, decision.reason) for decision in decisions]


def test_of_several_only_the_one_that_waited_longest_goes():
    told = three()
    assert [one[:2] for one in told] == [("joy", "train"), ("tension", "wait"), ("calm", "wait")]
    assert "none of 1 device(s) is free: 'joy' of priority 0 goes first; its priority is 0" in told[1][2]


def test_priority_comes_before_who_waited_longest():
    told = three(calm=2, tension=-1)
    assert [one[:2] for one in told] == [("calm", "train"), ("joy", "wait"), ("tension", "wait")]
    assert "'calm' of priority 2 goes first; its priority is -1" in told[2][2]


@pytest.mark.parametrize(("devices", "n_under_way", "n_asked"), [(1, 0, 1), (2, 0, 2), (2, 1, 1), (2, 3, 0), (5, 0, 3)])
def test_as_many_runs_are_asked_for_as_devices_are_free(devices, n_under_way, n_asked):
    others = [run(run_id=f"{n}", concept=f"other-{n}", status="running", finished_at=None) for n in range(n_under_way)]
    told = three(SchedulerSettings(devices=devices), *others)
    assert [verdict for _, verdict, _ in told] == ["train"] * n_asked + ["wait"] * (3 - n_asked)


@pytest.mark.parametrize(("devices", "n_under_way", "n_asked"), [(2, 0, 1), (3, 0, 1), (4, 0, 2), (5, 1, 1), (4, 2, 0)])
def test_a_run_that_takes_two_devices_waits_until_two_are_free(devices, n_under_way, n_asked):
    others = [run(run_id=f"{n}", concept=f"other-{n}", status="running", finished_at=None) for n in range(n_under_way)]
    told = three(SchedulerSettings(devices=devices, devices_per_run=2), *others)
    assert [verdict for _, verdict, _ in told] == ["train"] * n_asked + ["wait"] * (3 - n_asked)
    free = devices - 2 * (n_under_way + n_asked)
    assert f"{free or 'none'} of {devices} device(s) is free, a run takes 2: " in told[-1][2]


def test_device_hours_count_each_device_of_a_run():
    runs = [run(stints=((ago(2), ago(0.5)),))]
    assert device_hours(runs, NOW, 4) == pytest.approx(6.0)
    settings = SchedulerSettings(devices=4, devices_per_run=4, device_hours_per_day=5.0)
    (decision,) = decide(SchedulerState((concept(),), (replace(runs[0], concept="calm"),), TOKENS), NOW, settings)
    assert "6.0 of today's 5 device hours are used" in decision.reason


def test_who_waits_is_told_what_it_would_run():
    state = SchedulerState((concept(),), (run(concept="calm", status="running", finished_at=None),), TOKENS)
    (decision,) = decide(state, NOW, SETTINGS)
    assert (decision.verdict, decision.request) == ("wait", None)
    assert decision.plan is not None
    assert decision.plan.stage == "A"


# --- quota and budget, by the UTC day; NOW is 03:04:05 -------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours_ago", "verdict"),
    [((4, 5), "train"), ((1, 4), "train"), ((1, 2), "wait"), ((1, 2, 3), "wait")],
    ids=["yesterday", "one today", "two today", "three today"],
)
def test_a_concept_has_so_many_runs_a_day(hours_ago, verdict):
    runs = tuple(
        run(run_id=f"{hours}", status="withdrawn", requested_at=ago(hours), finished_at=ago(0.5)) for hours in hours_ago
    )
    (decision,) = decide(SchedulerState((concept(),), runs, TOKENS), NOW, SchedulerSettings(runs_per_day=2))
    assert decision.verdict == verdict
    if verdict == "wait":
        assert f"{len(hours_ago)} of its 2 run(s) of today were asked for" in decision.reason
        assert "the next from 2026-01-03T00:00+00:00" in decision.reason


def test_runs_of_other_concepts_are_no_part_of_a_quota():
    others = tuple(run(run_id=f"{n}", concept="calm") for n in range(9))
    (decision,) = decide(SchedulerState((concept(),), others, TOKENS), NOW, SchedulerSettings(runs_per_day=1))
    assert decision.verdict == "train"


def test_device_hours_are_those_since_midnight_and_pauses_are_none():
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    over_midnight = run(stints=((midnight - timedelta(hours=2), midnight + timedelta(minutes=30)),))
    paused = run(
        stints=(
            (midnight + timedelta(hours=1), midnight + timedelta(minutes=75)),
            (midnight + timedelta(hours=2), midnight + timedelta(minutes=135)),
        )
    )
    yesterday = run(stints=((midnight - timedelta(hours=9), midnight - timedelta(hours=1)),))
    assert device_hours([over_midnight, paused, yesterday, run()], NOW) == pytest.approx(1.0)


@pytest.mark.parametrize(("budget_h", "verdict"), [(None, "train"), (2.0, "train"), (1.5, "wait"), (1.0, "wait")])
def test_no_run_starts_once_the_days_device_hours_are_used(budget_h, verdict):
    past = run(concept="calm", stints=((ago(2), ago(0.5)),))
    settings = SchedulerSettings(device_hours_per_day=budget_h)
    (decision,) = decide(SchedulerState((concept(),), (past,), TOKENS), NOW, settings)
    assert decision.verdict == verdict
    if verdict == "wait":
        told = f"1.5 of today's {budget_h:g} device hours are used; more from 2026-01-03T00:00+00:00"
        assert told in decision.reason


# --- what the runs are -------------------------------------------------------------------------------------------


def test_stage_b_starts_from_the_last_stage_a_at_a_lower_rate():
    (request,) = due(SchedulerState((concept(purity_low=0.95),), (run(),), TOKENS), NOW, SETTINGS)
    assert request.parent == run().run_id
    assert 0.2 <= LoraSettings.of(request.settings).lr_share <= 0.3
    assert (request.settings["start"], request.settings["replay"]) == ("continue", 0.25)


def test_a_subset_that_grew_goes_on_from_its_last_stage_a():
    older = run(run_id="0" * 32, finished_at=ago(9), adapter="superseded")
    grown = concept(members_digest="m2", n_eligible=60)
    (request,) = due(SchedulerState((grown,), (run(), older, STAGE_B), TOKENS), NOW, SETTINGS)
    assert (request.stage, request.parent) == ("A", run().run_id)
    assert (request.settings["start"], request.settings["replay"]) == ("continue", 0.25)
    assert LoraSettings.of(request.settings).lr_share < 1.0
    assert "on from run aaaaaaaaaaaa" in request.reason


def test_a_first_adapter_starts_from_nothing():
    (request,) = due(SchedulerState((concept(),), (), TOKENS), NOW, SETTINGS)
    assert (request.parent, request.settings) == (None, {})


def test_what_holds_for_every_run_gives_way_to_what_holds_for_its_stage():
    settings = SchedulerSettings(lora={"base": "some/base", "lr": 1e-4}, stage_b={"lr": 2e-5})
    assert settings.of_run("A", goes_on=False) == {"base": "some/base", "lr": 1e-4}
    assert settings.of_run("B", goes_on=True) == {"base": "some/base", "lr": 2e-5}
    assert settings.of_run("A", goes_on=True) == {"base": "some/base", "lr": 1e-4, **SETTINGS.stage_a_again}


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


# --- the file ----------------------------------------------------------------------------------------------------


def test_the_file_that_comes_with_cliploom_holds_the_defaults():
    assert load_training(Path(__file__).parents[2] / "training.toml") == load_training(None) == SETTINGS


def test_a_file_changes_what_it_names(tmp_path):
    path = tmp_path / "training.toml"
    path.write_text("devices = 3\ndevice_hours_per_day = 20\n[stage_b]\nsteps = 9\n")
    settings = load_training(path)
    assert (settings.devices, settings.device_hours_per_day, settings.stage_b) == (3, 20, {"steps": 9})
    assert (settings.runs_per_day, settings.stage_a_again) == (SETTINGS.runs_per_day, SETTINGS.stage_a_again)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("devices = 0", r"mine\.toml: devices is 0; expected a whole number from 1 to 64; training\.toml tells"),
        ("devices = 1.5", r"devices is 1\.5; expected a whole number from 1 to 64"),
        ("devices = true", r"devices is True; expected a whole number"),
        ("devices = 2\ndevices_per_run = 3", r"devices_per_run is 3, and devices is 2: no run .* at most 2"),
        ('runs_per_day = "many"', r"runs_per_day is 'many'; expected a whole number from 1 to 1000"),
        ("device_hours_per_day = 0", r"device_hours_per_day is 0; expected a number from 0\.1 to 1536"),
        ("cool_down_s = nan", r"cool_down_s is nan; expected a number from 0 to 604800"),
        ("least_growth = -1", r"least_growth is -1; expected a number from 0\.01 to 10"),
        ("stage_b_purity = 2", r"stage_b_purity is 2; expected a number from 0 to 1"),
        ("stage_a = 3", r"stage_a is 3; expected a table \[stage_a\] of fields of LoraSettings"),
        ("[lora.deep]\nlr = 1", r"lora is .*; expected a table \[lora\]"),
        ("device = 2", r"device = 2 is not known; there are devices, devices_per_run, runs_per_day"),
        ("devices = ", r"mine\.toml is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_value_bounds_and_remedy(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_training(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read.*give an existing file"):
        load_training(tmp_path / "nowhere.toml")
