"""Curate: places the stored clips in clusters, flags outliers and boundary cases, and says what each concept's subset
is.

What comes is placed at once; the sample that stands for all clips is clustered anew when enough of it is new. When
nothing has come in for a while, and now and then where it never stops, all that is known counts: clusters follow what
people decided, and pivots are looked for. The tables are read and clustered in a child process.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from store.concepts import load_concepts
from store.records import ClipsStored, Record
from streams.child import Child
from streams.runner import Failure, Publish, Step

_TIME_LIMIT_S = 3600.0
_EVERY_AT_LEAST = 25
"""Clips that are waited for, for no longer than `_LATEST_S`: a look at the tables costs the same for one."""
_LATEST_S = 10.0
_QUIET_S = 3.0
"""All that is known counts once nothing has come in for this long,"""
_SETTLED_EVERY_S = 300.0
"""and after this long where clips never stop coming."""


class Curate(Step):
    """Reads the ids of stored clips."""

    name: ClassVar[str] = "curate"
    reads: ClassVar[tuple[str, ...]] = (ClipsStored.topic,)
    batch: ClassVar[int] = 1000
    within_s: ClassVar[float] = 0.5

    def __init__(
        self,
        data: Path,
        concepts: Path,
        profile: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        load_concepts(concepts)
        self._clock = clock
        self._child = Child("curate", "streams.workers.curate", str(data), concepts, profile)
        self._monotonic = monotonic
        self._waiting: set[str] = set()
        self._is_settled = False
        self._last_change_s = self._last_look_s = self._last_settled_s = monotonic()

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        for record in records:
            if isinstance(record, ClipsStored):
                self._waiting.update(record.clip_ids)
        self._is_settled = False
        self._last_change_s = self._monotonic()
        if len(self._waiting) >= _EVERY_AT_LEAST or self._monotonic() - self._last_look_s >= _LATEST_S:
            await self._follow(publish, settle=self._monotonic() - self._last_settled_s >= _SETTLED_EVERY_S)
        return {}

    async def idle(self, publish: Publish) -> None:
        if not self._is_settled and self._monotonic() - self._last_change_s >= _QUIET_S:
            self._is_settled = not await self._follow(publish, settle=True)

    def stop(self) -> None:
        self._child.kill()

    async def _follow(self, publish: Publish, settle: bool) -> bool:
        """Follow the store; whether there is more to be placed anew."""
        request = (tuple(sorted(self._waiting)), settle, self._clock())
        records, is_behind = await self._child.run(request, _TIME_LIMIT_S)
        await publish(records)
        self._waiting.clear()
        self._last_look_s = self._monotonic()
        if settle:
            self._last_settled_s = self._last_look_s
        return is_behind
