"""Concepts, and training runs that a person asks for."""

import json

import pytest

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


def finish(live, run_id, status="succeeded"):
    live.apply(
        TrainingFinished(
            run_id=run_id,
            concept="lively",
            status=status,
            reason="" if status == "succeeded" else "out of memory",
            artefacts={"grid.png": live.store.media.put_bytes(b"picture", "png")} if status == "succeeded" else {},
            metrics={},
            clip_ids=("c1",),
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
