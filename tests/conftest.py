"""Real Kafka for every test that asks for it, started once; skipped with the reason where it cannot run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.kafka import Kafka, running

StartKafka = Callable[..., Kafka]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A single node, shared by all tests; what they leave on it stays."""
    with running(tmp_path_factory.mktemp("kafka")) as node:
        yield node


@pytest.fixture
def fresh_kafka(kafka: Kafka) -> Kafka:
    """The shared node without topics and groups (0.2 s; a node of one's own takes 4 s to start)."""
    kafka.wipe()
    return kafka


@pytest.fixture(scope="module")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Three nodes of the module's own: three copies of everything, of which two must confirm."""
    with running(tmp_path_factory.mktemp("cluster"), nodes=3) as cluster:
        yield cluster


@pytest.fixture
def start_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartKafka]:
    """Starts clusters of the test's own, with the arguments of `running` after the folder."""
    with ExitStack() as started:
        yield lambda **options: started.enter_context(running(tmp_path_factory.mktemp("kafka"), **options))
