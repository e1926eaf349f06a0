"""Curate: clusters the stored clips, flags outliers and boundary cases, and says what each concept's subset is.

Clustering reads everything, so it runs after every so many new clips and when no more come; a clip's own row
changes only when its place does. The tables are read and clustered in a child process.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from store.concepts import load_concepts
from store.records import ClipsStored, Record
from streams.child import Child
from streams.runner import Failure, Publish, Step

_TIME_LIMIT_S = 3600.0
_EVERY_SHARE = 0.2
"""Clustering is due once this share of the clips clustered last time has come in anew; chosen: total cost stays
within six times that of one clustering at the end."""
_EVERY_AT_LEAST = 25
_QUIET_S = 3.0
"""... or when nothing has come in for this long."""


class Curate(Step):
    """Reads the ids of stored clips."""

    name: ClassVar[str] = "curate"
    reads: ClassVar[tuple[str, ...]] = (ClipsStored.topic,)
    batch: ClassVar[int] = 1000
    within_s: ClassVar[float] = 0.5

    def __init__(self, data: Path, concepts: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        load_concepts(concepts)
        self._child = Child("curate", "streams.workers.curate", str(data), concepts)
        self._monotonic = monotonic
        self._waiting: set[str] = set()
        self._stale = True
        self._last_change_s = monotonic()
        self._clustered = 0

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        for record in records:
            if isinstance(record, ClipsStored):
                self._waiting.update(record.clip_ids)
        self._stale = True
        self._last_change_s = self._monotonic()
        if len(self._waiting) >= max(_EVERY_AT_LEAST, _EVERY_SHARE * self._clustered):
            await self._curate(publish)
        return {}

    async def idle(self, publish: Publish) -> None:
        if self._stale and self._monotonic() - self._last_change_s >= _QUIET_S:
            await self._curate(publish)

    def stop(self) -> None:
        self._child.kill()

    async def _curate(self, publish: Publish) -> None:
        self._waiting.clear()
        self._stale = False
        self._clustered, changed = await self._child.run(None, _TIME_LIMIT_S)
        await publish(changed)
