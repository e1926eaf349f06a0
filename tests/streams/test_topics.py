"""What a cluster is asked for when a worker starts."""

import time

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from store.kafka import KafkaSettings
from streams import topics
from streams.topics import TOPICS, prepare_topics

NOT_KNOWN_YET = ConfigResource(ResourceType.TOPIC, "not.known.yet")


class _BehindOnce(AdminClient):
    """Asks the first time for a topic that the broker does not have, as one does that has not heard of it yet."""

    behind = True

    def describe_configs(self, resources, **options):
        if self.behind:
            type(self).behind = False
            resources = [*resources, NOT_KNOWN_YET]
        return super().describe_configs(resources, **options)


class _AlwaysBehind(_BehindOnce):
    def describe_configs(self, resources, **options):
        return AdminClient.describe_configs(self, [*resources, NOT_KNOWN_YET], **options)


def _with_topics(cluster):
    """Settings of a cluster that lists every topic; it may do so only a moment after they were made."""
    kafka = KafkaSettings(cluster.address)
    assert sorted(prepare_topics(kafka)) == sorted(topic.name for topic in TOPICS)
    until = time.monotonic() + 30
    while len(AdminClient(kafka.librdkafka()).list_topics(timeout=10).topics) < len(TOPICS):
        assert time.monotonic() < until
        time.sleep(0.1)
    return kafka


def test_a_broker_that_does_not_know_yet_what_another_worker_made_is_asked_again(fresh_kafka, monkeypatch):
    kafka = _with_topics(fresh_kafka)
    monkeypatch.setattr(topics, "AdminClient", _BehindOnce)
    assert prepare_topics(kafka) == []
    assert not _BehindOnce.behind


def test_a_broker_that_never_learns_of_a_topic_is_told(fresh_kafka, monkeypatch):
    kafka = _with_topics(fresh_kafka)
    monkeypatch.setattr(topics, "AdminClient", _AlwaysBehind)
    with pytest.raises(topics.Unavailable, match=r"did not create the topics.*UNKNOWN_TOPIC_OR_PART"):
        prepare_topics(kafka, timeout_s=1.0)
