"""Concepts, and training runs that a person asks for."""

import io
import json
from datetime import timedelta

import pytest
from rich.console import Console

from api.client import Client, Refused
from api.commands.following import follow_run, run_to_follow
from store.records import ConceptChanged, TokenReserved, TrainingFinished, TrainingProgress
from tests.api.conftest import NOON


@pytest.fixture
def lively(live):
    """Puts a concept with one open clip and one that is held into the store, and its token unless that is None."""

    def put(digest: str = "d1", token: str | None = "zivtek", **changes) -> None:
        if token is not None:
            live.apply(TokenReserved(kind="concept", subject_id="lively", token=token, reserved_at=NOON))
        members = [
            {"clip_id": "c1", "probability": 0.9, "eligible": True, "held_for": []},
            {"clip_id": "c2", "probability": None, "eligible": False, "held_for": ["age"]},
        ]
        fields = {
            "concept": "lively",
            "definition": {"name": "lively", "query": "motion = 'high'"},
            "members_key": live.store.media.put_bytes(json.dumps(members).encode(), "json"),
            "members_digest": digest,
            "n_members": 2,
            "n_eligible": 1,
            "n_videos": 1,
            "purity": 0.8,
            "purity_low": 0.5,
            "ready": False,
            "reasons": ("1 clip of 8",),
            "recipe": "r",
        }
        live.apply(ConceptChanged(**fields | changes))

    return put


def finish(live, run_id, status="succeeded", **metrics):
    live.apply(
        TrainingFinished(
            run_id=run_id,
            concept="lively",
            status=status,
            reason="" if status == "succeeded" else "out of memory",
            artefacts={"grid.png": live.store.media.put_bytes(b"picture", "png")} if status == "succeeded" else {},
            metrics=metrics,
            finished_at="2026-03-01T13:00:00Z",
        )
    )


def ask(live, **body):
    return live.http.post("/training", json={"concept": "lively", **body})


def test_a_concept_shows_its_members_and_why_it_waits(live, lively):
    lively()

    answer = live.http.get("/concepts/lively").json()

    assert live.http.get("/concepts").json() == [answer["concept"]]
    assert answer["concept"]["token"] == "zivtek"
    assert (answer["concept"]["purity"], answer["concept"]["reasons"]) == (0.8, ["1 clip of 8"])
    assert [(m["clip_id"], m["eligible"], m["held_for"]) for m in answer["members"]] == [
        ("c1", True, []),
        ("c2", False, ["age"]),
    ]


def test_a_person_may_train_before_the_thresholds_are_met(live, lively):
    lively()

    answer = ask(live, by="Ada")

    assert answer.status_code == 201
    run = live.http.get(f"/training/{answer.json()['id']}").json()
    assert (run["status"], run["stage"], run["parent"], run["requested_by"]) == ("requested", "A", None, "Ada")
    assert run["token"] == "zivtek"
    assert run["reason"] == "stage A: by hand, though not ready: 1 clip of 8"
    assert live.published[0].topic == "training.requested"


def test_without_an_open_clip_there_is_no_run(live, lively):
    lively(n_eligible=0, reasons=("2 clips are held for age",))

    answer = ask(live)

    assert answer.status_code == 409
    assert "no clip that is open to use: 2 clips are held for age" in answer.json()["what"]


def test_a_concept_whose_token_is_not_reserved_yet_is_shown_and_not_trained(live, lively):
    lively(token=None)
    live.apply(TokenReserved(kind="identity", subject_id="lively", token="bakdom", reserved_at=NOON))

    answer = ask(live)

    assert [concept["token"] for concept in live.http.get("/concepts").json()] == [None]
    assert (answer.status_code, "'lively' has no trigger token yet" in answer.json()["what"]) == (409, True)


def test_the_command_prints_the_token(lively, run):
    lively()
    assert "zivtek" in run("concepts")[1]
    assert "zivtek" in run("concepts", "lively")[1]


def test_an_unknown_concept_is_not_trained(live, lively):
    lively()

    answer = ask(live, concept="loud")

    assert answer.status_code == 404
    assert "there are: lively" in answer.json()["what"]


