"""Removal: what is gone, that it is gone from disk, that it may be killed, and that it stays gone."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from store.codec import encode
from store.learned import LEARNED_FILE, Learned, learned_by, put_learned
from store.records import (
    AdapterDecided,
    ClipCurated,
    ConceptChanged,
    DeadLetter,
    DeadReplayed,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    SnapshotRequested,
    TrainingFinished,
    TrainingRequested,
    digest,
)
from store.removal import in_records, remove
from store.snapshots import create_snapshot, is_withdrawn, verify_snapshot
from store.store import DOCUMENTS, Store
from store.view import View
from streams.topics import LONGEST_MESSAGE_BYTES
from tests.store.made_footage import COLUMNS, NOON, Video, later

GOING = Video("going", source="street")
STAYING = Video("staying", n_clips=3, source="park")


def request(
    subject: str = "video", subject_id: str = GOING.video_id, removal_id: str = "removal-1"
) -> RemovalRequested:
    return RemovalRequested(
        removal_id=removal_id,
        subject=subject,
        subject_id=subject_id,
        by="Ada",
        reason="consent withdrawn",
        requested_at=later(60),
    )


def remove_and_record(store: Store, snapshots: Path, asked: RemovalRequested, minutes: float = 61):
    """What the persist step does with a request."""
    view = View(store)
    view.apply([asked])
    proof = remove(store, asked, snapshots, later(minutes))
    view.apply([proof])
    return proof


def letter(raw: bytes, dead_id: str = "dead-1", **fields: Any) -> DeadLetter:
    about = {"video_id": None, "clip_id": None} | fields
    return DeadLetter(
        dead_id=dead_id,
        step="embed",
        origin_topic="clips.segmented",
        origin_partition=0,
        origin_offset=7,
        origin_key=None,
        kind="refused",
        raw_base64=base64.b64encode(raw).decode(),
        reason="no frames",
        traceback="",
        attempts=3,
        died_at=NOON,
        **about,
    )


def concept(store: Store, clip_ids: tuple[str, ...], name: str = "calm") -> ConceptChanged:
    members = [{"clip_id": id_, "probability": 0.9, "eligible": True, "held_for": []} for id_ in clip_ids]
    return ConceptChanged(
        concept=name,
        definition={"query": "true"},
        members_key=store.media.put_bytes(json.dumps(members).encode(), "json"),
        members_digest=digest(members),
        n_members=len(members),
        n_eligible=len(members),
        n_videos=2,
        purity=0.9,
        purity_low=0.8,
        ready=True,
        reasons=(),
        recipe="c1",
    )


def run_requested(run_id: str, members: ConceptChanged, parent: str | None = None) -> TrainingRequested:
    return TrainingRequested(
        run_id=run_id,
        concept=members.concept,
        stage="A" if parent is None else "B",
        members_key=members.members_key,
        members_digest=members.members_digest,
        parent=parent,
        settings={},
        requested_by="scheduler",
        reason="ready",
        requested_at=NOON,
    )


def run_finished(store: Store, run_id: str, clip_ids: tuple[str, ...]) -> TrainingFinished:
    return TrainingFinished(
        run_id=run_id,
        concept="calm",
        status="succeeded",
        reason="",
        artefacts={
            "adapter.safetensors": store.media.put_bytes(f"adapter of {run_id}".encode(), "bin"),
            LEARNED_FILE: put_learned(store.media, run_id, (), clip_ids),
        },
        metrics={"loss": 0.1},
        finished_at=NOON,
    )


def snapshot(store: Store, snapshots: Path, tag: str) -> None:
    asked = SnapshotRequested(tag=tag, note="", requested_by="Ada", requested_at=NOON)
    View(store).apply([asked, create_snapshot(store, asked, snapshots)])


def fill(store: Store, snapshots: Path) -> None:
    """Footage that stays and footage that goes, and everything that can be made of both."""
    view = View(store)
    for video in (STAYING, GOING):
        video.put_media(store.media)
    view.apply(STAYING.road)
    snapshot(store, snapshots, "before")
    view.apply(GOING.road)
    snapshot(store, snapshots, "with")
    both = concept(store, (*STAYING.clip_ids, *GOING.clip_ids))
    rest = concept(store, STAYING.clip_ids, "rest")
    view.apply([both, rest, run_requested("tainted", both), run_requested("heir", rest, "tainted")])
    view.apply([run_requested("waiting", both), run_requested("clean", rest)])
    view.apply([run_finished(store, "tainted", both_ids()), run_finished(store, "heir", STAYING.clip_ids)])
    view.apply([run_finished(store, "clean", STAYING.clip_ids)])
    view.apply([letter(encode(GOING.road[1]), "dead-going"), letter(encode(STAYING.road[1]), "dead-staying")])
    view.apply([review(GOING.clip_ids[0], "r1"), review(STAYING.clip_ids[0], "r2")])


def both_ids() -> tuple[str, ...]:
    return (*STAYING.clip_ids, *GOING.clip_ids)


def review(clip_id: str, decision_id: str) -> ReviewDecided:
    return ReviewDecided(
        decision_id=decision_id,
        subject="clip",
        subject_id=clip_id,
        verdict="keep",
        by="Ada",
        reason=f"seen {decision_id}",
        decided_at=NOON,
    )


def files_with(needle: bytes, *folders: Path) -> list[str]:
    """Files below the folders, the ledger of removals aside, that hold the bytes."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if "removals.lance" not in path.parts and needle in path.read_bytes()]


