"""Dead letters and their replay."""

from datetime import datetime

import pytest


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


def test_letters_are_listed_by_step_and_by_kind(live, letter):
    live.apply(
        letter("a", step="embed", kind="exhausted"),
        letter("b", step="embed", kind="bug", second=1),
        letter("c", step="densify", kind="exhausted", second=2),
    )

    def ids(**query):
        return [entry["dead_id"] for entry in live.http.get("/dead", params=query).json()]

    assert ids(step="embed") == ["b", "a"]
    assert ids(kind="exhausted") == ["c", "a"]
    assert ids(step="embed", kind="exhausted") == ["a"]
    assert live.http.get("/dead", params={"kind": "cursed"}).status_code == 422


def test_a_letter_from_before_kinds_is_listed_too(live, letter):
    old = {name: value for name, value in letter().model_dump(mode="json").items() if name != "kind"}
    live.store.dead_letters.put({"d1": old | {"status": "dead"}})

    assert [(entry["dead_id"], entry["kind"]) for entry in live.http.get("/dead").json()] == [("d1", None)]


def test_a_letter_that_is_given_up_is_no_longer_open(live, letter):
    live.apply(letter())

    answer = live.http.post("/dead/d1/drop", json={"by": "Ada", "note": "the file is truncated"})

    assert answer.status_code == 201
    assert live.http.get("/dead").json() == []
    assert [entry["dead_id"] for entry in live.http.get("/dead", params={"status": "dropped"}).json()] == ["d1"]
    shown = live.http.get("/dead/d1").json()["letter"]
    assert (shown["by"], shown["note"], shown["status"]) == ("Ada", "the file is truncated", "dropped")
    assert datetime.fromisoformat(shown["dropped_at"]) > datetime.fromisoformat(shown["died_at"])
    assert live.replayed == []


@pytest.mark.parametrize("before", ["drop", "replay"])
def test_only_an_open_letter_can_be_given_up(live, letter, before):
    live.apply(letter())
    live.http.post(f"/dead/d1/{before}", json={"by": "Ada"} | ({"note": "gone"} if before == "drop" else {}))

    answer = live.http.post("/dead/d1/drop", json={"by": "Ben", "note": "gone"})

    assert answer.status_code == 409
    assert "already, by Ada" in answer.json()["what"]
    assert live.store.dead_letters.get("d1")["by"] == "Ada"


def test_giving_up_needs_a_reason_and_a_letter(live, letter):
    live.apply(letter())

    assert live.http.post("/dead/d1/drop", json={"by": "Ada"}).status_code == 422
    assert live.http.post("/dead/nope/drop", json={"by": "Ada", "note": "gone"}).status_code == 404
    assert live.published == []


def test_all_open_letters_of_a_kind_are_replayed_after_a_fix_in_the_order_in_which_they_died(live, letter):
    live.apply(
        letter("second", step="embed", kind="exhausted", second=2),
        letter("first", step="embed", kind="exhausted", second=1),
        letter("bug", step="embed", kind="bug"),
        letter("elsewhere", step="densify", kind="exhausted"),
        letter("dropped", step="embed", kind="exhausted"),
    )
    live.http.post("/dead/dropped/drop", json={"by": "Ada", "note": "gone"})

    answer = live.http.post("/dead/replay", json={"step": "embed", "kind": "exhausted", "by": "Ada"}).json()

    assert [(one["dead_id"], one["replayed"]) for one in answer["results"]] == [("first", True), ("second", True)]
    assert answer["durable"]
    assert [one["dead_id"] for one in live.replayed] == ["first", "second"]
    assert {live.store.dead_letters.get(id_)["by"] for id_ in ("first", "second")} == {"Ada"}
    assert {entry["dead_id"] for entry in live.http.get("/dead").json()} == {"bug", "elsewhere"}


def test_letters_are_replayed_by_their_ids_and_an_unknown_one_is_told(live, letter):
    live.apply(letter("a"), letter("b"))

    results = live.http.post("/dead/replay", json={"dead_ids": ["b", "nope"]}).json()["results"]

    assert [(one["dead_id"], one["replayed"], one["note"]) for one in results] == [
        ("b", True, "its record is back on topic footage.submitted"),
        ("nope", False, "no such dead letter"),
    ]
    assert [entry["dead_id"] for entry in live.http.get("/dead").json()] == ["a"]


@pytest.mark.parametrize("body", [{}, {"dead_ids": ["a"], "step": "embed"}])
def test_a_bulk_replay_says_which_letters_it_means(live, letter, body):
    live.apply(letter("a"))

    answer = live.http.post("/dead/replay", json=body)

    assert answer.status_code == 422
    assert "say which letters" in answer.json()["what"]
    assert live.replayed == []


def test_a_letter_that_the_broker_did_not_take_stays_open(live, letter):
    live.apply(letter("a"), letter("b"))
    live.is_broker_up = False

    assert live.http.post("/dead/a/replay", json={}).status_code == 503
    results = live.http.post("/dead/replay", json={"step": "segment"}).json()["results"]

    assert [one["replayed"] for one in results] == [False, False]
    assert "did not confirm" in results[0]["note"]
    assert len(live.http.get("/dead").json()) == 2
