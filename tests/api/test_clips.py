"""Listing clips, searching them, and fetching their media."""

import numpy as np
import pytest


def listed(live, **query):
    return [clip["clip_id"] for clip in live.http.get("/clips", params=query).json()["clips"]]


def test_clips_are_filtered_by_every_condition_given(live, make_clip):
    kept = make_clip(0)
    held = make_clip(4, face_count=1)
    make_clip(0, video_id="v2", source="lake", face_count=1)

    assert listed(live, verdict="keep") == [kept]
    assert listed(live, verdict="hold", source="beach") == [held]
    assert listed(live, where="face_count > 0", source="beach", stage="densified") == [held]
    assert listed(live, where="face_count > 5") == []
    assert listed(live, cluster=1) == []


def test_an_or_in_the_condition_does_not_undo_the_other_filters(live, make_clip):
    make_clip(0, video_id="v2", source="lake")

    assert listed(live, where="true OR true", source="beach") == []


def test_a_quote_in_a_filter_is_only_a_quote(live, make_clip):
    make_clip(0)

    assert listed(live, source="x' OR 'a' = 'a") == []


def test_pages_follow_each_other(live, make_clip):
    ids = sorted(make_clip(4 * i) for i in range(3))

    first = live.http.get("/clips", params={"limit": 2}).json()
    second = live.http.get("/clips", params={"limit": 2, "offset": 2}).json()

    assert [clip["clip_id"] for clip in first["clips"] + second["clips"]] == ids
    assert first["total"] == second["total"] == 3


@pytest.mark.parametrize("where", ["nonsense", "colour = 1", "face_count >", "1; DROP TABLE clips"])
def test_a_condition_that_does_not_work_is_refused_with_an_example(live, make_clip, where):
    make_clip(0)

    for answer in (
        live.http.get("/clips", params={"where": where}),
        live.http.get("/clips/search", params={"text": "low", "where": where}),
        live.http.post("/clips/search", json={"vector": [1, 0, 0], "column": "visual_embedding", "where": where}),
    ):
        assert answer.status_code == 422
        assert where in answer.json()["what"]
        assert "write SQL over its columns" in answer.json()["what"]


def test_vectors_and_curves_come_only_when_asked_for(live, make_clip):
    id_ = make_clip(0, loudness=[0.5, 0.25])

    plain = live.http.get(f"/clips/{id_}").json()
    full = live.http.get(f"/clips/{id_}", params={"vectors": True}).json()

    assert "visual_embedding" not in plain
    assert "loudness" not in plain
    assert plain["conditioning"] == "medium shot, low motion"
    assert full["visual_embedding"] == [1.0, 0.0, 0.0]
    assert full["loudness"] == [0.5, 0.25]


def test_a_face_vector_leaves_in_no_form(live, make_clip):
    id_ = make_clip(0, face_embedding=[0.0, 1.0, 0.0])

    assert "face_embedding" not in live.http.get(f"/clips/{id_}", params={"vectors": True}).json()
    assert "face_embedding" not in live.http.get("/clips", params={"vectors": True}).json()["clips"][0]
    for answer in (
        live.http.get("/clips", params={"where": "array_element(FACE_embedding, 1) > 0"}),
        live.http.get("/clips/search", params={"like": id_, "column": "face_embedding"}),
        live.http.post("/clips/search", json={"vector": [0, 1, 0], "column": "face_embedding"}),
    ):
        assert answer.status_code == 422
        assert "tells people apart" in answer.json()["what"]


def test_words_find_conditioning_strings(live, make_clip):
    make_clip(0, motion="low")
    high = make_clip(4, motion="high")

    found = live.http.get("/clips/search", params={"text": "high"}).json()

    assert [clip["clip_id"] for clip in found["clips"]] == [high]
    assert found["clips"][0]["score"] > 0


def test_neighbours_of_a_clip_come_nearest_first_without_itself(live, make_clip):
    clip = make_clip(0, visual_embedding=[1.0, 0.0, 0.0])
    far = make_clip(4, visual_embedding=[0.0, 1.0, 0.0])
    near = make_clip(8, visual_embedding=[0.9, 0.1, 0.0])

    found = live.http.get("/clips/search", params={"like": clip}).json()

    assert found["column"] == "visual_embedding"
    assert [clip["clip_id"] for clip in found["clips"]] == [near, far]
    assert found["clips"][1]["distance"] == pytest.approx(1.0)
    assert "visual_embedding" not in found["clips"][0]


def test_likeness_is_of_looks_unless_another_column_is_asked_for(live, make_clip):
    clip = make_clip(0, visual_embedding=[1.0, 0.0, 0.0], sound=[1.0, 0.0, 0.0])
    sounds_alike = make_clip(4, visual_embedding=[0.0, 1.0, 0.0], sound=[1.0, 0.0, 0.0])
    looks_alike = make_clip(8, visual_embedding=[1.0, 0.0, 0.0], sound=[0.0, 1.0, 0.0])

    def nearest(**query):
        return live.http.get("/clips/search", params={"like": clip, **query}).json()["clips"][0]["clip_id"]

    assert nearest() == looks_alike
    assert nearest(column="sound") == sounds_alike


