"""Annotations over REST: what they were distilled from, making them anew, and calibrations."""

import pytest

from store.answers import AnswerStore
from store.clip_columns import clip_of
from store.records import AnnotationDue, CalibrationAdopted, CalibrationRequested, ClipSegmented, Spent

BY_ADA = {"by": "Ada", "reason": "the first clips are in"}


def reasoning(live, id_, **query):
    return live.http.get(f"/clips/{id_}/reasoning", params=query)


def test_a_clips_reasoning_is_its_trace_with_the_checks(live, make_clip, reasoned):
    made = reasoned(is_contradicted=True)
    answer = reasoning(live, make_clip(0, reasoning=made)).json()

    assert (answer["engine"], answer["recipe"], answer["rounds"]) == ("endpoint:made", "0f" * 8, 2)
    assert answer["trace"] == made.trace
    assert [check["verdict"] for check in answer["checks"]] == ["contradicted", "unchecked"]
    assert (round(answer["contradiction"], 6), answer["is_contradicted"]) == (0.8, True)
    assert (answer["failed"], answer["answers"]) == (None, None)


def test_raw_answers_come_only_where_they_are_asked_for(live, make_clip, reasoned):
    id_, other = make_clip(0, reasoning=reasoned()), make_clip(4, reasoning=reasoned())
    told = {"q1": {"text": "{}", "thinking": "a dog?", "usage": {"seconds": 1.0}}}
    AnswerStore(live.store.media).put(id_, "0f" * 8, told)

    assert reasoning(live, id_).json()["answers"] is None
    assert reasoning(live, id_, answers=True).json()["answers"] == {"0f" * 8: told}
    assert reasoning(live, other, answers=True).json()["answers"] == {}
    assert "a dog?" not in live.http.get(f"/clips/{id_}").text


def test_a_clip_of_before_reasoning_was_kept_has_no_trace(live, make_clip):
    answer = reasoning(live, make_clip(0)).json()

    assert (answer["engine"], answer["trace"], answer["checks"], answer["recipe"]) == ("measured", None, [], None)


@pytest.mark.parametrize("id_", ["nope", "ab" * 16, "..%2F..%2Fetc"])
def test_a_clip_that_is_not_there_has_no_reasoning(live, id_):
    assert reasoning(live, id_, answers=True).status_code == 404


def test_what_answers_took_is_summed_by_the_engine_that_was_asked(live, make_clip, reasoned):
    took = Spent(seconds=2.0, prompt_tokens=100, answer_tokens=50, cost=None)
    asked = reasoned(spent=took, engine="endpoint:m")
    refused = reasoned(spent=took, engine="measured", failed="endpoint:m: it refused")
    for place, made in enumerate((asked, refused, reasoned(spent=None, engine="measured"))):
        make_clip(4 * place, reasoning=made)
    (told,) = live.http.get("/annotations/spent").json()
    assert (told["engine"], told["n_clips"], told["rounds"]) == ("endpoint:m", 2, asked.n_rounds + refused.n_rounds)
    assert (told["seconds"], told["prompt_tokens"], told["answer_tokens"], told["cost"]) == (4.0, 200, 100, 0.0)


def due(live, **body):
    return live.http.post("/annotations/due", json={"reason": "overloaded"} | body)


def asked_for(live):
    return sorted(record.clip_id for record in live.published if isinstance(record, AnnotationDue))


def test_every_measured_clip_is_annotated_anew_unless_a_condition_says_which(live, make_clip, reasoned):
    clips = [make_clip(0), make_clip(4, reasoning=reasoned(failed="it refused", engine="measured"))]

    answer = due(live, where="reason_failed IS NOT NULL")
    assert (answer.status_code, answer.json()) == (202, {"n_clips": 1})
    assert asked_for(live) == clips[1:]
    (record,) = live.published
    assert (record.video_id, record.reason) == ("v1", "overloaded")

    live.published.clear()
    assert due(live).json() == {"n_clips": 2}
    assert asked_for(live) == sorted(clips)
    assert due(live, where="source = 'elsewhere'").json() == {"n_clips": 0}


def test_a_clip_that_is_not_measured_yet_comes_by_itself(live, make_clip):
    measured = make_clip(0)
    cut = clip_of(live.store.clips.get(measured)).model_copy(update={"clip_id": "ab" * 16})
    live.apply(ClipSegmented(clip=cut))

    assert due(live, where="source = 'beach' OR true").json() == {"n_clips": 1}
    assert asked_for(live) == [measured]


@pytest.mark.parametrize(
    "where", ["colour = [red]", "nonsense = 1", "face_embedding IS NOT NULL", "array_sum(face_embedding) > 0"]
)
def test_a_condition_that_is_none_or_speaks_of_who_someone_is_is_refused(live, make_clip, where):
    make_clip(0)

    answer = due(live, where=where)

    assert answer.status_code == 422
    assert answer.json()["error"] == "InputError"
    assert live.published == []


@pytest.mark.parametrize("body", [{"reason": ""}, {"reason": "r", "clips": ["c"]}])
def test_a_request_without_a_reason_or_with_something_unknown_is_refused(live, body):
    assert live.http.post("/annotations/due", json=body).status_code == 422


def test_a_calibration_is_on_record_once_the_store_has_it(live):
    answer = live.http.post("/calibrations", json=BY_ADA)

    assert answer.status_code == 201
    told = answer.json()
    assert told["durable"]
    assert told["document"] | BY_ADA | {"status": "requested"} == told["document"]
    (record,) = live.published
    assert isinstance(record, CalibrationRequested)
    assert live.http.get("/calibrations").json() == [told["document"]]


def test_a_calibration_that_does_not_show_yet_is_accepted(live):
    live.drops = True

    answer = live.http.post("/calibrations", json=BY_ADA)

    assert (answer.status_code, answer.json()["durable"], answer.json()["document"]) == (202, False, None)


def test_without_a_broker_nothing_is_annotated_or_calibrated(live, make_clip):
    make_clip(0)
    live.is_broker_up = False

    assert live.http.post("/calibrations", json=BY_ADA).status_code == 503
    assert due(live).status_code == 503


@pytest.mark.parametrize("body", [{"by": "Ada"}, {"reason": "r"}, BY_ADA | {"tables": {}}])
def test_a_calibration_names_who_and_why_and_nothing_else(live, body):
    assert live.http.post("/calibrations", json=body).status_code == 422


def test_calibrations_are_listed_in_order_of_time_and_by_what_became_of_them(live):
    ids = [live.http.post("/calibrations", json=BY_ADA).json()["id"] for _ in range(3)]
    assert len(set(ids)) == 3
    adopted = CalibrationAdopted(
        request_id=ids[1],
        calibration_id="c1",
        tables={"motion": ((0.0, -1.0), (1.0, 1.0))},
        n_clips={"motion": 60},
        adopted_at="2026-03-01T13:00:00Z",
        **BY_ADA,
    )
    live.apply(adopted)

    def listed(**query):
        return [body["request_id"] for body in live.http.get("/calibrations", params=query).json()]

    assert listed() == ids
    assert listed(status="adopted") == [ids[1]]
    assert listed(status="requested") == [ids[0], ids[2]]
    assert live.http.get("/calibrations", params={"status": "adopted"}).json()[0]["tables"] == {
        "motion": [[0.0, -1.0], [1.0, 1.0]]
    }
    assert live.http.get("/calibrations", params={"status": "lost"}).status_code == 422
