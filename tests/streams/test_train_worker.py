"""The worker that trains: which clips it takes, what bars a run, and what it leaves. The training itself is the
trainer's."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import InputError
from store.learned import LEARNED_FILE, Learned, learned_by, put_learned
from store.records import ReviewDecided, SnapshotRequested, TrainingFinished, TrainingRequested
from store.snapshots import create_snapshot
from store.store import Store
from store.view import View
from streams.workers.train import train
from tests.store.made_footage import COLUMNS, NOON, Video, all_records
from trainer.adapters import ADAPTER_FILE
from trainer.card import Lineage
from trainer.material import RunClips
from trainer.run import TrainingResult, Workplace

MEMBERS, OTHERS = Video("members", n_clips=4), Video("others", n_clips=3, source="street")


def given(data: Path) -> Store:
    """A store of two videos, and of a run on the first whose base learned from the second."""
    store = Store.open(data, COLUMNS)
    for video in (MEMBERS, OTHERS):
        video.put_media(store.media)
    parent = TrainingFinished(
        run_id="parent",
        concept="calm",
        status="succeeded",
        reason="",
        artefacts={
            ADAPTER_FILE: store.media.put_bytes(b"weights", "safetensors"),
            LEARNED_FILE: put_learned(
                store.media, "parent", MEMBERS.clip_ids[:2], (*MEMBERS.clip_ids[:2], *OTHERS.clip_ids)
            ),
        },
        metrics={},
        finished_at=NOON,
    )
    View(store).apply([*all_records([MEMBERS, OTHERS]), requested(store, "parent", None), parent])
    return store


def requested(store: Store, run_id: str = "run", parent: str | None = "parent") -> TrainingRequested:
    manifest = [{"clip_id": clip_id, "eligible": True} for clip_id in MEMBERS.clip_ids]
    return TrainingRequested(
        run_id=run_id,
        concept="calm",
        stage="A",
        members_key=store.media.put_bytes(json.dumps(manifest).encode(), "json"),
        members_digest="d",
        parent=parent,
        settings={},
        requested_by="scheduler",
        reason="ready",
        requested_at=NOON,
    )


class Run:
    """In place of the trainer: notes the clips that it is given, and does something meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.clips: RunClips | None = None
        self.lineage: Lineage | None = None
        self._meanwhile = meanwhile

    def __call__(self, request, clips, place, lineage, progress) -> TrainingResult:
        self.clips, self.lineage = clips, lineage
        self._meanwhile()
        return TrainingResult({}, {}, tuple(clip.clip_id for clip in clips.members), OTHERS.clip_ids)


def trained(store: Store, folder: Path, run: Run) -> TrainingFinished:
    place = Workplace(folder / "bases", folder / "kept", folder / "run", folder / "out")
    return train(store, place, requested(store), lambda progress: None, run)


def learned(store: Store, finished: TrainingFinished) -> Learned:
    return learned_by(store.media, finished.model_dump())


def decided(store: Store, clip_id: str, verdict: str) -> None:
    told = {"decision_id": f"{verdict}-{clip_id}", "subject": "clip", "subject_id": clip_id, "verdict": verdict}
    says = {"by": "Ada", "reason": "seen", "decided_at": NOON}
    View(store).apply([ReviewDecided.model_validate(told | says)])


def test_what_only_the_base_of_a_parent_saw_is_not_replayed(tmp_path):
    store, run = given(tmp_path / "data"), Run()
    finished = trained(store, tmp_path, run)
    assert run.clips is not None
    assert sorted(clip.clip_id for clip in run.clips.earlier) == sorted(MEMBERS.clip_ids[:2])
    assert learned(store, finished) == Learned(
        frozenset(MEMBERS.clip_ids), frozenset((*MEMBERS.clip_ids, *OTHERS.clip_ids))
    )


def test_a_clip_that_was_dropped_after_the_parent_learned_from_it_is_left_out_and_stops_nothing(tmp_path):
    store, run = given(tmp_path / "data"), Run()
    dropped = MEMBERS.clip_ids[0]
    decided(store, dropped, "drop")
    finished = trained(store, tmp_path, run)
    assert finished.status == "succeeded"
    assert run.clips is not None
    assert dropped not in {clip.clip_id for clip in (*run.clips.members, *run.clips.earlier, *run.clips.footage)}
    assert dropped in learned(store, finished).every, "its removal must still find the adapter"


def test_lineage_names_the_newest_snapshot_that_publishes_every_member(tmp_path):
    store = given(tmp_path / "data")

    def published(tag: str) -> dict[str, object]:
        asked = SnapshotRequested(tag=tag, note="", requested_by="Ada", requested_at=NOON)
        made = create_snapshot(store, asked, tmp_path / "snapshots")
        View(store).apply([asked, made])
        return {"tag": tag, "digest": made.digest, "table_version": made.table_version}

    def told() -> dict[str, object] | None:
        run = Run()
        trained(store, tmp_path, run)
        assert run.lineage is not None
        return run.lineage.snapshot

    assert told() is None
    decided(store, MEMBERS.clip_ids[3], "drop")
    published("less")
    decided(store, MEMBERS.clip_ids[3], "keep")
    assert told() is None
    whole = published("whole")
    assert told() == whole
    newer = published("newer")
    assert told() == newer


def test_a_clip_that_is_dropped_while_the_run_trains_ends_it(tmp_path):
    store = given(tmp_path / "data")
    run = Run(lambda: decided(store, MEMBERS.clip_ids[3], "drop"))
    with pytest.raises(InputError, match="1 of the clips were removed or held while the run trained"):
        trained(store, tmp_path, run)


def test_a_parent_that_learned_from_clips_without_a_licence_by_now_is_gone_on_from_by_nothing(tmp_path):
    store, run = given(tmp_path / "data"), Run()
    clip_id = OTHERS.clip_ids[0]
    store.clips.upsert([{"clip_id": clip_id, "held_for": ["licence"], "verdict": "hold"}])
    with pytest.raises(
        InputError, match=f"learned from 1 clips that are held for age or licence by now, such as {clip_id}"
    ):
        trained(store, tmp_path, run)
    assert run.clips is None
