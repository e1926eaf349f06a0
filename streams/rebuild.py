"""Building the store anew from the topics alone.

`python -m streams.rebuild --data DIR --broker host:port` reads every record that the broker keeps and folds it into
fresh tables beside the present ones; when it has come to the end they take their place. Media are not on topics: they
stay where they are. What the topics no longer hold of removed footage is not missed: its removal is a record too.
Progress goes to standard output, one JSON object a line: `{"event": "progress", "read": n, "total": m}`, then
`{"event": "done", "records": n, "unreadable": n, "tables": {name: rows}}` or `{"event": "failed", "reason": text}`.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.profile import load_reason
from store.codec import decode
from store.errors import CliploomError, Conflict, NotFound, RecordError, Unavailable
from store.gate import GateOptions, load_gate
from store.kafka import KafkaSettings
from store.lock import hold
from store.media import MediaStore
from store.records import Column, Record, utc_now
from store.store import DOCUMENTS, Store, open_media
from store.view import View
from streams.app import WRITER
from streams.child import Child
from streams.logs import set_up_logs
from streams.steps.embed import measured_columns
from streams.topics import STEPS, dead_topic

PRESENT, FRESH = "lance", "lance.rebuilding"
BATCH = 1024
_SILENT_S = 30.0
"""A broker that gives nothing for this long though records are left is taken for away."""

ORDER = (
    "removals.requested",
    "removals.done",
    "footage.submitted",
    "reviews.decided",
    "footage.continued",
    "footage.segmented",
    "clips.segmented",
    "clips.embedded",
    "clips.densified",
    "clips.curated",
    "clips.pivots",
    "identities.linked",
    "identities.decided",
    "calibrations.requested",
    "calibrations.adopted",
    "clusters.founded",
    "clusters.changed",
    "concepts.changed",
    "drift.raised",
    "drift.answered",
    "tokens.reserved",
    "training.decided",
    "training.requested",
    "training.controlled",
    "training.progress",
    "training.finished",
    "adapters.decided",
    "snapshots.requested",
    "snapshots.finished",
    *(dead_topic(step) for step in STEPS),
    "dead.replayed",
    "dead.dropped",
)
"""Removals first, so that what was removed never comes back, not even for a moment; what a decision speaks of before
the decision. `clips.stored` and `annotations.due` say nothing of their own."""


class KeepingMedia(MediaStore):
    """Media storage that deletes nothing: what had to go went when the records were new."""

    def delete(self, key: str) -> None:
        """Keep the object."""


@dataclass
class Rebuild:
    """Folds records into a store, told in `ORDER`.

    gate: what clips are judged by.
    read: records read. unreadable: those of them that are none, and lie in a dead-letter topic.
    """

    store: Store
    gate: GateOptions = GateOptions()
    read: int = 0
    unreadable: int = 0

    def fold(self, values: Sequence[bytes | None]) -> None:
        """Take the next records, as they lie on their topic; None is a tombstone."""
        records: list[Record] = []
        for value in values:
            self.read += 1
            try:
                if value is not None:
                    records.append(decode(value))
            except RecordError:
                self.unreadable += 1
        self._apply(records)

    def _apply(self, records: Sequence[Record]) -> None:
        """As persist does: what does not fit is left out alone, and not the batch that it lies in."""
        try:
            View(self.store, self.gate).apply(records)
        except CliploomError:
            if len(records) == 1:
                self.unreadable += 1
                return
            for record in records:
                self._apply([record])


class Topics:
    """Reads topics from their beginning to where they end now."""

    def __init__(self, kafka: KafkaSettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._address = kafka.address
        self._monotonic = monotonic
        told = {"group.id": "cliploom-rebuild", "enable.auto.commit": False, "enable.partition.eof": True}
        self._consumer = Consumer(kafka.librdkafka() | told | {"log_level": 2})

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """First offset and end of every partition.

        Raises:
            NotFound: the cluster has no such topic.
            Unavailable: the broker does not answer.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=_SILENT_S).topics[topic]
            if found.error is not None:
                raise NotFound(f"broker {self._address} has no topic {topic}: is it the cluster of this store?")
            return {
                partition: self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SILENT_S)
                for partition in sorted(found.partitions)
            }
        except KafkaException as error:
            raise Unavailable(f"broker {self._address} does not answer: {error}") from error

    def values(self, topic: str, ends: dict[int, tuple[int, int]]) -> Iterator[list[bytes | None]]:
        """Values in batches; partitions one after another.

        Raises:
            Unavailable: the broker falls silent.
        """
        for partition, (first, end) in ends.items():
            if first == end:
                continue
            self._consumer.assign([TopicPartition(topic, partition, first)])
            heard_s = self._monotonic()
            ended = False
            while not ended:
                messages = self._consumer.consume(BATCH, timeout=1.0)
                records = [message for message in messages if message.error() is None]
                faults = [fault for message in messages if (fault := message.error()) is not None]
                # A compacted topic may end before its end: then the broker says so.
                ended = any(fault.code() == KafkaError._PARTITION_EOF for fault in faults)
                ended = ended or any((message.offset() or 0) >= end - 1 for message in records)
                if messages:
                    heard_s = self._monotonic()
                elif self._monotonic() - heard_s > _SILENT_S:
                    raise Unavailable(f"broker {self._address} fell silent in topic {topic}; try again")
                if records:
                    yield [message.value() for message in records]

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()


