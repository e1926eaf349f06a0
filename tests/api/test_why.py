"""Why a clip is kept, held or dropped."""


def why(live, id_):
    return live.http.get(f"/clips/{id_}/why").json()


def decision(answer, rule):
    return next(d for d in answer["decisions"] if d["rule"] == rule)


def test_a_kept_clip_has_its_decisions_recipes_and_lineage(live, make_clip, submitted):
    live.apply(submitted("v1"))

    answer = why(live, make_clip(4))

    assert answer["verdict"] == "keep"
    assert answer["held_for"] == []
    assert {d["rule"]: d["verdict"] for d in answer["decisions"]} == {
        "licence": "keep",
        "age": "keep",
        "black": "keep",
    }
    assert decision(answer, "licence")["reason"] == "licence MIT"
    assert all(len(d["recipe"]) == 16 for d in answer["decisions"])
    assert answer["recipes"] == {
        "segment": "seg-1",
        "measured": {"vision.palette": "r-vision"},
        "reason": None,
        "annotation": "ann-1",
        "curation": None,
    }
    assert answer["failed"] == {"audio.prosody": "silent"}
    lineage = answer["lineage"]
    assert (lineage["video_id"], lineage["video_name"], lineage["source"]) == ("v1", "v1.mp4", "beach")
    assert (lineage["start_s"], lineage["duration_s"], lineage["time_base"]) == (4.0, 4.0, [1, 1000])


def test_a_held_clip_says_what_would_release_it(live, make_clip):
    answer = why(live, make_clip(0, face_count=2, licence=None))

    assert answer["verdict"] == "hold"
    assert answer["held_for"] == ["age", "licence"]
    assert "releases source 'beach' on record" in decision(answer, "age")["reason"]
    assert decision(answer, "age")["score"] == 2.0


def test_a_dropped_clip_has_score_and_threshold(live, make_clip):
    answer = why(live, make_clip(0, black_share=0.95))

    black = decision(answer, "black")
    assert answer["verdict"] == "drop"
    assert (round(black["score"], 3), black["threshold"], black["by"]) == (0.95, 0.8, "rules")
    assert black["reason"] == "its frames are black"


def test_reviews_of_the_clip_and_of_its_source_are_part_of_the_answer(live, make_clip, submitted):
    live.apply(submitted("v1"))
    id_ = make_clip(0, face_count=1)
    release = {"subject": "source", "subject_id": "beach", "verdict": "release", "covers": ["age"], "by": "Ada"}
    live.http.post("/reviews", json={**release, "reason": "releases on file"})
    drop = {"subject": "clip", "subject_id": id_, "verdict": "drop", "by": "Ben", "reason": "blurred"}
    live.http.post("/reviews", json=drop)

    answer = why(live, id_)

    assert answer["verdict"] == "drop"
    assert [(review["by"], review["verdict"]) for review in answer["reviews"]] == [("Ada", "release"), ("Ben", "drop")]
    assert answer["lineage"]["released"]["age"]["by"] == "Ada"
    assert decision(answer, "age")["reason"] == "released on record: releases on file"
    assert decision(answer, "review")["by"] == "Ben"


def test_a_video_says_what_of_it_was_dropped(live, submitted, segmented):
    live.apply(submitted("v1"), segmented("v1", ("c1", "c2")))

    answer = live.http.get("/footage/v1/why").json()

    assert (answer["status"], answer["recipe"], answer["n_clips"]) == ("segmented", "seg-1", 2)
    assert answer["dropped"] == [{"start_s": 8.0, "end_s": 9.0, "reason": "shorter than 1 s after the fade"}]
    assert answer["warnings"] == ["2 broken video packet(s) passed over"]


def test_a_removed_video_says_by_which_removal(live, submitted):
    live.apply(submitted("v1"))
    removal = {"subject": "source", "subject_id": "beach", "by": "Ada", "reason": "contract ended"}
    removal_id = live.http.post("/removals", json=removal).json()["id"]
    live.store.videos.put({"v1": {"status": "removed", "video_id": "v1", "removal_id": removal_id}})

    answer = live.http.get("/footage/v1/why").json()

    assert answer["reason"] == f"removal {removal_id} of source 'beach', by Ada: contract ended"


def test_a_contradicted_clip_says_what_was_claimed_and_what_was_measured(live, make_clip, reasoned):
    answer = why(live, make_clip(0, reasoning=reasoned(is_contradicted=True)))

    assert (answer["verdict"], answer["held_for"]) == ("hold", ["reasoning"])
    assert (answer["engine"], answer["recipes"]["reason"]) == ("endpoint:made", "0f" * 8)
    assert answer["origins"] == {"motion": "measured"}
    assert round(answer["contradiction"], 6) == 0.8
    assert answer["contradictions"] == [{"claim": "motion is high", "measured": "motion mean 0.01", "score": 0.8}]
    assert answer["reason_failed"] is None
    assert decision(answer, "reasoning")["by"] == "endpoint:made"


def test_a_clip_that_the_rules_describe_in_place_of_a_model_says_why(live, make_clip, reasoned):
    failed = "endpoint:made: it refused"
    answer = why(live, make_clip(0, reasoning=reasoned(engine="measured", failed=failed)))

    assert (answer["verdict"], answer["engine"], answer["reason_failed"]) == ("keep", "measured", failed)
    assert answer["contradictions"] == []


def test_a_clip_of_before_reasoning_was_kept_has_none(live, make_clip):
    answer = why(live, make_clip(0))

    assert (answer["recipes"]["reason"], answer["contradiction"], answer["reason_failed"]) == (None, None, None)
    assert answer["contradictions"] == []
