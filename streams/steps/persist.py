"""Persist: the only writer of the tables; folds every record into the store in batches."""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from store.errors import Passing
from store.records import ClipsStored, Record, RemovalDone, RemovalRequested
from store.removal import remove
from store.store import Store
from store.view import View
from streams.runner import Failure, Publish, Step
from streams.topics import TOPICS
from trainer.bases import discard_bases

_MAINTAIN_EVERY_WRITES = 100
"""Chosen: 1,000 small fragments make a look-up 25 times slower; 100 writes leave it under twice."""


class Persist(Step):
    """Reads every topic but its own.

    Args:
        data: folder of the store, under which small bases lie.
        snapshots: where removal finds exported snapshots.
    """

    name: ClassVar[str] = "persist"
    reads: ClassVar[tuple[str, ...]] = tuple(topic.name for topic in TOPICS if topic.name != ClipsStored.topic)
    batch: ClassVar[int] = 256
    within_s: ClassVar[float] = 0.25
    max_attempts: ClassVar[float] = math.inf

    def __init__(self, store: Store, data: Path, snapshots: Path, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._view = View(store)
        self._data = data
        self._snapshots = snapshots
        self._clock = clock
        self._writes = 0

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        stored, proofs = await asyncio.to_thread(self._write, records)
        await publish(proofs)
        if stored or proofs:
            await publish([ClipsStored(clip_ids=stored)])
        return {}

    async def idle(self, publish: Publish) -> None:
        if self._writes >= _MAINTAIN_EVERY_WRITES:
            await asyncio.to_thread(self._store.clips.maintain)
            self._writes = 0

    def _write(self, records: Sequence[Record]) -> tuple[tuple[str, ...], list[Record]]:
        """Ids of clips whose state changed, and the proofs of the removals in this batch."""
        try:
            stored = self._view.apply(records)
            removals = [record for record in records if isinstance(record, RemovalRequested)]
            proofs: list[Record] = [self._remove(removal) for removal in removals]
            self._view.apply(proofs)
        except (OSError, RuntimeError) as error:  # disk full, storage away, commit conflict: lance raises both
            raise Passing(f"the store could not be written: {error}") from error
        self._writes += 1
        return stored, proofs

    def _remove(self, removal: RemovalRequested) -> RemovalDone:
        proof = remove(self._store, removal, self._snapshots, self._clock())
        discarded = discard_bases(self._data / "bases", proof.clip_ids)
        return proof.model_copy(update={"bases": tuple(discarded)})
