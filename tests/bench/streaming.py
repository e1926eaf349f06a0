"""What the streaming itself costs, on real Kafka.

    python -m tests.bench.streaming [--videos 8] [--records 5000]

It prints one JSON line:
- `records_s` and `bare_records_s`: records per second through one step that does nothing with them, and through a bare
  aiokafka consumer that commits every 100; `ratio` is the first to the second.
- `share`: of the processor time that the road takes from submission until every clip is curated, what is spent outside
  the processes that decode, cut and measure: Kafka, serialisation, store, annotation, clustering. `idle_share`: of the
  time on the clock, when the busiest of those processes waited.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from demo.footage import render_footage
from store.codec import encode
from store.kafka import KafkaSettings
from store.records import ClipsStored, Record
from streams.metrics import StepMetrics
from streams.publish import Publish, Publisher
from streams.runner import Failure, Runner, Step
from streams.topics import STEPS, prepare_topics
from streams.traces import Tracer
from tests.faults.road import Road
from tests.kafka import running

_TICKS = os.sysconf("SC_CLK_TCK")
MEASURE = ("segment", "resume", "embed")
_TOPIC = ClipsStored.topic


class Idle(Step):
    """Takes records and does nothing with them."""

    name: ClassVar[str] = "curate"
    reads: ClassVar[tuple[str, ...]] = (_TOPIC,)
    batch: ClassVar[int] = 100

    def __init__(self, n: int) -> None:
        self._left = n
        self.first_s = 0.0
        self.ended = asyncio.Event()

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        self.first_s = self.first_s or time.perf_counter()
        self._left -= len(records)
        if self._left <= 0:
            self.ended.set()
        return {}


async def records_per_second(address: str, n: int) -> tuple[float, float]:
    """Through a step, and through a bare consumer."""
    prepare_topics(KafkaSettings(address))
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", linger_ms=5)
    await producer.start()
    for number in range(n):
        await producer.send(_TOPIC, encode(ClipsStored(clip_ids=(f"{number:032x}",))))
    await producer.flush()
    step = Idle(n)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(step, Publisher(producer), lambda: datetime.now(UTC), StepMetrics(), Tracer(step.name, None))
        app = runner.create_app(KafkaSettings(address), Path(folder))
        await app.start()
        await step.ended.wait()
        through_step = n / (time.perf_counter() - step.first_s)
        await app.stop()
    await producer.stop()
    consumer = AIOKafkaConsumer(
        _TOPIC, bootstrap_servers=address, group_id="bare", auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    seen, first_s = 0, 0.0
    async for _ in consumer:
        first_s = first_s or time.perf_counter()
        seen += 1
        if seen % 100 == 0:
            await consumer.commit()
        if seen == n:
            break
    bare = n / (time.perf_counter() - first_s)
    await consumer.stop()
    return through_step, bare


def shares(address: str, folder: Path, n_videos: int) -> dict[str, float]:
    """Of the road's time, what the streaming takes; see the module."""
    videos = [video.path for video in render_footage(folder / "footage", 20.0 * n_videos)]
    rest = tuple(step for step in STEPS if step not in MEASURE)
    with Road(folder, address, ("--profile", "measured")) as road:
        measuring, others = road.start(MEASURE, rest)
        warm, *rest_of_them = videos
        road.submit([warm])  # models load with the first clip
        store = road.store
        road.wait(lambda: store.clips.count() and store.clips.count("curation_recipe IS NULL") == 0, "warm")
        children = measuring.children()
        before = {pid: _cpu_s(pid) for pid in children}
        streaming = _tree_s(measuring.process.pid, children), _tree_s(others.process.pid, [])
        started_s = time.perf_counter()
        road.submit(rest_of_them)
        road.wait(lambda: store.videos.counts() == {"done": len(videos)}, "every video")
        road.wait(lambda: store.clips.count("curation_recipe IS NULL") == 0, "every clip")
        wall_s = time.perf_counter() - started_s
        working = [_cpu_s(pid) - cpu_s for pid, cpu_s in before.items()]
        spent = _tree_s(measuring.process.pid, children), _tree_s(others.process.pid, [])
        outside_s = sum(spent) - sum(streaming)
        return {
            "wall_s": wall_s,
            "working_cpu_s": sum(working),
            "outside_cpu_s": outside_s,
            "share": outside_s / (outside_s + sum(working)),
            "idle_share": max(0.0, 1 - max(working) / wall_s),
        }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _tree_s(pid: int, without: Sequence[int]) -> float:
    """Processor time of a process and its children, but for some."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _cpu_s(pid) + sum(_cpu_s(int(child)) for child in children if int(child) not in without)


def main() -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.streaming", description=__doc__)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--records", type=int, default=5000)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running(Path(name, "kafka")) as kafka:
        step_s, bare_s = asyncio.run(records_per_second(kafka.address, parsed.records))
        found = {"records_s": step_s, "bare_records_s": bare_s, "ratio": step_s / bare_s}
        kafka.wipe()
        folder = Path(name, "road")
        folder.mkdir()
        found |= shares(kafka.address, folder, parsed.videos)
    print(json.dumps({key: round(value, 3) for key, value in found.items()}))


if __name__ == "__main__":
    main()
