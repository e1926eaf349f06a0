"""Publishing to Kafka from the API."""

import base64
import threading
from collections.abc import Callable

from anyio import to_thread
from confluent_kafka import KafkaError, KafkaException, Producer

from store.codec import encode
from store.errors import Passing
from store.records import Json, Record

_LONGEST_MESSAGE_BYTES = 4 << 20
"""As the steps' own producer."""


class Publisher:
    """Puts records on their topics and waits for the broker's word (acks from all replicas).

    Args:
        address: gives the broker's present `host:port`, None while there is none. An embedded broker that was
            started again has another one.
        timeout_s: how long the broker may take to confirm.
    """

    def __init__(self, address: Callable[[], str | None], timeout_s: float = 8.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connected: tuple[str, Producer] | None = None

    async def publish(self, record: Record) -> None:
        """Put a record on its topic.

        Raises:
            Passing: the broker is not there or did not confirm.
        """
        await to_thread.run_sync(self._send, record.topic, record.key, encode(record))

    async def replay(self, dead_letter: Json) -> None:
        """Put the original record of a dead letter back on the topic that it came from.

        Raises:
            Passing: the broker is not there or did not confirm.
        """
        raw = base64.b64decode(dead_letter["raw_base64"])
        await to_thread.run_sync(self._send, dead_letter["origin_topic"], dead_letter["origin_key"], raw)

    async def ready(self) -> bool:
        """Whether the broker answers."""
        return await to_thread.run_sync(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self._producer().list_topics(timeout=2.0).brokers)
        except (KafkaException, Passing):
            return False

    def _send(self, topic: str, key: str | None, value: bytes) -> None:
        told: list[KafkaError | None] = []
        producer = self._producer()
        try:
            producer.produce(topic, value, key, on_delivery=lambda error, _: told.append(error))
        except (KafkaException, BufferError) as error:
            raise Passing(f"the broker client took no record for topic {topic}: {error}; try again") from error
        producer.flush(self._timeout_s + 1.0)
        if not told or told[0] is not None:
            why = told[0] if told else f"no answer within {self._timeout_s:g} s"
            raise Passing(f"broker {self._address()} did not confirm a record on topic {topic}: {why}; try again")

    def _producer(self) -> Producer:
        address = self._address()
        if address is None:
            raise Passing("the broker is not up; try again when GET /ready answers 200")
        with self._lock:
            if self._connected is None or self._connected[0] != address:
                self._connected = (
                    address,
                    Producer(
                        {
                            "bootstrap.servers": address,
                            "acks": "all",
                            "message.timeout.ms": int(1000 * self._timeout_s),
                            "message.max.bytes": _LONGEST_MESSAGE_BYTES,
                            # The Java client's and aiokafka's: one key is one partition whoever wrote it.
                            "partitioner": "murmur2_random",
                            "log_level": 2,  # What fails is raised; librdkafka need not say it on stderr as well.
                        }
                    ),
                )
            return self._connected[1]
