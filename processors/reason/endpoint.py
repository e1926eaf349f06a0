"""The engine that asks a server of chat completions: vLLM, SGLang, llama.cpp's server, OpenAI and others like them.

Nothing is taken from the environment, proxies and `.netrc` among it: frames of people go where the profile says and
nowhere else, and a proxy that is set for the web must not be given what is meant for this machine.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from queue import SimpleQueue
from random import Random

import anyio
from anyio.from_thread import start_blocking_portal

from processors.reason.asking import Manners, Outcome, Round
from processors.reason.chat import Manner
from processors.reason.engine import Answer, Engine, NoAnswer, Question
from processors.reason.server import EndpointOptions
from processors.reason.trace import TraceForm


class Endpoint(Engine):
    """Asks many questions at once; what the server refuses is left out from then on, as long as the engine lives."""

    version = 1
    Options = EndpointOptions
    options: EndpointOptions

    def __init__(
        self,
        options: EndpointOptions,
        form: TraceForm,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        random: Random | None = None,
    ) -> None:
        """clock: seconds. sleep: what waits for the next try. random: spreads tries over time."""
        super().__init__(options, form)
        self._manners = Manners(Manner(form=options.form))
        self._clock, self._sleep, self._random = clock, sleep, random or Random()

    @property
    def id(self) -> str:
        """See `Engine.id`."""
        return f"endpoint:{self.options.model}"

    def answer(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer | NoAnswer]]:
        """See `Engine.answer`.

        Requests run in a thread of their own, also while the caller works on an outcome. They end when the caller
        stops iterating; outcomes that had come by then and were not taken are lost.
        """
        came: SimpleQueue[tuple[int, Outcome] | None] = SimpleQueue()
        asking = Round(self.options, self.form.schema, self._manners, self._clock, self._sleep, self._random)
        with start_blocking_portal(name="endpoint") as portal:  # An exception here cancels what runs there.
            asked = portal.start_task_soon(asking.ask, tuple(questions), came.put)
            asked.add_done_callback(lambda _: came.put(None))
            while (outcome := came.get()) is not None:
                yield outcome
            asked.result()
