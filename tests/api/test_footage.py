"""Submitting footage by path and by upload."""

import os
import shutil
from pathlib import Path

import pytest

from store.media import file_sha256
from store.records import DeadLetter, RemovalDone, RemovalRequested

SOURCE = {"source": "beach", "licence": "CC-BY-4.0"}


def submit(live, path, **changes):
    return live.http.post("/footage", json={"path": str(path), **SOURCE, **changes})


def upload(live, data, name="beach.mp4", **changes):
    return live.http.post("/footage/upload", files={"file": (name, data)}, data={**SOURCE, **changes})


def test_a_submitted_video_is_durable_when_it_is_answered(live, video_file):
    answer = submit(live, video_file)

    assert answer.status_code == 201
    body = answer.json()
    assert body["outcome"] == "accepted"
    assert body["durable"]
    assert body["id"] == file_sha256(video_file)
    document = live.store.videos.get(body["id"])
    assert document == body["document"]
    assert (document["status"], document["source"], document["licence"]) == ("submitted", "beach", "CC-BY-4.0")
    assert live.store.media.read(document["media_key"]) == video_file.read_bytes()


def test_an_upload_is_the_same_video_as_its_path(live, video_file):
    submit(live, video_file)

    answer = upload(live, video_file.read_bytes(), name="other name.mov", source="elsewhere")

    assert answer.status_code == 200
    assert answer.json()["outcome"] == "known"
    assert "'beach.mp4' from source 'beach'" in answer.json()["note"]
    assert len(live.store.videos.all()) == 1
    assert len(live.published) == 1


def test_an_upload_leaves_nothing_behind_but_its_media(live, video_bytes, tmp_path):
    assert upload(live, video_bytes).status_code == 201
    assert upload(live, b"no video").status_code == 422

    assert list((tmp_path / "uploads").iterdir()) == []


def test_an_uploads_name_names_no_folder(live, video_bytes):
    answer = upload(live, video_bytes, name="../../etc/x\\evil.mp4")

    assert answer.json()["document"]["name"] == "evil.mp4"


def test_a_record_that_the_store_does_not_show_in_time_is_answered_202(live, video_file):
    live.drops = True

    answer = submit(live, video_file)

    assert answer.status_code == 202
    assert not answer.json()["durable"]
    assert answer.json()["document"] is None
    assert [record.topic for record in live.published] == ["footage.submitted"]


def test_a_broker_that_does_not_confirm_is_a_503_with_a_remedy(live, video_file):
    live.is_broker_up = False

    answer = submit(live, video_file)

    assert answer.status_code == 503
    assert answer.json()["error"] == "Passing"
    assert "try again" in answer.json()["remedy"]


@pytest.mark.parametrize("way", ["path", "upload"])
def test_a_text_file_named_mp4_is_refused(live, way):
    path = live.allowed / "notes.mp4"
    path.write_text("shopping list\n" * 40)

    answer = submit(live, path) if way == "path" else upload(live, path.read_bytes(), name="notes.mp4")

    assert answer.status_code == 422
    problem = answer.json()
    assert problem["error"] == "InputError"
    assert "notes.mp4: not a video; found 560 bytes of text" in problem["what"]
    assert "expected MP4/MOV" in problem["what"]
    assert live.published == []
    assert list((live.allowed.parent / "data" / "media").rglob("*.*")) == []


def test_an_empty_file_is_refused(live):
    (live.allowed / "empty.mp4").touch()

    assert "empty.mp4: the file is empty (0 bytes)" in submit(live, live.allowed / "empty.mp4").json()["what"]