def traces(video: Video) -> list[bytes]:
    """Bytes that only this video's footage gives."""
    texts = [video.name.encode(), *(id_.encode() for id_ in video.clip_ids)]
    return texts + [video.words(i).encode() for i in range(video.n_clips)]


def state(store: Store) -> dict[str, Any]:
    """All that a store tells."""
    tables = {name: getattr(store, name).all() for name in DOCUMENTS}
    return tables | {"clips": store.clips.select(), "media": store.media.keys(), "tags": sorted(store.clips.tags())}


def test_every_trace_of_a_video_is_gone_from_disk(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    assert all(files_with(trace, tmp_path) for trace in traces(GOING))
    proof = remove_and_record(store, tmp_path / "snapshots", request())
    assert proof.verified
    assert {trace: files_with(trace, tmp_path) for trace in traces(GOING)} == {trace: [] for trace in traces(GOING)}
    for trace in traces(STAYING):
        assert files_with(trace, tmp_path)


def test_rows_vanish_from_disk_where_they_are_few_among_many(store, ingest, tmp_path):
    ingest(store, Video("many", n_clips=60), GOING)
    store.clips.maintain(timedelta(0))
    store.clips.tag("kept-version", store.clips.version)
    store.clips.untag("kept-version")
    remove_and_record(store, tmp_path / "snapshots", request())
    for trace in traces(GOING):
        assert files_with(trace, tmp_path) == []
    assert store.clips.count() == 60
    assert len(store.clips.matching("wide", limit=100)) == 60


def test_the_proof_names_what_went_and_nothing_of_its_content(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    artefacts = {key for run in ("tainted", "heir") for key in store.runs.get(run)["artefacts"].values()}
    stale = store.concepts.get("calm")["members_key"]
    proof = remove_and_record(store, tmp_path / "snapshots", request())
    assert proof.video_ids == (GOING.video_id,)
    assert proof.clip_ids == tuple(sorted(GOING.clip_ids))
    media = {key for clip in GOING.clips for key in (clip.media_key, clip.strip_key, clip.samples_key)}
    assert set(proof.media_keys) == media | {GOING.submitted.media_key, stale, *artefacts}
    assert proof.snapshots == ("with",)
    assert proof.runs == ("heir", "tainted", "waiting")
    assert proof.done_at == later(61)
    assert store.removals.get("removal-1")["status"] == "done"
    assert not any(trace in proof.model_dump_json().encode() for trace in traces(GOING) if trace.startswith(b"word"))
    assert proof.dead_letters == ("embed/dead-going",)
    assert "going" not in proof.model_copy(update={"dead_letters": ()}).model_dump_json()


def test_a_proof_of_very_much_is_told_in_records_that_a_broker_takes():
    def ids(n, kind):
        return tuple(f"{kind}{i:063d}" for i in range(n))

    clips, keys = ids(30_000, "c"), ids(90_000, "k")
    proof = RemovalDone(
        removal_id="large",
        video_ids=ids(500, "v"),
        clip_ids=clips,
        media_keys=keys,
        snapshots=("v1",),
        runs=("run",),
        sources=dict.fromkeys(ids(500, "v"), "street"),
        verified=True,
        done_at=NOON,
    )
    told = in_records(proof)
    assert max(len(encode(record)) for record in told) < LONGEST_MESSAGE_BYTES / 2
    assert sorted(one for record in told for one in record.media_keys) == sorted(keys)
    assert {one for record in told for one in record.sources} == set(proof.video_ids)
    assert {record.n_parts for record in told} == {len(told)}
    assert in_records(proof.model_copy(update={"clip_ids": (), "media_keys": ()}))[0].n_parts == 1


def test_a_removed_video_keeps_only_its_id_and_source(store, ingest, tmp_path):
    ingest(store, GOING)
    remove_and_record(store, tmp_path / "snapshots", request())
    assert store.videos.get(GOING.video_id) == {
        "status": "removed",
        "video_id": GOING.video_id,
        "source": "street",
        "removal_id": "removal-1",
    }


def test_a_source_goes_with_all_its_videos_and_its_releases(store, ingest, tmp_path):
    second = Video("going too", source="street", licence=None)
    ingest(store, GOING, second, STAYING)
    release = ReviewDecided(
        decision_id="r",
        subject="source",
        subject_id="street",
        verdict="release",
        covers=("licence",),
        by="Ada",
        reason="ours",
        decided_at=NOON,
    )
    View(store).apply([release])
    proof = remove_and_record(store, tmp_path / "snapshots", request("source", "street"))
    assert set(proof.video_ids) == {GOING.video_id, second.video_id}
    assert {row["source"] for row in store.clips.select()} == {"park"}
    assert proof.verified
    View(store).apply([release])
    assert store.sources.get("street") is None


def test_footage_submitted_before_its_source_was_removed_but_told_later_is_refused(store, ingest, tmp_path):
    ingest(store, GOING)
    remove_and_record(store, tmp_path / "snapshots", request("source", "street"))
    slow = Video("slow", source="street", submitted_at=later(59))
    fresh = Video("fresh", source="street", submitted_at=later(120))
    ingest(store, slow, fresh)
    assert {row["video_id"] for row in store.clips.select()} == {fresh.video_id}
    assert store.videos.get(slow.video_id)["status"] == "removed"
    assert not store.media.exists(slow.submitted.media_key)


def test_clips_that_were_faster_than_the_word_of_their_late_video_go_when_it_comes(store, ingest, tmp_path):
    ingest(store, GOING)
    remove_and_record(store, tmp_path / "snapshots", request("source", "street"))
    slow = Video("slow", source="street", submitted_at=later(59))
    slow.put_media(store.media)
    for record in reversed(slow.road):
        View(store).apply([record])
    assert store.clips.count() == 0
    assert store.media.keys() == []


def test_bytes_that_other_footage_shares_stay(store, ingest, tmp_path):
    going, staying = Video("a still", shared_media=b"black"), Video("another still", shared_media=b"black")
    ingest(store, going, staying)
    proof = remove_and_record(store, tmp_path / "snapshots", request(subject_id=going.video_id))
    assert store.media.read(staying.clips[0].media_key) == b"black"
    assert staying.clips[0].media_key not in proof.media_keys
    assert proof.verified
    remove_and_record(store, tmp_path / "snapshots", request(subject_id=staying.video_id, removal_id="removal-2"))
    assert not store.media.exists(staying.clips[0].media_key)


def test_an_original_stored_under_another_suffix_goes_too(store, ingest, tmp_path):
    ingest(store, GOING)
    other = store.media.put_bytes(GOING.original, "mov")
    assert other in remove_and_record(store, tmp_path / "snapshots", request()).media_keys
    assert not store.media.exists(other)


def test_bytes_that_a_killed_write_left_go_with_the_next_removal(store, ingest, tmp_path):
    ingest(store, GOING)
    left = tmp_path / "data" / "media" / "ab" / ".unfinished-x"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(GOING.original)
    hours_later = remove(store, request(), tmp_path / "snapshots", later(60 * 24 * 365 * 100))
    assert hours_later.verified
    assert not left.exists()


def test_a_snapshot_that_knew_the_clips_is_withdrawn_and_an_older_one_stands(store, tmp_path):
    snapshots = tmp_path / "snapshots"
    fill(store, snapshots)
    remove_and_record(store, snapshots, request())
    assert is_withdrawn(snapshots / "with")
    assert "removal-1" in (snapshots / "with" / "README.md").read_text()
    assert not (snapshots / "with" / "media").exists()
    document = store.snapshots.get("with")
    assert document["status"] == "withdrawn"
    assert "removal-1" in document["reason"]
    assert verify_snapshot(snapshots / "before") == []
    assert store.snapshots.get("before")["status"] == "created"
    version = store.clips.tags()["before"]
    assert len(store.clips.select(version=version)) == STAYING.n_clips
    assert set(store.clips.tags()) == {"before"}


def test_a_snapshot_that_was_being_written_is_withdrawn(store, ingest, tmp_path):
    ingest(store, GOING)
    store.clips.tag("half", store.clips.version)
    half = tmp_path / "snapshots" / ".unfinished-half"
    half.mkdir(parents=True)
    (half / "clip.mp4").write_bytes(b"footage")
    proof = remove_and_record(store, tmp_path / "snapshots", request())
    assert proof.snapshots == ("half",)
    assert not half.exists()
    assert store.clips.tags() == {}


def test_runs_trained_on_the_clips_and_their_heirs_are_withdrawn(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    clean = store.runs.get("clean")
    remove_and_record(store, tmp_path / "snapshots", request())
    for run_id in ("tainted", "heir", "waiting"):
        run = store.runs.get(run_id)
        assert (run["status"], run["artefacts"]) == ("withdrawn", {})
        assert (run["reason"], "removal removal-1" in run["ended_because"]) == ("ready", True)
    assert store.runs.get("clean") == clean
    assert store.media.read(clean["artefacts"]["adapter.safetensors"]) == b"adapter of clean"
    assert learned_by(store.media, clean).every == frozenset(STAYING.clip_ids)


def test_of_a_run_of_before_what_only_its_base_saw_was_not_drawn(store):
    told = {"clip_ids": ["a", "b", "c"], "metrics": {"base_clip_ids": ["b"]}}
    assert learned_by(store.media, told) == Learned(frozenset("ac"), frozenset("abc"))
    told["metrics"]["learned_from"] = ["a"]
    assert learned_by(store.media, told) == Learned(frozenset("a"), frozenset("abc"))


def test_a_snapshot_of_before_named_its_clips_and_does_so_no_more_once_it_is_withdrawn(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    store.snapshots.put({"with": store.snapshots.get("with") | {"clip_ids": list(both_ids())}})
    remove_and_record(store, tmp_path / "snapshots", request())
    assert "clip_ids" not in store.snapshots.get("with")


def test_a_run_of_before_its_clips_were_a_file_is_withdrawn_too(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    known = {"status": "succeeded", "artefacts": {}}
    store.runs.put({"old": known | {"clip_ids": list(GOING.clip_ids)}, "other": known | {"clip_ids": ["elsewhere"]}})
    remove_and_record(store, tmp_path / "snapshots", request())
    assert [store.runs.get(run_id)["status"] for run_id in ("old", "other")] == ["withdrawn", "succeeded"]


def promoted(run_id: str) -> AdapterDecided:
    return AdapterDecided(
        decision_id=f"of {run_id}", run_id=run_id, verb="promote", by="Ada", reason="vivid", decided_at=later(30)
    )


def test_decisions_on_withdrawn_adapters_go_and_are_not_taken_again(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    decisions = [promoted(run_id) for run_id in ("tainted", "heir", "clean")]
    View(store).apply(decisions)
    stuck = replace(store, adapter_decisions=Stuck(store.adapter_decisions))
    assert not remove(stuck, request(), tmp_path / "snapshots", later(61)).verified
    assert remove_and_record(store, tmp_path / "snapshots", request()).verified
    assert list(store.adapter_decisions.all()) == ["of clean"]
    View(store).apply(decisions)
    assert list(store.adapter_decisions.all()) == ["of clean"]


@pytest.mark.parametrize(("status", "is_kept"), [("succeeded", True), ("failed", False)])
def test_when_a_withdrawn_run_ended_is_kept_where_it_succeeded_whenever_that_is_told(store, tmp_path, status, is_kept):
    View(store).apply(GOING.road)
    going = concept(store, GOING.clip_ids)
    late = run_finished(store, "late", GOING.clip_ids).model_copy(update={"status": status})
    early = run_finished(store, "early", GOING.clip_ids).model_copy(update={"status": status})
    View(store).apply([run_requested("late", going), run_requested("early", going), early])
    remove_and_record(store, tmp_path / "snapshots", request())
    View(store).apply([late])
    assert ["finished_at" in store.runs.get(run_id) for run_id in ("early", "late")] == [is_kept, is_kept]


def test_a_concept_loses_the_clips_and_waits_to_be_computed_anew(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    rest = store.concepts.get("rest")
    remove_and_record(store, tmp_path / "snapshots", request())
    calm = store.concepts.get("calm")
    members = json.loads(store.media.read(calm["members_key"]))
    assert [member["clip_id"] for member in members] == list(STAYING.clip_ids)
    assert calm["members_digest"] == digest(members)
    assert (calm["status"], calm["ready"], calm["purity"]) == ("waiting", False, None)
    assert (calm["n_members"], calm["n_eligible"], calm["n_videos"]) == (3, 3, 1)
    assert store.concepts.get("rest") == rest


def test_letters_and_reviews_about_the_footage_go_and_others_stay(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    remove_and_record(store, tmp_path / "snapshots", request())
    assert list(store.dead_letters.all()) == ["dead-staying"]
    assert {review["decision_id"] for review in store.reviews.all().values()} == {"r2"}


def test_labels_and_undoings_about_the_footage_go_and_late_ones_are_refused(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    label = {"verdict": "relabel", "concepts": {"calm": True}}
    going = [
        review(GOING.clip_ids[0], "r3").model_copy(update=label),
        review(GOING.clip_ids[0], "r4").model_copy(update={"verdict": "undo", "undoes": "r3"}),
    ]
    View(store).apply([*going, review(STAYING.clip_ids[0], "r5").model_copy(update=label)])
    assert remove_and_record(store, tmp_path / "snapshots", request()).verified
    View(store).apply(going)
    assert {one["decision_id"] for one in store.reviews.all("decided").values()} == {"r2", "r5"}
    assert not any(GOING.clip_ids[0] in json.dumps(one) for one in store.reviews.all().values())


def test_a_second_request_changes_nothing_and_gives_the_same_proof(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    first = remove_and_record(store, tmp_path / "snapshots", request())
    before = state(store)
    again = remove_and_record(store, tmp_path / "snapshots", request(), minutes=90)
    assert again == first
    assert state(store) == before
    second = remove_and_record(store, tmp_path / "snapshots", request(removal_id="removal-2"), minutes=90)
    assert second == first.model_copy(update={"removal_id": "removal-2", "done_at": later(90)})
    after = state(store)
    assert after.pop("removals").pop("removal-2")["status"] == "done"
    assert after == {name: value for name, value in before.items() if name != "removals"}


def test_an_unknown_video_is_refused_when_it_comes_after_its_removal(store, ingest, tmp_path):
    proof = remove_and_record(store, tmp_path / "snapshots", request())
    assert (proof.clip_ids, proof.verified) == ((), True)
    ingest(store, GOING)
    assert store.clips.count() == 0
    assert store.media.keys() == []


class Stuck:
    """Part of a store that deletes nothing."""

    def __init__(self, part: Any) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: None) if name == "delete" else getattr(self._part, name)


class Killed(Exception):
    """The process died."""


class Mortal:
    """Part of a store whose process dies after so many writes."""

    WRITES = frozenset({"put", "delete", "put_bytes", "purge", "untag", "sweep"})

    def __init__(self, part: Any, count: Callable[[], None]) -> None:
        self._part = part
        self._count = count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name not in self.WRITES:
            return found

        def write(*given: Any, **named: Any) -> Any:
            answer = found(*given, **named)
            self._count()
            return answer

        return write


def mortal(store: Store, lives: int) -> Store:
    left = [lives]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    return replace(store, **{name: Mortal(getattr(store, name), count) for name in (*DOCUMENTS, "clips", "media")})


def test_killed_after_any_of_its_writes_and_run_again_it_ends_the_same(store, tmp_path):
    fill(store, tmp_path / "snapshots")
    other = Store.open(tmp_path / "other", COLUMNS)
    fill(other, tmp_path / "other-snapshots")
    expected = remove_and_record(other, tmp_path / "other-snapshots", request())
    View(store).apply([request()])
    deaths = 0
    while True:
        try:
            proof = remove(mortal(store, deaths), request(), tmp_path / "snapshots", later(61))
        except Killed:
            deaths += 1
        else:
            break
    assert deaths > 20
    assert proof == expected
    View(store).apply([proof])
    ours, theirs = state(store), state(other)
    for tables in (ours, theirs):
        for document in tables["snapshots"].values():
            document["folder"] = Path(document["folder"]).name
    assert ours == theirs
    for trace in traces(GOING):
        assert files_with(trace, tmp_path / "data", tmp_path / "snapshots") == []


def test_late_records_of_removed_footage_bring_nothing_back(store, tmp_path):
    snapshots = tmp_path / "snapshots"
    fill(store, snapshots)
    remove_and_record(store, snapshots, request())
    before = state(store)
    GOING.put_media(store.media)
    curated = ClipCurated(
        clip_id=GOING.clip_ids[0],
        cluster=1,
        cluster_probability=1.0,
        outlier_score=0.0,
        is_outlier=False,
        margin=None,
        is_boundary=False,
        recipe="c",
    )
    late = [
        *GOING.road,
        curated,
        review(GOING.clip_ids[0], "late"),
        letter(encode(GOING.road[1]), "late"),
        letter(b"no json", "late too", clip_id=GOING.clip_ids[1]),
        DeadReplayed(dead_id="dead-going", by="Ada", replayed_at=later(70)),
        concept(store, both_ids()),
        run_finished(store, "waiting", GOING.clip_ids),
        run_finished(store, "heir", STAYING.clip_ids),
    ]
    assert View(store).apply(late) == ()
    ended_at = store.runs.get("waiting").pop("finished_at")
    assert ended_at == NOON.isoformat().replace("+00:00", "Z")
    before["runs"]["waiting"]["finished_at"] = ended_at  # its adapter has a number, which no other gets
    assert state(store) == before


@pytest.mark.parametrize("is_removed_first", [True, False])
def test_a_run_that_was_unknown_at_the_removal_is_withdrawn_when_it_ends(store, ingest, tmp_path, is_removed_first):
    ingest(store, GOING, STAYING)
    if is_removed_first:
        remove_and_record(store, tmp_path / "snapshots", request())
    finished = run_finished(store, "unseen", both_ids())
    if not is_removed_first:
        remove_and_record(store, tmp_path / "snapshots", request())
        assert not store.media.exists(finished.artefacts[LEARNED_FILE])
    View(store).apply([finished, run_finished(store, "clean", STAYING.clip_ids)])
    assert store.runs.get("unseen")["status"] == "withdrawn"
    assert not store.media.exists(finished.artefacts["adapter.safetensors"])
    assert store.runs.get("clean")["status"] == "succeeded"


def test_a_proof_with_something_left_is_not_verified(store, ingest, tmp_path):
    ingest(store, GOING)
    for part in ("clips", "media"):
        stuck = replace(store, **{part: Stuck(getattr(store, part))})
        assert not remove(stuck, request(), tmp_path / "snapshots", later(61)).verified
    assert remove(store, request(), tmp_path / "snapshots", later(61)).verified


@pytest.mark.parametrize("subject", ["video", "source"])
def test_removing_what_was_never_there_is_proof_enough(subject, store, tmp_path):
    proof = remove_and_record(store, tmp_path / "snapshots", request(subject, "nothing-of-that-name"))
    assert proof.verified
    assert proof.media_keys == ()
