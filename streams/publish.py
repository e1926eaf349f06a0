"""Putting records on topics, and waiting for the broker's word."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from store.codec import encode
from store.errors import InputError
from store.records import DeadLetter, Record
from streams.topics import dead_topic
from streams.traces import Headers

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1.0
LONGEST_RETRY_S = 15.0


@dataclass(frozen=True)
class Tombstone:
    """Everything that a compacted topic holds under a key is to go."""

    topic: str
    key: str


Publish = Callable[[Sequence[Record | Tombstone]], Awaitable[None]]
"""Put records on their topics; returns when the broker has them all."""


class Publisher:
    """Publishes to one broker.

    Args:
        headers: gives the headers that a record travels with.
    """

    def __init__(self, producer: AIOKafkaProducer, headers: Callable[[Record], Headers] = lambda record: []) -> None:
        self._producer = producer
        self._headers = headers

    async def publish(self, records: Sequence[Record | Tombstone]) -> None:
        """See `Publish`.

        Raises:
            InputError: a record is larger than the broker takes.
        """
        await self._send([(record.topic, record) for record in records])

    async def bury(self, letter: DeadLetter) -> None:
        """Put a dead letter on its step's topic."""
        await self._send([(dead_topic(letter.step), letter)])

    async def _send(self, addressed: Sequence[tuple[str, Record | Tombstone]]) -> None:
        """Send until the broker has everything: an absent broker holds the step up, it loses nothing."""
        left = list(addressed)
        retry_s = RETRY_AFTER_S
        while left:
            # One after the other into the producer's buffer, so that records of one key keep their order.
            sent = [await self._buffer(topic, record) for topic, record in left]
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

    async def _buffer(self, topic: str, record: Record | Tombstone) -> Awaitable[object]:
        value = None if isinstance(record, Tombstone) else encode(record)
        headers = [] if isinstance(record, Tombstone) else self._headers(record)
        try:
            return await self._producer.send(topic, value, key=record.key.encode(), headers=headers)
        except MessageSizeTooLargeError as error:
            raise InputError(f"{topic} record {record.key} is too large for the broker: {error}") from error
