"""The step that trains: which records start a run, what stops it, and what it tells."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from store.codec import decode, encode
from store.errors import InputError, Passing
from store.records import Record, TrainingControlled, TrainingFinished, TrainingProgress, TrainingRequested
from store.runs import stints_of
from store.store import Store
from store.view import View
from streams.broker import EmbeddedBroker
from streams.child import Child, WorkerFault
from streams.steps.train import Train
from tests.streams.test_runner import Service

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WITHIN_S = 60.0


def make_worker() -> Callable[[Any, Callable[[Any], None]], Any]:
    """Of a real child process: leaves its number in a file and trains for ever."""

    def work(request: TrainingRequested, emit: Callable[[Any], None]) -> None:
        Path(request.members_key).write_text(str(os.getpid()))
        emit(TrainingProgress(run_id=request.run_id, phase="lora", step=1, steps=9, loss=0.5))
        time.sleep(600)

    return work


class Clock:
    """Gains a minute with every look."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


class FakeChild:
    """Trains in this process: tells one step, then ends as it is told to, or never, until it is killed."""

    def __init__(self, fault: Exception | None = None, is_endless: bool = False) -> None:
        self.fault = fault
        self.is_endless = is_endless
        self.started: list[str] = []
        self._killed = asyncio.Event()

    async def run(
        self, request: TrainingRequested, time_limit_s: float, tell: Callable[[TrainingProgress], Awaitable[None]]
    ) -> TrainingFinished:
        self.started.append(request.run_id)
        self._killed.clear()
        await tell(TrainingProgress(run_id=request.run_id, phase="lora", step=4, steps=9, loss=0.5))
        if self.is_endless:
            await self._killed.wait()
            raise Passing("train process died (exit code -9)")
        if self.fault is not None:
            raise self.fault
        return finished(request.run_id)

    def kill(self) -> None:
        self._killed.set()


