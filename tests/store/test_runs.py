"""What records make of a training run's document, in whatever order they come."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from store.records import Record, TrainingControlled, TrainingFinished, TrainingProgress, TrainingRequested
from store.removed import withdraw_run
from store.runs import halting, stints_of
from store.store import Store
from store.view import View

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


REQUESTED = TrainingRequested(
    run_id="run",
    concept="calm",
    stage="A",
    members_key="k",
    members_digest="d",
    parent=None,
    settings={},
    requested_by="scheduler",
    reason="ready",
    requested_at=NOON,
)
FINISHED = TrainingFinished(
    run_id="run",
    concept="calm",
    status="succeeded",
    reason="",
    artefacts={},
    metrics={},
    finished_at=at(30),
)


def control(verb: str, minutes: float) -> TrainingControlled:
    told = {"control_id": f"{verb}-{minutes}", "run_id": "run", "verb": verb, "by": "Ada", "reason": f"to {verb}"}
    return TrainingControlled.model_validate(told | {"decided_at": at(minutes)})


def progress(*stints: tuple[float, float], step: int = 3) -> TrainingProgress:
    held = tuple((at(begun), at(told)) for begun, told in stints)
    return TrainingProgress(run_id="run", phase="lora", step=step, steps=10, loss=0.5, stints=held)


Folded = Callable[..., dict]


@pytest.fixture
def folded(tmp_path: Path) -> Folded:
    """The run's document once the records were applied, one after another, to a store of their own."""
    stores = iter(range(10_000))

    def fold(*records: Record) -> dict:
        store = Store.open(tmp_path / str(next(stores)))
        for record in records:
            View(store).apply([record])
        return store.runs.get("run") or {}

    return fold


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([REQUESTED], "requested"),
        ([REQUESTED, control("pause", 1)], "paused"),
        ([REQUESTED, control("pause", 1), control("resume", 2)], "requested"),
        ([REQUESTED, progress((1, 2)), control("pause", 3)], "paused"),
        ([REQUESTED, progress((1, 2)), control("pause", 3), control("resume", 4)], "requested"),
        ([REQUESTED, progress((1, 2), (5, 6)), control("pause", 3), control("resume", 4)], "running"),
        ([REQUESTED, control("cancel", 1)], "cancelled"),
        ([REQUESTED, control("pause", 1), control("cancel", 2)], "cancelled"),
        ([REQUESTED, control("cancel", 1), control("resume", 2)], "cancelled"),
        ([REQUESTED, progress((1, 2)), control("cancel", 3), FINISHED], "succeeded"),
    ],
)
def test_a_runs_status_does_not_depend_on_the_order_or_the_number_of_its_records(folded, records, status):
    first, *others = [folded(*order) for order in list(permutations(records))[:6]]
    assert first["status"] == status
    assert all(document["status"] == status for document in others)
    assert folded(*records, *records) == folded(*records)


@pytest.mark.parametrize(("status", "why"), [("succeeded", None), ("failed", "out of memory")])
def test_a_run_says_why_it_was_asked_for_also_once_it_has_ended_and_why_it_failed(folded, status, why):
    end = FINISHED.model_copy(update={"status": status, "reason": why or ""})
    for document in (folded(REQUESTED, end), folded(end, REQUESTED)):
        assert (document["status"], document["reason"], document.get("ended_because")) == (status, "ready", why)


def test_a_run_that_failed_and_then_succeeded_has_not_failed(folded):
    failed = FINISHED.model_copy(update={"status": "failed", "reason": "out of memory"})
    assert "ended_because" not in folded(REQUESTED, failed, FINISHED)


def test_a_halted_run_says_who_halted_it_and_keeps_every_decision(folded):
    document = folded(REQUESTED, control("pause", 1), control("resume", 2), control("pause", 3))
    assert halting(document)["reason"] == "to pause"
    assert [one["verb"] for one in document["controls"]] == ["pause", "resume", "pause"]
    assert halting(folded(REQUESTED, control("pause", 1), control("resume", 2))) is None
    assert halting(folded(REQUESTED, control("cancel", 1), control("pause", 2)))["verb"] == "cancel"


def test_when_a_run_held_a_device_is_kept_and_its_end_ends_the_last_stint(folded):
    records = [REQUESTED, progress((1, 2)), progress((1, 5)), progress((1, 5), (20, 22)), FINISHED]
    document = folded(*records)
    assert datetime.fromisoformat(document["started_at"]) == at(1)
    assert stints_of(document) == ((at(1), at(5)), (at(20), at(30)))
    assert stints_of(folded(*reversed(records))) == stints_of(document)
    assert stints_of(folded(*records[:-1])) == ((at(1), at(5)), (at(20), at(22)))


def test_a_withdrawn_run_keeps_when_it_held_a_device_and_takes_no_decision(tmp_path):
    store = Store.open(tmp_path)
    View(store).apply([REQUESTED, progress((1, 5)), control("pause", 2)])
    withdraw_run(store, "run", "it was trained on footage that was removed")
    View(store).apply([control("resume", 6)])
    document = store.runs.get("run")
    assert (document["status"], "controls" in document, "progress" in document) == ("withdrawn", False, False)
    assert stints_of(document) == ((at(1), at(5)),)
