"""The review queue over REST and in the terminal."""

import json

import pytest

from store.records import Candidate, ClipCurated, ConceptChanged, IdentityLinked, TrackLink, digest

ADA, BEA = "p-00000000000000aa", "p-00000000000000bb"


@pytest.fixture
def clips(live, make_clip, submitted):
    """Three clips of a beach, all of them calm, the first a doubtful one and the third held as an outlier."""
    live.apply(submitted())
    ids = [make_clip(0), make_clip(4), make_clip(8)]
    for number, clip_id in enumerate(ids):
        live.apply(
            ClipCurated(
                clip_id=clip_id,
                cluster=3,
                cluster_probability=0.9,
                outlier_score=0.95 if number == 2 else 0.1,
                is_outlier=number == 2,
                margin=0.5,
                is_boundary=False,
                recipe="r",
            )
        )
    listed = [
        {"clip_id": one, "probability": 0.2 + 0.6 * n, "eligible": True, "held_for": []}
        for n, one in enumerate(ids[:2])
    ]
    live.apply(
        ConceptChanged(
            concept="calm",
            definition={"name": "calm", "purity": 0.8, "min_clips": 4, "min_videos": 2},
            members_key=live.store.media.put_bytes(json.dumps(listed).encode(), "json"),
            members_digest=digest(listed),
            n_members=2,
            n_eligible=2,
            n_videos=1,
            purity=None,
            purity_low=None,
            ready=False,
            reasons=("too few clips: 2 of 4",),
            recipe="r",
        )
    )
    return ids


@pytest.fixture
def people(live, clips):
    """Ada in one clip and Bea, who may be Ada, in another."""
    for clip_id, identity, maybe in ((clips[0], ADA, ()), (clips[1], BEA, (Candidate(identity=ADA, probability=0.6),))):
        link = TrackLink(
            track=0,
            identity=identity,
            probability=None,
            candidates=maybe,
            quality=0.8,
            time_s=0.5,
            box_xyxy=(0.1, 0.1, 0.3, 0.4),
        )
        live.apply(IdentityLinked(clip_id=clip_id, video_id="v1", links=(link,), recipe="r"))


def post(live, *answers, by="Ada"):
    decisions = [{"item": item, "answer": answer, "reason": "seen"} for item, answer in answers]
    return live.http.post("/review/decisions", json={"by": by, "decisions": decisions})


def items(live, **query):
    return [one["item_id"] for one in live.http.get("/review/queue", params=query).json()["items"]]


def test_the_queue_tells_why_what_is_expected_and_where_the_pictures_are(live, clips):
    queue = live.http.get("/review/queue", params={"budget": 2}).json()
    assert (queue["budget"], queue["n_answered"], len(queue["items"])) == (2, 0, 2)
    doubtful = next(one for one in queue["items"] if one["item_id"] == f"member:{clips[0]}:calm")
    assert doubtful["answers"] == ["yes", "no", "drop"]
    assert doubtful["pictures"][0].endswith(".jpg")
    assert 0.0 < doubtful["low"] < doubtful["probability"] < doubtful["high"] < 1.0
    assert "wrong clips go, for calm" in doubtful["expected"]
    assert "not enough decisions yet" in queue["notes"]["member"]


def test_several_answers_go_on_record_act_at_once_and_count_against_the_budget(live, clips):
    answer = post(live, (f"hold:{clips[2]}", "keep"), (f"member:{clips[0]}:calm", "no"))
    assert (answer.status_code, answer.json()["durable"]) == (201, True)
    assert live.store.clips.get(clips[2])["verdict"] == "keep"
    kept, label = live.http.get("/review/decisions").json()
    assert (kept["verdict"], kept["stands"], kept["by"], kept["reason"]) == ("keep", True, "Ada", "seen")
    assert (label["concepts"], label["shown"]["membership.calm"]) == ({"calm": False}, 0.2)
    assert [[kept["decision_id"]], [label["decision_id"]]] == answer.json()["ids"]
    assert items(live, budget=2) == []
    assert items(live, budget=3) == [f"member:{clips[1]}:calm"]


def test_one_bad_answer_is_named_and_nothing_goes_on_record(live, clips):
    answer = post(live, (f"hold:{clips[2]}", "keep"), ("hold:nowhere", "drop"))
    assert answer.status_code == 404
    assert "item 'hold:nowhere'" in answer.json()["what"]
    assert live.http.get("/review/decisions").json() == []
    assert post(live, (f"hold:{clips[2]}", "release")).json()["error"] == "InputError"
    assert post(live, (f"hold:{clips[2]}", "keep"), by="").status_code == 422


