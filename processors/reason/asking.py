"""Asks a chat-completions server several questions at once, with patience, and gives their outcomes as they come."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from random import Random

import anyio
import httpx

from processors.reason.chat import (
    Away,
    Broken,
    Manner,
    Refused,
    Reply,
    brief,
    fault,
    request,
    trial,
    words_of,
)
from processors.reason.engine import Answer, NoAnswer, Question, Usage
from processors.reason.patience import Patience, Sent, wait_s
from processors.reason.server import EndpointOptions
from processors.reason.sse import EventStream
from store.errors import Unavailable
from store.records import Json

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 26
"""Of one answer; chosen: 100,000 tokens come in 30 MB of events."""
_MOST_ERROR_BYTES = 1 << 16

Outcome = Answer | NoAnswer
Came = Callable[[tuple[int, Outcome]], None]


class Manners:
    """The manner in which a server is asked, as far as it is known by now."""

    def __init__(self, manner: Manner) -> None:
        self.now = manner

    def give_in(self, asked: Manner, refused: Refused, told: str) -> bool:
        """Whether to ask anew, without what was refused; a question asked before others gave in is asked anew too."""
        lesser = asked.without(refused)
        if lesser is None:
            return False
        if asked == self.now:
            log.warning("The endpoint refused a request (%s); from now on it is asked so: %s", told, lesser)
            self.now = lesser
        return True


class _Over(Exception):
    """The round ended before this question was answered."""


class Round:
    """Asks questions, each until it has an outcome or the server is away for everyone.

    When it is, nothing is sent any more; answers that are on their way are waited for, since they are paid for.
    """

    def __init__(
        self,
        options: EndpointOptions,
        schema: Json,
        manners: Manners,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        random: Random,
    ) -> None:
        """See `processors.reason.endpoint.Endpoint`."""
        self._options = options
        self._schema = schema
        self._manners = manners
        self._clock = clock
        self._sleep = sleep
        self._patience = Patience(clock, random)
        self._fault: Unavailable | None = None
        self._resting: set[anyio.CancelScope] = set()

    async def ask(self, questions: Iterable[Question], came: Came) -> None:
        """Ask all of them.

        Raises:
            Unavailable: the server is away for everyone; questions that had no outcome until then have none.
        """
        waiting = iter(enumerate(questions))

        async def work() -> None:
            for index, question in waiting:
                try:
                    came((index, await self._outcome(http, question)))
                except Unavailable as error:
                    self._end(error)
                except _Over:
                    pass
                if self._fault is not None:
                    return

        async with self._options.client() as http, anyio.create_task_group() as workers:
            for _ in range(self._options.concurrency):
                workers.start_soon(work)
        if self._fault is not None:
            raise self._fault

    def _end(self, error: Unavailable) -> None:
        self._fault = self._fault or error
        for scope in self._resting:
            scope.cancel()

    async def _rest(self, seconds: float) -> None:
        with anyio.CancelScope() as scope:
            self._resting.add(scope)
            try:
                await self._sleep(seconds)
            finally:
                self._resting.discard(scope)

    async def _turn(self) -> None:
        """Waits until a request may be sent.

        Raises:
            _Over: none may be any more.
        """
        while self._fault is None and (left_s := self._patience.left_s) > 0.0:
            await self._rest(left_s)
        if self._fault is not None:
            raise _Over

    async def _outcome(self, http: httpx.AsyncClient, question: Question) -> Outcome:
        """Asks until there is one.

        Raises:
            Unavailable: there is none, and would be none for any question.
            _Over: another question found that out.
        """
        failures, seconds = 0, 0.0
        while True:
            await self._turn()
            manner, reply, began_s = self._manners.now, Reply(self._options.unsaid), self._clock()
            body = request(question, self._options, self._schema, manner)
            try:
                # What is not streamed comes all at once, when it is complete.
                await self._exchange(http, body, reply, self._options.timeout_s if manner.streams else None)
            except Away:
                continue
            except Refused as refused:
                if not self._manners.give_in(manner, refused, _told(refused)):
                    return self._refused(question, refused, Usage(seconds + self._clock() - began_s))
                continue
            except Broken as broken:
                failures += 1
                seconds += self._clock() - began_s
                if failures >= self._options.attempts:
                    await self._require_presence(http, broken)
                    return NoAnswer(f"failed {failures} times, the last time: {_told(broken)}", Usage(seconds))
                log.info("Clip %s is asked about again: %s", question.clip_id, _told(broken))
                await self._rest(self._patience.backoff_s(failures))
                continue
            self._patience.served()
            cost = self._options.cost(*reply.tokens)
            usage = Usage(seconds + self._clock() - began_s, *reply.tokens, cost)
            return reply.outcome(usage, self._options.most_tokens)

    def _refused(self, question: Question, refused: Refused, usage: Usage) -> NoAnswer:
        """None for this question.

        Raises:
            Unavailable: it is not the question that was refused.
        """
        remedy = {
            401: "give it a valid key",
            402: "fill up its account",
            403: "give it a key that may use the model",
            404: f"check its url and the model's name, {self._options.model!r}",
        }.get(refused.status, "give the url that it leads to" if refused.status < 400 else None)
        if remedy is not None:
            raise Unavailable(f"endpoint {self._options.url} answered {_told(refused)}; {remedy}")
        log.warning("The endpoint refused the question about clip %s: %s", question.clip_id, _told(refused))
        return NoAnswer(f"not taken by the endpoint: {_told(refused)}", usage)

    async def _require_presence(self, http: httpx.AsyncClient, broken: Broken) -> None:
        """Ask the least there is, to tell a question that fails alone from a server that fails everyone.

        Raises:
            Unavailable: that is not answered either.
        """
        while True:
            await self._turn()
            try:
                await self._exchange(
                    http, trial(self._options, self._manners.now), Reply(self._options.unsaid), self._options.timeout_s
                )
            except Away:
                continue
            except (Refused, Broken) as error:
                if isinstance(error, Refused) and error.status in (400, 422):  # It reads what it is sent.
                    return
                reason = error
                break
            self._patience.served()
            return
        raise Unavailable(
            f"endpoint {self._options.url} answers nobody: {_told(broken)}; then, to a mere greeting: "
            f"{_told(reason)}; see its log, and restart it"
        ) from reason

    async def _exchange(self, http: httpx.AsyncClient, body: Json, reply: Reply, silent_s: float | None) -> None:
        """Send a request and read the answer into `reply`. silent_s: the longest silence.

        Raises:
            Away: there is no answer, and a pause for everyone has begun.
            Refused, Broken: there is no whole answer.
            Unavailable: everyone was sent away too often.
        """
        with self._patience.sending() as sent:
            try:
                await self._answered(http, body, reply, silent_s, sent)
                return
            except (Away, Refused, Broken) as error:
                if reply.finished:  # Only its usage is missing: it is not asked for again.
                    return
                if not isinstance(error, Away):
                    raise
                self._patience.sent_away(sent, error.wait_s)
                away = error
        if self._patience.ends(self._options.attempts):
            raise Unavailable(
                f"endpoint {self._options.url} was away for everyone {self._options.attempts} times in a row, the last "
                f"time: {_told(away)}; start it, mend its url, or wait for its quota"
            ) from away
        raise away

    async def _answered(
        self, http: httpx.AsyncClient, body: Json, reply: Reply, silent_s: float | None, sent: Sent
    ) -> None:
        """As `_exchange`, of one request for itself."""
        timeout = httpx.Timeout(self._options.timeout_s, read=silent_s, pool=None)
        try:
            with anyio.fail_after(self._options.answer_s):
                async with http.stream("POST", self._options.address, json=body, timeout=timeout) as response:
                    sent.admitted = response.is_success
                    await self._read(response, reply)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise Away(f"no connection ({str(error) or type(error).__name__})") from error
        except TimeoutError as error:
            raise Broken(f"no whole answer within {self._options.answer_s:g} s") from error
        except httpx.TimeoutException as error:
            raise Broken(f"said nothing for {self._options.timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise Broken(f"broke off ({str(error) or type(error).__name__})") from error
        if not reply.finished:
            raise Broken("ended the answer in its midst")

    async def _read(self, response: httpx.Response, reply: Reply) -> None:
        if not response.is_success:
            words = self._options.unsaid(words_of(await _body(response, _MOST_ERROR_BYTES)))
            after, date = response.headers.get("retry-after"), response.headers.get("date")
            raise fault(response.status_code, words or response.reason_phrase, wait_s(after, date))
        if "event-stream" not in response.headers.get("content-type", ""):
            reply.take(await _body(response, MOST_BYTES))
            reply.finished = True
            return
        events, size = EventStream(), 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MOST_BYTES:
                raise Broken(f"sent more than {MOST_BYTES} bytes")
            for data in events.feed(chunk):
                reply.take(data)
            if reply.closed:
                return
        for data in events.end():
            reply.take(data)


async def _body(response: httpx.Response, most_bytes: int) -> str:
    """The body, or its beginning."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most_bytes:
            break
    return body[:most_bytes].decode("utf-8", "replace")


def _told(error: Exception) -> str:
    return brief(str(error))
