"""The road on real Kafka as a cluster runs it: workers in processes of their own, which a test may hurt."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Producer

from api.lag import GroupLags
from store.clip_columns import ClipRow
from store.codec import encode
from store.kafka import KafkaSettings
from store.media import file_sha256
from store.records import FootageSubmitted, Json, Record, ReviewDecided, SnapshotRequested
from store.store import DOCUMENTS, Store
from streams.topics import STEPS
from tests.curated import comparable, is_curated

ROOT = Path(__file__).parent.parent.parent
PROFILE = Path(__file__).parent / "light.toml"
WITHIN_S = 420.0
SESSION_S = 8.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FRONT, BACK = ("segment", "resume", "embed", "densify"), ("persist", "curate", "schedule", "train", "snapshot")


@dataclass(frozen=True)
class Outcome:
    """What a road leaves behind."""

    rows: dict[str, ClipRow]
    documents: dict[str, dict[str, Json]]
    digest: str

    @property
    def measured(self) -> dict[str, ClipRow]:
        """The rows, as far as they do not depend on how the clips came."""
        return comparable(self.rows)


class Worker:
    """One process of `streams.app`; its log lies beside the store."""

    def __init__(self, road: "Road", steps: Sequence[str], **environ: str) -> None:
        name = "-".join(steps)
        self.log_path = road.folder / f"{name[:40]}.{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", road.module, "--stay", "--steps", ",".join(steps)]
        command += ["--data", str(road.data), "--broker", road.broker, "--profile", str(PROFILE)]
        command += ["--concepts", str(road.concepts), "--session", str(SESSION_S), *road.options]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=os.environ | road.environ | environ
            )

    def ready(self) -> "Worker":
        """Wait until it works."""
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        assert told, f"the worker ended: {self.log_path.read_text()[-2000:]}"
        self.told: Json = json.loads(told)
        assert self.told["event"] == "ready", self.told
        return self

    def kill(self) -> None:
        """SIGKILL; its children end by themselves."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def send(self, number: signal.Signals) -> None:
        """A signal."""
        self.process.send_signal(number)

    def children(self) -> list[int]:
        """Process ids of its children that do the heavy work."""
        servers = [pid for pid in _children(self.process.pid) if b"forkserver" in _command(pid)]
        return [child for pid in servers for child in _children(pid)]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


class Road:
    """Workers over one store and one broker.

    Args:
        folder: where everything lies.
        options: more arguments of every worker.
        environ: more environment of every worker.
        module: what a worker runs.
    """

    def __init__(
        self,
        folder: Path,
        broker: str,
        options: Sequence[str] = (),
        environ: dict[str, str] | None = None,
        module: str = "streams.app",
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.broker = broker
        self.options = tuple(options)
        self.environ = environ or {}
        self.module = module
        self.concepts = ROOT / "concepts.yaml"
        self.workers: list[Worker] = []

    def __enter__(self) -> "Road":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            with suppress(ProcessLookupError):
                worker.send(signal.SIGCONT)
                worker.kill()

    def start(self, *groups: Sequence[str], **environ: str) -> list[Worker]:
        """Start a worker for each group of steps, and wait until all work."""
        started = [Worker(self, steps, **environ) for steps in groups]
        self.workers += started
        return [worker.ready() for worker in started]

    @property
    def store(self) -> Store:
        """The store, to be read."""
        return Store.open(self.data)

    def send(self, *records: Record, times: int = 1) -> None:
        """Put records on their topics, each as often as told."""
        self.send_raw(*[(r.topic, r.key.encode(), encode(r)) for r in records for _ in range(times)])

    def send_raw(self, *messages: tuple[str, bytes | None, bytes | None]) -> None:
        """Put (topic, key, value) on the broker; returns when it has them all."""
        told: list[KafkaError] = []
        producer = Producer({"bootstrap.servers": self.broker, "acks": "all", "partitioner": "murmur2_random"})
        for topic, key, value in messages:
            producer.produce(topic, value, key, on_delivery=lambda error, _: told.append(error))
        assert producer.flush(60) == 0
        assert told == [None] * len(messages)

    def submit(self, footage: Sequence[Path], submitted_at: datetime = NOW) -> list[FootageSubmitted]:
        """Keep the footage's bytes and tell of it, as the API does."""
        media = self.store.media
        records = [
            FootageSubmitted(
                video_id=file_sha256(path),
                name=path.name,
                media_key=media.put_file(path, path.suffix.removeprefix(".")),
                size_bytes=path.stat().st_size,
                source="made",
                licence="CC0-1.0",
                submitted_at=submitted_at,
            )
            for path in footage
        ]
        self.send(*records)
        return records

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what}; {self.last_words()}"
            time.sleep(0.3)

    def finish(self, n_videos: int) -> Outcome:
        """Wait until every clip is curated, release the source, publish, and read what is there."""
        store = self.store
        self.wait(lambda: store.videos.counts() == {"done": n_videos}, "every video done")
        self.wait(lambda: is_curated(store), "every clip curated")
        release = ReviewDecided(
            decision_id="release",
            subject="source",
            subject_id="made",
            verdict="release",
            covers=("age",),
            by="test",
            reason="blobs of colour",
            decided_at=NOW,
        )
        self.send(release)
        self.wait(lambda: store.clips.count("verdict = 'hold'") == 0, "the release")
        self.send(SnapshotRequested(tag="end", note="", requested_by="test", requested_at=NOW))
        self.wait(lambda: (store.snapshots.get("end") or {}).get("status") == "created", "the snapshot")
        return self.outcome()

    def settle(self) -> None:
        """Wait until every step has read its topics to their ends."""
        groups = GroupLags(lambda: KafkaSettings(self.broker))
        self.wait(lambda: all(not health.lag for health in groups.read() or ()), "every record read")

    def outcome(self) -> Outcome:
        """All that is in the store now."""
        store = self.store
        documents = {name: getattr(store, name).all() for name in DOCUMENTS}
        digest = (documents["snapshots"].get("end") or {}).get("digest", "")
        return Outcome({row["clip_id"]: row for row in store.clips.select()}, documents, digest)

    def last_words(self) -> str:
        """The ends of the workers' logs."""
        return "\n".join(f"{w.log_path.name}: {w.log_path.read_text()[-600:]}" for w in self.workers[-9:])


def every_step_alone() -> list[tuple[str, ...]]:
    """Each step as a worker of its own."""
    return [(step,) for step in STEPS]


def differing(outcome: Outcome, expected: Outcome) -> dict[tuple[str, str], Any]:
    """(clip id, column) of the rows that both have and that are not alike, with both values."""
    return {
        (clip_id, name): (row.get(name), expected.measured[clip_id].get(name))
        for clip_id, row in outcome.measured.items()
        if clip_id in expected.measured
        for name in row.keys() | expected.measured[clip_id].keys()
        if row.get(name) != expected.measured[clip_id].get(name)
    }


def same(outcome: Outcome, expected: Outcome) -> None:
    """Assert that nothing was lost, nothing came twice, and everything is as it was in the undisturbed run."""
    lost, more = expected.rows.keys() - outcome.rows.keys(), outcome.rows.keys() - expected.rows.keys()
    assert (sorted(lost), sorted(more)) == ([], [])
    differ = differing(outcome, expected)
    assert differ == {}, differ
    assert outcome.digest == expected.digest

    def statuses(o: Outcome) -> dict[str, Any]:
        return {i: b["status"] for i, b in o.documents["videos"].items()}

    assert statuses(outcome) == statuses(expected)