def test_a_decision_is_undone_once_and_its_undoing_too(live, clips):
    ((kept,),) = post(live, (f"hold:{clips[2]}", "keep")).json()["ids"]
    said = {"by": "Bea", "reason": "the wrong key"}
    undone = live.http.post(f"/review/decisions/{kept}/undo", json=said)
    assert undone.status_code == 201
    assert live.store.clips.get(clips[2])["verdict"] == "hold"
    again = live.http.post(f"/review/decisions/{kept}/undo", json=said)
    assert (again.status_code, "undo its undoing" in again.json()["what"]) == (409, True)
    ((undoing,),) = undone.json()["ids"]
    live.http.post(f"/review/decisions/{undoing}/undo", json=said)
    assert live.store.clips.get(clips[2])["verdict"] == "keep"
    assert [one["stands"] for one in live.http.get("/review/decisions").json()] == [True, False, True]
    assert live.http.post("/review/decisions/never/undo", json=said).status_code == 404


def test_the_last_word_counts_also_when_the_clock_was_put_back(live, clips):
    post(live, (f"hold:{clips[2]}", "keep"))
    live.put_back += live.put_back.__class__(hours=2)
    post(live, (f"hold:{clips[2]}", "drop"))
    assert live.store.clips.get(clips[2])["verdict"] == "drop"


def test_the_same_person_is_joined_and_undone_from_the_queue(live, clips, people):
    item = f"identity:{ADA}:{BEA}"
    assert item in items(live)
    ((merged,),) = post(live, (item, "same")).json()["ids"]
    assert live.store.clips.get(clips[1])["identity_ids"][0]["identity"] == ADA
    undone = live.http.post(f"/review/decisions/{merged}/undo", json={"by": "Ada", "reason": "twins"})
    assert undone.status_code == 201
    assert live.store.clips.get(clips[1])["identity_ids"][0]["identity"] == BEA


def test_two_people_who_are_told_apart_stay_two_and_are_not_asked_about_again(live, clips, people):
    item = f"identity:{ADA}:{BEA}"
    assert post(live, (item, "different")).status_code == 201
    assert item not in items(live)
    assert live.http.get("/identities").json()["total"] == 2


def test_proposals_wait_for_enough_decisions(live, clips):
    assert live.http.get("/review/proposals").json()["proposals"] == []
    assert "0 of 20" in live.http.get("/review/proposals").json()["notes"]["hold"]


def test_what_the_broker_has_and_the_store_does_not_show_is_told_as_such(live, clips):
    live.drops = True
    answer = post(live, (f"hold:{clips[2]}", "keep"))
    assert (answer.status_code, answer.json()["durable"]) == (202, False)


# --- in the terminal -------------------------------------------------------------------------------------


def test_one_key_answers_space_skips_u_undoes_and_q_leaves(run, live, clips):
    first, *_ = items(live)
    code, out, _ = run("review", "--by", "Ada", given="zdu q")
    assert code == 0
    assert "the last answer is undone" in out
    assert "asked because: " in out
    assert ".jpg" in out
    assert "0 answers on record" in out
    assert out.count("1 of 3") == 2
    verdicts = [(one["subject_id"], one["verdict"]) for one in live.http.get("/review/decisions").json()]
    assert verdicts == [(first.split(":")[1], "drop"), (first.split(":")[1], "undo")]


def test_listing_asks_nothing_and_deciding_needs_a_name(run, run_json, live, clips):
    code, out, _ = run("review", "--list")
    assert (code, f"hold:{clips[2]}" in out) == (0, True)
    code, queue = run_json("review", "--budget", 1)
    assert (code, len(queue["items"])) == (0, 1)
    code, _, err = run("review")
    assert (code, "--by NAME is needed" in " ".join(err.split())) == (2, True)
    assert run("review", "decide", f"hold:{clips[2]}", "keep", "--reason", "fine")[0] == 2
    assert live.http.get("/review/decisions").json() == []


def test_answers_and_undoings_without_a_terminal(run, run_json, live, clips):
    code, made = run_json("review", "decide", f"hold:{clips[2]}", "keep", "--by", "Ada", "--reason", "fine")
    assert (code, live.store.clips.get(clips[2])["verdict"]) == (0, "keep")
    ((decision,),) = made["ids"]
    assert decision in run("review", "decisions")[1]
    assert run("review", "undo", decision, "--by", "Ada", "--reason", "oh")[0] == 0
    assert live.store.clips.get(clips[2])["verdict"] == "hold"
    code, _, err = run("review", "decide", "hold:nowhere", "keep", "--by", "Ada", "--reason", "fine")
    assert (code, "hold:nowhere" in err) == (1, True)
    assert "not enough decisions yet" in run("review", "proposals")[1]
