"""Resume: the next chunk of long footage, one at a time; films take turns, and a killed worker loses one chunk.

The reading of the last chunk stays open in the child process, so that a film that is alone is decoded once; where
films take turns, and after a restart, reading goes on from the checkpoint.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from store.errors import InputError
from store.records import FootageContinued, Json, Record
from store.store import Store
from streams.child import Child
from streams.publish import Publish
from streams.runner import Failure, Step
from streams.steps.segment import ChunkReader


class Resume(Step):
    """Reads continued footage."""

    name: ClassVar[str] = "resume"
    reads: ClassVar[tuple[str, ...]] = (FootageContinued.topic,)

    def __init__(self, store: Store, child: Child) -> None:
        self._store = store
        self._chunks = ChunkReader(store, child)
        self._spent: list[FootageContinued] = []
        """Records whose chunk was read; their checkpoints are kept until the store knows what followed."""

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        failures: dict[int, Failure] = {}
        for index, record in enumerate(records):
            assert isinstance(record, FootageContinued)
            if await asyncio.to_thread(self._is_duplicate, record):
                continue
            try:
                await self._chunks.read(record, publish)
            except InputError as error:
                failures[index] = Failure(f"{record.footage.name}: {error}", video_id=record.footage.video_id)
            else:
                self._spent.append(record)
        return failures

    async def idle(self, publish: Publish) -> None:
        await asyncio.to_thread(self._discard_spent)

    def stop(self) -> None:
        self._chunks.stop()

    def _is_duplicate(self, record: FootageContinued) -> bool:
        """Whether this chunk was read before, or is wanted no more; its checkpoint is deleted then.

        A video that ended is read again where the store lost clips of it; a record whose checkpoint is gone is no
        part of such a reading.
        """
        self._discard_spent()
        video = self._store.videos.get(record.key) or {}
        if video.get("status") == "segmented":
            return not self._store.media.exists(record.checkpoint_key)
        if video.get("status") == "removed":
            self._chunks.stop()  # it may hold the footage open
        past = _is_past(record, video)
        if past:
            self._discard(record, video)
        return past

    def _discard_spent(self) -> None:
        """Delete the checkpoints that neither a redelivered record nor a recovery from the store can ask for."""
        for record in list(self._spent):
            video = self._store.videos.get(record.key) or {}
            if video.get("status") == "segmented" or _is_past(record, video):
                self._discard(record, video)
                self._spent.remove(record)

    def _discard(self, record: FootageContinued, video: Json) -> None:
        if record.checkpoint_key != video.get("checkpoint_key"):
            self._store.media.delete(record.checkpoint_key)


def _is_past(record: FootageContinued, video: Json) -> bool:
    """Whether the store knows of a later chunk of the video, of another reading of it, or that it is finished with."""
    if video.get("status") != "submitted":
        return video.get("status") in ("removed", "done")
    chunk = video.get("chunk") or 0
    return chunk > record.chunk or (chunk == record.chunk and video["checkpoint_key"] != record.checkpoint_key)
