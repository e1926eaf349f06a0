"""Segment: one decode pass per video, in a child process; each clip is announced as it is cut."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from store.errors import InputError
from store.records import ClipSegmented, FootageSubmitted, Record
from store.store import Store
from streams.child import Child
from streams.runner import Failure, Publish, Step

_TIME_LIMIT_S = 4 * 3600.0
"""Footage that takes longer than this is stopped; four hours of 1080p decode in about one on two cores."""
_MAX_CLIPS_IN_FLIGHT = 400
"""The embedded broker keeps 5 MiB a partition and a measured clip takes about 20 KB: 400 stay far below."""
_WAIT_S = 1.0


class Segment(Step):
    """Reads submitted footage."""

    name: ClassVar[str] = "segment"
    reads: ClassVar[tuple[str, ...]] = (FootageSubmitted.topic,)

    def __init__(self, store: Store, data: Path, unfinished: Path) -> None:
        self._store = store
        self._child = Child("segment", "streams.workers.segment", str(data), unfinished)

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        failures: dict[int, Failure] = {}
        for index, record in enumerate(records):
            assert isinstance(record, FootageSubmitted)
            try:
                await self._segment(record, publish)
            except InputError as error:
                failures[index] = Failure(f"{record.name}: {error}", video_id=record.video_id)
        return failures

    def stop(self) -> None:
        self._child.kill()

    async def _segment(self, footage: FootageSubmitted, publish: Publish) -> None:
        video = await asyncio.to_thread(self._store.videos.get, footage.video_id)
        if video is not None and video["status"] in ("removed", "done"):
            return
        await self._wait_for_room()

        async def announce(clip: ClipSegmented) -> None:
            await publish([clip])

        await publish([await self._child.run(footage, _TIME_LIMIT_S, announce)])

    async def _wait_for_room(self) -> None:
        """Hold this step until the ones after it have caught up."""
        unfinished = "stage IN ('segmented', 'embedded')"
        while await asyncio.to_thread(self._store.clips.count, unfinished) > _MAX_CLIPS_IN_FLIGHT:
            await asyncio.sleep(_WAIT_S)
