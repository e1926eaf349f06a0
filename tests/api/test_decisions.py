"""Reviews and removals."""

from datetime import timedelta

import pytest

RELEASE = {
    "subject": "source",
    "subject_id": "beach",
    "verdict": "release",
    "covers": ["age"],
    "by": "Ada",
    "reason": "releases on file",
}


def test_a_release_frees_the_held_clips_of_its_source_only(live, make_clip, submitted):
    live.apply(submitted("v1"), submitted("v2", source="lake"))
    held, other = make_clip(0, face_count=1), make_clip(0, video_id="v2", source="lake", face_count=1)

    answer = live.http.post("/reviews", json=RELEASE)

    assert answer.status_code == 201
    assert answer.json()["document"]["reason"] == "releases on file"
    assert live.store.clips.get(held)["verdict"] == "keep"
    assert live.store.clips.get(other)["verdict"] == "hold"


def test_a_revocation_holds_them_again(live, make_clip, submitted):
    live.apply(submitted("v1"))
    held = make_clip(0, face_count=1)
    live.http.post("/reviews", json=RELEASE)

    live.http.post("/reviews", json=RELEASE | {"verdict": "revoke", "reason": "a release was forged"})

    assert live.store.clips.get(held)["verdict"] == "hold"


def test_the_last_word_counts_though_the_clock_was_put_back(live, make_clip, submitted):
    live.apply(submitted("v1"))
    held = make_clip(0, face_count=1)
    live.http.post("/reviews", json=RELEASE)
    live.put_back = timedelta(hours=1)

    live.http.post("/reviews", json=RELEASE | {"verdict": "revoke", "reason": "a release was forged"})

    assert live.store.clips.get(held)["verdict"] == "hold"
    assert [review["verdict"] for review in live.http.get("/reviews").json()] == ["release", "revoke"]


def test_every_decision_stays_on_record_in_order(live, make_clip, submitted):
    live.apply(submitted("v1"))
    id_ = make_clip(0)
    for verdict in ("drop", "keep", "drop"):
        body = {"subject": "clip", "subject_id": id_, "verdict": verdict, "by": "Ben", "reason": f"I say {verdict}"}
        assert live.http.post("/reviews", json=body).status_code == 201
    live.http.post("/reviews", json=RELEASE)

    reviews = live.http.get("/reviews", params={"subject": "clip", "subject_id": id_}).json()

    assert [review["verdict"] for review in reviews] == ["drop", "keep", "drop"]
    assert len(live.http.get("/reviews").json()) == 4
    assert live.store.clips.get(id_)["verdict"] == "drop"


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"subject_id": "lake"}, 404, "no source 'lake'; there are: beach"),
        ({"verdict": "keep"}, 422, "is not for a source; give release or revoke"),
        ({"covers": []}, 422, "a source's review says what it covers"),
        ({"covers": ["smell"]}, 422, "covers"),
        ({"by": " "}, 422, "by"),
        ({"subject": "clip", "verdict": "drop"}, 422, "a clip's covers nothing"),
        ({"subject": "clip", "verdict": "drop", "covers": []}, 404, "no clip 'beach'"),
    ],
)
def test_a_review_that_makes_no_sense_is_refused(live, submitted, changes, status, why):
    live.apply(submitted("v1"))

    answer = live.http.post("/reviews", json=RELEASE | changes)

    assert answer.status_code == status
    assert why in answer.json()["what"]
    assert live.published == []


def test_a_removal_is_asked_for_on_record(live, submitted):
    live.apply(submitted("v1"))

    answer = live.http.post(
        "/removals", json={"subject": "video", "subject_id": "v1", "by": "Ada", "reason": "consent"}
    )

    assert answer.status_code == 201
    removals = live.http.get("/removals").json()
    assert [(r["subject_id"], r["by"], r["reason"]) for r in removals] == [("v1", "Ada", "consent")]
    assert live.http.get("/status").json()["in_flight"]["removals"] == 1


@pytest.mark.parametrize(("subject", "why"), [("video", "no video 'nope'"), ("source", "no source 'nope'")])
def test_a_removal_of_what_is_not_there_is_refused(live, subject, why):
    answer = live.http.post("/removals", json={"subject": subject, "subject_id": "nope", "by": "Ada", "reason": "x"})

    assert answer.status_code == 404
    assert why in answer.json()["what"]
