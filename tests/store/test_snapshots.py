"""Snapshots: what they publish, that they repeat, and that they never stand half-made."""

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import lancedb
import pyarrow.parquet as pq
import pytest

from store.errors import Conflict, InputError, NotFound
from store.export import read_lines
from store.media import MediaStore
from store.records import ClipCurated, ReviewDecided, SnapshotFinished, SnapshotRequested
from store.snapshots import create_snapshot, diff_snapshots, verify_snapshot, withdraw_snapshot
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, NOON, Video, all_records, later

OPEN = Video("open")
FACES = Video("faces", n_clips=3, face_count=1)
BLACK = Video("black", n_clips=1, black_share=0.95)


def request(tag: str, minutes: float = 0.0, note: str = "") -> SnapshotRequested:
    return SnapshotRequested(tag=tag, note=note, requested_by="Ada", requested_at=later(minutes))


def drop(clip_id: str) -> ReviewDecided:
    return ReviewDecided(
        decision_id="d1",
        subject="clip",
        subject_id=clip_id,
        verdict="drop",
        by="Ada",
        reason="blurred",
        decided_at=NOON,
    )


def published(folder: Path) -> list[str]:
    return [row["clip_id"] for row in read_lines(folder / "metadata.jsonl")]


def test_only_clips_that_are_kept_and_complete_are_published(store, ingest, tmp_path):
    ingest(store, OPEN, FACES, BLACK)
    unfinished = Video("unfinished")
    unfinished.put_media(store.media)
    View(store).apply([r for r in unfinished.road if r not in unfinished.densified])
    finished = create_snapshot(store, request("v1"), tmp_path / "snapshots")
    folder = tmp_path / "snapshots" / "v1"
    assert (finished.status, finished.n_kept, finished.n_dropped) == ("created", 2, 1)
    assert sorted(path.stem for path in (folder / "media").iterdir()) == sorted(OPEN.clip_ids)
    assert published(folder) == sorted(OPEN.clip_ids)
    assert pq.read_table(folder / "metadata.parquet")["clip_id"].to_pylist() == sorted(OPEN.clip_ids)


def test_a_clip_that_a_person_drops_is_not_published(store, ingest, tmp_path):
    ingest(store, OPEN)
    View(store).apply([drop(OPEN.clip_ids[0])])
    create_snapshot(store, request("v1"), tmp_path)
    assert published(tmp_path / "v1") == [OPEN.clip_ids[1]]


def test_published_media_are_the_clips_bytes(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("v1"), tmp_path)
    for i, clip_id in enumerate(OPEN.clip_ids):
        assert (tmp_path / "v1" / "media" / f"{clip_id}.mp4").read_bytes() == OPEN.media(i)["mp4"]


def test_no_vector_of_a_face_and_no_identity_leaves_the_store(store, ingest, tmp_path):
    ingest(store, OPEN)
    assert store.clips.get(OPEN.clip_ids[0])["face_embedding"] is not None
    create_snapshot(store, request("v1"), tmp_path)
    names = pq.read_schema(tmp_path / "v1" / "metadata.parquet").names
    assert "visual" in names
    assert not {"face_embedding", "identity_links", "media_key", "review"} & set(names)
    assert names[:3] == ["file_name", "media_sha256", "samples_sha256"]
    for path in (tmp_path / "v1").iterdir():
        if path.is_file():
            assert b"0.8125" not in path.read_bytes()
            assert b"p-7" not in path.read_bytes()
    assert set(read_lines(tmp_path / "v1" / "metadata.jsonl")[0]) == set(names)


def test_every_clip_and_every_dropped_span_has_its_decisions_on_file(store, ingest, tmp_path):
    ingest(store, OPEN, FACES, BLACK)
    create_snapshot(store, request("v1"), tmp_path)
    lines = read_lines(tmp_path / "v1" / "decisions.jsonl")
    clips = {line["clip_id"]: line for line in lines if line["kind"] == "clip"}
    assert set(clips) == {*OPEN.clip_ids, *FACES.clip_ids, *BLACK.clip_ids}
    held = clips[FACES.clip_ids[0]]
    assert (held["verdict"], held["held_for"]) == ("hold", ["age"])
    assert any("whose age nothing here can assess" in one["reason"] for one in held["decisions"])
    assert clips[OPEN.clip_ids[0]]["decisions"][0]["reason"] == "licence CC0-1.0"
    spans = [line for line in lines if line["kind"] == "span"]
    assert {span["video_id"] for span in spans} == {v.video_id for v in (OPEN, FACES, BLACK)}
    assert spans[0]["reason"] == "shorter than 1 s"