def test_a_truncated_video_is_refused(live, video_bytes):
    path = live.allowed / "cut off.mp4"
    path.write_bytes(video_bytes[: len(video_bytes) // 2])

    answer = submit(live, path)

    assert answer.status_code == 422
    assert answer.json()["what"].startswith("cut off.mp4: ")


def outside_directly(live, secret):
    return secret


def outside_by_dots(live, secret):
    return f"{live.allowed}/../{secret.name}"


def outside_by_link(live, secret):
    (live.allowed / "link.mp4").symlink_to(secret)
    return live.allowed / "link.mp4"


def outside_by_linked_folder(live, secret):
    (live.allowed / "folder").symlink_to(secret.parent)
    return live.allowed / "folder" / secret.name


def outside_by_a_name_that_begins_alike(live, secret):
    sibling = live.allowed.with_name(live.allowed.name + "-not")
    sibling.mkdir()
    return shutil.copy(secret, sibling / "beach.mp4")


@pytest.mark.parametrize(
    "outside",
    [
        outside_directly,
        outside_by_dots,
        outside_by_link,
        outside_by_linked_folder,
        outside_by_a_name_that_begins_alike,
    ],
)
def test_a_path_outside_the_allowed_folders_is_refused(live, video_bytes, outside):
    secret = live.allowed.parent / "secret.mp4"
    secret.write_bytes(video_bytes)

    answer = submit(live, outside(live, secret))

    assert answer.status_code == 403
    assert answer.json()["error"] == "OutsideAllowedFolders"
    assert str(live.allowed) in answer.json()["what"]
    assert live.published == []


def test_what_lies_outside_is_refused_alike_whether_it_exists_or_not(live):
    missing = submit(live, live.allowed.parent / "missing.mp4")
    (live.allowed.parent / "there.mp4").touch()
    there = submit(live, live.allowed.parent / "there.mp4")

    assert missing.status_code == there.status_code == 403
    assert missing.json()["what"].replace("missing", "there") == there.json()["what"]


def test_a_link_that_stays_inside_is_followed(live, video_file):
    (live.allowed / "link.mp4").symlink_to(video_file)

    assert submit(live, live.allowed / "link.mp4").status_code == 201


def test_a_pipe_is_refused_without_being_opened(live):
    os.mkfifo(live.allowed / "pipe.mp4")

    assert "not a regular file" in submit(live, live.allowed / "pipe.mp4").json()["what"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("beach.mp4", "is relative"),
        ("{allowed}/no.mp4", "no such file"),
        ("{allowed}", "is a folder"),
        ("/\0", "resolved"),
    ],
)
def test_a_path_that_names_no_file_is_refused(live, path, why):
    answer = submit(live, path.format(allowed=live.allowed))

    assert answer.status_code in (403, 422)
    assert why in answer.json()["what"]


@pytest.mark.parametrize("licence", ["", "CC BY", "a" * 200, "MIT;"])
def test_a_licence_that_is_no_spdx_identifier_is_refused(live, video_file, licence):
    answer = submit(live, video_file, licence=licence)

    assert answer.status_code == 422
    assert "licence" in answer.json()["what"]


@pytest.mark.parametrize("source", ["", "   ", "two\nlines"])
def test_a_source_without_a_name_is_refused(live, video_file, source):
    assert "source" in submit(live, video_file, source=source).json()["what"]


def test_a_removed_video_stays_out(live, video_file):
    video_id = submit(live, video_file).json()["id"]
    removal = {"subject": "video", "subject_id": video_id, "by": "Ada", "reason": "consent withdrawn"}
    removal_id = live.http.post("/removals", json=removal).json()["id"]
    live.apply(
        RemovalDone(
            removal_id=removal_id,
            video_ids=(video_id,),
            clip_ids=(),
            media_keys=(),
            snapshots=(),
            runs=(),
            verified=True,
            done_at=live.published[0].submitted_at,
        )
    )
    live.store.videos.put({video_id: {"status": "removed", "video_id": video_id}})

    answer = submit(live, video_file)

    assert answer.status_code == 409
    assert f"removal {removal_id}" in answer.json()["what"]
    assert "by Ada: consent withdrawn" in answer.json()["what"]
    assert isinstance(live.published[-1], RemovalRequested)


def test_a_dead_video_is_tried_once_more(live, video_file):
    video_id = submit(live, video_file).json()["id"]
    live.apply(
        DeadLetter(
            dead_id="d1",
            step="segment",
            origin_topic="footage.submitted",
            origin_partition=0,
            origin_offset=7,
            origin_key=video_id,
            kind="refused",
            raw_base64="",
            reason="decoder crashed",
            traceback="",
            attempts=3,
            video_id=video_id,
            clip_id=None,
            died_at=live.published[0].submitted_at,
        )
    )

    answer = submit(live, video_file)

    assert answer.status_code == 202
    assert answer.json()["outcome"] == "again"
    assert "decoder crashed" in answer.json()["note"]
    assert [record.topic for record in live.published] == ["footage.submitted"] * 2


def test_a_folder_lists_its_videos(live, video_file):
    (live.allowed / "deep").mkdir()
    (live.allowed / "deep" / "b.MKV").touch()
    (live.allowed / "deep" / "notes.txt").touch()
    (live.allowed / ".hidden.mp4").touch()

    answer = live.http.get("/footage/files", params={"path": str(live.allowed)}).json()

    assert [Path(file).name for file in answer["files"]] == ["beach.mp4", "b.MKV"]
    assert answer["others"] == 1


def test_a_folder_outside_is_not_listed(live):
    assert live.http.get("/footage/files", params={"path": "/"}).status_code == 403


def test_videos_are_listed_by_status_and_page(live, submitted, segmented):
    live.apply(submitted("v1"), submitted("v2"), submitted("v3"), segmented("v2"))

    page = live.http.get("/footage", params={"status": "submitted", "limit": 1, "offset": 1}).json()

    assert page["total"] == 2
    assert [video["video_id"] for video in page["videos"]] == ["v3"]


def test_a_video_shows_its_clips_and_what_was_dropped(live, submitted, segmented, make_clip):
    live.apply(submitted("v1"))
    later, first = make_clip(4), make_clip(0, face_count=2)
    live.apply(segmented("v1", (first, later)))

    video = live.http.get("/footage/v1").json()

    assert video["video"]["status"] == "done"
    assert [(clip["clip_id"], clip["verdict"], clip["held_for"]) for clip in video["clips"]] == [
        (first, "hold", ["age"]),
        (later, "keep", []),
    ]
    assert video["dropped"] == [{"start_s": 8.0, "end_s": 9.0, "reason": "shorter than 1 s after the fade"}]
    assert video["facts"]["time_base"] == [1, 1000]


def test_an_unknown_video_is_not_found(live):
    answer = live.http.get("/footage/nope")

    assert answer.status_code == 404
    assert answer.json()["where"] == "GET /footage/nope"
