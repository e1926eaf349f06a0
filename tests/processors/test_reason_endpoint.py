"""What the engine `endpoint` asks and what it makes of answers, against a server that speaks over real HTTP."""

import base64
import json
import logging
import traceback

import httpx
import pytest

from processors.reason.engine import Answer, Picture, create_engine
from processors.reason.sse import EventStream
from processors.reason.trace import Trace
from store.errors import SettingsError
from tests.processors.made_endpoint import MODEL, Refuse, Say, clip_of, traces
from tests.processors.made_questions import (
    FORM,
    ask_about,
    outcomes_of,
    the_answer,
    the_reason,
    until_raised,
)

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
    assert "sk-wrong" not in "".join(traceback.format_exception(error))


def test_a_key_that_is_a_word_leaves_answers_as_they_are(server, make):
    server.behave("c1", Say('{"caption": "EMPTY room"}'))
    assert the_answer(outcomes_of(make(key="EMPTY"), ask_about("c1"))[0]).text == '{"caption": "EMPTY room"}'


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
