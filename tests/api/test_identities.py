"""Identities over REST and on the command line: listed, merged, split, undone, removed; vectors never given out."""

import pytest

from store.records import Candidate, IdentityLinked, TokenReserved, TrackLink, TrackName
from store.removal import remove

ADA, BEA, CLEO = "p-00000000000000aa", "p-00000000000000bb", "p-00000000000000cc"
SAID = {"by": "Ada", "reason": "seen"}


def link(identity, track=0, quality=0.8, maybe=()):
    return TrackLink(
        track=track,
        identity=identity,
        probability=None,
        candidates=tuple(Candidate(identity=one, probability=p) for one, p in maybe),
        quality=quality,
        time_s=0.5,
        box_xyxy=(0.1, 0.1, 0.3, 0.4),
    )


@pytest.fixture
def clips(live, make_clip, submitted, segmented):
    """Two clips of v1 that show Ada, one of them Bea as well; one of v2 that shows Cleo, who may be Bea."""
    ids = [make_clip(0), make_clip(4), make_clip(0, video_id="v2")]
    live.apply(submitted("v1"), submitted("v2"), segmented("v1", tuple(ids[:2])), segmented("v2", tuple(ids[2:])))
    for id_, video, links in (
        (ids[0], "v1", (link(ADA),)),
        (ids[1], "v1", (link(ADA, quality=0.9), link(BEA, 1), link(None, 2, 0.3))),
        (ids[2], "v2", (link(CLEO, maybe=[(BEA, 0.6)]),)),
    ):
        live.apply(IdentityLinked(clip_id=id_, video_id=video, links=links, recipe="r"))
    return ids


def tracks_of(live, identity):
    return [(one["clip_id"], one["track"]) for one in live.http.get(f"/identities/{identity}").json()["tracks"]]


def test_identities_are_listed_with_counts_and_their_best_face(live, clips):
    page = live.http.get("/identities").json()
    assert page["total"] == 3
    known = {one["identity"]: one for one in page["identities"]}
    assert page["identities"][0]["identity"] == ADA
    assert [known[ADA][name] for name in ("n_tracks", "n_clips", "n_videos")] == [2, 2, 1]
    assert (known[ADA]["exemplar"]["clip_id"], known[ADA]["exemplar"]["time_s"]) == (clips[1], 0.5)
    assert known[CLEO]["candidates"] == [{"identity": BEA, "probability": 0.6}]
    assert len(live.http.get("/identities", params={"limit": 2, "offset": 2}).json()["identities"]) == 1


def test_each_shows_the_token_that_is_reserved_for_it(live, clips, run):
    for kind, subject_id, token in (("identity", ADA, "bakdom"), ("concept", BEA, "zivtek")):
        live.apply(TokenReserved(kind=kind, subject_id=subject_id, token=token, reserved_at="2026-03-01T12:00:00Z"))
    shown = {one["identity"]: one["token"] for one in live.http.get("/identities").json()["identities"]}
    assert shown == {ADA: "bakdom", BEA: None, CLEO: None}
    assert live.http.get(f"/identities/{ADA}").json()["token"] == "bakdom"
    assert "bakdom" in run("identities", "list")[1]
    assert "token bakdom" in run("identities", "show", ADA)[1]
    assert "token –" in run("identities", "show", BEA)[1]


def test_one_is_shown_with_its_tracks(live, clips):
    shown = live.http.get(f"/identities/{ADA}").json()
    assert [(one["clip_id"], one["start_s"], one["source"]) for one in shown["tracks"]] == [
        (clips[0], 0.0, "beach"),
        (clips[1], 4.0, "beach"),
    ]


def test_a_merge_is_on_record_and_can_be_undone(live, clips):
    answer = live.http.post(f"/identities/{BEA}/merge", json=SAID | {"others": [CLEO]})
    assert answer.status_code == 201
    assert tracks_of(live, BEA) == [(clips[1], 1), (clips[2], 0)]
    assert live.http.get(f"/identities/{BEA}").json()["candidates"] == []
    assert live.http.get(f"/identities/{CLEO}").status_code == 409
    decision = answer.json()["id"]
    assert live.http.post(f"/identities/decisions/{decision}/undo", json=SAID).status_code == 201
    assert tracks_of(live, CLEO) == [(clips[2], 0)]
    told = [(one["verb"], one["by"], one["stands"]) for one in live.http.get("/identities/decisions").json()]
    assert told == [("merge", "Ada", False), ("undo", "Ada", True)]


