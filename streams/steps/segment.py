"""Segment: the first chunk of every video, in a child process; each clip is announced as it is cut.

Footage that is longer goes on, chunk by chunk, in the step `resume`: a film holds up nothing that comes behind it.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from store.errors import InputError
from store.records import ClipSegmented, FootageContinued, FootageSegmented, FootageSubmitted, Record
from store.store import Store
from streams.child import Child
from streams.publish import Publish
from streams.runner import Failure, Step

CHUNK_S = 120.0
"""Chosen: one or two minutes of work at 1080p. Going on from a checkpoint costs a few seconds of each chunk."""
_TIME_LIMIT_S = 3600.0
"""A chunk that takes longer is stopped; also where a damaged file has to be decoded from its start once more."""
_MAX_CLIPS_IN_FLIGHT = 400
"""The embedded broker keeps 5 MiB a partition and a measured clip takes about 20 KB: 400 stay far below."""
_WAIT_S = 1.0


class ChunkReader:
    """Has chunks read by a child process, while the steps that come after keep up."""

    def __init__(self, store: Store, child: Child) -> None:
        """child: runs `streams.workers.segment`, or what answers like it."""
        self._store = store
        self._child = child

    async def read(self, request: FootageSubmitted | FootageContinued, publish: Publish) -> None:
        """Publish the chunk's clips, and then what the chunk ended with."""
        await self._wait_for_room()

        async def announce(clip: ClipSegmented) -> None:
            await publish([clip])

        ended: FootageSegmented | FootageContinued = await self._child.run(request, _TIME_LIMIT_S, announce)
        await publish([ended])

    def stop(self) -> None:
        """End the child."""
        self._child.kill()

    async def _wait_for_room(self) -> None:
        """Hold this step until the ones after it have caught up."""
        unfinished = "stage IN ('segmented', 'embedded')"
        while await asyncio.to_thread(self._store.clips.count, unfinished) > _MAX_CLIPS_IN_FLIGHT:
            await asyncio.sleep(_WAIT_S)


class Segment(Step):
    """Reads submitted footage."""

    name: ClassVar[str] = "segment"
    reads: ClassVar[tuple[str, ...]] = (FootageSubmitted.topic,)

    def __init__(self, store: Store, child: Child) -> None:
        self._store = store
        self._chunks = ChunkReader(store, child)

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        failures: dict[int, Failure] = {}
        for index, record in enumerate(records):
            assert isinstance(record, FootageSubmitted)
            video = await asyncio.to_thread(self._store.videos.get, record.video_id) or {}
            under_way = video.get("status") == "submitted" and video.get("chunk")
            if under_way or video.get("status") in ("removed", "done"):
                continue
            try:
                await self._chunks.read(record, publish)
            except InputError as error:
                failures[index] = Failure(f"{record.name}: {error}", video_id=record.video_id)
        return failures

    def stop(self) -> None:
        self._chunks.stop()
