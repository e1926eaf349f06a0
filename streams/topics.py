"""Every topic: what it carries, how it is keyed, spread and kept."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from store.errors import SettingsError, Unavailable
from store.kafka import KafkaSettings
from store.records import (
    AdapterDecided,
    AnnotationDue,
    CalibrationAdopted,
    CalibrationRequested,
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClipsStored,
    ClusterChanged,
    ClustersFounded,
    ConceptChanged,
    DeadDropped,
    DeadReplayed,
    DriftAnswered,
    DriftRaised,
    FootageContinued,
    FootageSegmented,
    FootageSubmitted,
    IdentityDecided,
    IdentityLinked,
    PivotsFound,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    SnapshotFinished,
    SnapshotRequested,
    TokenReserved,
    TrainingControlled,
    TrainingDecided,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)

_DAY_MS = 24 * 3600 * 1000
_FOREVER_MS = -1
_MOST_COPIES = 3
_LOOK_EVERY_S = 0.2
LONGEST_MESSAGE_BYTES = 4 << 20


@dataclass(frozen=True)
class Topic:
    """A topic of the service.

    spread: over the cluster's partitions; else it has one, which keeps all of its records in order.
    retention_ms: -1 keeps records for ever.
    compacted: only the last record of each key is kept, so that a tombstone erases what was removed.
    """

    name: str
    key: str
    spread: bool
    retention_ms: int = _FOREVER_MS
    compacted: bool = False

    def config(self) -> dict[str, str]:
        """What a broker must hold of it, besides partitions and copies."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(LONGEST_MESSAGE_BYTES),
        }


@dataclass(frozen=True)
class TopicOptions:
    """How topics are laid out on a cluster.

    partitions: of topics that are spread; the most workers that one step can use.
    copies: replication factor; None: 3, or the number of brokers where there are fewer.
    """

    partitions: int = 4
    copies: int | None = None


STEPS = ("segment", "resume", "embed", "densify", "persist", "curate", "schedule", "train", "snapshot")
"""Every step, in the order of the road; a step's dead letters go to `dead.<step>`."""


def dead_topic(step: str) -> str:
    """Dead-letter topic of a step."""
    return f"dead.{step}"


TOPICS: tuple[Topic, ...] = (
    Topic(FootageSubmitted.topic, "video_id", spread=True, compacted=True),
    Topic(FootageContinued.topic, "video_id", spread=True, compacted=True),
    Topic(FootageSegmented.topic, "video_id", spread=True, compacted=True),
    Topic(ClipSegmented.topic, "clip_id", spread=True, compacted=True),
    Topic(ClipEmbedded.topic, "clip_id", spread=True, compacted=True),
    Topic(ClipDensified.topic, "clip_id", spread=True, compacted=True),
    Topic(AnnotationDue.topic, "clip_id", spread=True, retention_ms=7 * _DAY_MS),
    Topic(ClipsStored.topic, "clips", spread=False, retention_ms=7 * _DAY_MS),
    Topic(ClipCurated.topic, "clip_id", spread=True, compacted=True),
    Topic(PivotsFound.topic, "clip_id", spread=True, compacted=True),
    Topic(IdentityLinked.topic, "clip_id", spread=True, compacted=True),
    Topic(IdentityDecided.topic, "decision_id", spread=False),
    Topic(CalibrationRequested.topic, "request_id", spread=False),
    Topic(CalibrationAdopted.topic, "request_id", spread=False),
    Topic(ClustersFounded.topic, "foundation_id", spread=False),
    Topic(ClusterChanged.topic, "event_id", spread=False),
    Topic(ConceptChanged.topic, "concept", spread=False),
    Topic(DriftRaised.topic, "alarm_id", spread=False),
    Topic(DriftAnswered.topic, "alarm_id", spread=False),
    Topic(TokenReserved.topic, "token", spread=False, compacted=True),
    Topic(TrainingDecided.topic, "decision_id", spread=False),
    Topic(TrainingRequested.topic, "run_id", spread=True),
    Topic(TrainingControlled.topic, "run_id", spread=True),
    Topic(TrainingProgress.topic, "run_id", spread=False, compacted=True),
    Topic(TrainingFinished.topic, "run_id", spread=False),
    Topic(AdapterDecided.topic, "decision_id", spread=False),
    Topic(ReviewDecided.topic, "subject_id", spread=False),
    Topic(RemovalRequested.topic, "subject_id", spread=False),
    Topic(RemovalDone.topic, "removal_id", spread=False),
    Topic(SnapshotRequested.topic, "tag", spread=False),
    Topic(SnapshotFinished.topic, "tag", spread=False),
    Topic(DeadReplayed.topic, "dead_id", spread=False),
    Topic(DeadDropped.topic, "dead_id", spread=False),
    *(Topic(dead_topic(step), "dead_id", spread=False, compacted=True) for step in STEPS),
)

