"""Every topic: what it carries, how it is keyed, spread and kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from store.errors import Passing
from store.records import (
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClipsStored,
    ConceptChanged,
    DeadDropped,
    DeadReplayed,
    FootageContinued,
    FootageSegmented,
    FootageSubmitted,
    Record,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    SnapshotFinished,
    SnapshotRequested,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)

_DAY_MS = 24 * 3600 * 1000
_FOREVER_MS = -1


@dataclass(frozen=True)
class Topic:
    """A topic of the service; `retention_ms` -1 keeps records for ever."""

    name: str
    key: str
    partitions: int
    retention_ms: int


STEPS = ("segment", "resume", "embed", "densify", "persist", "curate", "schedule", "train", "snapshot")
"""Every step, in the order of the road; a step's dead letters go to `dead.<step>`."""


def dead_topic(step: str) -> str:
    """Dead-letter topic of a step."""
    return f"dead.{step}"


def _topic(record: type[Record], key: str, partitions: int, retention_ms: int) -> Topic:
    return Topic(record.topic, key, partitions, retention_ms)


TOPICS: tuple[Topic, ...] = (
    _topic(FootageSubmitted, "video_id", 4, _FOREVER_MS),
    _topic(FootageContinued, "video_id", 4, _FOREVER_MS),
    _topic(FootageSegmented, "video_id", 4, _FOREVER_MS),
    _topic(ClipSegmented, "clip_id", 4, _FOREVER_MS),
    _topic(ClipEmbedded, "clip_id", 4, _FOREVER_MS),
    _topic(ClipDensified, "clip_id", 4, _FOREVER_MS),
    _topic(ClipsStored, "clips", 1, 7 * _DAY_MS),
    _topic(ClipCurated, "clip_id", 4, 7 * _DAY_MS),
    _topic(ConceptChanged, "concept", 1, _FOREVER_MS),
    _topic(TrainingRequested, "run_id", 1, _FOREVER_MS),
    _topic(TrainingProgress, "run_id", 1, 7 * _DAY_MS),
    _topic(TrainingFinished, "run_id", 1, _FOREVER_MS),
    _topic(ReviewDecided, "subject_id", 1, _FOREVER_MS),
    _topic(RemovalRequested, "subject_id", 1, _FOREVER_MS),
    _topic(RemovalDone, "removal_id", 1, _FOREVER_MS),
    _topic(SnapshotRequested, "tag", 1, _FOREVER_MS),
    _topic(SnapshotFinished, "tag", 1, _FOREVER_MS),
    _topic(DeadReplayed, "dead_id", 1, _FOREVER_MS),
    _topic(DeadDropped, "dead_id", 1, _FOREVER_MS),
    *(Topic(dead_topic(step), "dead_id", 1, _FOREVER_MS) for step in STEPS),
)


def create_topics(broker: str, topics: Sequence[Topic] = TOPICS, timeout_s: float = 30.0) -> list[str]:
    """Create the topics that a Kafka cluster lacks; topics that exist are left as they are.

    Replication is the cluster's default (`default.replication.factor`).

    Returns:
        Names of the topics that were created.

    Raises:
        Passing: the broker does not answer or refuses.
    """
    admin = AdminClient({"bootstrap.servers": broker})
    try:
        known = set(admin.list_topics(timeout=timeout_s).topics)
        wanted = [
            NewTopic(
                t.name, num_partitions=t.partitions, replication_factor=-1, config={"retention.ms": str(t.retention_ms)}
            )
            for t in topics
            if t.name not in known
        ]
        for future in (admin.create_topics(wanted, request_timeout=timeout_s) if wanted else {}).values():
            future.result()
    except KafkaException as error:
        raise Passing(f"broker {broker} did not create the topics: {error}; is it up, may we create topics?") from error
    return [topic.topic for topic in wanted]