def test_a_vector_of_ones_own_finds_the_nearest(live, make_clip):
    make_clip(0, visual_embedding=[1.0, 0.0, 0.0])
    wanted = make_clip(4, visual_embedding=[0.0, 0.0, 1.0])

    body = {"vector": [0, 0.1, 0.9], "column": "visual_embedding", "limit": 1}

    assert [clip["clip_id"] for clip in live.http.post("/clips/search", json=body).json()["clips"]] == [wanted]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"vector": [1, 0], "column": "visual_embedding"}, "vector has 2 numbers, column 'visual_embedding' holds 3"),
        ({"vector": [1, 0, 0], "column": "motion"}, "'motion' is no vector column"),
        ({"vector": [], "column": "visual_embedding"}, "vector"),
        ({"vector": [1, 0, 0], "column": "visual_embedding", "limt": 3}, "limt"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(live, make_clip, body, why):
    make_clip(0)

    answer = live.http.post("/clips/search", json=body)

    assert answer.status_code == 422
    assert why in answer.json()["what"]


def test_a_text_finds_the_clips_that_show_it(live, make_clip):
    live.text_vectors["a man juggling"] = [0.0, 0.1, 0.9]
    make_clip(0, visual_text=[1.0, 0.0, 0.0])
    far = make_clip(4, visual_text=[0.0, 1.0, 0.0], face_count=1)
    near = make_clip(8, visual_text=[0.0, 0.0, 1.0])

    found = live.http.get("/clips/search", params={"looks": "a man juggling", "limit": 2}).json()
    faces = live.http.get("/clips/search", params={"looks": "a man juggling", "where": "face_count = 1"}).json()

    assert found["column"] == "visual_text"
    assert [clip["clip_id"] for clip in found["clips"]] == [near, far]
    assert found["clips"][0]["distance"] < found["clips"][1]["distance"]
    assert [clip["clip_id"] for clip in faces["clips"]] == [far]


def test_a_text_model_that_is_not_there_is_told(live, make_clip):
    make_clip(0, visual_text=[1.0, 0.0, 0.0])

    answer = live.http.get("/clips/search", params={"looks": "anything"})

    assert answer.status_code == 503
    assert "'nobody/never-made' is not on this machine" in answer.json()["what"]


def test_more_like_this_is_by_dino_before_texts_before_colours(live, make_clip):
    clip = make_clip(0, visual_text=[1.0, 0.0, 0.0])
    as_text = make_clip(4, visual_embedding=[0.0, 1.0, 0.0], visual_text=[1.0, 0.0, 0.0])
    make_clip(8, visual_embedding=[1.0, 0.0, 0.0], visual_text=[0.0, 1.0, 0.0])

    found = live.http.get("/clips/search", params={"like": clip, "limit": 1}).json()

    assert (found["column"], found["clips"][0]["clip_id"]) == ("visual_text", as_text)


def test_copies_of_a_clip_are_listed_with_their_distance(live, make_clip):
    clip = make_clip(0, signature=[1.0, 0.0, 0.0])
    copy = make_clip(4, signature=[0.99, 0.1, 0.0])
    make_clip(8, signature=[0.0, 1.0, 0.0])
    make_clip(12)

    found = live.http.get(f"/clips/{clip}/duplicates").json()
    all_but_opposite = live.http.get(f"/clips/{clip}/duplicates", params={"within": 1.0}).json()

    assert [one["clip_id"] for one in found["clips"]] == [copy]
    assert found["clips"][0]["distance"] == pytest.approx(1 - 0.99 / np.hypot(0.99, 0.1), abs=1e-6)
    assert found["clips"][0]["score"] == pytest.approx(1 - found["clips"][0]["distance"])
    assert found["within"] == 0.12
    assert len(all_but_opposite["clips"]) == 2
    assert "signature" not in found["clips"][0]


def test_a_clip_without_a_signature_has_no_copies_and_is_told_why(live, make_clip):
    answer = live.http.get(f"/clips/{make_clip(0)}/duplicates")

    assert answer.status_code == 422
    assert "a profile with `quality.signature` gives one" in answer.json()["what"]


@pytest.mark.parametrize("query", [{}, {"text": "a", "like": "b"}, {"text": "a", "looks": "b"}])
def test_a_search_is_by_one_thing(live, query):
    assert "one of them" in live.http.get("/clips/search", params=query).json()["what"]


def test_a_clip_without_that_vector_has_no_neighbours(live, make_clip):
    id_ = make_clip(0, visual_embedding=None)

    answer = live.http.get("/clips/search", params={"like": id_, "column": "visual_embedding"})

    assert answer.status_code == 422
    assert "it has none" in answer.json()["what"]


def test_media_and_strip_are_served_with_ranges(live, make_clip):
    id_ = make_clip(0)

    whole = live.http.get(f"/clips/{id_}/media")
    part = live.http.get(f"/clips/{id_}/media", headers={"Range": "bytes=0-4"})
    strip = live.http.get(f"/clips/{id_}/strip")

    assert (whole.content, whole.headers["content-type"]) == (f"media of {id_}".encode(), "video/mp4")
    assert (part.status_code, part.content) == (206, b"media")
    assert (strip.content, strip.headers["content-type"]) == (f"strip of {id_}".encode(), "image/jpeg")


@pytest.mark.parametrize("path", ["", "/media", "/strip", "/why"])
def test_an_unknown_clip_is_not_found(live, path):
    answer = live.http.get(f"/clips/nope{path}")

    assert answer.status_code == 404
    assert "no clip 'nope'" in answer.json()["what"]
