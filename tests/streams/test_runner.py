"""The loop of every step, on either broker: what is acknowledged, retried and dead-lettered."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from store.codec import decode, encode
from store.errors import InputError, Passing
from store.kafka import KafkaSettings
from store.records import ClipsStored, DeadLetter, Record
from streams.broker import EmbeddedBroker
from streams.child import WorkerFault
from streams.metrics import StepMetrics
from streams.publish import Publish, Publisher
from streams.runner import Failure, Runner, Step
from streams.topics import prepare_topics
from streams.traces import Tracer

NOW = datetime(2200, 1, 1, tzinfo=UTC)
"""After every message of these tests was sent."""


class Recorder(Step):
    """Notes the clip ids that it is given; ids that start with a word below are treated as the word says."""

    name: ClassVar[str] = "densify"
    reads: ClassVar[tuple[str, ...]] = ("clips.stored",)
    batch: ClassVar[int] = 4
    within_s: ClassVar[float] = 0.3

    def __init__(self) -> None:
        self.done: list[str] = []
        self.tries: dict[str, int] = {}
        self.entered = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        ids = [record.clip_ids[0] for record in records if isinstance(record, ClipsStored)]
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        for id_ in ids:
            self.tries[id_] = self.tries.get(id_, 0) + 1
            if id_.startswith("bug"):
                raise ZeroDivisionError(id_)
            if id_.startswith("refused"):
                raise InputError(f"{id_} is refused")
            if id_.startswith("away") and self.tries[id_] < 2:
                raise Passing("storage is away")
            if id_.startswith("gone"):
                raise Passing("storage is gone")
        self.done += [id_ for id_ in ids if not id_.startswith("fail")]
        return {i: Failure(f"{id_} failed", clip_id=id_) for i, id_ in enumerate(ids) if id_.startswith("fail")}


class Service:
    """One step on one broker, as `streams.app` wires it."""

    def __init__(self, broker: str, step: Step, now: datetime = NOW) -> None:
        self._broker = broker
        self._now = now
        self.step = step
        self.app: faust.App | None = None
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> "Service":
        self._folder = tempfile.TemporaryDirectory()
        self._producer = AIOKafkaProducer(bootstrap_servers=self._broker, acks="all")
        await self._producer.start()
        publisher, tracer = Publisher(self._producer), Tracer(self.step.name, None)
        runner = Runner(self.step, publisher, lambda: self._now, StepMetrics(), tracer)
        self.app = runner.create_app(KafkaSettings(self._broker), Path(self._folder.name), session_s=10.0)
        await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.app is not None
        assert self._producer is not None
        await asyncio.wait([asyncio.create_task(self.app.stop())], timeout=3.5)
        await self._producer.stop()
        self._folder.cleanup()


@pytest.fixture(params=["embedded", "kafka"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a broker without records."""
    if request.param == "embedded":
        broker = EmbeddedBroker()
        yield broker.address
        del broker
    else:
        kafka = request.getfixturevalue("fresh_kafka")
        prepare_topics(KafkaSettings(kafka.address))
        yield kafka.address


