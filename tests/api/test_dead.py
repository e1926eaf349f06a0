"""Dead letters and their replay."""

import base64
from collections.abc import Callable

import pytest

from store.codec import encode
from store.records import DeadLetter


@pytest.fixture
def letter(submitted) -> Callable[..., DeadLetter]:
    """Makes a dead letter that holds a submission."""

    def make(dead_id: str = "d1", raw: bytes | None = None, second: int = 0) -> DeadLetter:
        return DeadLetter(
            dead_id=dead_id,
            step="segment",
            origin_topic="footage.submitted",
            origin_partition=0,
            origin_offset=7,
            origin_key="v1",
            kind="refused",
            raw_base64=base64.b64encode(encode(submitted()) if raw is None else raw).decode(),
            reason="v1.mp4: no video stream",
            traceback="Traceback: ...",
            attempts=3,
            video_id="v1",
            clip_id=None,
            died_at=f"2026-03-01T12:00:{second:02d}Z",
        )

    return make


def test_dead_letters_are_listed_newest_first(live, letter):
    live.apply(letter("old", second=1), letter("new", second=2))

    listed = live.http.get("/dead").json()

    assert [entry["dead_id"] for entry in listed] == ["new", "old"]
    assert listed[0]["reason"] == "v1.mp4: no video stream"
    assert live.http.get("/dead", params={"step": "embed"}).json() == []


def test_a_dead_letter_shows_the_record_that_died(live, letter):
    live.apply(letter())

    answer = live.http.get("/dead/d1").json()

    assert answer["record"]["video_id"] == "v1"
    assert answer["letter"]["traceback"] == "Traceback: ..."


def test_bytes_that_are_no_record_are_shown_with_their_fault(live, letter):
    live.apply(letter(raw=b"\xff\x00garbage"))

    answer = live.http.get("/dead/d1").json()

    assert answer["record"] is None
    assert "not a record" in answer["record_error"]


def test_a_replay_puts_the_original_back_and_says_who_did(live, letter):
    live.apply(letter())

    answer = live.http.post("/dead/d1/replay", json={"by": "Ada"})

    assert answer.status_code == 201
    assert [(one["origin_topic"], one["raw_base64"]) for one in live.replayed] == [
        ("footage.submitted", letter().raw_base64)
    ]
    assert live.store.dead_letters.get("d1")["by"] == "Ada"
    assert live.http.get("/dead").json() == []
    assert [entry["status"] for entry in live.http.get("/dead", params={"status": "all"}).json()] == ["replayed"]


def test_a_record_that_dies_again_is_dead_again(live, letter):
    live.apply(letter())
    live.http.post("/dead/d1/replay", json={})

    live.apply(letter(second=30))

    assert [entry["dead_id"] for entry in live.http.get("/dead").json()] == ["d1"]


def test_an_unknown_dead_letter_is_not_replayed(live):
    answer = live.http.post("/dead/nope/replay", json={})

    assert answer.status_code == 404
    assert live.replayed == []