def test_a_split_makes_an_identity_of_its_own(live, clips):
    named = [{"clip_id": clips[1], "track": 0}]
    answer = live.http.post(f"/identities/{ADA}/split", json=SAID | {"tracks": named})
    assert answer.status_code == 201
    own = answer.json()["document"]["split_off"]
    assert tracks_of(live, own) == [(clips[1], 0)]
    assert tracks_of(live, ADA) == [(clips[0], 0)]


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        (f"{ADA}/merge", {"others": [ADA]}, 422, "is itself already"),
        (f"{ADA}/merge", {"others": ["p-00000000000000ff"]}, 404, "no identity"),
        (f"{ADA}/merge", {"others": ["' OR 1=1"]}, 422, "others"),
        (f"{BEA}/split", {"tracks": [{"clip_id": "nope", "track": 0}]}, 404, "has no track nope:0"),
        ("decisions/nope/undo", {}, 404, "no decision 'nope'"),
    ],
)
def test_what_makes_no_sense_is_refused(live, clips, path, body, status, why):
    answer = live.http.post(f"/identities/{path}", json=SAID | body)
    assert answer.status_code == status
    assert why in answer.json()["what"]


def test_an_identity_keeps_at_least_one_track(live, clips):
    named = [{"clip_id": clips[1], "track": 1}]
    answer = live.http.post(f"/identities/{BEA}/split", json=SAID | {"tracks": named})
    assert (answer.status_code, "leave it at least one" in answer.json()["what"]) == (422, True)


def test_what_is_undone_cannot_be_undone_again_but_its_undoing_can(live, clips):
    decision = live.http.post(f"/identities/{BEA}/merge", json=SAID | {"others": [CLEO]}).json()["id"]
    undoing = live.http.post(f"/identities/decisions/{decision}/undo", json=SAID).json()["id"]
    assert live.http.post(f"/identities/decisions/{decision}/undo", json=SAID).status_code == 409
    assert live.http.post(f"/identities/decisions/{undoing}/undo", json=SAID).status_code == 201
    assert len(tracks_of(live, BEA)) == 2


def test_an_identity_is_removed_through_the_ledger(live, clips, tmp_path):
    body = SAID | {"subject": "identity", "subject_id": ADA}
    assert live.http.post("/removals", json=body).status_code == 201
    (asked,) = [record for record in live.published if record.topic == "removals.requested"]
    proof = remove(live.store, asked, tmp_path / "snapshots", asked.requested_at)
    live.apply(proof)
    assert proof.verified
    assert live.http.get(f"/identities/{ADA}").status_code == 404
    assert [row["clip_id"] for row in live.store.clips.select(columns=[])] == [clips[2]]


@pytest.mark.parametrize(("identity", "status"), [("p-00000000000000ff", 404), ("nobody", 404)])
def test_removing_nobody_is_refused(live, clips, identity, status):
    body = SAID | {"subject": "identity", "subject_id": identity}
    answer = live.http.post("/removals", json=body)
    assert (answer.status_code, "no identity" in answer.json()["what"]) == (status, True)


def test_face_vectors_are_neither_shown_nor_tested(live, make_clip, tmp_path):
    id_ = make_clip(0, identity_faces=[{"track": 0, "vector": [0.1234567]}])
    for vectors in (False, True):
        row = live.http.get(f"/clips/{id_}", params={"vectors": vectors}).json()
        assert "identity_faces" not in row
        assert "0.1234567" not in str(row)
        assert "identity_ids" in row
    answer = live.http.get("/clips", params={"where": "identity_faces LIKE '%0.1%'"})
    assert (answer.status_code, "tells people apart" in answer.json()["what"]) == (422, True)


def test_the_commands_do_the_same(live, clips, run, run_json):
    code, out, _ = run("identities", "list")
    assert code == 0
    assert ADA in out
    assert f"{BEA} (60%)" in out
    code, out, _ = run("identities", "show", ADA)
    assert f"{clips[1]}:0" in out
    code, merged = run_json("identities", "merge", BEA, CLEO, "--by", "Ada", "--reason", "glasses")
    assert (code, merged["durable"]) == (0, True)
    code, undone = run_json("identities", "undo", merged["id"], "--by", "Ada", "--reason", "no")
    assert (code, undone["document"]["undoes"]) == (0, merged["id"])
    track = ("--track", f"{clips[1]}:0")
    code, parted = run_json("identities", "split", ADA, *track, "--by", "Ada", "--reason", "her sister")
    assert parted["document"]["tracks"] == [TrackName(clip_id=clips[1], track=0).model_dump()]
    code, _, told = run("identities", "split", ADA, "--track", "nonsense", "--by", "A", "--reason", "x")
    assert code == 2
    assert "write CLIP:NUMBER" in told.replace("\n", " ")
    code, removal = run_json("remove", "identity", ADA, "--by", "Ada", "--reason", "asked to")
    assert (code, removal["document"]["subject"]) == (0, "identity")