def test_the_same_run_is_not_asked_for_twice(live, lively):
    lively()
    run_id = ask(live).json()["id"]

    for status in ("requested", "succeeded"):
        again = ask(live)
        assert again.status_code == 409
        assert f"run {run_id} of these very clips is {status}" in again.json()["what"]
        finish(live, run_id)

    lively(digest="d2")
    assert ask(live).status_code == 201


def test_stage_a_by_hand_goes_on_from_the_adapter_in_use_and_from_nothing_once_that_is_retired(live, lively):
    lively()
    first = ask(live).json()["id"]
    finish(live, first)

    lively(digest="d2")
    second = ask(live).json()
    live.http.post("/adapters/lively/A1/retire", json={"by": "Ada", "reason": "it looks flat"})
    third = ask(live).json()

    assert second["document"]["parent"] == first
    assert third["document"]["parent"] is None


def test_a_run_that_failed_may_be_asked_for_again_as_another(live, lively):
    lively()
    first = ask(live).json()["id"]
    finish(live, first, "failed")

    second = ask(live)

    assert second.status_code == 201
    assert second.json()["id"] != first
    assert second.json()["document"]["settings"]["seed"] == 1


def test_stage_b_goes_on_from_the_adapter_of_stage_a(live, lively):
    lively()
    refused = ask(live, stage="B")
    run_id = ask(live).json()["id"]
    finish(live, run_id)

    answer = ask(live, stage="B")

    assert refused.status_code == 409
    assert "train stage A first" in refused.json()["what"]
    assert answer.json()["document"]["parent"] == run_id


def test_stage_b_goes_on_from_no_adapter_that_is_not_in_use(live, lively):
    lively()
    first = ask(live).json()["id"]
    finish(live, first, promoted=False)

    refused = ask(live, stage="B")
    live.http.post("/adapters/lively/A1/promote", json={"by": "Ada", "reason": "good enough to refine"})
    answer = ask(live, stage="B")

    assert refused.status_code == 409
    assert "has none in use: lively/A1 is not promoted; promote one, or train stage A first" in refused.json()["what"]
    assert answer.json()["document"]["parent"] == first


def test_the_plan_goes_on_from_what_was_rolled_back_to(live, lively):
    lively(ready=True, reasons=(), n_eligible=1)
    first = ask(live).json()["id"]
    finish(live, first, n_clips=1)
    lively(digest="d2", ready=True, reasons=(), n_eligible=2)
    finish(live, second := ask(live).json()["id"], n_clips=2)
    live.store.runs.put({second: live.store.runs.get(second) | {"finished_at": "2026-03-01T13:00:01Z"}})
    lively(digest="d3", ready=True, reasons=(), n_eligible=9)
    live.put_back = -timedelta(days=1)

    parents = [live.http.get("/training/plan").json()["concepts"][0]["parent"]]
    for adapter in ("lively/A2", "lively/A1"):
        live.http.post(f"/adapters/{adapter}/retire", json={"by": "Ada", "reason": "dull"})
        parents.append(live.http.get("/training/plan").json()["concepts"][0]["parent"])

    assert parents == [second, first, None]


def test_a_run_shows_its_progress_and_gives_out_what_it_made(live, lively):
    lively()
    run_id = ask(live).json()["id"]
    live.apply(TrainingProgress(run_id=run_id, phase="lora", step=10, steps=300, loss=0.5))
    running = live.http.get("/training").json()
    finish(live, run_id)

    assert (running[0]["status"], running[0]["progress"]["step"]) == ("running", 10)
    assert live.http.get(f"/training/{run_id}/artefacts/grid.png").content == b"picture"
    missing = live.http.get(f"/training/{run_id}/artefacts/adapter.safetensors")
    assert missing.status_code == 404
    assert "it has grid.png" in missing.json()["what"]
    assert live.http.get("/training/nope").status_code == 404


# --- pause, cancel, resume ---------------------------------------------------------------------------------------


