"""Steps on a store, without a broker: what they publish for what they are given."""

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lance
import pytest

from processors.distill.vocabulary import DEFAULT_VOCABULARY
from store.calibrations import latest_calibration
from store.errors import Passing, SettingsError, Unavailable
from store.filters import Filter
from store.gate import GateOptions
from store.linking import Linker
from store.records import (
    AdapterDecided,
    AnnotationDue,
    CalibrationAdopted,
    CalibrationRequested,
    ClipCurated,
    ClipsStored,
    ClustersFounded,
    ConceptChanged,
    DriftAnswered,
    IdentityDecided,
    IdentityLinked,
    PivotsFound,
    Record,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    SnapshotFinished,
    SnapshotRequested,
    TokenReserved,
    TrackName,
    TrainingControlled,
    TrainingDecided,
    TrainingFinished,
    TrainingRequested,
    digest,
)
from store.store import Store
from store.tokens import choose_token, tokens_of
from store.view import View
from streams.annotating import About, Annotating
from streams.metrics import StepMetrics
from streams.publish import Tombstone
from streams.steps import Workplace, open_road
from streams.steps.curate import Curate
from streams.steps.persist import Persist
from streams.steps.schedule import Schedule
from streams.steps.snapshot import Snapshot
from tests.store.made_footage import COLUMNS, Video, all_records
from tests.store.made_people import PEOPLE_COLUMNS, people
from trainer.bases import SMALL_LABEL, Base
from trainer.scheduler_settings import SchedulerSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANNOTATING = Annotating(About("measured", "reasoned-1", DEFAULT_VOCABULARY, absent=None))
ONE, TWO = Video("one", n_clips=3), Video("two", n_clips=2, source="beach")
CONCEPTS = """
concepts:
  - {name: close, description: near, query: "shot_scale = 'close'", contrasts: [wide], min_clips: 2, min_videos: 2}
  - {name: wide, description: far, query: "shot_scale = 'wide'", contrasts: [close], min_clips: 2, min_videos: 2}
  - {name: broken, description: no such column, query: "nonsense = 1"}
"""


class Published(list[Record]):
    """A `Publish` that keeps what it is given."""

    async def __call__(self, records: Sequence[Record]) -> None:
        self.extend(records)

    def of(self, kind: type[Record]) -> list[Record]:
        return [record for record in self if isinstance(record, kind)]


def without_due(published: Published) -> list[Record]:
    """All but the annotations that are due: the clips here were annotated by no recipe of ours."""
    return [record for record in published if not isinstance(record, AnnotationDue)]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open(tmp_path, COLUMNS)
    for video in (ONE, TWO):
        video.put_media(store.media)
    return store


@pytest.fixture
def persist(store: Store, tmp_path: Path) -> Persist:
    return Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)


async def test_persist_judges_stored_clips_again_when_the_gate_has_changed(store: Store, tmp_path: Path) -> None:
    published = Published()

    def started(gate: GateOptions) -> Persist:
        return Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING, gate)

    first = started(GateOptions())
    dark = Video("dark", n_clips=1, black_share=0.5)
    dark.put_media(store.media)
    await first.process(all_records([ONE, dark]), Published())
    await first.idle(published)
    assert without_due(published) == []
    second = started(GateOptions(filters=(Filter("black", "black_share", "above", 0.4, "drop", "dark"),)))
    await second.idle(published)
    await second.idle(published)
    assert without_due(published) == [ClipsStored(clip_ids=dark.clip_ids)]
    assert store.clips.get(dark.clip_ids[0])["verdict"] == "drop"


