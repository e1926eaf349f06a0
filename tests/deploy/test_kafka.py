"""Kafka without Docker (deploy/kafka/run.py): it starts, keeps its data, and takes the faults that tests need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka import RUN, Kafka, running


def _create(kafka: Kafka, topic: str, copies: int) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 2})
    for future in admin.create_topics([NewTopic(topic, 1, copies)]).values():
        future.result()


def _put(kafka: Kafka, topic: str, value: bytes, patience_s: float = 30.0) -> str | None:
    """The fault, None when the broker confirmed."""
    told: list[str | None] = []
    settings = {"acks": "all", "message.timeout.ms": int(1000 * patience_s), "message.max.bytes": 4 << 20}
    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 2, **settings})
    producer.produce(topic, value, on_delivery=lambda error, _: told.append(error.name() if error else None))
    producer.flush(patience_s + 5)
    return told[0]


def _first(kafka: Kafka, topic: str, n: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": "test", "log_level": 2})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    try:
        return [message.value() or b"" for message in consumer.consume(n, 30)]
    finally:
        consumer.close()


def test_a_killed_node_comes_back_with_what_it_confirmed(start_kafka):
    kafka = start_kafka()
    _create(kafka, "kept", copies=1)
    assert _put(kafka, "kept", b"before") is None

    kafka.kill(1)
    assert _put(kafka, "kept", b"lost", patience_s=1.0) == "_MSG_TIMED_OUT"
    kafka.start(1)

    assert _put(kafka, "kept", b"after") is None
    assert _first(kafka, "kept", 2) == [b"before", b"after"]


def test_a_paused_node_confirms_nothing_until_it_goes_on(start_kafka):
    kafka = start_kafka()
    _create(kafka, "kept", copies=1)

    kafka.pause(1)
    assert _put(kafka, "kept", b"unconfirmed", patience_s=1.0) == "_MSG_TIMED_OUT"
    kafka.resume(1)

    assert _put(kafka, "kept", b"confirmed") is None


def test_three_nodes_bear_the_loss_of_one(kafka_cluster):
    _create(kafka_cluster, "kept", copies=3)
    assert _put(kafka_cluster, "kept", b"with three") is None

    kafka_cluster.kill(1)
    try:
        assert _put(kafka_cluster, "kept", b"with two") is None
        assert _first(kafka_cluster, "kept", 2) == [b"with three", b"with two"]
    finally:
        kafka_cluster.start(1)


def test_a_message_of_four_mebibytes_is_taken(fresh_kafka):
    _create(fresh_kafka, "large", copies=1)

    assert _put(fresh_kafka, "large", bytes((4 << 20) - 1000)) is None


def test_no_topic_comes_of_a_typing_error(fresh_kafka):
    assert _put(fresh_kafka, "clips.sotred", b"x", patience_s=1.0) == "_MSG_TIMED_OUT"

    admin = AdminClient({"bootstrap.servers": fresh_kafka.address, "log_level": 2})
    assert "clips.sotred" not in admin.list_topics(timeout=10).topics


def test_a_wiped_node_holds_no_topic_and_no_group(kafka):
    _create(kafka, "gone", copies=1)
    assert _put(kafka, "gone", b"x") is None
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": "gone"})
    consumer.commit(offsets=[TopicPartition("gone", 0, 1)], asynchronous=False)
    consumer.close()

    kafka.wipe()

    admin = AdminClient({"bootstrap.servers": kafka.address})
    assert [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")] == []
    assert admin.list_consumer_groups().result().valid == []


def test_a_command_that_is_none_is_answered_with_what_there_is(start_kafka):
    kafka = start_kafka()

    with pytest.raises(RuntimeError, match="node 1 is running"):
        kafka.start(1)
    with pytest.raises(RuntimeError, match="'kill 7' is none of kill, pause, resume, start with a node's number"):
        kafka.kill(7)


def _missing(tmp_path: Path, **programs: str) -> str:
    """What a machine is told that has these programs (shell scripts) and no jars of Kafka."""
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    told = subprocess.run(
        [sys.executable, str(RUN), "--data", str(tmp_path / "data"), "--jars", str(tmp_path / "cache" / "jars")],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    event = json.loads(told.stdout)
    assert (event["event"], told.returncode) == ("missing", 1)
    return str(event["reason"])


def test_a_machine_is_told_what_it_lacks(tmp_path):
    assert _missing(tmp_path) == "java is not on the PATH; Kafka 4 needs Java 17 or later"
    assert _missing(tmp_path, java="exit 0").endswith(
        "cache/jars has no jars of Kafka, and mvn, which would fetch them, is not on the PATH"
    )
    told = _missing(tmp_path, java="exit 0", mvn="echo 'Unknown host'; exit 1")
    assert told == "Maven could not fetch Kafka's jars: Unknown host"
    assert list((tmp_path / "cache").iterdir()) == []


def test_tests_are_skipped_with_the_reason_where_there_is_no_kafka(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(pytest.skip.Exception, match="no real Kafka here: java is not on the PATH"), running(tmp_path):
        pass


def test_nodes_end_with_the_process_that_started_them(start_kafka):
    kafka = start_kafka()
    _create(kafka, "kept", copies=1)

    kafka.end()

    assert _put(kafka, "kept", b"lost", patience_s=1.0) == "_MSG_TIMED_OUT"


def test_a_settled_port_is_used(start_kafka):
    kafka = start_kafka()
    port = int(kafka.address.rpartition(":")[2])

    with pytest.raises(RuntimeError, match=f"port {port} is taken"):
        start_kafka(port=port)