async def _send(address: str, *values: bytes | None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    for value in values:
        await producer.send_and_wait("clips.stored", value, key=b"clips")
    await producer.stop()


def _stored(id_: str) -> bytes:
    return encode(ClipsStored(clip_ids=(id_,)))


async def _until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _dead_letters(address: str) -> AsyncIterator[Callable[[int], Awaitable[list[DeadLetter]]]]:
    consumer = AIOKafkaConsumer("dead.densify", bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    letters: list[DeadLetter] = []

    async def first(n: int) -> list[DeadLetter]:
        async with asyncio.timeout(30):
            while len(letters) < n:
                record = decode((await consumer.getone()).value)
                assert isinstance(record, DeadLetter)
                letters.append(record)
        return sorted(letters, key=lambda letter: letter.reason)

    yield first
    await consumer.stop()


async def test_what_does_not_decode_is_dead_lettered_whole_and_the_rest_goes_on(address: str) -> None:
    step = Recorder()
    unknown = b'{"type": "clips.stored", "version": 99, "body": {}}'
    await _send(address, b"\xff\x00", None, b"", unknown, _stored("a"))
    async with Service(address, step), _dead_letters(address) as first:
        await _until(lambda: step.done == ["a"])
        letters = await first(4)
    assert sorted(base64.b64decode(letter.raw_base64) for letter in letters) == sorted([b"\xff\x00", b"", b"", unknown])
    assert any("version 99 is unknown" in letter.reason for letter in letters)
    assert {letter.origin_topic for letter in letters} == {"clips.stored"}
    assert {letter.attempts for letter in letters} == {1}


async def test_a_record_that_fails_alone_leaves_its_batch_untouched(address: str) -> None:
    step = Recorder()
    await _send(address, *map(_stored, ["a", "bug-1", "refused-1", "b", "fail-1"]))
    async with Service(address, step), _dead_letters(address) as first:
        await _until(lambda: set(step.done) >= {"a", "b"})
        letters = await first(3)
    assert [letter.reason for letter in letters] == [
        "InputError: refused-1 is refused",
        "ZeroDivisionError: bug-1",
        "fail-1 failed",
    ]
    assert "ZeroDivisionError" in letters[1].traceback
    assert letters[2].clip_id == "fail-1"
    assert letters[0].died_at == NOW


async def test_a_letter_is_newer_than_its_record_though_the_clock_was_put_back(address: str) -> None:
    before = datetime.now(UTC)
    await _send(address, _stored("fail-1"))
    async with Service(address, Recorder(), now=before - timedelta(hours=1)), _dead_letters(address) as first:
        (letter,) = await first(1)
    assert before - timedelta(milliseconds=1) < letter.died_at <= datetime.now(UTC) + timedelta(milliseconds=1)


async def test_a_passing_fault_is_tried_again_and_a_lasting_one_dead_lettered(address: str) -> None:
    step = Recorder()
    await _send(address, _stored("away-1"))
    async with Service(address, step), _dead_letters(address) as first:
        await _until(lambda: step.done == ["away-1"])
        await _send(address, _stored("gone-1"))
        (letter,) = await first(1)
    assert step.tries == {"away-1": 2, "gone-1": 3}
    assert (letter.reason, letter.attempts) == ("storage is gone", 3)


async def test_what_was_not_finished_comes_again_after_a_restart(address: str) -> None:
    await _send(address, _stored("a"))
    interrupted = Recorder()
    interrupted.hold = asyncio.Event()
    async with Service(address, interrupted):
        await asyncio.wait_for(interrupted.entered.wait(), 30)
    again = Recorder()
    async with Service(address, again):
        await _until(lambda: again.done == ["a"], timeout_s=90)
    assert interrupted.done == []


async def test_what_was_finished_does_not_come_again(address: str) -> None:
    await _send(address, _stored("a"))
    before = Recorder()
    async with Service(address, before):
        await _until(lambda: before.done == ["a"])
    await _send(address, _stored("b"))
    after = Recorder()
    async with Service(address, after):
        await _until(lambda: "b" in after.done, timeout_s=90)
    assert after.done == ["b"]


class Quiet:
    """As much of an app as an idle step sees: one partition, of which every record is taken."""

    def __init__(self) -> None:
        self.consumer = self
        self.partition = TopicPartition("clips.stored", 0)

    def assignment(self) -> set[TopicPartition]:
        return {self.partition}

    def highwater(self, partition: TopicPartition) -> int:
        return 0

    async def position(self, partition: TopicPartition) -> int:
        return 0


class Failing(Recorder):
    """Fails in every idle moment."""

    n_idle = 0

    async def idle(self, publish: Publish) -> None:
        self.n_idle += 1
        raise WorkerFault("KeyError: 'a clip that was removed'")


async def test_a_fault_of_idle_work_is_logged_and_the_step_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    step, nobody = Failing(), Publisher(AIOKafkaProducer())
    runner = Runner(step, nobody, lambda: NOW, StepMetrics(), Tracer("densify", None))
    app: Any = Quiet()
    ticking = asyncio.create_task(runner.tick(app))
    await _until(lambda: step.n_idle == 2 or ticking.done())
    assert not ticking.done()
    ticking.cancel()
    assert "a clip that was removed" in caplog.text