async def test_more_clips_than_a_record_holds_are_told_in_several(
    store: Store, persist: Persist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.steps.persist.IDS_AT_ONCE", 2)
    published = Published()
    await persist.process(all_records([Video("many", n_clips=5)]), published)
    told = [record.clip_ids for record in published.of(ClipsStored)]  # type: ignore[attr-defined]
    assert [len(ids) for ids in told] == [2, 2, 1]
    assert sorted(id_ for ids in told for id_ in ids) == sorted(Video("many", n_clips=5).clip_ids)


async def test_a_gate_that_cannot_work_keeps_the_service_from_starting(tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[age]\nadult_years = 12\n")
    with pytest.raises(SettingsError, match=r"age\.adult_years.*greater than or equal to 18"):
        await open_road(Workplace(tmp_path, "measured", tmp_path / "concepts.yaml", gate=gate), lambda: NOW)


async def test_persist_writes_what_it_is_given_and_says_which_clips_are_complete(
    store: Store, persist: Persist
) -> None:
    published = Published()
    assert await persist.process(all_records([ONE]), published) == {}
    assert store.videos.get(ONE.video_id)["status"] == "done"
    assert published == [ClipsStored(clip_ids=tuple(sorted(ONE.clip_ids)))]


async def test_an_idle_writer_joins_what_many_writes_left_in_the_small_tables(
    store: Store, persist: Persist, tmp_path: Path
) -> None:
    def n_fragments() -> int:
        return len(lance.dataset(str(tmp_path / "lance" / "alarms.lance")).get_fragments())

    for number in range(100):
        answer = DriftAnswered(alarm_id=f"a{number}", by="Ada", reason="winter", answered_at=NOW)
        await persist.process([answer], Published())
    await persist.idle(Published())
    assert n_fragments() == 1
    assert len(store.alarms.all()) == 100


async def test_an_idle_writer_deletes_manifests_that_were_superseded_a_day_ago(store: Store, tmp_path: Path) -> None:
    first = int(NOW.timestamp()) // 8 * 8 % 256
    manifests = (json.dumps([{"clip_id": f"c{number}"}]).encode() for number in range(10_000))
    old = next(one for one in manifests if first <= hashlib.sha256(one).digest()[0] < first + 8)
    before, after = (store.media.put_bytes(content, "json") for content in (old, b"[]"))
    path = store.media.local_path(before)
    assert path is not None

    async def swept(*records: Record) -> bool:
        """Whether it is gone, once it was written two days ago, the records came, and the writer fell idle."""
        os.utime(path, ((NOW - timedelta(days=2)).timestamp(),) * 2)
        persist = _persist(store, tmp_path)
        for record in records:
            await persist.process([record], Published())
        for _ in range(100):
            await persist.process([], Published())
        await persist.idle(Published())
        return not store.media.exists(before)

    def ready(key: str) -> ConceptChanged:
        return _ready("calm").model_copy(update={"members_key": key})

    assert not await swept(ready(before))
    assert not await swept(ready(after)), "its day begins when it is superseded"
    assert await swept()
    assert store.media.exists(after)


async def test_removal_goes_through_the_writer_and_leaves_its_proof(
    store: Store, persist: Persist, tmp_path: Path
) -> None:
    await persist.process(all_records([ONE, TWO]), Published())
    for name, clip_ids in (("small-1", ONE.clip_ids), ("small-2", TWO.clip_ids)):
        folder = tmp_path / "bases" / name
        folder.mkdir(parents=True)
        Base(id=name, folder=folder, label=SMALL_LABEL, clip_ids=clip_ids).write()
    published = Published()
    removal = RemovalRequested(
        removal_id="r1", subject="video", subject_id=ONE.video_id, by="Ada", reason="asked to", requested_at=NOW
    )
    await persist.process([removal], published)
    (proof,) = published.of(RemovalDone)
    assert isinstance(proof, RemovalDone)
    assert (proof.verified, proof.bases, set(proof.clip_ids)) == (True, ("small-1",), set(ONE.clip_ids))
    assert [row["clip_id"] for row in store.clips.select()] == sorted(TWO.clip_ids)
    assert store.removals.get("r1")["status"] == "done"
    assert [folder.name for folder in (tmp_path / "bases").iterdir()] == ["small-2"]


async def test_persist_tells_who_is_seen_in_the_clips_that_it_completes(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (1, 2))
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    published = Published()
    await persist.process(video.road, published)
    links = {record.key: record for record in published.of(IdentityLinked)}
    assert set(links) == set(video.clip_ids)
    rows = [store.clips.get(id_)["identity_ids"] for id_ in video.clip_ids]
    assert [len(row) for row in rows] == [1, 2]
    assert rows[0][0]["identity"] == rows[1][0]["identity"] == links[video.clip_ids[0]].links[0].identity  # type: ignore[attr-defined]
    again = Published()
    await persist.process([*video.road, *published], again)
    assert {record.key: record for record in again.of(IdentityLinked)} == links


async def test_persist_links_what_a_killed_writer_left_once_it_is_idle(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (2,))
    View(store).apply(video.road)
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    published = Published()
    await persist.idle(published)
    await persist.idle(published)
    assert sorted(record.key for record in published.of(IdentityLinked)) == sorted(video.clip_ids)


async def test_people_who_come_after_a_removal_are_not_likened_to_who_was_removed(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (2,))
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    await persist.process(video.road, Published())
    identity = store.clips.get(video.clip_ids[0])["identity_ids"][0]["identity"]
    removal = RemovalRequested(
        removal_id="r1", subject="identity", subject_id=identity, by="Ada", reason="asked to", requested_at=NOW
    )
    published = Published()
    await persist.process([removal], published)
    erased = {(one.topic, one.key) for one in published if isinstance(one, Tombstone)}
    assert (IdentityLinked.topic, video.clip_ids[0]) in erased
    late = people("late", (1,))
    await persist.process(late.road, Published())
    assert store.clips.get(late.clip_ids[0])["identity_ids"][0]["identity"] != identity


def _persist(store: Store, folder: Path) -> Persist:
    """The writer as a process has it that has just started."""
    return Persist(store, folder, folder / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)


def _told(published: Published) -> dict[str, str]:
    """Subject to token, by the records."""
    records = published.of(TokenReserved)
    return {record.subject_id: record.token for record in records if isinstance(record, TokenReserved)}


def _identities(store: Store) -> set[str]:
    rows = store.clips.select(where="identity_ids IS NOT NULL", columns=["identity_ids"])
    return {entry["identity"] for row in rows for entry in row["identity_ids"]}


async def test_persist_reserves_a_token_for_every_concept_and_identity_once(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (1, 2))
    persist, published, again = _persist(store, tmp_path), Published(), Published()
    await persist.process([*video.road, _ready("calm")], published)
    tokens = _told(published)
    assert set(tokens) == {"calm", *_identities(store)}
    assert len(tokens) == len(set(tokens.values())) == len(published.of(TokenReserved)) == 3
    await persist.process([*video.road, _ready("calm", 13), *published], again)
    await persist.idle(again)
    assert again.of(TokenReserved) == []
    assert tokens_of(store, "concept") | tokens_of(store, "identity") == tokens


async def test_what_a_split_makes_has_a_token_of_its_own_and_keeps_it_when_that_is_undone(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (1,))
    persist, published = _persist(store, tmp_path), Published()
    await persist.process(video.road, published)
    (before,) = _identities(store)
    said = {"by": "Ada", "reason": "her sister"}
    track = TrackName(clip_id=video.clip_ids[1], track=0)
    split = IdentityDecided(decision_id="d1", verb="split", identity=before, tracks=(track,), decided_at=NOW, **said)
    await persist.process([split], published)
    tokens = tokens_of(store, "identity")
    assert set(tokens) == _identities(store) == set(_told(published))
    assert len(set(tokens.values())) == 2
    for number, undone in ((2, "d1"), (3, "d2")):
        at = NOW + timedelta(minutes=number)
        undo = IdentityDecided(
            decision_id=f"d{number}", verb="undo", identity=None, undoes=undone, decided_at=at, **said
        )
        await persist.process([undo], published)
    assert len(_identities(store)) == 2
    assert tokens_of(store, "identity") == tokens


async def test_a_token_that_was_written_and_not_told_is_told_by_the_next_process(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,))

    async def killed(records: Sequence[Record]) -> None:
        if isinstance(records[0], TokenReserved):
            raise SystemExit

    with pytest.raises(SystemExit):
        await _persist(store, tmp_path).process(video.road, killed)
    (written,) = tokens_of(store, "identity").values()
    told, again = Published(), Published()
    await _persist(store, tmp_path).idle(told)
    assert [record.key for record in told.of(TokenReserved)] == [written]
    persist = _persist(store, tmp_path)
    await persist.process(told, again)
    await persist.process(video.road, again)
    await _persist(store, tmp_path).idle(again)
    assert again.of(TokenReserved) == []


async def test_subjects_of_a_store_from_before_there_were_tokens_get_theirs(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (2,))
    View(store).apply([*video.road, _ready("calm")])
    View(store).apply(Linker(store).link(video.clip_ids))
    published = Published()
    await _persist(store, tmp_path).idle(published)
    assert set(_told(published)) == {"calm", *_identities(store)}


async def test_a_removed_identity_leaves_its_token_behind_without_a_name(tmp_path: Path) -> None:
    store, video = Store.open(tmp_path, PEOPLE_COLUMNS), people("one", (1,), (2,))
    persist, published = _persist(store, tmp_path), Published()
    await persist.process(video.road, published)
    identity = store.clips.get(video.clip_ids[0])["identity_ids"][0]["identity"]
    token = tokens_of(store, "identity")[identity]
    removal = RemovalRequested(
        removal_id="r1", subject="identity", subject_id=identity, by="Ada", reason="asked to", requested_at=NOW
    )
    after = Published()
    await persist.process([removal], after)
    (proof,) = after.of(RemovalDone)
    assert isinstance(proof, RemovalDone)
    assert (proof.verified, proof.tokens) == (True, (token,))
    erased = {(one.topic, one.key) for one in after if isinstance(one, Tombstone)}
    assert ("tokens.reserved", token) in erased
    assert store.tokens.get(token) == {"token": token, "status": "removed"}
    await persist.process([*published, *people("late", (1,)).road], after)
    await _persist(store, tmp_path).idle(after)
    assert store.tokens.get(token) == {"token": token, "status": "removed"}
    assert identity not in _told(after)
    assert token not in tokens_of(store, "identity").values()


async def test_who_comes_and_is_removed_in_one_batch_is_not_named(tmp_path: Path) -> None:
    video = people("one", (1,), (2,))
    elsewhere = Store.open(tmp_path / "elsewhere", PEOPLE_COLUMNS)
    await _persist(elsewhere, tmp_path / "elsewhere").process(video.road, Published())
    gone = elsewhere.clips.get(video.clip_ids[0])["identity_ids"][0]["identity"]
    removal = RemovalRequested(
        removal_id="r1", subject="identity", subject_id=gone, by="Ada", reason="asked to", requested_at=NOW
    )
    store, published = Store.open(tmp_path, PEOPLE_COLUMNS), Published()
    await _persist(store, tmp_path).process([*video.road, removal], published)
    assert gone not in _told(published)
    assert store.tokens.counts() == {"reserved": 1, "removed": 1}


async def test_what_is_told_to_be_a_word_becomes_no_token(tmp_path: Path) -> None:
    first = choose_token("concept", "calm", (), lambda word: False)
    store = Store.open(tmp_path, COLUMNS)
    annotating = Annotating(About("measured", "reasoned-1", DEFAULT_VOCABULARY, absent=None))
    annotating.is_word = lambda word: word == first
    persist = Persist(store, tmp_path, tmp_path, lambda: NOW, StepMetrics().queryable, annotating)
    published = Published()
    await persist.process([_ready("calm")], published)
    assert _told(published)["calm"] != first


async def test_a_store_that_cannot_be_written_is_a_passing_fault(
    persist: Persist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(self: View, records: Sequence[Record]) -> tuple[str, ...]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(View, "apply", no_space)
    with pytest.raises(Passing, match="No space left"):
        await persist.process(all_records([ONE]), Published())


async def test_a_snapshot_that_cannot_be_made_ends_as_failed_with_its_reason(store: Store, tmp_path: Path) -> None:
    published = Published()
    request = SnapshotRequested(tag="empty", note="", requested_by="Ada", requested_at=NOW)
    await Snapshot(store, tmp_path / "snapshots").process([request], published)
    (finished,) = published
    assert isinstance(finished, SnapshotFinished)
    assert finished.status == "failed"
    assert "nothing to publish" in finished.reason


async def test_curate_places_new_clips_once_and_judges_every_concept(store: Store, tmp_path: Path) -> None:
    View(store).apply(all_records([ONE, TWO]))
    concepts = tmp_path / "concepts.yaml"
    concepts.write_text(CONCEPTS)
    seconds = iter(range(0, 1000, 4))
    step = Curate(tmp_path, concepts, "measured", Clock(), lambda: float(next(seconds)))
    published = Published()
    await step.process([ClipsStored(clip_ids=ONE.clip_ids)], published)
    assert published == []
    await step.idle(published)
    assert {r.key for r in published.of(ClipCurated)} == {*ONE.clip_ids, *TWO.clip_ids}
    states = {record.key: record for record in published.of(ConceptChanged)}
    assert set(states) == {"close", "wide", "broken"}
    assert "nonsense" in states["broken"].reasons[0]  # type: ignore[attr-defined]
    View(store).apply(published)
    again = Published()
    await step.process([ClipsStored(clip_ids=ONE.clip_ids)], again)
    await step.idle(again)
    step.stop()
    assert again == []


async def test_a_look_that_failed_is_looked_anew_and_nothing_is_left_untold(store: Store, tmp_path: Path) -> None:
    """The space of the clips is in memory before its file is in media storage, which is away then."""
    concepts = tmp_path / "concepts.yaml"
    concepts.write_text(CONCEPTS)
    seconds = iter(range(0, 1000, 4))
    step = Curate(tmp_path, concepts, "measured", Clock(), lambda: float(next(seconds)))
    await step.idle(Published())
    View(store).apply(all_records([ONE, TWO]))
    media, away = tmp_path / "media", tmp_path / "away"
    media.rename(away)
    media.write_text("no folder")
    published = Published()
    await step.process([ClipsStored(clip_ids=ONE.clip_ids)], published)
    with pytest.raises(Unavailable, match="media storage"):
        await step.idle(published)
    media.unlink()
    away.rename(media)
    await step.idle(published)
    step.stop()
    assert len(published.of(ClustersFounded)) == 1
    assert {r.key for r in published.of(ClipCurated)} == {*ONE.clip_ids, *TWO.clip_ids}


async def test_where_clips_never_stop_coming_pivots_are_looked_for_all_the_same(store: Store, tmp_path: Path) -> None:
    View(store).apply(all_records([ONE, TWO]))
    concepts = tmp_path / "concepts.yaml"
    concepts.write_text(CONCEPTS)
    now_s = 0.0
    step = Curate(tmp_path, concepts, "measured", Clock(), lambda: now_s)
    soon, later = Published(), Published()
    now_s = 200.0
    await step.process([ClipsStored(clip_ids=ONE.clip_ids)], soon)
    now_s = 301.0
    await step.process([ClipsStored(clip_ids=TWO.clip_ids)], later)
    again = Published()
    now_s = 400.0
    await step.process([ClipsStored(clip_ids=ONE.clip_ids)], again)
    step.stop()
    assert soon.of(ConceptChanged)
    assert [bool(told.of(PivotsFound)) for told in (soon, later, again)] == [False, True, False]


async def test_what_people_say_reaches_concepts_and_clusters(store: Store, tmp_path: Path) -> None:
    View(store).apply(all_records([ONE, TWO]))
    concepts = tmp_path / "concepts.yaml"
    concepts.write_text(CONCEPTS)
    relabelled = ONE.clip_ids[0]
    says = {"by": "Ada", "reason": "seen", "decided_at": NOW}
    answer = ReviewDecided(
        decision_id="d1", subject="clip", subject_id=relabelled, verdict="relabel", concepts={"close": True}, **says
    )
    published, clusters = Published(), Published()
    persist = _persist(store, tmp_path)
    await persist.process([answer], published)
    assert relabelled in published.of(ClipsStored)[0].clip_ids  # type: ignore[attr-defined]
    merge = ReviewDecided(decision_id="d2", subject="cluster", subject_id="0", verdict="merge", others=("1",), **says)
    await persist.process([merge], clusters)
    assert [record.clip_ids for record in clusters.of(ClipsStored)] == [()]  # type: ignore[attr-defined]
    seconds = iter(range(0, 1000, 4))
    step = Curate(tmp_path, concepts, "measured", Clock(), lambda: float(next(seconds)))
    told = Published()
    await step.idle(told)
    step.stop()
    states = {record.key: record for record in told.of(ConceptChanged)}
    assert states["close"].n_asked == 1  # type: ignore[attr-defined]
    manifest = json.loads(store.media.read(states["close"].members_key))  # type: ignore[attr-defined]
    assert relabelled in [member["clip_id"] for member in manifest]


def _ready(name: str = "calm", n_clips: int = 12) -> ConceptChanged:
    return ConceptChanged(
        concept=name,
        definition={},
        members_key="ab/" + "ab" * 32 + ".json",
        members_digest=digest([name, n_clips]),
        n_members=n_clips,
        n_eligible=n_clips,
        n_videos=3,
        purity=0.95,
        purity_low=0.8,
        ready=True,
        reasons=(),
        recipe="r",
    )


@pytest.fixture
def named(store: Store) -> Store:
    """The store, with tokens for its concepts."""
    given = {"calm": "bakdom", "lively": "zivtek"}
    View(store).apply(
        [TokenReserved(kind="concept", subject_id=name, token=token, reserved_at=NOW) for name, token in given.items()]
    )
    return store


async def test_a_concept_waits_until_its_token_is_reserved(store: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(store, clock)
    await step.process([_ready()], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    assert [(one.verdict, one.reason) for one in published.of(TrainingDecided)] == [  # type: ignore[attr-defined]
        ("wait", "its trigger token is not reserved yet")
    ]
    View(store).apply([TokenReserved(kind="concept", subject_id="calm", token="bakdom", reserved_at=NOW)])
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    assert [request.token for request in published.of(TrainingRequested)] == ["bakdom"]  # type: ignore[attr-defined]


async def test_a_ready_concept_is_asked_for_once_after_a_burst_has_settled(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    await step.process([_ready()], published)
    await step.idle(published)
    assert published == []
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    (request,) = published.of(TrainingRequested)
    assert isinstance(request, TrainingRequested)
    first, then = published.of(TrainingDecided)
    assert (first.verdict, first.run_id) == ("train", request.run_id)  # type: ignore[attr-defined]
    assert then.verdict == "wait"  # type: ignore[attr-defined]
    assert "under way" in then.reason  # type: ignore[attr-defined]
    assert (request.concept, request.stage, request.requested_by) == ("calm", "A", "scheduler")


async def test_a_restarted_scheduler_knows_what_was_asked_for(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    await step.process([_ready()], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    View(named).apply([_ready(), *published])
    again = Published()
    restarted = Schedule(named, clock)
    clock.now += timedelta(seconds=11)
    await restarted.idle(again)
    assert again.of(TrainingRequested) == []
    View(named).apply(again)
    once_more = Published()
    third = Schedule(named, clock)
    clock.now += timedelta(seconds=11)
    await third.idle(once_more)
    assert once_more == [], "what was decided before is not told again"


def _succeeded(run_id: str, clock: Clock, **metrics: object) -> TrainingFinished:
    """The end of a run of twelve clips."""
    return TrainingFinished(
        run_id=run_id,
        concept="calm",
        status="succeeded",
        reason="",
        artefacts={},
        metrics={"n_clips": 12} | metrics,
        finished_at=clock.now,
    )


async def test_the_next_concept_is_trained_when_a_run_has_ended(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    await step.process([_ready("calm"), _ready("lively")], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    (first,) = published.of(TrainingRequested)
    ended = _succeeded(first.key, clock)
    await step.process([ended], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    assert [request.concept for request in published.of(TrainingRequested)] == ["calm", "lively"]  # type: ignore[attr-defined]


async def test_a_paused_run_frees_its_device_and_keeps_its_concept_waiting(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    await step.process([_ready("calm"), _ready("lively")], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    (first,) = published.of(TrainingRequested)
    told = {"control_id": "c1", "run_id": first.key, "verb": "pause", "by": "Ada", "reason": "heat"}
    paused = TrainingControlled.model_validate(told | {"decided_at": clock.now})
    View(named).apply([_ready("calm"), _ready("lively"), *published, paused])
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    assert [request.concept for request in published.of(TrainingRequested)] == ["calm", "lively"]  # type: ignore[attr-defined]
    reasons = {one.concept: one.reason for one in published.of(TrainingDecided)}  # type: ignore[attr-defined]
    assert "was paused by Ada: heat" in reasons["calm"]
    n_told = len(published)
    for _ in range(2):
        clock.now += timedelta(seconds=11)
        await step.idle(published)
    assert len(published) <= n_told + 1, "a decision is told again only when its reason changes"


async def test_stage_b_waits_until_an_adapter_is_put_into_use(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    pure = _ready().model_copy(update={"purity_low": 0.95})
    await step.process([pure], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    (first,) = published.of(TrainingRequested)
    ended = _succeeded(first.key, clock, promoted=False)
    View(named).apply([pure, *published, ended])
    clock.now += timedelta(hours=1)
    await step.idle(published)
    last = published.of(TrainingDecided)[-1]
    assert "no adapter of stage A is in use" in last.reason  # type: ignore[attr-defined]
    told = {"decision_id": "d1", "run_id": first.key, "verb": "promote", "by": "Ada", "reason": "vivid"}
    View(named).apply([AdapterDecided.model_validate(told | {"decided_at": clock.now})])
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    again = published.of(TrainingRequested)[1:]
    assert [(request.stage, request.parent) for request in again] == [("B", first.key)]  # type: ignore[attr-defined]


async def test_a_concept_that_a_removal_struck_is_not_trained_on_what_was_known_of_it_before(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    ready = _ready().model_copy(update={"computed_at": NOW})
    View(named).apply([ready])
    await step.process([ready], published)
    struck = {"ready": False, "status": "waiting", "reasons": ["footage was removed since; the next curation tells"]}
    named.concepts.put({"calm": (named.concepts.get("calm") or {}) | struck})
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    assert published.of(TrainingRequested) == []


async def test_where_no_record_came_the_store_is_read_every_ten_seconds(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    View(named).apply([_ready()])
    for seconds in (4, 5):
        clock.now += timedelta(seconds=seconds)
        await step.idle(published)
        assert published == []
    clock.now += timedelta(seconds=1)
    await step.idle(published)
    assert published.of(TrainingRequested)


async def test_as_many_runs_are_asked_for_as_the_settings_have_devices(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock, SchedulerSettings(devices=2))
    await step.process([_ready("calm"), _ready("lively")], published)
    clock.now += timedelta(seconds=11)
    await step.idle(published)
    assert [request.concept for request in published.of(TrainingRequested)] == ["calm", "lively"]  # type: ignore[attr-defined]


async def test_training_settings_that_cannot_work_keep_the_service_from_starting(tmp_path: Path) -> None:
    training = tmp_path / "training.toml"
    training.write_text("devices = 0\n")
    with pytest.raises(SettingsError, match=r"devices is 0; expected a whole number from 1 to 64"):
        await open_road(Workplace(tmp_path, "measured", tmp_path / "concepts.yaml", training=training), lambda: NOW)


async def test_footage_that_never_ends_does_not_put_training_off_for_ever(named: Store) -> None:
    clock, published = Clock(), Published()
    step = Schedule(named, clock)
    for _ in range(200):
        await step.process([_ready()], published)
        clock.now += timedelta(seconds=5)
        await step.idle(published)
    assert [request.concept for request in published.of(TrainingRequested)] == ["calm"]  # type: ignore[attr-defined]


# --- annotations that are due, and calibrations ------------------------------------------------------------------


async def test_clips_that_another_recipe_annotated_are_annotated_anew_at_the_start(
    tmp_path: Path, store: Store
) -> None:
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    published = Published()
    await persist.process(all_records([ONE]), published)
    await persist.idle(published)
    due = published.of(AnnotationDue)
    assert sorted(record.key for record in due) == sorted(clip.clip_id for clip in ONE.clips)

    recipe = ANNOTATING.recipe(store)
    present = [record.model_copy(update={"recipe": recipe}) for record in ONE.densified]
    again = Published()
    await persist.process(present, again)
    later = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    await later.idle(again)
    assert again.of(AnnotationDue) == []


async def test_a_calibration_is_adopted_once_and_every_clip_annotated_by_it(tmp_path: Path, store: Store) -> None:
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    asked = CalibrationRequested(request_id="c1", by="Ada", reason="enough clips", requested_at=NOW)
    published = Published()
    await persist.process([*all_records([ONE, TWO]), asked], published)
    (adopted,) = published.of(CalibrationAdopted)
    assert isinstance(adopted, CalibrationAdopted)
    assert (adopted.request_id, adopted.by, adopted.reason) == ("c1", "Ada", "enough clips")
    assert len(published.of(AnnotationDue)) == 5
    latest = latest_calibration(store)
    assert latest is not None
    assert latest["calibration_id"] == adopted.calibration_id

    again = Published()
    await persist.process([asked], again)
    assert again.of(CalibrationAdopted) == []


async def test_a_calibration_that_a_killed_process_left_is_made_at_the_start(tmp_path: Path, store: Store) -> None:
    View(store).apply([CalibrationRequested(request_id="c1", by="Ada", reason="why not", requested_at=NOW)])
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    published = Published()
    await persist.idle(published)
    assert [record.key for record in published.of(CalibrationAdopted)] == ["c1"]


async def test_a_calibration_is_on_its_topic_before_the_store_has_it(tmp_path: Path, store: Store) -> None:
    persist = Persist(store, tmp_path, tmp_path / "snapshots", lambda: NOW, StepMetrics().queryable, ANNOTATING)
    seen: list[str] = []

    async def publish(records: Sequence[Record]) -> None:
        if any(isinstance(record, CalibrationAdopted) for record in records):
            seen.extend(body["status"] for body in store.calibrations.all().values())
            raise Passing("the process is killed here")

    asked = CalibrationRequested(request_id="c1", by="Ada", reason="enough clips", requested_at=NOW)
    with pytest.raises(Passing):
        await persist.process([asked], publish)
    assert seen == ["requested"]
    published = Published()
    await persist.process([asked], published)
    assert [record.key for record in published.of(CalibrationAdopted)] == ["c1"]