TOMBSTONED = frozenset(topic.name for topic in TOPICS if topic.compacted)
"""Topics on which a record without a value is no fault: what its key named was removed."""


def prepare_topics(
    kafka: KafkaSettings,
    topics: Sequence[Topic] = TOPICS,
    options: TopicOptions = TopicOptions(),
    timeout_s: float = 30.0,
) -> list[str]:
    """Create the topics that a cluster lacks, and check those that it has.

    Returns:
        Names of the topics that were created.

    Raises:
        Unavailable: the broker does not answer or refuses.
        SettingsError: topics of the cluster are laid out otherwise; nothing is changed then, nor created.
    """
    admin = AdminClient(kafka.librdkafka())
    try:
        cluster, configs = _found(admin, topics, timeout_s)
        copies = options.copies or min(_MOST_COPIES, len(cluster.brokers))
        faults = [
            fault
            for topic in topics
            if topic.name in configs
            for fault in _faults(topic, cluster.topics[topic.name], configs[topic.name], copies, options)
        ]
        if faults:
            raise SettingsError(
                f"the cluster at {kafka.address} holds topics that are laid out otherwise: {'; '.join(faults)}. Change"
                " them there (kafka-topics, kafka-configs, kafka-reassign-partitions), or start with --partitions and"
                " --copies as they are"
            )
        wanted = [
            NewTopic(
                topic.name,
                num_partitions=_partitions(topic, options),
                replication_factor=copies,
                config=topic.config(),
            )
            for topic in topics
            if topic.name not in cluster.topics
        ]
        made: dict[str, Future[None]] = admin.create_topics(wanted, request_timeout=timeout_s) if wanted else {}
        for future in made.values():
            _wait_for(future)
    except KafkaException as error:
        raise Unavailable(
            f"broker {kafka.address} did not create the topics: {error}; is it up, may we create topics?"
        ) from error
    return [topic.topic for topic in wanted]


def _found(admin: AdminClient, topics: Sequence[Topic], timeout_s: float) -> tuple[Any, dict[str, Any]]:
    """The cluster, and the configurations by name of those of the topics that it holds.

    A topic that another worker makes just now may be listed by one broker and not known yet to the one that is
    asked for its configuration: both are asked again then.
    """
    until = time.monotonic() + timeout_s
    while True:
        cluster = admin.list_topics(timeout=timeout_s)
        resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics if topic.name in cluster.topics]
        described = admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}
        try:
            return cluster, {resource.name: future.result() for resource, future in described.items()}
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > until:
                raise
        time.sleep(_LOOK_EVERY_S)


def _partitions(topic: Topic, options: TopicOptions) -> int:
    return options.partitions if topic.spread else 1


def _wait_for(creation: "Future[None]") -> None:
    """Wait for a topic; another worker that starts at the same time may have made it first."""
    try:
        creation.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _faults(topic: Topic, found: Any, configs: Any, copies: int, options: TopicOptions) -> list[str]:
    """What of a topic of the cluster is not as it should be."""
    partitions = len(found.partitions)
    there = min(len(partition.replicas) for partition in found.partitions.values())
    told = {
        "partitions": (str(partitions), str(_partitions(topic, options))),
        "replication factor": (str(there), str(copies)),
        **{name: (configs[name].value, wanted) for name, wanted in topic.config().items()},
    }
    return [f"{topic.name} has {name} {have}, not {want}" for name, (have, want) in told.items() if have != want]