def test_the_same_footage_gives_the_same_digest_in_any_store_order_and_time(tmp_path):
    videos = [OPEN, FACES, BLACK]
    one = Store.open(tmp_path / "one", COLUMNS)
    two = Store.open(tmp_path / "elsewhere", COLUMNS)
    for video in videos:
        video.put_media(one.media)
        video.put_media(two.media)
    View(one).apply(all_records(videos))
    for record in reversed(all_records(videos)):
        View(two).apply([record])
    first = create_snapshot(one, request("v1", note="spring"), tmp_path / "a")
    second = create_snapshot(two, request("other", minutes=90), tmp_path / "b")
    assert first.digest == second.digest
    assert len(first.digest) == 64


@pytest.mark.parametrize(
    "other",
    [Video("open", n_clips=3), Video("open", licence="CC-BY-4.0"), Video("open", shared_media=b"other bytes")],
    ids=["one more clip", "another reason of a decision", "other media"],
)
def test_other_content_gives_another_digest(other, ingest, tmp_path):
    digests = []
    for name, video in (("one", OPEN), ("two", other)):
        there = Store.open(tmp_path / name, COLUMNS)
        ingest(there, video)
        digests.append(create_snapshot(there, request("v1"), tmp_path / f"{name}-snapshots").digest)
    assert digests[0] != digests[1]


