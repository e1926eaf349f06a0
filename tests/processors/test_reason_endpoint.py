"""The engine `endpoint` against a server that speaks the protocol over real HTTP, and misbehaves."""

import base64
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random

import anyio
import httpx
import pytest

from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.reason.endpoint import Endpoint
from processors.reason.engine import Answer, NoAnswer, Picture, Question, create_engine
from processors.reason.patience import LONGEST_PAUSE_S, Patience, wait_s
from processors.reason.server import EndpointOptions
from processors.reason.sse import EventStream
from processors.reason.trace import Trace, TraceForm
from store.errors import SettingsError, Unavailable
from tests.processors.made_endpoint import MODEL, EndpointServer, Refuse, Say, clip_of, serving_endpoints, traces

FORM = TraceForm(load_vocabulary(DEFAULT_VOCABULARY))


class Clock:
    """Time that passes only while somebody sleeps. slept: for how long, in order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until_s = self.now_s + seconds
        await anyio.sleep(0)
        self.now_s = max(self.now_s, until_s)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., EndpointServer]]:
    with serving_endpoints() as serve:
        yield serve


@pytest.fixture
def server(serve) -> EndpointServer:
    return serve(traces(FORM.schema))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(server, clock):
    """Makes an engine that asks the server, with these options."""

    def make(**options) -> Endpoint:
        told = {"url": server.url, "model": MODEL, "timeout_s": 5.0, "answer_s": 10.0, "attempts": 3} | options
        return Endpoint(EndpointOptions(**told), FORM, clock, clock.sleep, Random(1))

    return make


def ask_about(*clip_ids: str, pictures: tuple[Picture, ...] = (), seed: int = 7) -> list[Question]:
    return [
        Question(clip_id, "You look.", f"What is in clip {clip_id}?", pictures, seed, 4.0, {}) for clip_id in clip_ids
    ]


def outcomes_of(engine: Endpoint, questions: list[Question]) -> list[Answer | NoAnswer]:
    """In the order of the questions; each has exactly one."""
    came = list(engine.answer(questions))
    assert sorted(index for index, _ in came) == list(range(len(questions)))
    return [outcome for _, outcome in sorted(came, key=lambda one: one[0])]


def until_raised(engine: Endpoint, questions: list[Question]) -> tuple[dict[int, Answer | NoAnswer], Unavailable]:
    """What came before the engine gave up, and the error."""
    came: dict[int, Answer | NoAnswer] = {}
    try:
        for index, outcome in engine.answer(questions):
            assert index not in came
            came[index] = outcome
    except Unavailable as error:
        return came, error
    pytest.fail(f"nothing was raised; there came {came}")


def the_answer(outcome: Answer | NoAnswer) -> Answer:
    assert isinstance(outcome, Answer), outcome
    return outcome


def the_reason(outcome: Answer | NoAnswer) -> str:
    assert isinstance(outcome, NoAnswer), outcome
    return outcome.reason


# --- what is asked, and what an answer is -----------------------------------------------------------------------


def test_every_question_has_a_trace_for_an_answer_and_is_asked_once(server, make):
    questions = ask_about(*(f"c{number}" for number in range(30)))
    outcomes = outcomes_of(make(), questions)
    assert all(isinstance(FORM.read(the_answer(outcome).text), Trace) for outcome in outcomes)
    assert server.times == {question.clip_id: 1 for question in questions}
    assert len({outcome.text for outcome in outcomes}) == 30


def test_no_questions_are_no_requests(server, make):
    assert outcomes_of(make(), []) == []
    assert server.asked == []


def test_pictures_are_sent_with_their_numbers_and_times_before_the_text(server, make):
    pictures = (Picture(1, 0.0, b"jpeg one"), Picture(3, 1.25, b"jpeg three"))
    outcomes_of(make(), ask_about("c1", pictures=pictures, seed=11))
    body = server.asked[0]
    system, user = body["messages"]
    assert system == {"role": "system", "content": "You look."}
    assert [part.get("text") for part in user["content"]] == [
        "Frame 1 at 0.00 s:",
        None,
        "Frame 3 at 1.25 s:",
        None,
        "What is in clip c1?",
    ]
    urls = [part["image_url"]["url"] for part in user["content"] if part["type"] == "image_url"]
    assert [base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls] == [
        b"jpeg one",
        b"jpeg three",
    ]
    assert body["seed"] == 11
    assert body["model"] == MODEL


def test_decoding_is_held_to_the_schema_and_bounded(server, make):
    outcomes_of(make(thinking_tokens=100, answer_tokens=20), ask_about("c1"))
    body = server.asked[0]
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"] == {"name": "trace", "strict": True, "schema": FORM.schema}
    assert body["max_tokens"] == 120
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_temperature_and_further_fields_are_sent_where_they_are_given(server, make):
    outcomes_of(make(), ask_about("c1"))
    outcomes_of(make(temperature=0.6, extra={"chat_template_kwargs": {"enable_thinking": False}}), ask_about("c2"))
    assert "temperature" not in server.asked[0]
    assert server.asked[1]["temperature"] == 0.6
    assert server.asked[1]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_weaker_form_tells_the_schema_in_words(server, make):
    outcomes_of(make(form="text"), ask_about("c1"))
    outcomes_of(make(form="json_object"), ask_about("c2"))
    plain, loose = server.asked
    assert "response_format" not in plain
    assert loose["response_format"] == {"type": "json_object"}
    for body in (plain, loose):
        text = body["messages"][-1]["content"][-1]["text"]
        assert json.loads(text.partition("as JSON Schema:\n")[2]) == FORM.schema


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("where", ["reasoning", "reasoning_content", "content", "content_unopened"])
def test_thinking_is_told_from_the_answer_wherever_it_is(server, make, where, stream):
    server.behave("c1", Say('{"caption": "</think> \u2028 é"}', thinking="Let me see.", where=where, whole=not stream))
    answer = the_answer(outcomes_of(make(), ask_about("c1"))[0])
    assert (answer.thinking, answer.text) == ("Let me see.", '{"caption": "</think> \u2028 é"}')


def test_an_answer_in_the_place_of_the_thinking_is_the_answer(server, make):
    server.behave("c1", Say("", thinking='{"caption": null}', where="reasoning_content"))
    answer = the_answer(outcomes_of(make(), ask_about("c1"))[0])
    assert (answer.thinking, answer.text) == ("", '{"caption": null}')


def test_usage_is_as_the_server_counts_and_costs_by_the_prices(server, make):
    usage = outcomes_of(make(prompt_price=2.0, answer_price=10.0), ask_about("c1"))[0].usage
    assert (usage.prompt_tokens, usage.answer_tokens) == (100, 20)
    assert usage.cost == pytest.approx(100 * 2e-6 + 20 * 10e-6)
    assert outcomes_of(make(), ask_about("c2"))[0].usage.cost is None


@pytest.mark.parametrize("whole", [True, False])
def test_usage_that_is_not_told_is_unknown(server, make, whole):
    server.behave("c1", Say(usage=False, whole=whole))
    usage = outcomes_of(make(prompt_price=2.0, answer_price=10.0), ask_about("c1"))[0].usage
    assert (usage.prompt_tokens, usage.answer_tokens, usage.cost) == (None, None, None)


def test_seconds_are_those_of_the_requests_without_the_pauses(server, clock, make):
    def answer(body):
        clock.now_s += 2.5
        return "{}"

    server.answer = answer
    server.behave("c1", Refuse(500))
    assert outcomes_of(make(), ask_about("c1"))[0].usage.seconds == 2.5
    assert len(clock.slept) == 1


def test_the_key_is_sent_and_never_shown(server, make):
    server.key = "sk-secret"
    assert isinstance(outcomes_of(make(key="sk-secret"), ask_about("c1"))[0], Answer)
    assert "sk-secret" not in repr(make(key="sk-secret").options)
    came, error = until_raised(make(key="sk-wrong"), ask_about("c1"))
    assert came == {}
    assert "401" in str(error)
    assert "valid key" in str(error)
    assert "sk-wrong" not in str(error)


def test_the_environment_names_no_proxy_but_the_options_do(server, make, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(outcomes_of(make(), ask_about("c1"))[0], Answer)
    here = httpx.URL(server.url)
    away = make(url=str(here.copy_with(host="model.invalid", port=None)), proxy=f"http://127.0.0.1:{here.port}")
    assert isinstance(outcomes_of(away, ask_about("c2"))[0], Answer)
    assert server.headers[-1]["host"] == "model.invalid"
    assert server.answered == {"c1": 1, "c2": 1}


# --- answers that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"text": '{"present": [', "finish": "length"}, "cut off after 20 tokens"),
        ({"text": '{"present": [', "finish": "length", "usage": False}, "cut off after 7168 tokens"),
        ({"text": "", "refusal": "I can't help\nwith that."}, "refused: I can't help with that."),
        ({"text": "{", "finish": "content_filter"}, "refused: by a content filter"),
        ({"text": ""}, "said nothing"),
        ({"text": " \n"}, "said nothing"),
        ({"text": "", "thinking": "Hm, what"}, "said nothing, but thought 8 characters"),
        ({"text": "<think>Hm, what"}, "said nothing, but thought 8 characters"),
    ],
)
def test_silence_refusals_and_cut_answers_are_none(server, make, behaviour, reason, whole):
    server.behave("c1", Say(**behaviour, whole=whole))
    refused, other = outcomes_of(make(), ask_about("c1", "c2"))
    assert the_reason(refused) == reason
    assert isinstance(other, Answer)
    assert server.times["c1"] == 1


@pytest.mark.parametrize("text", ["not JSON at all", '{"present": [], "events"', '{"caption": "一个女人走进房间"}'])
def test_what_a_model_says_is_given_as_it_is_and_judged_elsewhere(server, make, text):
    server.behave("c1", Say(text))
    answer = the_answer(outcomes_of(make(), ask_about("c1"))[0])
    assert answer.text == text
    with pytest.raises(ValueError, match="validation error"):
        FORM.read(answer.text)
    assert server.times["c1"] == 1


def test_a_question_that_is_too_long_has_no_answer_in_the_servers_words(server, make):
    long = "This model's maximum context length is 4096 tokens, response_format included. " + "x" * 1000
    server.behave("c1", Refuse(400, long))
    server.behave("c2", Refuse(413, body="<html>Request Entity Too Large</html>"))
    server.behave("c3", Refuse(429, "Request too large for made/model on tokens per min"))
    first, second, third, fourth = outcomes_of(make(), ask_about("c1", "c2", "c3", "c4"))
    assert "maximum context length is 4096 tokens" in the_reason(first)
    assert len(the_reason(first)) < 400
    assert "Too Large" in the_reason(second)
    assert "too large" in the_reason(third)
    assert isinstance(fourth, Answer)
    assert max(server.times.values()) == 1
    assert server.asked[-1]["response_format"]["type"] == "json_schema"


# --- servers that do not take everything ------------------------------------------------------------------------


def test_a_server_without_schemas_is_asked_for_json_and_remembered(server, make, caplog):
    server.without = {"json_schema": "response_format.type 'json_schema' is not supported"}
    engine = make(concurrency=1)
    with caplog.at_level(logging.WARNING, "processors.reason"):
        assert all(isinstance(outcome, Answer) for outcome in outcomes_of(engine, ask_about("c1", "c2")))
        assert all(isinstance(outcome, Answer) for outcome in outcomes_of(engine, ask_about("c3")))
    assert server.times == {"c1": 2, "c2": 1, "c3": 1}
    assert [record.getMessage().count("json_schema") for record in caplog.records] == [1]


def test_a_server_without_any_form_is_asked_in_words(server, make):
    server.without = {"response_format": "Unknown field response_format"}
    outcomes = outcomes_of(make(), ask_about("c1", "c2", "c3"))
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert server.times["c1"] == 3
    assert "response_format" not in server.asked[-1]


@pytest.mark.parametrize(
    ("without", "left"),
    [
        (
            {"stream_options": "stream_options: Extra inputs are not permitted"},
            {"stream", "max_tokens", "response_format"},
        ),
        ({"stream": "`response_format` does not support streaming"}, {"max_tokens", "response_format"}),
        (
            {"max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."},
            {"stream", "stream_options", "max_completion_tokens", "response_format"},
        ),
    ],
)
def test_only_what_the_server_refuses_is_left_out(server, make, without, left):
    server.without = without
    assert isinstance(outcomes_of(make(), ask_about("c1"))[0], Answer)
    assert server.times["c1"] == 2
    optional = {"stream", "stream_options", "max_tokens", "max_completion_tokens", "response_format"}
    assert optional & set(server.asked[-1]) == left


def test_a_complaint_of_fastapi_names_the_field_and_not_what_it_was_sent(server, make):
    complaint = [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra", "input": "schema"}]
    server.behave("c1", Refuse(422, body=json.dumps({"detail": complaint})))
    assert isinstance(outcomes_of(make(), ask_about("c1"))[0], Answer)
    assert "stream_options" not in server.asked[-1]
    assert server.asked[-1]["response_format"]["type"] == "json_schema"


def test_a_server_that_does_not_stream_is_understood(server, make):
    server.always = Say(whole=True)
    outcome = outcomes_of(make(), ask_about("c1"))[0]
    assert FORM.read(the_answer(outcome).text)
    assert outcome.usage.answer_tokens == 20


# --- faults that pass -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(500),
        Refuse(502, body="<html>Bad Gateway</html>"),
        Refuse(429),
        Refuse(503, headers={"Retry-After": "3"}),
        Say(breaks_after=0),
        Say(breaks_after=3),
        Say(ends_after=3),
        Say(fault_after=3),
        Say(finish="abort"),
        Say(finish=None, done=False),
    ],
)
def test_a_fault_that_passes_costs_another_try_of_this_question_alone(server, make, clock, fault):
    server.behave("c1", fault)
    outcomes = outcomes_of(make(), ask_about("c1", "c2"))
    assert [bool(FORM.read(the_answer(outcome).text)) for outcome in outcomes] == [True, True]
    assert server.times == {"c1": 2, "c2": 1}
    assert clock.slept


@pytest.mark.parametrize("options", [{"timeout_s": 0.2}, {"answer_s": 0.2}])
def test_a_slow_answer_is_asked_for_again(server, make, options):
    server.behave("c1", Say(slow_s=1.0))
    assert isinstance(outcomes_of(make(**options), ask_about("c1"))[0], Answer)
    assert server.times["c1"] == 2


def test_a_slow_drip_ends_with_the_time_for_a_whole_answer(server, make):
    server.behave("c1", *[Say(drip_s=0.1, parts=100)] * 2)
    outcome = outcomes_of(make(timeout_s=5.0, answer_s=0.4, attempts=2), ask_about("c1"))[0]
    assert "no whole answer within 0.4 s" in the_reason(outcome)


def test_a_complete_answer_whose_end_is_lost_is_not_asked_for_again(server, make):
    server.behave("c1", Say(breaks_after=1000))
    outcome = outcomes_of(make(), ask_about("c1"))[0]
    assert FORM.read(the_answer(outcome).text)
    assert outcome.usage.answer_tokens is None
    assert server.times["c1"] == 1


def test_pauses_grow_and_are_as_long_as_the_server_asks_within_bounds(server, make, clock):
    server.behave("c1", Refuse(429, headers={"Retry-After": "7"}), Refuse(503, headers={"Retry-After": "86400"}))
    outcomes_of(make(), ask_about("c1"))
    first, second = clock.slept
    assert 7.0 <= first <= 7.7
    assert LONGEST_PAUSE_S <= second <= LONGEST_PAUSE_S * 1.1

    clock.slept.clear()
    server.behave("c2", *[Refuse(500)] * 4)
    outcomes_of(make(attempts=5), ask_about("c2"))
    assert [low <= s <= 2 * low for low, s in zip((0.5, 1.0, 2.0, 4.0), clock.slept, strict=True)] == [True] * 4


def test_a_retry_after_is_seconds_or_a_date_against_the_servers_clock():
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert wait_s("12", None) == 12.0
    assert wait_s("Wed, 21 Oct 2015 07:28:30 GMT", date) == 30.0
    assert wait_s("Wed, 21 Oct 2015 07:27:00 GMT", date) == 0.0
    assert [wait_s(None, date), wait_s("soon", date), wait_s(date, None)] == [None, None, None]


def test_those_who_are_sent_away_together_begin_one_pause(clock):
    patience = Patience(clock, Random(0))
    with ExitStack() as under_way:
        requests = [under_way.enter_context(patience.sending()) for _ in range(8)]
    for sent in requests:
        patience.sent_away(sent, 30.0)
    assert 30.0 <= patience.left_s <= 33.0
    assert [patience.ends(1), patience.ends(2)] == [True, False]
    patience.served()
    assert not patience.ends(1)


def test_one_who_was_sent_away_earlier_does_not_lengthen_the_pause_unless_told_to(clock):
    patience = Patience(clock, Random(0))
    with patience.sending() as first, patience.sending() as second:
        pass
    patience.sent_away(first, None)
    clock.now_s = 0.9
    patience.sent_away(second, None)
    clock.now_s = 1.01
    assert patience.left_s == 0.0
    patience.sent_away(second, 20.0)
    assert patience.left_s >= 20.0
    assert not patience.ends(2)


@pytest.mark.parametrize("admitted", [True, False])
def test_nobody_is_given_up_while_another_is_being_answered(clock, admitted):
    patience = Patience(clock, Random(0))

    def sent_away() -> None:
        with patience.sending() as sent:
            patience.sent_away(sent, None)

    if admitted:
        sent_away()
    with patience.sending() as other:
        other.admitted = admitted
        for _ in range(3):
            sent_away()
        assert not patience.ends(3)
    assert patience.ends(3)


def test_a_pause_holds_everyone_who_asks(server, clock, make):
    """Four at once: one is sent away, and none of the others asks anything new until the pause is over."""
    resting, over = threading.Semaphore(0), threading.Event()

    async def sleep(seconds: float) -> None:
        resting.release()
        while not over.is_set():
            await anyio.sleep(0.005)
        await clock.sleep(seconds)

    clips = [f"c{number}" for number in range(12)]
    server.behave("c0", Refuse(429, headers={"Retry-After": "30"}))
    for clip_id in clips[1:4]:
        server.behave(clip_id, Say(slow_s=0.3))
    options = EndpointOptions(url=server.url, model=MODEL, concurrency=4)
    outcomes: list[tuple[int, Answer | NoAnswer]] = []
    engine = Endpoint(options, FORM, clock, sleep, Random(1))
    caller = threading.Thread(target=lambda: outcomes.extend(engine.answer(ask_about(*clips))))
    caller.start()
    for _ in range(4):
        assert resting.acquire(timeout=20)
    assert set(server.times) == {"c0", "c1", "c2", "c3"}
    over.set()
    caller.join()
    assert sorted(index for index, _ in outcomes) == list(range(12))
    assert server.times == {clip_id: 2 if clip_id == "c0" else 1 for clip_id in clips}


def test_a_limit_is_no_fault_while_another_is_being_answered(server, make):
    """One question is sent away more often than there are attempts, all the while that the other is answered."""
    answer, enough = server.answer, threading.Event()

    def answer_after_that(body):
        if clip_of(body) == "c1":
            assert enough.wait(20)
        elif server.times["c0"] == 7:
            enough.set()
        return answer(body)

    server.answer = answer_after_that
    server.behave("c0", *[Refuse(429)] * 6)
    outcomes = outcomes_of(make(attempts=2, concurrency=2, timeout_s=30.0, answer_s=30.0), ask_about("c0", "c1"))
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    assert server.times == {"c0": 7, "c1": 1}


# --- faults that stay -------------------------------------------------------------------------------------------


def test_a_question_that_always_fails_fails_alone(server, make):
    server.behave("c1", *[Refuse(500, "CUDA error: " + "x" * 500)] * 3)
    server.behave("c2", *[Say(breaks_after=2)] * 3)
    server.behave("c3", *[Refuse(200, body="<html>"), Refuse(200, body='{"choices": 5}'), Say(fault_after=1)])
    failed = outcomes_of(make(), ask_about("c1", "c2", "c3", "c4"))
    assert the_reason(failed[0]).startswith("failed 3 times, the last time: 500: CUDA error")
    assert len(the_reason(failed[0])) < 400
    assert "broke off" in the_reason(failed[1])
    assert "the engine died" in the_reason(failed[2])
    assert isinstance(failed[3], Answer)
    assert {clip: server.times[clip] for clip in ("c1", "c2", "c3", "c4")} == {"c1": 3, "c2": 3, "c3": 3, "c4": 1}


@pytest.mark.parametrize(
    "fault", [Refuse(500), Say(breaks_after=1), Refuse(200, body="<html>"), Refuse(429), Refuse(503)]
)
def test_a_server_that_fails_everyone_is_away(server, make, fault):
    server.always = fault
    came, error = until_raised(make(), ask_about("c1", "c2", "c3"))
    assert came == {}
    assert server.url in str(error)
    assert max(server.times[clip] for clip in ("c1", "c2", "c3")) <= 6


def test_a_server_that_is_not_there_is_away(make, clock):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    came, error = until_raised(make(url=f"http://127.0.0.1:{port}/v1"), ask_about("c1", "c2"))
    assert came == {}
    assert "away for everyone 3 times in a row" in str(error)
    assert "no connection" in str(error)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Refuse(401), "valid key"),
        (Refuse(402), "account"),
        (Refuse(403), "may use the model"),
        (Refuse(404), "model's name, 'made/model'"),
        (Refuse(301, headers={"Location": "https://elsewhere"}), "the url that it leads to"),
    ],
)
def test_what_no_try_will_mend_is_not_tried_again(server, make, clock, fault, remedy):
    server.always = fault
    came, error = until_raised(make(concurrency=1), ask_about("c1", "c2"))
    assert remedy in str(error)
    assert came == {}
    assert server.times == {"c1": 1}
    assert clock.slept == []


def test_answers_that_came_before_a_fatal_fault_and_those_under_way_are_given(server, make):
    server.behave("c2", Say(drip_s=0.05))
    server.behave("c3", Refuse(401))
    came, _ = until_raised(make(concurrency=2), ask_about(*(f"c{number}" for number in range(8))))
    assert set(came) == {0, 1, 2}
    assert all(isinstance(outcome, Answer) for outcome in came.values())
    assert set(server.times) == {"c0", "c1", "c2", "c3"}


def test_one_who_waits_for_a_try_stops_when_another_finds_the_server_gone(server, clock):
    async def sleep(seconds: float) -> None:
        await anyio.sleep_forever()

    server.behave("c0", Refuse(500))
    server.behave("c1", Say(slow_s=0.2, text="{}"))
    server.behave("c2", Refuse(401))
    options = EndpointOptions(url=server.url, model=MODEL, concurrency=2)
    came, _ = until_raised(Endpoint(options, FORM, clock, sleep, Random(1)), ask_about("c0", "c1", "c2"))
    assert set(came) == {1}


def test_after_the_server_came_back_only_the_rest_is_asked(server, make):
    """As callers go on: what was answered is never asked again."""
    clips = [f"c{number}" for number in range(20)]
    server.behave("c9", Refuse(401))
    engine = make(concurrency=3)
    came, _ = until_raised(engine, ask_about(*clips))
    left = [clip_id for index, clip_id in enumerate(clips) if index not in came]
    assert "c9" in left
    assert len(outcomes_of(engine, ask_about(*left))) == len(left)
    assert server.answered == dict.fromkeys(clips, 1)
    assert sum(server.times.values()) == len(clips) + 1


# --- many at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 5])
def test_no_more_are_asked_at_once_than_allowed(server, make, concurrency):
    server.always = Say(drip_s=0.002)
    outcomes_of(make(concurrency=concurrency), ask_about(*(f"c{number}" for number in range(25))))
    assert server.most_at_once == concurrency


def test_outcomes_come_as_they_are_ready(server, make):
    server.behave("c0", Say(drip_s=0.1))
    indices = [index for index, _ in make(concurrency=2).answer(ask_about("c0", "c1", "c2"))]
    assert indices == [1, 2, 0]


@pytest.mark.parametrize("ending", ["close", "raise"])
def test_a_caller_who_stops_ends_the_requests(server, make, ending):
    server.always = Say(drip_s=0.05, parts=200)
    server.behave("c0", Say())
    answers = make(concurrency=4, answer_s=60.0).answer(ask_about(*(f"c{number}" for number in range(20))))
    assert next(answers)[0] == 0
    if ending == "close":
        answers.close()
    else:
        with pytest.raises(KeyError, match="mine"):
            answers.throw(KeyError("mine"))
    assert "endpoint" not in {thread.name for thread in threading.enumerate()}
    assert len(server.times) <= 5
    with httpx.Client(trust_env=False) as http:
        assert http.get(f"{server.url}/models").json()["data"][0]["id"] == MODEL
    for _ in range(400):
        if server.under_way == 0:
            break
        threading.Event().wait(0.01)
    assert server.under_way == 0


def test_a_storm_loses_nothing(server, make):
    """Faults of every kind at random: each question has one outcome, and none is asked again once it is answered."""
    random = Random(5)
    faults = [Refuse(500), Refuse(429), Refuse(503), Say(breaks_after=2), Say(ends_after=1), Say(fault_after=2)]
    scripts = {f"c{number}": random.choices(faults, k=random.choice([0, 0, 1, 2])) for number in range(60)}
    for clip_id, script in scripts.items():
        server.behave(clip_id, *script)
    outcomes = outcomes_of(make(attempts=6, concurrency=6), ask_about(*scripts))
    assert all(FORM.read(the_answer(outcome).text) for outcome in outcomes)
    assert server.answered == dict.fromkeys(scripts, 1)
    assert {clip_id: server.times[clip_id] for clip_id in scripts} == {
        clip_id: len(script) + 1 for clip_id, script in scripts.items()
    }


# --- options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": ""}, "such as http://127.0.0.1:8000/v1"),
        ({"url": 5}, "url is 5"),
        ({"url": "ftp://somewhere/v1"}, "url is 'ftp://somewhere/v1'"),
        ({"url": "http://a/v1/chat/completions"}, "up to the version"),
        ({"url": "http://me:secret@a/v1"}, "give the key as `key`"),
        ({"model": ""}, "http://a/v1/models"),
        ({"key": "two words"}, "no bearer token"),
        ({"key": "line\n"}, "no bearer token"),
        ({"proxy": "a:80"}, "URL of an HTTP proxy"),
        ({"form": "xml"}, "choose one of json_schema, json_object, text"),
        ({"concurrency": 0}, "whole number from 1"),
        ({"attempts": True}, "whole number from 1"),
        ({"answer_tokens": 1.5}, "whole number from 1"),
        ({"timeout_s": 0}, "seconds above 0"),
        ({"answer_s": float("inf")}, "seconds above 0"),
        ({"temperature": 3.0}, "from 0 to 2"),
        ({"prompt_price": 1.0}, "write both"),
        ({"extra": "none"}, "write a table"),
        ({"extra": {"max_tokens": 5}}, "use its options"),
        ({"extra": {"a": float("nan")}}, "no JSON"),
        ({"surprise": 1}, "unknown option surprise"),
    ],
)
def test_options_that_cannot_work_are_refused_with_a_remedy(options, complaint):
    with pytest.raises(SettingsError, match="engine endpoint") as caught:
        create_engine("endpoint", {"url": "http://a/v1", "model": "m"} | options, FORM)
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_recipe_holds_what_makes_the_answers_and_not_the_way_to_the_server():
    def made(**options):
        return create_engine("endpoint", {"url": "http://a/v1", "model": "m"} | options, FORM)

    engine = made()
    assert engine.id == "endpoint:m"
    assert engine.weights() == {}
    for options in ({"url": "http://b/v1"}, {"key": "k"}, {"concurrency": 2}, {"prompt_price": 1, "answer_price": 2}):
        assert made(**options).recipe == engine.recipe
    for options in ({"model": "n"}, {"temperature": 0.0}, {"extra": {"top_k": 1}}, {"thinking_tokens": 0}):
        assert made(**options).recipe != engine.recipe


# --- the made server and the events themselves ------------------------------------------------------------------


def test_made_traces_are_valid_and_differ_by_seed():
    answer = traces(FORM.schema)
    body = {"messages": [{"role": "user", "content": "clip a"}], "seed": 1}
    texts = [answer(body | {"seed": seed}) for seed in range(200)]
    assert all(FORM.read(text) for text in texts)
    assert len(set(texts)) == 200
    assert answer(body) == texts[1]
    assert clip_of(body) == "a"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_events_are_read_however_their_bytes_are_cut(size):
    sent = 'data: {"a": "\u2028\x85é"}\r\n\r\n: ping\n\nevent: x\ndata: 1\ndata: 2\n\ndata:3\r\rdata: [DONE]'.encode()
    stream = EventStream()
    events = [data for at in range(0, len(sent), size) for data in stream.feed(sent[at : at + size])]
    assert [*events, *stream.end()] == ['{"a": "\u2028\x85é"}', "1\n2", "3", "[DONE]"]
