"""Merges and splits, and what becomes of tracks when they are undone."""

from datetime import UTC, datetime, timedelta
from typing import Any

from store.identity_decisions import Decisions, mentioned, split_identity

A, B, C = "p-a", "p-b", "p-c"


def decided(*bodies: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Documents of decisions, a minute apart."""
    blank = {"identity": None, "others": [], "tracks": [], "undoes": None}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    documents = [
        blank | {"decision_id": f"d{i}", "decided_at": (start + timedelta(minutes=i)).isoformat()} | body
        for i, body in enumerate(bodies)
    ]
    return {body["decision_id"]: body for body in documents}


def merge(into: str, *others: str) -> dict[str, Any]:
    return {"verb": "merge", "identity": into, "others": list(others)}


def split(identity: str, *tracks: tuple[str, int]) -> dict[str, Any]:
    named = [{"clip_id": clip_id, "track": track} for clip_id, track in tracks]
    return {"verb": "split", "identity": identity, "tracks": named}


def undo(decision: str) -> dict[str, Any]:
    return {"verb": "undo", "undoes": decision}


def test_merged_identities_are_the_one_that_stays() -> None:
    decisions = Decisions.of(decided(merge(A, B), merge(C, A)))
    assert [decisions.now(one) for one in (A, B, C, "p-x")] == [C, C, C, "p-x"]


def test_a_split_moves_the_named_tracks_and_no_others() -> None:
    decisions = Decisions.of(decided(split(A, ("c1", 0), ("c2", 1))))
    own = split_identity("d0")
    assert decisions.now(A, ("c1", 0)) == decisions.now(A, ("c2", 1)) == own
    assert decisions.now(A, ("c2", 0)) == decisions.now(A) == A
    assert decisions.now(own, ("c9", 0)) == own, "a later track may be linked to what was split off"


def test_an_undone_merge_leaves_each_track_where_it_was_linked() -> None:
    decisions = Decisions.of(decided(merge(A, B), undo("d0")))
    assert [decisions.now(one) for one in (A, B)] == [A, B]


def test_an_undone_split_takes_back_its_tracks_and_those_that_came_later() -> None:
    decisions = Decisions.of(decided(split(A, ("c1", 0)), undo("d0")))
    assert decisions.now(A, ("c1", 0)) == A
    assert decisions.now(split_identity("d0"), ("c9", 0)) == A


def test_an_undone_undoing_lets_the_decision_stand_again() -> None:
    decisions = Decisions.of(decided(merge(A, B), undo("d0"), undo("d1")))
    assert decisions.now(B) == A
    assert decisions.standing == {"d0", "d2"}


def test_a_decision_in_the_middle_can_be_undone() -> None:
    documents = decided(merge(A, B), split(A, ("b1", 0)), merge(C, A), undo("d0"))
    decisions = Decisions.of(documents)
    assert decisions.now(A) == C
    assert decisions.now(B, ("b1", 0)) == B


def test_what_an_undoing_moves_is_what_the_undone_decision_moved() -> None:
    documents = decided(merge(A, B), undo("d0"), split(C, ("c1", 0)), undo("d2"))
    assert mentioned(documents["d1"], documents) == {A, B}
    assert mentioned(documents["d3"], documents) == {C, split_identity("d2")}


def test_tracks_and_candidates_are_told_as_they_are_now() -> None:
    links = [
        {"track": 0, "linked": B, "candidates": [{"linked": C, "probability": 0.4}]},
        {"track": 1, "linked": None, "candidates": []},
    ]
    first, poor = Decisions.of(decided(merge(A, B, C))).applied("c1", links)
    assert (first["identity"], first["candidates"][0]["identity"]) == (A, A)
    assert (poor["identity"], poor["linked"]) == (None, None)
    assert "identity" not in links[0]