def decide(live, run_id, verb, **body):
    return live.http.post(f"/training/{run_id}/{verb}", json={"by": "Ada", "reason": "the machine is needed"} | body)


def test_a_run_is_paused_resumed_and_cancelled_on_record(live, lively):
    lively()
    run_id = ask(live).json()["id"]
    seen = []
    for verb in ("pause", "resume", "cancel"):
        answer = decide(live, run_id, verb)
        assert (answer.status_code, answer.json()["id"], answer.json()["durable"]) == (201, run_id, True)
        seen.append(live.http.get(f"/training/{run_id}").json()["status"])

    assert seen == ["paused", "requested", "cancelled"]
    records = live.published[1:]
    assert {record.topic for record in records} == {"training.controlled"}
    assert [(record.key, record.verb, record.by, record.reason) for record in records] == [
        (run_id, verb, "Ada", "the machine is needed") for verb in ("pause", "resume", "cancel")
    ]
    assert len({record.control_id for record in records}) == 3


@pytest.mark.parametrize(
    ("before", "verb", "told"),
    [
        ([], "resume", "cannot be resumed: it is requested; it waits for a worker"),
        (["pause"], "pause", "cannot be paused: it is paused by Ada: the machine is needed; resume or cancel it"),
        (["cancel"], "resume", "it is cancelled by Ada: the machine is needed; it is at its end; POST /training asks"),
        (["cancel"], "cancel", "cannot be cancelled: it is cancelled"),
        (["end"], "pause", "cannot be paused: it is succeeded; it is at its end"),
        (["end"], "cancel", "cannot be cancelled: it is succeeded"),
    ],
)
def test_what_a_runs_state_forbids_is_a_conflict_with_its_remedy(live, lively, before, verb, told):
    lively()
    run_id = ask(live).json()["id"]
    for one in before:
        finish(live, run_id) if one == "end" else decide(live, run_id, one)

    answer = decide(live, run_id, verb)

    assert answer.status_code == 409
    assert told in answer.json()["what"]


def test_an_unknown_run_is_not_paused_and_nobody_pauses_without_a_reason(live, lively):
    lively()
    run_id = ask(live).json()["id"]

    assert decide(live, "nope", "pause").status_code == 404
    assert decide(live, run_id, "pause", reason="").status_code == 422
    assert live.http.post(f"/training/{run_id}/pause", json={"reason": "r"}).status_code == 422


def test_a_decision_that_the_store_does_not_show_yet_is_accepted(live, lively):
    lively()
    run_id = ask(live).json()["id"]
    live.drops = True

    answer = decide(live, run_id, "pause")

    assert (answer.status_code, answer.json()["durable"]) == (202, False)


def test_where_the_clock_was_put_back_the_last_decision_still_counts(live, lively):
    lively()
    run_id = ask(live).json()["id"]
    decide(live, run_id, "pause")
    live.put_back = timedelta(hours=1)

    decide(live, run_id, "resume")

    assert live.http.get(f"/training/{run_id}").json()["status"] == "requested"


def test_a_cancelled_run_may_be_asked_for_by_a_person_and_a_paused_one_is_to_be_resumed(live, lively):
    lively()
    first = ask(live).json()["id"]
    decide(live, first, "pause")
    refused = ask(live)
    decide(live, first, "cancel")
    second = ask(live)

    assert (refused.status_code, "is paused; resume it" in refused.json()["what"]) == (409, True)
    assert second.status_code == 201
    assert second.json()["document"]["settings"]["seed"] == 1


# --- the plan ----------------------------------------------------------------------------------------------------


