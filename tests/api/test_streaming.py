"""How the steps fare, as the broker or the worker tells it."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.lag import ROAD, GroupLags, in_order
from api.publish import Publisher
from api.service import StepHealth, Steps
from api.streaming import KafkaStreams, steps_of
from store.errors import Passing
from store.kafka import KafkaSettings
from streams.metrics import StepMetrics
from streams.topics import STEPS

EXPOSITION = b"""\
# HELP cliploom_step_records_total Records by what became of them
# TYPE cliploom_step_records_total counter
cliploom_step_records_total{outcome="done",step="embed"} 40.0
cliploom_step_records_total{outcome="dead",step="embed"} 2.0
cliploom_step_records_total{outcome="done",step="segment"} 3.0
# HELP cliploom_step_lag_records Records that wait on this worker's partitions
# TYPE cliploom_step_lag_records gauge
cliploom_step_lag_records{step="embed"} 7.0
cliploom_step_lag_records{step="train"} 0.0
"""
TOLD = (StepHealth("segment", None, 3, 1), StepHealth("embed", 7, 42, 1), StepHealth("train", 0, 0, 1))


class Worker(BaseHTTPRequestHandler):
    """A worker's metrics."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(EXPOSITION)

    def log_message(self, *told: object) -> None:
        """Say nothing."""


@pytest.fixture
def worker() -> Iterator[str]:
    """Address of a worker that serves its metrics."""
    server = HTTPServer(("127.0.0.1", 0), Worker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """Address of an embedded broker."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 3})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del cluster  # which ends the broker


def lags_of(broker: str | None) -> GroupLags:
    return GroupLags(lambda: None if broker is None else KafkaSettings(broker), timeout_s=2.0)


def streams_of(broker: str | None, metrics: str | None) -> KafkaStreams:
    return KafkaStreams(Publisher(lambda: broker), lags_of(broker), lambda: metrics)


def test_the_embedded_broker_cannot_tell_the_lag_and_the_worker_does(embedded, worker):
    assert lags_of(embedded).read() is None

    assert asyncio.run(streams_of(embedded, worker).steps()) == Steps(TOLD, "told by the worker")


@pytest.mark.parametrize("metrics", [None, "127.0.0.1:1"])
def test_without_the_worker_s_metrics_the_status_says_why_it_knows_no_step(embedded, metrics):
    told = asyncio.run(streams_of(embedded, metrics).steps())

    assert told.steps == ()
    assert "the embedded broker tells no lag, and the worker's metrics are not there" in told.note


@pytest.mark.parametrize(("broker", "why"), [(None, "the broker is not up"), ("127.0.0.1:1", "did not tell the lag")])
def test_a_broker_that_is_away_is_told_and_fails_nothing(broker, why):
    with pytest.raises(Passing, match=why):
        lags_of(broker).read()

    assert why in asyncio.run(streams_of(broker, None).steps()).note


def test_kafka_tells_the_lag_of_every_group_and_how_many_share_its_work(fresh_kafka):
    broker = {"bootstrap.servers": fresh_kafka.address}
    admin = AdminClient(broker)
    for creation in admin.create_topics([NewTopic("a", 2), NewTopic("b", 1)]).values():
        creation.result()
    producer = Producer(broker)
    for number in range(10):
        producer.produce("a", b"record", partition=number % 2)
    producer.produce("b", b"record")
    producer.flush()

    def consumer(group: str, topic: str) -> Consumer:
        consumer = Consumer(broker | {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
        consumer.subscribe([topic])
        return consumer

    embed, idle, other = consumer("cliploom-embed", "a"), consumer("cliploom-train", "b"), consumer("someone", "a")
    for one in (embed, idle, other):
        assert one.poll(30) is not None
    embed.commit(offsets=[TopicPartition("a", 0, 3)], asynchronous=False)

    # Of partition 0 two wait; partition 1 has no offset yet, so that its five wait.
    assert lags_of(fresh_kafka.address).read() == [StepHealth("embed", 7, 3, 1), StepHealth("train", 1, 0, 1)]

    embed.commit(offsets=[TopicPartition("a", 0, 5), TopicPartition("a", 1, 5)], asynchronous=False)
    for one in (embed, idle, other):
        one.close()

    assert lags_of(fresh_kafka.address).read() == [StepHealth("embed", 0, 10, 0)]


def test_a_step_is_told_by_its_metrics():
    assert steps_of(EXPOSITION) == list(TOLD)
    assert steps_of(b"") == []


def test_the_steps_are_told_in_the_order_of_the_road():
    assert ROAD == STEPS
    told = in_order(StepHealth(step) for step in ("zeal", "train", "segment", "awe"))
    assert [one.step for one in told] == ["segment", "train", "awe", "zeal"]


def test_the_worker_s_metrics_are_empty_while_it_is_away(worker):
    assert asyncio.run(streams_of(None, worker).exposition()) == EXPOSITION
    assert asyncio.run(streams_of(None, "127.0.0.1:1").exposition()) == b""
    assert asyncio.run(streams_of(None, None).exposition()) == b""


def test_metrics_of_the_api_are_followed_by_the_worker_s(live):
    alone = live.http.get("/metrics").text
    assert "cliploom_step_lag_records" not in alone
    live.worker_metrics = EXPOSITION

    families = text_string_to_metric_families(live.http.get("/metrics").text)
    samples = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}

    assert samples["cliploom_step_lag_records", "embed"] == 7
    assert samples["cliploom_http_requests_total", "/metrics", "200", "GET"] == 1


def test_the_status_tells_the_steps(live):
    live.told = Steps((StepHealth("embed", 7, 42, 2),), "told by the broker")

    status = live.http.get("/status").json()

    assert status["steps"] == [{"step": "embed", "lag": 7, "done": 42, "workers": 2}]
    assert status["steps_note"] == "told by the broker"


def test_the_status_tells_which_processors_are_left_out(live, run):
    metrics = StepMetrics()
    metrics.absent.labels("vision.siglip", 'model "a/b" is not on this machine').set(1)
    live.worker_metrics = generate_latest(metrics.registry)

    assert live.http.get("/status").json()["absent"] == {"vision.siglip": 'model "a/b" is not on this machine'}
    assert 'left out: vision.siglip, model "a/b" is not on this machine' in run("status")[1]

    live.worker_metrics = b""
    assert live.http.get("/status").json()["absent"] == {}
