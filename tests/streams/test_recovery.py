"""What a broker that forgot everything is told again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.records import (
    ClipSegmented,
    FootageContinued,
    FootageSubmitted,
    RemovalRequested,
    SnapshotRequested,
    TrainingControlled,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)
from store.store import Store
from store.view import View
from streams.recovery import unfinished_work
from tests.store.made_footage import COLUMNS, Video, all_records

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIDEO = Video("one", n_clips=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path, COLUMNS)


def _run(run_id: str) -> TrainingRequested:
    return TrainingRequested(
        run_id=run_id,
        concept="calm",
        stage="A",
        members_key="ab/" + "ab" * 32 + ".json",
        members_digest="ab" * 32,
        parent=None,
        settings={},
        requested_by="scheduler",
        reason="",
        requested_at=NOW,
    )


def test_a_finished_store_leaves_nothing_to_do(store: Store) -> None:
    View(store).apply(all_records([VIDEO]))
    assert store.videos.get(VIDEO.video_id)["status"] == "done"
    assert unfinished_work(store) == []


def test_a_submitted_video_is_submitted_again_as_it_was(store: Store) -> None:
    View(store).apply([VIDEO.submitted])
    assert unfinished_work(store) == [VIDEO.submitted]


def test_clips_that_were_cut_and_not_annotated_are_measured_again(store: Store) -> None:
    cut = [ClipSegmented(clip=clip) for clip in VIDEO.clips]
    View(store).apply([VIDEO.submitted, VIDEO.segmented, *cut, VIDEO.embedded[0]])
    assert sorted(unfinished_work(store), key=lambda r: r.key) == sorted(cut, key=lambda r: r.key)


def test_a_video_whose_clips_did_not_all_arrive_is_cut_again(store: Store) -> None:
    View(store).apply([VIDEO.submitted, VIDEO.segmented, ClipSegmented(clip=VIDEO.clips[0])])
    (record,) = unfinished_work(store)
    assert isinstance(record, FootageSubmitted)
    assert record == VIDEO.submitted


def test_requested_and_running_runs_go_on_and_ended_ones_do_not(store: Store) -> None:
    progress = TrainingProgress(run_id="running", phase="lora", step=1, steps=2, loss=0.5)
    finished = TrainingFinished(
        run_id="ended",
        concept="calm",
        status="failed",
        reason="too few clips",
        artefacts={},
        metrics={},
        finished_at=NOW,
    )
    View(store).apply([_run("asked"), _run("running"), _run("ended"), progress, finished])
    assert sorted(unfinished_work(store), key=lambda r: r.key) == [_run("asked"), _run("running")]


def test_a_halted_run_waits_for_a_person_and_a_resumed_one_goes_on(store: Store) -> None:
    def control(run_id: str, verb: str, minute: int) -> TrainingControlled:
        told = {"control_id": f"{run_id}-{verb}", "run_id": run_id, "verb": verb, "by": "Ada", "reason": "heat"}
        return TrainingControlled.model_validate(told | {"decided_at": NOW + timedelta(minutes=minute)})

    asked = [_run("paused"), _run("cancelled"), _run("resumed")]
    halted = [control("paused", "pause", 1), control("cancelled", "cancel", 1), control("resumed", "pause", 1)]
    View(store).apply([*asked, *halted, control("resumed", "resume", 2)])
    assert unfinished_work(store) == [_run("resumed")]


def test_what_people_asked_for_is_not_forgotten(store: Store) -> None:
    removal = RemovalRequested(
        removal_id="r1", subject="source", subject_id="park", by="Ada", reason="asked to", requested_at=NOW
    )
    snapshot = SnapshotRequested(tag="first", note="", requested_by="Ada", requested_at=NOW)
    View(store).apply([snapshot, removal])
    assert unfinished_work(store) == [removal, snapshot]


def _continued(chunk: int, checkpoint_key: str, n_clips: int) -> FootageContinued:
    clip_ids = tuple(VIDEO.clip_ids[:n_clips])
    return FootageContinued(
        footage=VIDEO.submitted, chunk=chunk, checkpoint_key=checkpoint_key, clip_ids=clip_ids, share=0.5
    )


def test_long_footage_is_read_on_from_its_checkpoint_and_its_clips_are_measured_again(store: Store) -> None:
    continued = _continued(3, store.media.put_bytes(b"state", "npz"), 1)
    cut = ClipSegmented(clip=VIDEO.clips[0])
    View(store).apply([VIDEO.submitted, cut, continued])
    assert unfinished_work(store) == [continued, cut]


def test_long_footage_is_read_anew_where_a_clip_or_the_checkpoint_is_missing(store: Store) -> None:
    View(store).apply([VIDEO.submitted, _continued(3, store.media.put_bytes(b"state", "npz"), 1)])
    assert unfinished_work(store) == [VIDEO.submitted]
    gone = _continued(4, "ab/" + "ab" * 32 + ".npz", 1)
    View(store).apply([ClipSegmented(clip=VIDEO.clips[0]), gone])
    assert unfinished_work(store) == [VIDEO.submitted]
    first = _continued(1, store.media.put_bytes(b"first", "npz"), 1)
    View(store).apply([first])
    assert unfinished_work(store)[0] == first