class Told(list[Record]):
    """A `Publish` that keeps what it is given, and puts it into the store unless it `lags`."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.view = View(store)
        self.lags = False

    async def __call__(self, records: Sequence[Record]) -> None:
        self.extend(records)
        if not self.lags:
            self.view.apply(records)

    def of(self, kind: type[Record]) -> list[Any]:
        return [record for record in self if isinstance(record, kind)]


def requested(run_id: str = "run", members_key: str = "k") -> TrainingRequested:
    return TrainingRequested(
        run_id=run_id,
        concept="calm",
        stage="A",
        members_key=members_key,
        members_digest="d",
        parent=None,
        settings={},
        requested_by="scheduler",
        reason="ready",
        requested_at=NOW,
    )


def finished(run_id: str) -> TrainingFinished:
    return TrainingFinished(
        run_id=run_id,
        concept="calm",
        status="succeeded",
        reason="",
        artefacts={},
        metrics={},
        finished_at=NOW + timedelta(days=1),
    )


def control(verb: str, minutes: float, run_id: str = "run") -> TrainingControlled:
    told = {"control_id": f"{verb}-{minutes}", "run_id": run_id, "verb": verb, "by": "Ada", "reason": "heat"}
    return TrainingControlled.model_validate(told | {"decided_at": NOW + timedelta(minutes=minutes)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "data")


@pytest.fixture
def told(store: Store) -> Told:
    return Told(store)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not is_so():
            await asyncio.sleep(0.02)


async def halted(step: Train, record: Record, told: Told, is_training: Callable[[], bool], *controls: Record) -> None:
    """Have the step take a record, and controls come once it trains."""
    taking = asyncio.create_task(step.process([record], told))
    await until(is_training)
    told.view.apply(controls)
    assert await asyncio.wait_for(taking, WITHIN_S) == {}


async def test_a_run_tells_when_it_held_a_device_and_its_end(store: Store, told: Told) -> None:
    step = Train(store, FakeChild(), Clock())
    assert await step.process([requested()], told) == {}
    first, then = told.of(TrainingProgress)
    assert (first.phase, then.phase, then.step) == ("start", "lora", 4)
    assert then.stints == ((NOW + timedelta(minutes=1), NOW + timedelta(minutes=3)),)
    assert told.of(TrainingFinished) == [finished("run")]


async def test_a_run_that_cannot_be_trained_ends_as_failed_with_its_reason(store: Store, told: Told) -> None:
    step = Train(store, FakeChild(InputError("none of its 9 clips is open")), Clock())
    await step.process([requested()], told)
    (end,) = told.of(TrainingFinished)
    assert (end.status, end.reason) == ("failed", "none of its 9 clips is open")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            WorkerFault("Traceback ...\nKeyError: 'shot'"),
            "an error of the program, whose traceback is in the log: KeyError",
        ),
        (Passing("train process died (exit code -9)"), "tried until given up: train process died"),
    ],
    ids=["bug", "exhausted"],
)
async def test_a_run_that_is_given_up_has_failed_and_leaves_no_dead_letter(store: Store, fault, reason) -> None:
    View(store).apply([requested()])
    broker = EmbeddedBroker()
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, acks="all")
    await producer.start()
    await producer.send_and_wait("training.requested", encode(requested()), key=b"run")
    await producer.stop()
    step = Train(store, FakeChild(fault), Clock())
    async with Service(broker.address, step):
        consumer = AIOKafkaConsumer(
            "training.finished", "dead.train", bootstrap_servers=broker.address, auto_offset_reset="earliest"
        )
        await consumer.start()
        end = decode((await asyncio.wait_for(consumer.getone(), WITHIN_S)).value)
        await consumer.stop()
    assert isinstance(end, TrainingFinished)
    assert (end.status, end.concept) == ("failed", "calm")
    assert end.reason.startswith(reason)


async def test_what_a_run_that_is_over_left_is_deleted_when_the_next_record_comes(store: Store, told: Told) -> None:
    View(store).apply([requested("over"), requested("paused"), finished("over"), control("pause", 1, "paused")])
    for name in ("over", "paused", "unknown"):
        (store.folder / "runs" / name).mkdir(parents=True)
    await Train(store, FakeChild(), Clock()).process([requested()], told)
    assert sorted(path.name for path in (store.folder / "runs").iterdir()) == ["paused", "unknown"]


async def test_a_child_that_died_is_a_passing_fault_and_every_try_is_a_stint(store: Store, told: Told) -> None:
    child = FakeChild(Passing("train process died"))
    step = Train(store, child, Clock())
    told.view.apply([requested()])
    for _ in range(2):
        with pytest.raises(Passing):
            await step.process([requested()], told)
    assert told.of(TrainingFinished) == []
    assert len(stints_of(store.runs.get("run"))) == 2


@pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("cancel", "cancelled")])
async def test_the_run_in_hand_is_stopped_at_once_and_has_no_end(
    store: Store, told: Told, verb: str, status: str
) -> None:
    child = FakeChild(is_endless=True)
    step = Train(store, child, Clock())
    told.view.apply([requested()])
    await halted(step, requested(), told, lambda: bool(child.started), control(verb, 30))
    run = store.runs.get("run")
    assert (run["status"], run["progress"]["step"]) == (status, 4)
    assert told.of(TrainingFinished) == []
    (stint,) = stints_of(run)
    assert stint[1] == told[-1].stints[-1][1], "it held the device until it was stopped"


async def test_a_real_child_is_killed_when_its_run_is_cancelled(store: Store, told: Told, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    step = Train(store, Child("train", __name__), Clock())
    told.view.apply([requested(members_key=str(pid))])
    await halted(
        step,
        requested(members_key=str(pid)),
        told,
        lambda: (store.runs.get("run") or {}).get("progress", {}).get("phase") == "lora",
        control("cancel", 30),
    )
    await until(lambda: int(pid.read_text()) not in [one.pid for one in multiprocessing.active_children()])
    assert store.runs.get("run")["status"] == "cancelled"


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_a_run_that_was_halted_before_it_started_never_starts(store: Store, told: Told, verb: str) -> None:
    child = FakeChild()
    step = Train(store, child, Clock())
    told.view.apply([requested(), control(verb, 1)])
    await step.process([requested()], told)
    await step.process([control(verb, 1)], told)
    assert (child.started, told) == ([], [])


async def test_a_resumed_run_goes_on_where_it_was_with_its_earlier_stint(store: Store, told: Told) -> None:
    clock, endless, child = Clock(), FakeChild(is_endless=True), FakeChild()
    told.view.apply([requested()])
    await halted(
        Train(store, endless, clock),
        requested(),
        told,
        lambda: bool(endless.started),
        control("pause", 30),
    )
    told.view.apply([control("resume", 40)])
    assert store.runs.get("run")["status"] == "requested"
    clock.now = NOW + timedelta(minutes=50)
    told.clear()
    await Train(store, child, clock).process([control("resume", 40)], told)
    assert child.started == ["run"]
    assert (told[0].step, len(told[0].stints)) == (4, 2)
    assert store.runs.get("run")["status"] == "succeeded"


async def test_a_resumption_that_the_store_does_not_show_yet_is_not_stopped_by_the_pause(
    store: Store, told: Told
) -> None:
    child = FakeChild()
    told.view.apply([requested(), control("pause", 1)])
    told.lags = True
    await Train(store, child, Clock()).process([control("resume", 2)], told)
    assert child.started == ["run"]
    assert told.of(TrainingFinished) == [finished("run")]


async def test_a_resumption_of_a_run_that_was_halted_again_starts_nothing(store: Store, told: Told) -> None:
    child = FakeChild()
    told.view.apply([requested(), control("pause", 1), control("resume", 2), control("pause", 3)])
    await Train(store, child, Clock()).process([control("resume", 2)], told)
    assert child.started == []


async def test_records_that_are_read_again_run_nothing_twice(store: Store, told: Told) -> None:
    records = [requested(), control("pause", 1), control("resume", 2)]
    told.view.apply(records)
    child = FakeChild()
    step = Train(store, child, Clock())
    told.lags = True  # the store does not show the end before the resumption is read
    for record in records:
        await step.process([record], told)
    told.view.apply(told)
    restarted = Train(store, child, Clock())
    for record in records:
        await restarted.process([record], told)
    assert child.started == ["run"]
    assert len(told.of(TrainingFinished)) == 1


async def test_a_resumption_of_a_run_that_the_store_does_not_know_waits_for_its_request(
    store: Store, told: Told
) -> None:
    child = FakeChild()
    step = Train(store, child, Clock())
    await step.process([control("resume", 2)], told)
    assert child.started == []


async def test_a_run_is_paused_and_resumed_through_a_broker(store: Store) -> None:
    broker, child, view = EmbeddedBroker(), FakeChild(is_endless=True), View(store)
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, acks="all")
    await producer.start()

    async def enter(record: Record) -> None:
        view.apply([record])
        await producer.send_and_wait(record.topic, encode(record), key=record.key.encode())

    async with Service(broker.address, Train(store, child, Clock())):
        await enter(requested())
        await until(lambda: child.started == ["run"])
        await enter(control("pause", 1))
        await enter(requested("next"))
        await until(lambda: child.started == ["run", "next"])
        child.is_endless = False
        await enter(control("cancel", 1, "next"))
        await enter(control("resume", 2))
        await until(lambda: child.started == ["run", "next", "run"])
    await producer.stop()
