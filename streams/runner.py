"""The one loop of every step: take a batch, process it, write durably, acknowledge, dead-letter what failed.

Faust acknowledges too early by default: a raising agent, `take`, and `concurrency` above 1 all commit past
unfinished records. So: `noack_take`, raw bytes decoded inside the guard, no exception escapes, and the
acknowledgement comes after everything that the batch gave has been written and the broker has said so.
"""

import asyncio
import base64
import hashlib
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from store.codec import decode, encode
from store.errors import CliploomError, InputError, Passing, RecordError
from store.records import DeadLetter, Record
from streams.topics import dead_topic

log = logging.getLogger(__name__)

Publish = Callable[[Sequence[Record]], Awaitable[None]]
"""Put records on their topics; returns when the broker has them all."""

FailureKind = Literal["unreadable", "refused", "bug", "exhausted"]
"""See `store.records.DeadLetter.kind`."""

RETRY_AFTER_S = 1.0
LONGEST_RETRY_S = 15.0
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

    def stop(self) -> None:
        """End children; called once, also in the middle of a batch."""


class Publisher:
    """Puts records on topics of one broker and waits for its word."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def publish(self, records: Sequence[Record]) -> None:
        """See `Publish`.

        Raises:
            InputError: a record is larger than the broker takes.
        """
        await self._send([(record.topic, record) for record in records])

    async def bury(self, letter: DeadLetter) -> None:
        """Put a dead letter on its step's topic."""
        await self._send([(dead_topic(letter.step), letter)])

    async def _send(self, addressed: Sequence[tuple[str, Record]]) -> None:
        """Send until the broker has everything: an absent broker holds the step up, it loses nothing."""
        left = list(addressed)
        retry_s = RETRY_AFTER_S
        while left:
            sent = [await self._producer.send(topic, encode(r), key=r.key.encode()) for topic, r in left]
            answers = await asyncio.gather(*sent, return_exceptions=True)
            for (topic, record), answer in zip(left, answers, strict=True):
                if isinstance(answer, MessageSizeTooLargeError):
                    raise InputError(f"{topic} record {record.key} is too large for the broker: {answer}") from answer
                if isinstance(answer, BaseException) and not isinstance(answer, KafkaError):
                    raise answer
            left = [one for one, answer in zip(left, answers, strict=True) if isinstance(answer, KafkaError)]
            if left:
                log.warning("the broker did not take %d records; trying again in %.0f s", len(left), retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)


class Runner:
    """Runs one step over one stream of Faust events."""

    def __init__(self, step: Step, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        self._step = step
        self._publisher = publisher
        self._clock = clock
        self._busy = asyncio.Lock()

    def create_app(self, broker: str, folder: Path, session_s: float = 60.0) -> faust.App:
        """A Faust app, and so a consumer group, of this step's own: a slow step holds up no other.

        Args:
            folder: for what Faust wants to leave on disk.
            session_s: a consumer that is silent for this long loses its partitions.
        """
        app = faust.App(
            f"cliploom-{self._step.name}",
            broker=f"kafka://{broker}",
            store="memory://",
            datadir=folder / f"faust-{self._step.name}",
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=max(16, self._step.batch),
            stream_wait_empty=False,
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 12,
            broker_request_timeout=90.0,
            broker_max_poll_interval=2.0 * _LONGEST_UNIT_S,
        )
        topic = app.topic(*self._step.reads, value_type=bytes, value_serializer="raw", key_serializer="raw")
        app.agent(topic, name=f"cliploom-{self._step.name}", concurrency=1)(self.run)
        app.finalize()
        return app

    async def run(self, stream: Any) -> None:
        """Consume the stream; the body of the step's Faust agent."""
        async for events in stream.noack_take(self._step.batch, within=self._step.within_s):
            async with self._busy:
                await self._handle(events)
            for event in events:
                await stream.ack(event)

    async def tick(self) -> None:
        """Give the step its idle moments, for ever."""
        while True:
            await asyncio.sleep(1.0)
            async with self._busy:
                try:
                    await self._step.idle(self._publisher.publish)
                except CliploomError as error:
                    log.warning("%s: idle work failed and will be tried again: %s", self._step.name, error)

    async def _handle(self, events: Sequence[Any]) -> None:
        decoded: list[tuple[Any, Record]] = []
        for event in events:
            try:
                decoded.append((event, decode(event.message.value)))
            except RecordError as error:
                await self._bury(event, Failure(str(error), kind="unreadable"), attempts=1)
        if decoded:
            await self._process(decoded)

    async def _process(self, batch: Sequence[tuple[Any, Record]]) -> None:
        """Process a batch with retries; a batch that keeps failing is processed record by record."""
        reason, trace, attempts = "", "", 0
        kind: FailureKind = "exhausted"
        while attempts < self._step.max_attempts:
            attempts += 1
            try:
                failures = await self._step.process([record for _, record in batch], self._publisher.publish)
            except Passing as error:
                reason, trace = str(error), traceback.format_exc()
                log.warning("%s: attempt %d of %s: %s", self._step.name, attempts, self._step.max_attempts, reason)
                await asyncio.sleep(min(RETRY_AFTER_S * attempts, LONGEST_RETRY_S))
            except Exception as error:
                reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
                kind = "refused" if isinstance(error, CliploomError) else "bug"
                log.exception("%s: a batch of %d failed", self._step.name, len(batch))
                break
            else:
                for index, failure in failures.items():
                    await self._bury(batch[index][0], failure, attempts)
                return
        if len(batch) > 1:
            for single in batch:
                await self._process([single])
            return
        event, record = batch[0]
        failure = Failure(reason, getattr(record, "video_id", None), getattr(record, "clip_id", None), kind)
        await self._bury(event, failure, attempts, trace)

    async def _bury(self, event: Any, failure: Failure, attempts: int, trace: str = "") -> None:
        message = event.message
        raw = message.value or b""
        name = f"{self._step.name}/{message.topic}/".encode()
        letter = DeadLetter(
            dead_id=hashlib.sha256(name + raw).hexdigest()[:32],
            step=self._step.name,
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
            died_at=self._clock(),
        )
        log.warning("%s: dead letter %s: %s", self._step.name, letter.dead_id, failure.reason)
        await self._publisher.bury(letter)
