"""Removing an identity: what goes with it, what stays, and that it stays gone."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from store.codec import encode
from store.documents import record_of
from store.linking import Linker
from store.records import (
    ClipEmbedded,
    FootageSubmitted,
    IdentityDecided,
    IdentityLinked,
    Record,
    RemovalDone,
    RemovalRequested,
    SnapshotRequested,
    TokenReserved,
    TrackName,
)
from store.removal import remove
from store.reserving import Reserver, every_subject
from store.snapshots import create_snapshot
from store.store import DOCUMENTS, Store
from store.tokens import choose_token, tokens_of
from store.view import View
from streams.publish import Tombstone
from streams.rebuild import ORDER, Rebuild
from streams.steps.persist import tombstones
from tests.store.made_footage import NOON, later
from tests.store.made_people import PEOPLE_COLUMNS, PeopleVideo, people

MIXED = people("mixed", (1,), (2,), (1, 2))
ALONE = people("alone", (1,), (1,), source="street")
OTHERS = people("others", (2,), (3,))
VIDEOS = (MIXED, ALONE, OTHERS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "data", VIDEOS)[0]


def filled(folder: Path, videos: tuple[PeopleVideo, ...]) -> tuple[Store, list[Record]]:
    """A store of these videos, linked, and its records."""
    store = Store.open(folder, PEOPLE_COLUMNS)
    linker, records = Linker(store), []
    for video in videos:
        video.put_media(store.media)
        View(store).apply(video.road)
        links = linker.link(video.clip_ids)
        View(store).apply(links)
        linker.confirm()
        records += [*video.road, *links]
    return store, records


def identity_of(store: Store, video: PeopleVideo, clip: int = 0, track: int = 0) -> str:
    return str(store.clips.get(video.clip_ids[clip])["identity_ids"][track]["identity"])


def request(identity: str, removal_id: str = "r1") -> RemovalRequested:
    return RemovalRequested(
        removal_id=removal_id,
        subject="identity",
        subject_id=identity,
        by="Ada",
        reason="consent withdrawn",
        requested_at=later(60),
    )


def removed(store: Store, snapshots: Path, asked: RemovalRequested, minutes: float = 61) -> RemovalDone:
    """What the persist step does with a request."""
    View(store).apply([asked])
    proof = remove(store, asked, snapshots, later(minutes))
    View(store).apply([proof])
    return proof


def state(store: Store) -> dict[str, object]:
    tables = {name: getattr(store, name).all() for name in DOCUMENTS}
    return tables | {"clips": store.clips.select(), "media": store.media.keys()}


def test_every_clip_in_which_it_appears_goes_and_the_others_stay(store: Store, tmp_path: Path) -> None:
    proof = removed(store, tmp_path / "snapshots", request(identity_of(store, MIXED)))
    assert proof.verified
    assert set(proof.clip_ids) == {MIXED.clip_ids[0], MIXED.clip_ids[2], *ALONE.clip_ids}
    left = {row["clip_id"] for row in store.clips.select(columns=[])}
    assert left == {MIXED.clip_ids[1], *OTHERS.clip_ids}


def test_the_originals_that_show_it_go_too(store: Store, tmp_path: Path) -> None:
    original = MIXED.submitted.media_key
    proof = removed(store, tmp_path / "snapshots", request(identity_of(store, MIXED)))
    assert (proof.originals, proof.video_ids) == ((MIXED.video_id,), (ALONE.video_id,))
    assert original in proof.media_keys
    assert not store.media.exists(original)
    video = store.videos.get(MIXED.video_id)
    assert video is not None
    assert (video["status"], video["media_key"], video["original_removed"]) == ("done", None, "r1")
    assert video["clip_ids"] == [MIXED.clip_ids[1]]
    assert store.media.exists(MIXED.clips[1].media_key)
    alone = store.videos.get(ALONE.video_id)
    assert alone is not None
    assert alone["status"] == "removed"


def test_no_byte_of_its_clips_is_left_on_disk(store: Store, tmp_path: Path) -> None:
    identity = identity_of(store, MIXED)
    parted = IdentityDecided(
        decision_id="d1",
        verb="split",
        identity=identity_of(store, OTHERS),
        tracks=(TrackName(clip_id=MIXED.clip_ids[2], track=1), TrackName(clip_id=MIXED.clip_ids[1], track=0)),
        by="Ada",
        reason="a sister",
        decided_at=NOON,
    )
    View(store).apply([parted])
    vector = str(store.clips.get(MIXED.clip_ids[0])["identity_faces"][0]["vector"][7])
    traces = [MIXED.clip_ids[0], MIXED.clip_ids[2], *ALONE.clip_ids, MIXED.words(0), ALONE.words(1), vector]
    assert all(files_with(trace, tmp_path) for trace in traces)
    removed(store, tmp_path / "snapshots", request(identity))
    assert {trace: files_with(trace, tmp_path) for trace in traces} == {trace: [] for trace in traces}
    decision = store.identity_decisions.get("d1")
    assert decision is not None
    assert decision["tracks"] == [{"clip_id": MIXED.clip_ids[1], "track": 0}]


def files_with(needle: str, folder: Path) -> list[str]:
    """Files below a folder, the ledger of removals aside, that hold the text."""
    files = [path for path in folder.rglob("*") if path.is_file() and "removals.lance" not in path.parts]
    return [str(path) for path in files if needle.encode() in path.read_bytes()]


def test_a_snapshot_with_one_of_its_clips_is_withdrawn_and_one_without_stays(tmp_path: Path) -> None:
    snapshots = tmp_path / "snapshots"
    videos = tuple(replace(video, licence="CC0-1.0") for video in (OTHERS, MIXED))
    store, _ = filled(tmp_path / "data", videos[:1])
    keep_all(store)
    publish(store, snapshots, "before")
    videos[1].put_media(store.media)
    View(store).apply(videos[1].road)
    linker = Linker(store)
    View(store).apply(linker.link(videos[1].clip_ids))
    publish(store, snapshots, "with")
    proof = removed(store, snapshots, request(identity_of(store, MIXED)))
    assert proof.snapshots == ("with",)
    assert sorted(store.clips.tags()) == ["before"]


def test_a_snapshot_tells_nothing_of_who_is_seen(tmp_path: Path) -> None:
    store, _ = filled(tmp_path / "data", (OTHERS,))
    keep_all(store)
    publish(store, tmp_path / "snapshots", "one")
    folder = tmp_path / "snapshots" / "one"
    names = pq.read_schema(folder / "metadata.parquet").names
    assert "face_count" in names
    assert [name for name in names if name.startswith("identity")] == []
    vector = store.clips.get(OTHERS.clip_ids[0])["identity_faces"][0]["vector"]
    for trace in (identity_of(store, OTHERS), str(vector[3]), "made:1"):
        assert files_with(trace, folder) == []


def keep_all(store: Store) -> None:
    """Release the source, so that clips with faces may be published."""
    source = store.sources.get("park")
    assert source is not None
    answer = {"verdict": "release", "by": "Ada", "reason": "adults", "decided_at": NOON.isoformat()}
    store.sources.put({"park": source | {"answers": {"age": answer}, "released": {"age": answer}}})
    View(store).apply([record for video in (OTHERS,) for record in video.road])


def publish(store: Store, snapshots: Path, tag: str) -> None:
    asked = SnapshotRequested(tag=tag, note="", requested_by="Ada", requested_at=NOON)
    View(store).apply([asked, create_snapshot(store, asked, snapshots)])


def test_a_video_that_is_still_being_read_goes_as_a_whole(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "data", PEOPLE_COLUMNS)
    unread = [record for record in MIXED.road if record.topic != "footage.segmented"]
    View(store).apply(unread)
    View(store).apply(Linker(store).link(MIXED.clip_ids))
    proof = removed(store, tmp_path / "snapshots", request(identity_of(store, MIXED)))
    assert (proof.video_ids, proof.originals) == ((MIXED.video_id,), ())
    assert store.clips.count() == 0


def test_late_records_bring_nothing_back(store: Store, tmp_path: Path) -> None:
    proof = removed(store, tmp_path / "snapshots", request(identity_of(store, MIXED)))
    before = state(store)
    linked = IdentityLinked(clip_id=MIXED.clip_ids[0], video_id=MIXED.video_id, links=(), recipe="r")
    late = [r for r in MIXED.road if not isinstance(r, FootageSubmitted)]
    View(store).apply([*late, linked, *ALONE.road])
    assert state(store) == before
    assert proof.verified


def test_a_second_request_gives_the_same_proof(store: Store, tmp_path: Path) -> None:
    identity = identity_of(store, MIXED)
    first = removed(store, tmp_path / "snapshots", request(identity))
    before = state(store)
    second = removed(store, tmp_path / "snapshots", request(identity, "r2"), minutes=90)
    assert second == first.model_copy(update={"removal_id": "r2", "done_at": later(90)})
    after = state(store)
    after["removals"] = {id_: body for id_, body in after["removals"].items() if id_ != "r2"}  # type: ignore[attr-defined]
    assert after == before


def test_a_merged_identity_goes_with_all_that_was_merged_into_it(store: Store, tmp_path: Path) -> None:
    first, third = identity_of(store, MIXED), identity_of(store, OTHERS, 1)
    merged = IdentityDecided(
        decision_id="d1", verb="merge", identity=first, others=(third,), by="Ada", reason="twins", decided_at=NOON
    )
    View(store).apply([merged])
    proof = removed(store, tmp_path / "snapshots", request(first))
    assert OTHERS.clip_ids[1] in proof.clip_ids
    assert {row["clip_id"] for row in store.clips.select(columns=[])} == {MIXED.clip_ids[1], OTHERS.clip_ids[0]}


def test_tokens_of_those_who_are_seen_nowhere_else_lose_their_names(store: Store, tmp_path: Path) -> None:
    first, second, third = identity_of(store, MIXED), identity_of(store, MIXED, 1), identity_of(store, OTHERS, 1)
    alone = people("elsewhere", (4,), source="street")
    View(store).apply(alone.road)
    View(store).apply(Linker(store).link(alone.clip_ids))
    fourth = identity_of(store, alone)
    given = tokens_for(store)
    by_source = request("street").model_copy(update={"subject": "source", "subject_id": "street"})
    proof = removed(store, tmp_path / "snapshots", by_source)
    assert proof.tokens == (given[fourth],)
    assert set(tokens_of(store, "identity")) == {first, second, third}
    merged = IdentityDecided(
        decision_id="d1", verb="merge", identity=first, others=(third,), by="Ada", reason="twins", decided_at=NOON
    )
    View(store).apply([merged])
    proof = removed(store, tmp_path / "snapshots", request(first, "r2"))
    assert (proof.verified, set(proof.tokens)) == (True, {given[first], given[third]})
    assert tokens_of(store, "identity") == {second: given[second]}
    for identity in (first, third, fourth):
        assert files_with(identity, tmp_path / "data" / "lance" / "tokens.lance") == []
        assert files_with(given[identity], tmp_path / "data" / "lance" / "tokens.lance") != []
    assert not set(given.values()) & {choose_token("identity", first, store.tokens.all(), lambda word: False)}


def test_a_track_that_was_split_off_stays_and_keeps_no_name_of_who_was_removed(store: Store, tmp_path: Path) -> None:
    gone = identity_of(store, MIXED)
    split = IdentityDecided(
        decision_id="d1",
        verb="split",
        identity=gone,
        tracks=(TrackName(clip_id=ALONE.clip_ids[1], track=0),),
        by="Ada",
        reason="a sister",
        decided_at=NOON,
    )
    View(store).apply([split])
    token = tokens_for(store)[gone]
    proof = removed(store, tmp_path / "snapshots", request(gone))
    assert (proof.verified, proof.tokens) == (True, (token,))
    assert store.clips.get(ALONE.clip_ids[1])["identity_ids"][0]["linked"] == gone
    assert gone not in tokens_for(store)


def test_a_removal_that_was_killed_after_the_rows_were_gone_still_takes_the_names(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = identity_of(store, MIXED)
    token = tokens_for(store)[identity]
    asked = request(identity)
    View(store).apply([asked])

    def killed(self: Store) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Store, "purge", killed)
        with pytest.raises(SystemExit):
            remove(store, asked, tmp_path / "snapshots", later(61))
    assert store.clips.count() == 3
    proof = removed(store, tmp_path / "snapshots", asked)
    assert (proof.verified, proof.tokens) == (True, (token,))
    assert Tombstone("tokens.reserved", token) in tombstones(proof)


def tokens_for(store: Store) -> dict[str, str]:
    """Reserve tokens for everybody in the store, told and come back: identity to token."""
    reserver = Reserver(store, lambda word: False, lambda: NOON)
    reserver.reserve(every_subject(store))
    View(store).apply(reserver.waiting())
    return tokens_of(store, "identity")


@pytest.mark.parametrize("erased", [False, True], ids=["before", "after the broker forgot"])
def test_a_store_built_anew_from_the_records_is_the_same(tmp_path: Path, erased: bool) -> None:
    store, records = filled(tmp_path / "first", VIDEOS)
    first, second = identity_of(store, MIXED), identity_of(store, MIXED, 1)
    third = identity_of(store, OTHERS, 1)
    decisions: list[Record] = [
        IdentityDecided(
            decision_id="d1",
            verb="split",
            identity=second,
            tracks=(TrackName(clip_id=MIXED.clip_ids[2], track=1), TrackName(clip_id=OTHERS.clip_ids[0], track=0)),
            by="Ada",
            reason="a sister",
            decided_at=NOON,
        ),
        merge := IdentityDecided(
            decision_id="d2",
            verb="merge",
            identity=second,
            others=(third,),
            by="Bo",
            reason="glasses",
            decided_at=NOON + timedelta(minutes=1),
        ),
        IdentityDecided(
            decision_id="d3",
            verb="undo",
            identity=None,
            undoes=merge.decision_id,
            by="Ada",
            reason="no",
            decided_at=NOON + timedelta(minutes=2),
        ),
    ]
    for decision in decisions:
        View(store).apply([decision])
    tokens_for(store)
    tokens = [record_of(TokenReserved, body) for body in store.tokens.all().values()]
    assert len(tokens) == 4
    proof = removed(store, tmp_path / "snapshots", request(first))
    assert identity_of(store, OTHERS, 0) not in (second, third)
    assert len(proof.tokens) == 1
    records += [*decisions, *tokens, request(first), proof]
    if erased:
        gone = {(one.topic, one.key) for one in tombstones(proof)}
        assert len([r for r in records if (r.topic, r.key) in gone]) >= 13
        records = [record for record in records if (record.topic, record.key) not in gone]
    rebuilt = Store.open(tmp_path / "second", PEOPLE_COLUMNS)
    rebuild = Rebuild(rebuilt)
    for topic in ORDER:
        rebuild.fold([encode(record) for record in records if record.topic == topic])
    ours, theirs = state(rebuilt), state(store)
    assert {**ours, "media": None} == {**theirs, "media": None}


def test_the_vectors_of_a_late_measurement_are_refused(store: Store, tmp_path: Path) -> None:
    removed(store, tmp_path / "snapshots", request(identity_of(store, MIXED)))
    embedded: ClipEmbedded = MIXED.embedded[0]
    View(store).apply([embedded])
    assert store.clips.count() == 3
