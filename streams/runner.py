"""The one loop of every step: take a batch, process it, write durably, acknowledge, dead-letter what failed.

Faust acknowledges too early by default: a raising agent, `take`, and `concurrency` above 1 all commit past
unfinished records. So: `noack_take`, raw bytes decoded inside the guard, no exception escapes, and the
acknowledgement comes after everything that the batch gave has been written and the broker has said so.
"""

import asyncio
import base64
import hashlib
import logging
import random
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import faust

from store.codec import decode
from store.errors import CliploomError, Passing, RecordError, Unavailable
from store.kafka import KafkaSettings
from store.records import DeadLetter, Record, video_and_clip
from streams.child import WorkerFault
from streams.logs import log_fields
from streams.metrics import StepMetrics
from streams.publish import Publish, Publisher
from streams.security import faust_credentials
from streams.topics import TOMBSTONED, dead_topic
from streams.traces import Tracer

log = logging.getLogger(__name__)

FailureKind = Literal["unreadable", "refused", "bug", "exhausted"]
"""See `store.records.DeadLetter.kind`."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Between tries; doubled each time, give or take a fifth, so that workers do not come back all at once."""
PATIENCE_S = 900.0
"""A record is retried for this long while something that every record needs is away (`Unavailable`)."""
SESSION_S = 45.0
SILENT_S = 120.0
_LONGEST_UNIT_S = 6 * 3600.0
"""Longest single piece of work (a training run); a broker takes a silent consumer for dead after twice this."""


@dataclass(frozen=True)
class Failure:
    """Why one record of a batch could not be processed."""

    reason: str
    video_id: str | None = None
    clip_id: str | None = None
    kind: FailureKind = "refused"


