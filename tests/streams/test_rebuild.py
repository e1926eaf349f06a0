"""A store that is built anew from records equals the one that they built when they were new."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.codec import encode
from store.filters import Filter
from store.gate import GateOptions
from store.records import (
    AdapterDecided,
    ClipCurated,
    DeadDropped,
    DeadLetter,
    DeadReplayed,
    FootageSubmitted,
    IdentityDecided,
    IdentityLinked,
    Record,
    RemovalRequested,
    ReviewDecided,
    TokenReserved,
    TrackLink,
    TrainingControlled,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)
from store.removal import in_records, remove
from store.store import DOCUMENTS, Store
from store.view import View
from streams.rebuild import ORDER, Rebuild
from streams.topics import TOPICS, dead_topic
from tests.store.made_footage import COLUMNS, Video, all_records

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STRICT = Filter("black", "black_share", "above", 0.4, "drop", "its frames are black")
STAYS, GOES, DIED = Video("stays", n_clips=3), Video("goes", source="street", n_clips=2), Video("died", n_clips=1)


def _at(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def _letter(dead_id: str, minutes: int, step: str = "embed", video: Video = STAYS) -> DeadLetter:
    return DeadLetter(
        dead_id=dead_id,
        step=step,
        origin_topic="clips.segmented",
        origin_partition=0,
        origin_offset=1,
        origin_key=None,
        kind="bug",
        raw_base64="",
        reason="out of luck",
        traceback="",
        attempts=1,
        video_id=video.video_id,
        clip_id=video.clip_ids[0] if step == "embed" else None,
        died_at=_at(minutes),
    )


def _run(run_id: str, clip_ids: tuple[str, ...]) -> list[Record]:
    asked = TrainingRequested(
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
    held = ((_at(6), _at(7)), (_at(8), _at(8)))
    progress = TrainingProgress(run_id=run_id, phase="lora", step=3, steps=9, loss=0.5, stints=held)
    halted = [
        TrainingControlled.model_validate(
            {"control_id": f"{run_id}-{verb}", "run_id": run_id, "verb": verb, "by": "Ada", "reason": "heat"}
            | {"decided_at": decided_at}
        )
        for verb, decided_at in (("pause", _at(7)), ("resume", _at(8)))
    ]
    finished = TrainingFinished(
        run_id=run_id,
        concept="calm",
        status="succeeded",
        reason="",
        artefacts={},
        metrics={"n_clips": 2},
        clip_ids=clip_ids,
        finished_at=_at(9),
    )
    retired = AdapterDecided(
        decision_id=f"{run_id}-retired", run_id=run_id, verb="retire", by="Ada", reason="dull", decided_at=_at(10)
    )
    return [asked, *halted, progress, finished, retired]


def _people() -> list[Record]:
    """Somebody in each clip, and somebody who was taken for two."""

    def linked(video: Video, clip: int, identity: str) -> IdentityLinked:
        link = TrackLink(
            track=0,
            identity=identity,
            probability=None,
            candidates=(),
            quality=0.9,
            time_s=0.5,
            box_xyxy=(0.0, 0.0, 0.5, 0.5),
        )
        return IdentityLinked(clip_id=video.clip_ids[clip], video_id=video.video_id, links=(link,), recipe="i")

    merged = IdentityDecided(
        decision_id="m1", verb="merge", identity="p-1", others=("p-2",), by="Ada", reason="hat", decided_at=_at(8)
    )
    return [linked(STAYS, 0, "p-1"), linked(STAYS, 1, "p-2"), linked(GOES, 0, "p-2"), merged]


def _tokens() -> list[Record]:
    """Words for a concept and two people."""
    named = (("concept", "calm", "bakdom"), ("identity", "p-1", "zivtek"), ("identity", "p-2", "golnup"))
    return [
        TokenReserved.model_validate({"kind": kind, "subject_id": id_, "token": token, "reserved_at": _at(9)})
        for kind, id_, token in named
    ]


def _history() -> list[Record]:
    """A life: footage, decisions, runs, letters; then one source is removed and comes again."""
    curated = [
        ClipCurated(
            clip_id=clip_id,
            cluster=1,
            cluster_probability=0.5,
            outlier_score=0.1,
            is_outlier=False,
            margin=None,
            is_boundary=True,
            recipe="c",
        )
        for clip_id in STAYS.clip_ids
    ]
    release = {"by": "Ada", "reason": "adults", "covers": ("age", "licence")}
    again: FootageSubmitted = DIED.submitted.model_copy(update={"submitted_at": _at(6)})
    return [
        *all_records([STAYS, GOES]),
        *curated,
        ReviewDecided(
            decision_id="r1", subject="source", subject_id="street", verdict="release", decided_at=_at(2), **release
        ),
        ReviewDecided(
            decision_id="r2",
            subject="clip",
            subject_id=STAYS.clip_ids[1],
            verdict="drop",
            by="Bo",
            reason="",
            decided_at=_at(3),
        ),
        DIED.submitted,
        _letter("d1", 4, "segment", DIED),
        again,
        _letter("d2", 5),
        DeadReplayed(dead_id="d2", by="Ada", replayed_at=_at(6)),
        _letter("d3", 5),
        DeadDropped(dead_id="d3", by="Ada", note="a test", dropped_at=_at(7)),
        *_people(),
        *_tokens(),
        *_run("run-stays", STAYS.clip_ids),
        *_run("run-goes", GOES.clip_ids),
    ]


def _topic(record: Record) -> str:
    return dead_topic(record.step) if isinstance(record, DeadLetter) else record.topic


def _rebuilt(folder: Path, records: list[Record], compacted: bool) -> Store:
    store = Store.open(folder, COLUMNS)
    rebuild = Rebuild(store)
    compacts = {topic.name for topic in TOPICS if topic.compacted}
    for topic in ORDER:
        values: list[Record] = [record for record in records if _topic(record) == topic]
        if compacted and topic in compacts:
            values = list({record.key: record for record in values}.values())
        random.Random(1).shuffle(values) if topic.startswith("clips.") else None
        rebuild.fold([encode(record) for record in values])
    return store


def _all(store: Store) -> dict[str, object]:
    rows = {row["clip_id"]: row for row in store.clips.select()}
    return {"clips": rows} | {name: getattr(store, name).all() for name in DOCUMENTS}


@pytest.mark.parametrize("compacted", [False, True], ids=["every record", "the last of each key"])
def test_records_alone_give_the_same_rows_and_documents(tmp_path: Path, compacted: bool) -> None:
    store = Store.open(tmp_path / "first", COLUMNS)
    history = _history()
    for record in history:
        View(store).apply([record])
    assert store.clips.count() == 5
    assert store.tokens.counts() == {"reserved": 3}
    rebuilt = _rebuilt(tmp_path / "second", history, compacted)
    assert _all(rebuilt) == _all(store)


@pytest.mark.parametrize("at_once", [1_000, 2], ids=["whole", "in parts"])
@pytest.mark.parametrize("erased", [False, True], ids=["before", "after the broker forgot"])
def test_what_was_removed_stays_removed(
    tmp_path: Path, erased: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.removal.IDS_AT_ONCE", at_once)
    store = Store.open(tmp_path / "first", COLUMNS)
    history = _history()
    View(store).apply(history)
    request = RemovalRequested(
        removal_id="gone", subject="source", subject_id="street", by="Ada", reason="asked", requested_at=_at(20)
    )
    proof = remove(store, request, tmp_path / "snapshots", _at(21))
    View(store).apply([request, proof])
    told = in_records(proof)
    assert (len(told) > 3) == (at_once == 2)
    View(store).apply(told)
    if erased:
        mentions = (GOES.video_id, *GOES.clip_ids)
        gone = [r for r in history if any(id_ in r.model_dump_json() for id_ in mentions) and r.topic in _ERASED]
        assert len(gone) >= 8
        history = [record for record in history if record not in gone]
    rebuilt = _rebuilt(tmp_path / "second", [*history, request, *told], compacted=True)
    assert rebuilt.clips.count() == 3
    assert _all(rebuilt) == _all(store)


_ERASED = {topic.name for topic in TOPICS if topic.compacted}


def test_a_record_that_does_not_fit_is_left_out_alone(tmp_path: Path) -> None:
    store = Store.open(tmp_path, COLUMNS)
    rebuild = Rebuild(store)
    embedded = STAYS.embedded[0]
    misfit = embedded.model_copy(update={"values": {**embedded.values, "no_such_column": 1.0}})
    rebuild.fold([encode(STAYS.submitted), b"junk", None, *map(encode, [misfit, *STAYS.embedded[1:]])])
    assert (rebuild.read, rebuild.unreadable) == (6, 2)
    assert store.clips.count() == 2


def test_every_topic_is_read_but_those_that_only_tell_of_rows() -> None:
    assert sorted({*ORDER, "clips.stored", "annotations.due"}) == sorted(topic.name for topic in TOPICS)


def test_a_rebuilt_store_is_judged_by_the_gate_that_it_is_given(tmp_path: Path) -> None:
    dark = Video("dark", n_clips=1, black_share=0.5)
    verdicts = []
    for name, gate in (("usual", GateOptions()), ("strict", GateOptions(filters=(STRICT,)))):
        store = Store.open(tmp_path / name, COLUMNS)
        Rebuild(store, gate).fold([encode(record) for record in dark.road])
        verdicts += [clip["verdict"] for clip in store.clips.select()]
    assert verdicts == ["keep", "drop"]
