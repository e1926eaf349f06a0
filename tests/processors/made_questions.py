"""Questions for the engine `endpoint`, time that only sleeping moves, and what came of them."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import anyio
import pytest

from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.reason.endpoint import Endpoint
from processors.reason.engine import Answer, NoAnswer, Picture, Question
from processors.reason.measures import Measured
from processors.reason.rules import reason
from processors.reason.server import EndpointOptions
from processors.reason.trace import TraceForm
from store.errors import Unavailable
from tests.processors.made_endpoint import MODEL, EndpointServer

FORM = TraceForm(load_vocabulary(DEFAULT_VOCABULARY))
NOTHING = reason(Measured({}, 4.0, FORM.vocabulary))
"""What the rules say of a clip of which nothing was measured."""


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


def made_engine(
    server: EndpointServer, clock: Clock, sleep: Callable[[float], Awaitable[None]] | None = None, **options: Any
) -> Endpoint:
    """An engine that asks the server, with these options."""
    told: dict[str, Any] = {
        "url": server.url,
        "model": MODEL,
        "timeout_s": 5.0,
        "answer_s": 10.0,
        "attempts": 3,
    } | options
    return Endpoint(EndpointOptions(**told), FORM, clock, sleep or clock.sleep, Random(1))


def ask_about(*clip_ids: str, pictures: tuple[Picture, ...] = (), seed: int = 7) -> list[Question]:
    """A question about each clip."""
    return [
        Question(clip_id, "You look.", f"What is in clip {clip_id}?", pictures, seed, NOTHING) for clip_id in clip_ids
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
    """The outcome, which must be one."""
    assert isinstance(outcome, Answer), outcome
    return outcome


def the_reason(outcome: Answer | NoAnswer) -> str:
    """Why there is no answer, which there must not be."""
    assert isinstance(outcome, NoAnswer), outcome
    return outcome.reason
