"""Consumer lag: how many records wait for every step, by what the broker knows of its consumer group."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from api.service import StepHealth
from store.errors import Passing
from store.kafka import KafkaSettings

GROUP_PREFIX = "cliploom-"
"""A step's consumer group is named after it."""
ROAD = ("segment", "resume", "embed", "densify", "persist", "curate", "schedule", "train", "snapshot")
"""The steps in the order in which footage passes them; a test holds it to the steps that there are."""

Partition = tuple[str, int]


def in_order(steps: Iterable[StepHealth]) -> list[StepHealth]:
    """Steps in the order of the road; those that are not on it last, by name."""
    return sorted(steps, key=lambda one: (ROAD.index(one.step) if one.step in ROAD else len(ROAD), one.step))


class GroupLags:
    """Asks a Kafka cluster for the lag of every step.

    The embedded broker does not know what groups it has, so that it cannot be asked.

    Args:
        kafka: gives the broker's present settings, None while there is none.
        timeout_s: how long the broker may take over each question.
    """

    def __init__(self, kafka: Callable[[], KafkaSettings | None], timeout_s: float = 3.0) -> None:
        self._kafka = kafka
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connected: tuple[KafkaSettings, AdminClient] | None = None

    def read(self) -> list[StepHealth] | None:
        """The steps in the order of the road; None where the broker cannot tell.

        Raises:
            Passing: the broker is not there or does not answer.
        """
        admin = self._admin()
        try:
            listed = admin.list_consumer_groups(request_timeout=self._timeout_s).result()
            if not listed.valid and listed.errors:
                if listed.errors[0].code() == KafkaError._UNSUPPORTED_FEATURE:
                    return None
                raise KafkaException(listed.errors[0])
            names = [group.group_id for group in listed.valid if group.group_id.startswith(GROUP_PREFIX)]
            return in_order(self._healths(admin, names)) if names else []
        except KafkaException as error:
            raise Passing(f"the broker did not tell the lag of the steps: {error}; try again") from error

    def _admin(self) -> AdminClient:
        kafka = self._kafka()
        if kafka is None:
            raise Passing("the broker is not up; try again when GET /ready answers 200")
        with self._lock:
            if self._connected is None or self._connected[0] != kafka:
                self._connected = (kafka, AdminClient(kafka.librdkafka() | {"log_level": 2}))
            return self._connected[1]

    def _healths(self, admin: AdminClient, names: list[str]) -> list[StepHealth]:
        """Lag of the groups; raises KafkaException."""
        within = {"request_timeout": self._timeout_s}
        members = {
            name: future.result().members for name, future in admin.describe_consumer_groups(names, **within).items()
        }
        asked = {  # one group a question: the client takes no more
            name: admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)], **within)[name]
            for name in names
        }
        committed = {
            name: {(tp.topic, tp.partition): tp.offset for tp in future.result().topic_partitions if tp.offset >= 0}
            for name, future in asked.items()
        }
        read = {name: self._read_by(admin, members[name], committed[name]) for name in names}
        every = {partition for partitions in read.values() for partition in partitions}
        starts = self._offsets(admin, every, OffsetSpec.earliest())
        ends = self._offsets(admin, every, OffsetSpec.latest())
        return [
            StepHealth(
                step=name.removeprefix(GROUP_PREFIX),
                # What was deleted unread no longer waits.
                lag=sum(max(0, ends[one] - max(committed[name].get(one, 0), starts[one])) for one in read[name]),
                done=sum(committed[name].values()),
                workers=len(members[name]),
            )
            for name in names
            if read[name]
        ]

    def _read_by(self, admin: AdminClient, members: Iterable[Any], committed: Iterable[Partition]) -> list[Partition]:
        """Every partition of the topics that a group reads; of those without an offset nothing was read yet."""
        topics = {topic for topic, _ in committed}
        topics |= {tp.topic for member in members for tp in member.assignment.topic_partitions}
        return [
            (topic, partition)
            for topic in sorted(topics)
            for partition in admin.list_topics(topic, timeout=self._timeout_s).topics[topic].partitions
        ]

    def _offsets(self, admin: AdminClient, partitions: Iterable[Partition], at: OffsetSpec) -> dict[Partition, int]:
        asked = {TopicPartition(*partition): at for partition in partitions}
        if not asked:
            return {}
        told = admin.list_offsets(asked, request_timeout=self._timeout_s)
        return {(tp.topic, tp.partition): future.result().offset for tp, future in told.items()}
