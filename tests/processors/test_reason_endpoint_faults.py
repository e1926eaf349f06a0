"""The engine `endpoint` against a server that misbehaves over real HTTP: nothing is lost, nothing is asked twice."""

import socket
import threading
from contextlib import ExitStack
from random import Random

import anyio
import httpx
import pytest

from processors.reason.engine import Answer, NoAnswer
from processors.reason.patience import LONGEST_PAUSE_S, Patience, wait_s
from tests.processors.made_endpoint import MODEL, Refuse, Say, clip_of
from tests.processors.made_questions import (
    FORM,
    ask_about,
    made_engine,
    outcomes_of,
    the_answer,
    the_reason,
    until_raised,
)

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
    outcomes: list[tuple[int, Answer | NoAnswer]] = []
    engine = made_engine(server, clock, sleep, concurrency=4)
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
    came, _ = until_raised(made_engine(server, clock, sleep, concurrency=2), ask_about("c0", "c1", "c2"))
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