def test_noise_below_five_digits_does_not_change_the_digest(ingest, tmp_path):
    digests = []
    for noise in (0.0, 1e-8, 1e-2):
        there = Store.open(tmp_path / str(noise), COLUMNS)
        ingest(there, OPEN)
        record = OPEN.densified[0]
        affect = record.annotation.affect.model_copy(update={"arousal_trend": 1 / 7 + noise})
        changed = record.annotation.model_copy(update={"affect": affect})
        View(there).apply([record.model_copy(update={"annotation": changed})])
        digests.append(create_snapshot(there, request("v1"), tmp_path / f"{noise}-snapshots").digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_clusters_number_does_not_change_the_digest(ingest, tmp_path):
    digests = []
    for number in (0, 7):
        there = Store.open(tmp_path / str(number), COLUMNS)
        ingest(there, OPEN)
        place = {"cluster_probability": 1.0, "outlier_score": 0.0, "is_outlier": False, "margin": None}
        curated = [
            ClipCurated(clip_id=id_, cluster=number, is_boundary=False, recipe="c", **place) for id_ in OPEN.clip_ids
        ]
        View(there).apply(curated)
        digests.append(create_snapshot(there, request("v1"), tmp_path / f"{number}-snapshots").digest)
    assert digests[0] == digests[1]


def test_the_folder_checks_out_with_sha256sum(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("v1"), tmp_path)
    ran = subprocess.run(
        ["sha256sum", "-c", "--strict", "checksums.sha256"], cwd=tmp_path / "v1", capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(": OK") == len(OPEN.clips) + 7
    assert verify_snapshot(tmp_path / "v1") == []


def test_verify_tells_what_was_changed_lost_or_added(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("v1"), tmp_path)
    folder = tmp_path / "v1"
    (folder / "media" / f"{OPEN.clip_ids[0]}.mp4").unlink()
    (folder / "extra.txt").write_text("x")
    lines = (folder / "decisions.jsonl").read_text()
    (folder / "decisions.jsonl").write_text(lines.replace("licence CC0-1.0", "licence none"))
    faults = verify_snapshot(folder)
    assert f"media/{OPEN.clip_ids[0]}.mp4 is missing" in faults
    assert "extra.txt does not belong to the snapshot" in faults
    assert "decisions.jsonl was changed" in faults
    assert any("manifest.json says" in fault for fault in faults)


def test_a_request_delivered_twice_gets_the_same_answer(store, ingest, tmp_path):
    ingest(store, OPEN)
    first = create_snapshot(store, request("v1"), tmp_path)
    ingest(store, Video("more"))
    assert create_snapshot(store, request("v1"), tmp_path) == first
    assert first.table_version == store.clips.tags()["v1"]


def test_a_taken_tag_is_a_conflict_and_the_snapshot_stands(store, ingest, tmp_path):
    ingest(store, OPEN)
    first = create_snapshot(store, request("v1"), tmp_path)
    with pytest.raises(Conflict, match="tag 'v1' is taken"):
        create_snapshot(store, request("v1", minutes=1), tmp_path)
    assert verify_snapshot(tmp_path / "v1") == []
    failed = first.model_copy(update={"status": "failed", "digest": None, "requested_at": later(1)})
    View(store).apply([first, failed])
    assert store.snapshots.get("v1")["status"] == "created"


def test_a_tag_that_another_request_waits_for_is_a_conflict(store, ingest, tmp_path):
    ingest(store, OPEN)
    View(store).apply([request("v1")])
    with pytest.raises(Conflict, match="status requested"):
        create_snapshot(store, request("v1", minutes=1), tmp_path)
    assert create_snapshot(store, request("v1"), tmp_path).status == "created"


@pytest.mark.parametrize("tag", ["", "..", "a/b", "../up", ".hidden", "a..b", "x" * 65, "a b", "v1.lock", "v1\n"])
def test_a_tag_that_is_no_name_is_refused(tag, store, tmp_path):
    with pytest.raises(InputError, match="is not usable: give 1 to 64"):
        create_snapshot(store, request(tag), tmp_path)
    assert not (tmp_path / "snapshots").exists()


@pytest.mark.parametrize("tag", ["v1", "2026-01-01", "a_b.c", "x" * 64])
def test_a_tag_of_letters_digits_and_single_dots_is_taken(tag, store, ingest, tmp_path):
    ingest(store, OPEN)
    assert create_snapshot(store, request(tag), tmp_path).tag == tag


def test_an_empty_store_has_nothing_to_publish(store, tmp_path):
    with pytest.raises(InputError, match="nothing to publish: the store has no clips"):
        create_snapshot(store, request("v1"), tmp_path)
    assert store.clips.tags() == {}


def test_a_store_of_held_clips_says_what_they_are_held_for(store, ingest, tmp_path):
    ingest(store, FACES, BLACK)
    with pytest.raises(InputError, match="nothing to publish: 3 held for age; 1 dropped for black"):
        create_snapshot(store, request("v1"), tmp_path)
    assert not (tmp_path / "v1").exists()


def test_a_failed_try_leaves_nothing_and_may_be_repeated(store, ingest, tmp_path):
    ingest(store, OPEN)
    key = OPEN.clips[1].media_key
    store.media.delete(key)
    with pytest.raises(NotFound, match=key):
        create_snapshot(store, request("v1"), tmp_path / "snapshots")
    assert list((tmp_path / "snapshots").iterdir()) == []
    assert store.clips.tags() == {}
    OPEN.put_media(store.media)
    assert create_snapshot(store, request("v1"), tmp_path / "snapshots").n_kept == 2


def test_a_killed_try_is_finished_from_the_version_that_it_tagged(store, ingest, tmp_path):
    ingest(store, OPEN)
    store.clips.tag("v1", store.clips.version)
    half = tmp_path / ".unfinished-v1" / "media"
    half.mkdir(parents=True)
    (half / "stray.mp4").write_bytes(b"half")
    ingest(store, Video("more"))
    create_snapshot(store, request("v1"), tmp_path)
    assert published(tmp_path / "v1") == sorted(OPEN.clip_ids)
    assert verify_snapshot(tmp_path / "v1") == []
    assert [path.name for path in tmp_path.glob(".unfinished-*")] == []


def test_a_snapshot_outlives_maintenance_and_later_changes(store, ingest, tmp_path):
    ingest(store, OPEN)
    finished = create_snapshot(store, request("v1"), tmp_path)
    View(store).apply([drop(OPEN.clip_ids[0])])
    store.purge()
    then = store.clips.select(where="verdict = 'keep'", version=finished.table_version)
    assert [row["clip_id"] for row in then] == published(tmp_path / "v1")
    assert store.clips.count("verdict = 'keep'") == 1


def test_diff_tells_added_removed_changed_and_verdicts(store, ingest, tmp_path):
    ingest(store, OPEN, FACES)
    create_snapshot(store, request("a"), tmp_path)
    more = Video("more", n_clips=1)
    ingest(store, more)
    record = OPEN.densified[1]
    annotation = record.annotation.model_copy(update={"attributes": {"shot_scale": "close"}})
    View(store).apply([drop(OPEN.clip_ids[0]), record.model_copy(update={"annotation": annotation})])
    create_snapshot(store, request("b"), tmp_path)
    found = diff_snapshots(tmp_path / "a", tmp_path / "b")
    assert found["added"] == [more.clip_ids[0]]
    assert found["removed"] == [OPEN.clip_ids[0]]
    assert found["changed"] == {OPEN.clip_ids[1]: ["shot_scale"]}
    assert found["verdicts"] == {OPEN.clip_ids[0]: ["keep", "drop"], more.clip_ids[0]: [None, "keep"]}
    assert found["digests"][0] != found["digests"][1]
    assert json.loads(json.dumps(found)) == found


def test_diff_of_a_snapshot_with_itself_is_empty(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("a"), tmp_path)
    found = diff_snapshots(tmp_path / "a", tmp_path / "a")
    assert {name: len(found[name]) for name in ("added", "removed", "changed", "verdicts")} == {
        "added": 0,
        "removed": 0,
        "changed": 0,
        "verdicts": 0,
    }


def test_diff_with_no_snapshot_says_so(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("a"), tmp_path)
    with pytest.raises(NotFound, match="no snapshot in"):
        diff_snapshots(tmp_path / "a", tmp_path / "b")


def test_a_withdrawn_snapshot_keeps_only_its_tombstone(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("v1"), tmp_path)
    withdraw_snapshot(store, tmp_path, "v1", "removal-7")
    assert sorted(path.name for path in (tmp_path / "v1").rglob("*")) == ["README.md", "manifest.json"]
    assert "removal-7" in (tmp_path / "v1" / "README.md").read_text()
    assert store.clips.tags() == {}
    with pytest.raises(Conflict, match="withdrawn"):
        create_snapshot(store, request("v1"), tmp_path)
    with pytest.raises(NotFound, match="withdrawn by removal removal-7"):
        verify_snapshot(tmp_path / "v1")


def test_the_card_tells_counts_sources_recipes_and_what_was_kept_back(store, ingest, tmp_path):
    ingest(store, OPEN, FACES, Video("mine", n_clips=1, source="own", licence="CC-BY-4.0"))
    finished = create_snapshot(store, request("v1", note="First try."), tmp_path)
    card = (tmp_path / "v1" / "README.md").read_text()
    assert "First try." in card
    assert finished.digest in card
    assert "| clips published | 3 |" in card
    assert "| park | CC0-1.0 | 2 | 1 |" in card
    assert "| own | CC-BY-4.0 | 1 | 1 |" in card
    assert "| vision.texture | `texture-1` |" in card
    assert "- 3 held for age: someone is seen who may be a minor or whose age nothing told" in card
    assert "engine `measured`" in card


def test_the_exported_table_loads_into_lancedb_and_searches(store, ingest, tmp_path):
    ingest(store, OPEN)
    create_snapshot(store, request("v1"), tmp_path)
    table = lancedb.connect(tmp_path / "there").create_table("clips", pq.read_table(tmp_path / "v1/metadata.parquet"))
    nearest = table.search([0.5, -0.25, 0.125, 0.1], vector_column_name="visual").limit(1).to_list()[0]
    assert nearest["clip_id"] == OPEN.clip_ids[1]
    media = (tmp_path / "v1" / nearest["file_name"]).read_bytes()
    assert hashlib.sha256(media).hexdigest() == nearest["media_sha256"]


def test_a_removal_in_the_middle_of_the_writing_withdraws_the_snapshot(store, ingest, tmp_path):
    class MediaBesideRemoval(MediaStore):
        def local_file(self, key):
            store.clips.untag("v1")
            return super().local_file(key)

    ingest(store, OPEN)
    media = MediaBesideRemoval(str(tmp_path / "data" / "media"))
    with pytest.raises(Conflict, match="was withdrawn by a removal while it was written"):
        create_snapshot(replace(store, media=media), request("v1"), tmp_path)
    assert not (tmp_path / "v1").exists()
    assert list(tmp_path.glob(".unfinished-*")) == []


def test_the_record_of_a_snapshot_survives_the_wire(store, ingest, tmp_path):
    ingest(store, OPEN)
    finished = create_snapshot(store, request("v1"), tmp_path)
    assert SnapshotFinished.model_validate_json(finished.model_dump_json()) == finished
    assert finished.folder == str(tmp_path / "v1")