def test_the_plan_says_what_would_run_and_why_and_asks_for_nothing(live, lively):
    lively(ready=True, reasons=(), definition={"name": "lively", "priority": 3})

    plan = live.http.get("/training/plan").json()

    (one,) = plan["concepts"]
    assert (one["concept"], one["verdict"], one["stage"], one["priority"]) == ("lively", "train", "A", 3)
    assert one["reason"] == "stage A: the first adapter, of 1 clips of 1 videos; 0 of 1 device(s) taken"
    assert (plan["devices"] // plan["devices_per_run"], plan["under_way"], plan["device_hours_used"]) == (1, [], 0.0)
    assert (plan["device_hours_left"], plan["runs_per_day"], plan["day"]) == (None, 8, "2026-03-01")
    assert live.published == []


def test_the_plan_counts_the_hours_of_the_day_and_the_runs_under_way(live, lively):
    lively(ready=True, reasons=())
    run_id = ask(live).json()["id"]
    held = ((NOON - timedelta(hours=2), NOON - timedelta(hours=0.5)),)
    live.apply(TrainingProgress(run_id=run_id, phase="lora", step=1, steps=9, loss=0.5, stints=held))

    plan = live.http.get("/training/plan").json()

    assert (plan["device_hours_used"], plan["under_way"]) == (1.5, [run_id])
    (one,) = plan["concepts"]
    assert (one["verdict"], one["run_id"]) == ("wait", None)
    assert f"run {run_id[:12]} of 'lively' is under way, stage A, running" in one["reason"]


# --- the commands ------------------------------------------------------------------------------------------------


def test_the_command_asks_for_runs_and_decides_about_them(live, lively, run, run_json):
    lively()
    code, told = run_json("train", "run", "lively")
    assert code == 0
    assert "run under way" not in run("train", "plan")[1]
    for verb, status in (("pause", "paused"), ("resume", "requested"), ("cancel", "cancelled")):
        code, out, _ = run("train", verb, told["id"], "--by", "Ada", "--reason", "heat")
        assert (code, f"on record as {told['id']}: stored" in out) == (0, True)
        assert live.store.runs.get(told["id"])["status"] == status
    code, _, refused = run("train", "resume", told["id"], "--by", "Ada", "--reason", "heat")
    assert (code, "it is cancelled by Ada: heat" in refused) == (1, True)


def test_the_plan_is_shown_to_people(lively, run):
    lively(ready=True, reasons=())
    code, out, _ = run("train", "plan")
    assert code == 0
    assert "0 of 1 devices taken; device hours on 2026-03-01 (UTC): 0.0 used, no limit; at most 8 runs a day" in out
    assert "stage A: the first adapter, of 1 clips of 1 videos" in out


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1)])
def test_watching_ends_with_the_run_and_says_whether_it_succeeded(live, lively, run, run_json, status, code):
    lively()
    run_id = ask(live).json()["id"]
    finish(live, run_id, status)
    assert run_json("train", "watch", run_id)[0] == code
    found, out, _ = run("train", "watch", run_id)
    assert found == code
    assert f"run {run_id} of lively: {status}" in out
    assert ("out of memory" in out) == (status == "failed")


def test_without_a_run_there_is_nothing_to_watch(run):
    code, out, _ = run("train", "watch")
    assert (code, "no run is under way" in out) == (0, True)
    assert run("train", "watch", "nope")[0] == 1


def test_a_run_is_followed_through_its_phases_until_it_ends(live, lively):
    lively()
    run_id = ask(live).json()["id"]
    going = {"run_id": run_id, "steps": 120, "stints": ()}
    events = iter(
        [
            lambda: live.apply(TrainingProgress(phase="base", step=5, loss=None, **going)),
            lambda: live.apply(TrainingProgress(phase="lora", step=30, loss=0.25, **going)),
            lambda: decide(live, run_id, "pause"),
            lambda: decide(live, run_id, "resume"),
            lambda: finish(live, run_id),
        ]
    )
    client = Client(live.url)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    assert run_to_follow(client, None) == run_id

    def wait(_s: float) -> None:
        next(events)()

    ended = follow_run(client, run_id, console, wait)
    client.close()

    assert ended["status"] == "succeeded"
    assert next(events, None) is None
    drawn = screen.getvalue()
    for told in ("lively requested", "lively base", "lively lora", "loss 0.25", "30/120", "lively paused"):
        assert told in drawn


def test_following_a_run_that_there_is_not_is_refused(live):
    client = Client(live.url)
    with pytest.raises(Refused, match="no run 'nope'"):
        follow_run(client, "nope", Console(quiet=True))
    client.close()