def rebuild(
    kafka: KafkaSettings,
    data: Path,
    columns: Sequence[Column],
    replace: bool,
    tell: Callable[[int, int], None],
    now: datetime,
    gate: GateOptions = GateOptions(),
) -> Rebuild:
    """Build the tables of the store under `data` anew.

    Args:
        columns: see `ClipTable`.
        replace: put tables that are there aside, as `lance.before-<time>`; else they are refused.
        tell: (records read, of how many).
        gate: what clips are judged by.

    Raises:
        Conflict: the store has tables, or a worker writes it.
        Unavailable, NotFound: see `Topics`.
    """
    present, fresh = data / PRESENT, data / FRESH
    if present.exists() and not replace:
        raise Conflict(f"{present} holds tables; --replace puts them aside and rebuilds them")
    with hold(data / f".{WRITER}.lock", wait_s=0):
        shutil.rmtree(fresh, ignore_errors=True)
        media = open_media(data)
        store = Store.open(data, columns, tables=FRESH, media=KeepingMedia(media.url))
        topics = Topics(kafka)
        try:
            ends = {topic: topics.ends(topic) for topic in ORDER}
            total = sum(end - first for partitions in ends.values() for first, end in partitions.values())
            built = Rebuild(store, gate)
            for topic in ORDER:
                for values in topics.values(topic, ends[topic]):
                    built.fold(values)
                    tell(built.read, total)
        finally:
            topics.close()
        store.clips.maintain()
        if present.exists():
            present.rename(data / f"{PRESENT}.before-{now:%Y%m%dT%H%M%S}")
        fresh.rename(present)
    return built


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m streams.rebuild", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the store")
    parser.add_argument("--broker", required=True, help="host:port of the Kafka cluster")
    parser.add_argument("--profile", default="measured", help="name of a model profile, or a path to a TOML file")
    parser.add_argument("--gate", type=Path, help="TOML file of what holds clips back; default: gate.toml's numbers")
    parser.add_argument("--replace", action="store_true", help="put the present tables aside")
    parsed = parser.parse_args(arguments)
    set_up_logs("text")
    try:
        gate = load_gate(parsed.gate)
        embedding = Child("embed", "streams.workers.embed", str(parsed.data), parsed.profile, "cpu")
        measured = asyncio.run(measured_columns(embedding))
        embedding.kill()
        vocabulary = load_vocabulary(load_reason(parsed.profile).vocabulary or DEFAULT_VOCABULARY)
        columns = (*measured, *vocabulary.columns)
        kafka = KafkaSettings.read(parsed.broker, os.environ)
        built = rebuild(kafka, parsed.data, columns, parsed.replace, _tell, utc_now(), gate)
    except CliploomError as error:
        _say(event="failed", reason=str(error))
        return 1
    store = Store.open(parsed.data)
    tables = {"clips": store.clips.count()} | {name: sum(getattr(store, name).counts().values()) for name in DOCUMENTS}
    _say(event="done", records=built.read, unreadable=built.unreadable, tables=tables)
    return 0


def _tell(read: int, total: int) -> None:
    _say(event="progress", read=read, total=total)


def _say(**event: object) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(main())