class Step(ABC):
    """One step of the road.

    Subclasses say what they read and how much at once, and process batches. Whatever they write must be
    idempotent: a batch may come again.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    """Topics."""
    batch: ClassVar[int] = 1
    within_s: ClassVar[float] = 0.2
    """A batch is taken when full, or this long after its first record."""
    max_attempts: ClassVar[float] = 3
    """Tries of a record whose faults are passing, before it becomes a dead letter; infinity: never."""

    @abstractmethod
    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        """Process records in order; failures by index.

        Raises:
            Passing: nothing was decided; the batch is tried again.
        """

    async def idle(self, publish: Publish) -> None:
        """Called about every second while no batch is being processed."""

    def ends(self, record: Record, failure: Failure) -> Sequence[Record]:
        """Records that say that what a record asked for ended so, where others wait for its end; there is no dead
        letter then. None, as a rule: the record becomes one."""
        return ()

    def stop(self) -> None:
        """End children; called once, also in the middle of a batch."""


class Runner:
    """Runs one step over one stream of Faust events.

    Args:
        monotonic: seconds; measures patience and silence.
        metrics, tracer: told of everything that happens.
    """

    def __init__(
        self,
        step: Step,
        publisher: Publisher,
        clock: Callable[[], datetime],
        metrics: StepMetrics,
        tracer: Tracer,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step = step
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._tracer = tracer
        self._monotonic = monotonic
        self._busy = asyncio.Lock()
        self._draining = False
        self._next: dict[Any, int] = {}
        """Topic and partition to the offset that is to be processed next, where a record was seen."""
        self._last_taken_s = monotonic()

    def create_app(self, kafka: KafkaSettings, folder: Path, session_s: float = SESSION_S) -> faust.App:
        """A Faust app, and so a consumer group, of this step's own: a slow step holds up no other.

        Args:
            folder: for what Faust wants to leave on disk.
            session_s: a consumer that is silent for this long loses its partitions.
        """
        app = faust.App(
            f"cliploom-{self.step.name}",
            broker=[f"kafka://{host}" for host in kafka.address.split(",")],
            broker_credentials=faust_credentials(kafka),
            store="memory://",
            datadir=folder / f"faust-{self.step.name}",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=max(16, self.step.batch),
            stream_wait_empty=False,
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 12,
            broker_request_timeout=90.0,
            broker_max_poll_interval=2.0 * _LONGEST_UNIT_S,
        )
        topic = app.topic(*self.step.reads, value_type=bytes, value_serializer="raw", key_serializer="raw")
        app.agent(topic, name=f"cliploom-{self.step.name}", concurrency=1)(self.run)
        app.finalize()
        return app

    async def run(self, stream: Any) -> None:
        """Consume the stream; the body of the step's Faust agent."""
        async for events in stream.noack_take(self.step.batch, within=self.step.within_s):
            async with self._busy:
                if self._draining:
                    await asyncio.Event().wait()  # for ever: what was taken stays uncommitted, and comes again
                self._last_taken_s = self._monotonic()
                for event in reversed(events):
                    self._next[event.message.tp] = event.message.offset
                await self._handle(events)
                for event in events:
                    await stream.ack(event)
                    self._next[event.message.tp] = event.message.offset + 1
                self._last_taken_s = self._monotonic()

    async def tick(self, app: faust.App) -> None:
        """Give the step its idle moments and measure its lag, until it falls silent.

        Faust's agents are known to stop without a word (faust#523, #532, #629): records wait, and none is taken.
        Only a new process helps then.
        """
        while True:
            await asyncio.sleep(1.0)
            assigned = [tp for tp in app.consumer.assignment() if tp.topic in self.step.reads]
            lag = sum([await self._lag(app, tp) for tp in assigned])
            self._metrics.lag.labels(self.step.name).set(lag)
            if not lag or self._busy.locked():
                self._last_taken_s = self._monotonic()
            elif self._monotonic() - self._last_taken_s > SILENT_S:
                log.error("%s: %d records wait and none was taken for %g s", self.step.name, lag, SILENT_S)
                return
            if assigned:
                await self._idle()

    async def drain(self) -> None:
        """Take nothing more; returns when the batch in hand, if any, has been acknowledged."""
        self._draining = True
        async with self._busy:
            return

    async def _idle(self) -> None:
        async with self._busy:
            if self._draining:
                return
            try:
                await self.step.idle(self._publisher.publish)
            except CliploomError as error:
                log.warning("%s: idle work failed and will be tried again: %s", self.step.name, error)
            except Exception:
                # As with a batch, a fault of one step's program must not end the process of all of them.
                log.exception("%s: idle work failed and will be tried again", self.step.name)

    async def _lag(self, app: faust.App, tp: Any) -> int:
        end = app.consumer.highwater(tp)
        at = self._next.get(tp)
        if at is None:
            at = await app.consumer.position(tp)
        return max(0, end - at) if end is not None and at is not None else 0

    async def _handle(self, events: Sequence[Any]) -> None:
        decoded: list[tuple[Any, Record]] = []
        for event in events:
            if event.message.value is None and event.message.topic in TOMBSTONED:
                self._count("skipped")
                continue
            try:
                decoded.append((event, _on(event.message.topic, decode(event.message.value))))
            except RecordError as error:
                await self._bury(event, Failure(str(error), kind="unreadable"), attempts=1)
        if not decoded:
            return
        self._metrics.batch.labels(self.step.name).observe(len(decoded))
        fields: dict[str, str | None] = {"step": self.step.name}
        if len(decoded) == 1:
            video, clip = video_and_clip(decoded[0][1])
            fields |= {"video_id": video, "clip_id": clip, "key": decoded[0][1].key}
        headers = [(record, dict(event.message.headers or {})) for event, record in decoded]
        with (
            log_fields(**fields),
            self._tracer.batch(headers),
            self._metrics.seconds.labels(self.step.name).time(),
        ):
            await self._process(decoded)

    async def _process(self, batch: Sequence[tuple[Any, Record]]) -> None:
        """Process a batch with retries; a batch that keeps failing is processed record by record."""
        outcome = await self._tried(batch)
        if isinstance(outcome, _GivenUp):
            if len(batch) > 1 and outcome.kind != "exhausted":
                for single in batch:
                    await self._process([single])
                return
            failures = {index: outcome.failure(record) for index, (_, record) in enumerate(batch)}
        else:
            failures, outcome = outcome, _GivenUp("refused", "", "", 1)
        self._count("done", len(batch) - len(failures))
        for index, failure in failures.items():
            event, record = batch[index]
            if told := self.step.ends(record, failure):
                await self._publisher.publish(told)
            else:
                await self._bury(event, failure, outcome.attempts, outcome.trace)

    async def _tried(self, batch: Sequence[tuple[Any, Record]]) -> "dict[int, Failure] | _GivenUp":
        """Failures by index, or why the batch as a whole was given up."""
        started_s = self._monotonic()
        wait_s = FIRST_WAIT_S
        attempts = 0
        while True:
            attempts += 1
            try:
                return await self.step.process([record for _, record in batch], self._publisher.publish)
            except Passing as error:
                patient = isinstance(error, Unavailable) and self._monotonic() - started_s < PATIENCE_S
                if attempts >= self.step.max_attempts and not patient:
                    return _GivenUp("exhausted", str(error), traceback.format_exc(), attempts)
                log.warning("%s: attempt %d: %s; trying again in %.0f s", self.step.name, attempts, error, wait_s)
                self._metrics.retries.labels(self.step.name).inc()
                await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            except Exception as error:
                log.exception("%s: a batch of %d failed", self.step.name, len(batch))
                kind: FailureKind = "refused" if isinstance(error, CliploomError) else "bug"
                told = (
                    str(error).strip().splitlines()[-1]
                    if isinstance(error, WorkerFault)
                    else f"{type(error).__name__}: {error}"
                )
                return _GivenUp(kind, told, traceback.format_exc(), attempts)

    async def _bury(self, event: Any, failure: Failure, attempts: int, trace: str = "") -> None:
        message = event.message
        raw = message.value or b""
        name = f"{self.step.name}/{message.topic}/".encode()
        letter = DeadLetter(
            dead_id=hashlib.sha256(name + raw).hexdigest()[:32],
            step=self.step.name,
            origin_topic=message.topic,
            origin_partition=message.partition,
            origin_offset=message.offset,
            origin_key=message.key.decode(errors="replace") if message.key else None,
            kind=failure.kind,
            raw_base64=base64.b64encode(raw).decode(),
            reason=failure.reason,
            traceback=trace,
            attempts=attempts,
            video_id=failure.video_id,
            clip_id=failure.clip_id,
            died_at=self._now_after(message),
        )
        log.warning("%s: dead letter %s: %s", self.step.name, letter.dead_id, failure.reason)
        await self._publisher.bury(letter)
        self._count("dead")
        self._metrics.failures.labels(self.step.name, failure.kind).inc()

    def _now_after(self, message: Any) -> datetime:
        """The time, but always after the message was sent: where clocks differ, or one was put back, a letter is still
        newer than the submission or the replay that it tells the end of.
        """
        now = self._clock()
        if not message.timestamp or message.timestamp < 0:
            return now
        return max(now, datetime.fromtimestamp(message.timestamp, UTC) + timedelta(milliseconds=1))

    def _count(self, outcome: str, records: int = 1) -> None:
        self._metrics.records.labels(self.step.name, outcome).inc(records)


def _on(topic: str, record: Record) -> Record:
    """The record, if it belongs on the topic."""
    if topic not in (record.topic, dead_topic(record.step) if isinstance(record, DeadLetter) else None):
        raise RecordError(f"a {record.topic} record lies on topic {topic}; send it to its own")
    return record


@dataclass(frozen=True)
class _GivenUp:
    """A batch that could not be processed."""

    kind: FailureKind
    reason: str
    trace: str
    attempts: int

    def failure(self, record: Record) -> Failure:
        return Failure(self.reason, *video_and_clip(record), self.kind)
