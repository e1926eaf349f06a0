"""Snapshots over REST; their content is written by the store's own function, as the snapshot step does."""

import pytest

from store.records import SnapshotFinished
from store.snapshots import create_snapshot


@pytest.fixture
def create(live, tmp_path):
    """Asks for a snapshot and writes it."""

    def run(tag):
        assert live.http.post("/snapshots", json={"tag": tag, "note": "a note"}).status_code == 201
        live.apply(create_snapshot(live.store, live.published[-1], tmp_path / "snapshots"))

    return run


def failed(tag):
    nothing = {"digest": None, "table_version": None, "folder": None, "n_kept": 0, "n_dropped": 0}
    return SnapshotFinished(
        tag=tag, status="failed", reason="nothing to publish", requested_at="2026-03-01T12:00:00Z", **nothing
    )


def test_a_snapshot_is_requested_then_created(live, make_clip, create):
    make_clip(0)

    create("v1")

    snapshot = live.http.get("/snapshots/v1").json()
    assert (snapshot["status"], snapshot["note"], snapshot["n_kept"]) == ("created", "a note", 1)
    listed = live.http.get("/snapshots").json()
    assert [(one["tag"], one["n_kept"]) for one in listed] == [("v1", 1)]


def test_two_snapshots_are_compared(live, make_clip, create):
    first = make_clip(0)
    create("v1")
    second = make_clip(4)
    drop = {"subject": "clip", "subject_id": first, "verdict": "drop", "by": "Ben", "reason": "blurred"}
    live.http.post("/reviews", json=drop)
    create("v2")

    diff = live.http.get("/snapshots/v1/diff/v2").json()

    assert (diff["added"], diff["removed"]) == ([second], [first])
    assert diff["verdicts"][first] == ["keep", "drop"]
    assert diff["digests"][0] != diff["digests"][1]


def test_a_tag_is_taken_once(live):
    live.http.post("/snapshots", json={"tag": "v1"})

    answer = live.http.post("/snapshots", json={"tag": "v1"})

    assert answer.status_code == 409
    assert "choose another tag" in answer.json()["what"]


def test_a_tag_whose_snapshot_failed_may_be_asked_for_again(live):
    live.http.post("/snapshots", json={"tag": "v1"})
    live.apply(failed("v1"))

    answer = live.http.post("/snapshots", json={"tag": "v1"})

    assert answer.status_code == 202
    assert "nothing to publish" in answer.json()["note"]
    assert [record.topic for record in live.published] == ["snapshots.requested"] * 2


@pytest.mark.parametrize("tag", ["", "../x", "a/b", ".hidden", "a" * 65, "two words"])
def test_a_tag_that_cannot_name_a_folder_is_refused(live, tag):
    answer = live.http.post("/snapshots", json={"tag": tag})

    assert answer.status_code == 422
    assert "letters, digits" in answer.json()["what"]


def test_a_snapshot_without_content_is_not_compared(live, make_clip, create):
    make_clip(0)
    create("v1")
    live.http.post("/snapshots", json={"tag": "v2"})
    live.apply(failed("v2"))

    answer = live.http.get("/snapshots/v1/diff/v2")

    assert answer.status_code == 409
    assert "it is failed (nothing to publish)" in answer.json()["what"]
    assert live.http.get("/snapshots/v1/diff/v9").status_code == 404
