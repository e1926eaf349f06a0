"""A broker that dies, comes back, or loses one of its nodes; records that come twice, late, or broken."""

import json
import random
import time
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from store.codec import encode
from store.records import ClipsStored
from streams.topics import TOMBSTONED, TOPICS
from tests.conftest import StartKafka
from tests.faults.road import BACK, FRONT, Outcome, Road, differing, same
from tests.kafka import Kafka


def _messages(address: str) -> list[tuple[str, bytes | None, bytes | None]]:
    """(topic, key, value) of everything that the broker holds."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "enable.partition.eof": True})
    known = consumer.list_topics(timeout=10).topics
    parts = [TopicPartition(t.name, p, 0) for t in TOPICS for p in known[t.name].partitions]
    consumer.assign(parts)
    found, ended = [], 0
    while ended < len(parts):
        for message in consumer.consume(500, 1.0):
            if message.error() is not None:
                ended += 1
            else:
                found.append((message.topic(), message.key(), message.value()))
    consumer.close()
    return found


def test_a_broker_that_is_killed_and_started_again_costs_time_only(
    start_kafka: StartKafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    kafka = start_kafka()
    with Road(tmp_path, kafka.address) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.clips.count() > 0, "a clip")
        kafka.kill(1)
        time.sleep(10)
        kafka.start(1)
        same(road.finish(len(footage)), undisturbed)


def test_a_cluster_that_loses_one_of_three_nodes_goes_on(
    kafka_cluster: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, kafka_cluster.address) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.clips.count() > 0, "a clip")
        kafka_cluster.kill(2)
        same(road.finish(len(footage)), undisturbed)


def test_every_record_again_in_any_order_changes_nothing(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        before = road.finish(len(footage))
        again = _messages(fresh_kafka.address) * 2
        assert len(again) > 2 * 4 * len(before.rows)
        random.Random(3).shuffle(again)
        road.send_raw(*again)
        road.settle()
        # An old place that came last is mended by the next clustering, which begins when nothing has come for a while.
        road.wait(lambda: not differing(road.outcome(), undisturbed), "every place mended")
        same(road.outcome(), undisturbed)


def _poison() -> dict[str, bytes | None]:
    good = json.loads(encode(ClipsStored(clip_ids=("a",))))
    return {
        "empty": b"",
        "null": None,
        "no text": b"\xff\xfe\x00",
        "cut off": encode(ClipsStored(clip_ids=("a",)))[:-5],
        "no object": b"[1, 2]",
        "no envelope": b"{}",
        "unknown type": json.dumps(good | {"type": "clips.stolen"}).encode(),
        "newer version": json.dumps(good | {"version": 99}).encode(),
        "no such field": json.dumps(good | {"body": {"clip_ids": [], "clip": 1}}).encode(),
        "deep": b'{"type":' + b"[" * 5000 + b"]" * 5000 + b"}",
        "another topic's": json.dumps(good).encode(),
    }


def test_poison_on_every_topic_is_dead_lettered_and_harms_no_clip(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        road.start(FRONT, BACK)
        sent = {
            (topic.name, kind): value
            for topic in TOPICS
            for kind, value in _poison().items()
            if not (value is None and topic.name in TOMBSTONED)
            and not (kind == "another topic's" and topic.name == "clips.stored")
        }
        road.send_raw(*[(topic, kind.encode(), value) for (topic, kind), value in sent.items()])
        road.submit(footage)
        outcome = road.finish(len(footage))
        same(outcome, undisturbed)
        road.settle()
        letters = road.store.dead_letters.all().values()
        buried = {(letter["origin_topic"], letter["origin_key"]) for letter in letters}
        nothing = {topic for topic, kind in buried if kind in ("null", "empty")}  # one letter: there is nothing in it
        assert {
            (topic, kind) for topic, kind in sent.keys() - buried if topic not in nothing or sent[topic, kind]
        } == set()
        assert {letter["kind"] for letter in letters} == {"unreadable"}
        assert {letter["attempts"] for letter in letters} == {1}
