"""Densify: measurements become the annotation."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from processors.distill.annotate import Annotator
from store.records import ClipDensified, ClipEmbedded, Record
from streams.runner import Failure, Publish, Step


class Densify(Step):
    """Reads measured clips."""

    name: ClassVar[str] = "densify"
    reads: ClassVar[tuple[str, ...]] = (ClipEmbedded.topic,)
    batch: ClassVar[int] = 32

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        await publish(await asyncio.to_thread(self._annotate, records))
        return {}

    def _annotate(self, records: Sequence[Record]) -> list[Record]:
        return [
            ClipDensified(
                clip_id=record.clip_id,
                video_id=record.video_id,
                annotation=self._annotator.annotate(record.clip_id, record.duration_s, record.values),
                recipe=self._annotator.recipe,
            )
            for record in records
            if isinstance(record, ClipEmbedded)
        ]
