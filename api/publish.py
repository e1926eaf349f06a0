"""Publishing to Kafka from the API."""

import base64
import threading
from collections.abc import Callable

from anyio import to_thread
from confluent_kafka import KafkaError, KafkaException, Producer

from store.codec import encode
from store.errors import Passing
from store.kafka import KafkaSettings, Refusal
from store.records import Json, Record

_LONGEST_MESSAGE_BYTES = 4 << 20
"""As the steps' own producer."""


class Publisher:
    """Puts records on their topics and waits for the broker's word (acks from all replicas).

    Args:
        kafka: gives the broker's present settings, None while there is none. An embedded broker that was started
            again has another address.
        timeout_s: how long the broker may take to confirm.
    """

    def __init__(self, kafka: Callable[[], KafkaSettings | None], timeout_s: float = 8.0) -> None:
        self._kafka = kafka
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connected: tuple[KafkaSettings, Producer, Refusal] | None = None

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
            producer, _ = self._producer()
            return bool(producer.list_topics(timeout=2.0).brokers)
        except (KafkaException, Passing):
            return False

    def _send(self, topic: str, key: str | None, value: bytes) -> None:
        told: list[KafkaError | None] = []
        producer, refusal = self._producer()
        try:
            producer.produce(topic, value, key, on_delivery=lambda error, _: told.append(error))
        except (KafkaException, BufferError) as error:
            raise Passing(f"the broker client took no record for topic {topic}: {error}; try again") from error
        producer.flush(self._timeout_s + 1.0)
        if not told or told[0] is not None:
            why = refusal.reason or (told[0] if told else f"no answer within {self._timeout_s:g} s")
            kafka = self._kafka()
            at = kafka.address if kafka else "that was just there"
            raise Passing(f"broker {at} did not confirm a record on topic {topic}: {why}; try again")
        refusal.reason = None

    def _producer(self) -> tuple[Producer, Refusal]:
        kafka = self._kafka()
        if kafka is None:
            raise Passing("the broker is not up; try again when GET /ready answers 200")
        with self._lock:
            if self._connected is None or self._connected[0] != kafka:
                refusal = Refusal()
                settings = {
                    "acks": "all",
                    "message.timeout.ms": int(1000 * self._timeout_s),
                    "message.max.bytes": _LONGEST_MESSAGE_BYTES,
                    # The Java client's and aiokafka's: one key is one partition whoever wrote it.
                    "partitioner": "murmur2_random",
                    "log_level": 2,  # What fails is raised; librdkafka need not say it on stderr as well.
                    "error_cb": refusal,
                }
                self._connected = (kafka, Producer(kafka.librdkafka() | settings), refusal)
            return self._connected[1:]
