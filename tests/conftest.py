"""Real Kafka for every test that asks for it, started once; skipped with the reason where it cannot run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka import Kafka, KafkaMissing

StartKafka = Callable[..., Kafka]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A single node, shared by all tests; what they leave on it stays."""
    yield from _running(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def fresh_kafka(kafka: Kafka) -> Kafka:
    """The shared node without topics and groups (0.2 s; a node of one's own takes 4 s to start)."""
    kafka.wipe()
    return kafka


@pytest.fixture(scope="module")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Three nodes of the module's own: three copies of everything, of which two must confirm."""
    yield from _running(tmp_path_factory.mktemp("cluster"), nodes=3)


@pytest.fixture
def start_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartKafka]:
    """Starts clusters of the test's own, with the arguments of `Kafka` after the folder."""
    started: list[Kafka] = []

    def start(**options: object) -> Kafka:
        started.append(_started(tmp_path_factory.mktemp("kafka"), **options))
        return started[-1]

    yield start
    for cluster in started:
        cluster.end()


def _running(data: Path, **options: object) -> Iterator[Kafka]:
    cluster = _started(data, **options)
    yield cluster
    cluster.end()


def _started(data: Path, **options: object) -> Kafka:
    try:
        return Kafka(data, **options)  # type: ignore[arg-type]
    except KafkaMissing as missing:
        pytest.skip(f"no real Kafka here: {missing}")
