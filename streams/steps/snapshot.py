"""Snapshot: publishes tagged versions of the dataset."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from store.errors import CliploomError, Passing
from store.records import Record, SnapshotFinished, SnapshotRequested
from store.snapshots import create_snapshot
from store.store import Store
from streams.runner import Failure, Publish, Step


class Snapshot(Step):
    """Reads requests for snapshots."""

    name: ClassVar[str] = "snapshot"
    reads: ClassVar[tuple[str, ...]] = (SnapshotRequested.topic,)

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        for record in records:
            assert isinstance(record, SnapshotRequested)
            await publish([await asyncio.to_thread(self._create, record)])
        return {}

    def _create(self, request: SnapshotRequested) -> SnapshotFinished:
        try:
            return create_snapshot(self._store, request, self._folder)
        except Passing:
            raise
        except CliploomError as error:
            return SnapshotFinished(
                tag=request.tag,
                status="failed",
                reason=str(error),
                digest=None,
                table_version=None,
                folder=None,
                n_kept=0,
                n_dropped=0,
                requested_at=request.requested_at,
            )
