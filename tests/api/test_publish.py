"""Publishing to a broker (librdkafka's, in this process) over the real protocol."""

import asyncio
import base64
from collections.abc import Iterator

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from api.publish import Publisher
from store.codec import decode
from store.errors import Passing
from store.kafka import KafkaSettings
from store.records import DeadReplayed

RECORD = DeadReplayed(dead_id="d1", by="Ada", replayed_at="2026-03-01T12:00:00Z")


class Broker:
    """An in-process broker that lives as long as the object."""

    def __init__(self) -> None:
        self._cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 3})
        node = next(iter(self._cluster.list_topics(timeout=10).brokers.values()))
        self.address = f"{node.host}:{node.port}"

    def read(self, topic: str) -> tuple[str | None, bytes, int]:
        """(key, value, partition) of the topic's first record."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 2})
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(4)])
        try:
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None
            return message.key() and message.key().decode(), message.value(), message.partition()
        finally:
            consumer.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    return Broker()


def test_a_record_is_on_its_topic_under_its_key_when_publish_returns(broker):
    asyncio.run(Publisher(lambda: KafkaSettings(broker.address)).publish(RECORD))

    key, value, partition = broker.read("dead.replayed")

    assert (key, decode(value)) == ("d1", RECORD)
    # As the steps' own producer would, so that records of one key keep their order.
    assert partition == DefaultPartitioner()(b"d1", [0, 1, 2, 3], [0, 1, 2, 3])


def test_a_replay_puts_back_the_very_bytes(broker):
    letter = {
        "raw_base64": base64.b64encode(b"\xff no record").decode(),
        "origin_topic": "clips.embedded",
        "origin_key": None,
    }

    asyncio.run(Publisher(lambda: KafkaSettings(broker.address)).replay(letter))

    key, value, _ = broker.read("clips.embedded")
    assert (key, value) == (None, b"\xff no record")


def test_the_present_address_is_used_when_the_broker_was_started_again(broker):
    address = "127.0.0.1:1"
    publisher = Publisher(lambda: KafkaSettings(address), timeout_s=2.0)
    with pytest.raises(Passing, match=r"broker 127.0.0.1:1 did not confirm .*try again"):
        asyncio.run(publisher.publish(RECORD))
    assert not asyncio.run(publisher.ready())

    address = broker.address

    asyncio.run(publisher.publish(RECORD))
    assert asyncio.run(publisher.ready())


def test_without_a_broker_nothing_is_published():
    publisher = Publisher(lambda: None)

    with pytest.raises(Passing, match="the broker is not up"):
        asyncio.run(publisher.publish(RECORD))
    assert not asyncio.run(publisher.ready())
