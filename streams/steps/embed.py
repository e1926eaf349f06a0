"""Embed: the profile's processors measure clips in batches across videos, in a child process."""

from collections.abc import Sequence
from typing import ClassVar

from store.records import ClipEmbedded, ClipSegmented, Column, Record
from streams.child import Child
from streams.runner import Failure, Publish, Step

_SECONDS_PER_CLIP = 120.0
"""Time limit; a clip of 10 s takes about 3 s in profile `measured` on one core."""
_LOADING_S = 600.0


class Embed(Step):
    """Reads segmented clips.

    Args:
        child: serves `streams.workers.embed`.
    """

    name: ClassVar[str] = "embed"
    reads: ClassVar[tuple[str, ...]] = (ClipSegmented.topic,)
    batch: ClassVar[int] = 8
    within_s: ClassVar[float] = 0.5

    def __init__(self, child: Child) -> None:
        self._child = child

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        clips = [record.clip for record in records if isinstance(record, ClipSegmented)]
        results = await self._child.run(clips, _LOADING_S + _SECONDS_PER_CLIP * len(clips))
        for clip, result in zip(clips, results, strict=True):
            assert isinstance(result, str) or result.clip_id == clip.clip_id
        await publish([result for result in results if isinstance(result, ClipEmbedded)])
        return {
            index: Failure(result, clip.video_id, clip.clip_id)
            for index, (clip, result) in enumerate(zip(clips, results, strict=True))
            if isinstance(result, str)
        }

    def stop(self) -> None:
        self._child.kill()


async def load_models(child: Child) -> None:
    """Load the child's profile now, so that a missing model is told at the start and not by the first clip.

    Raises:
        ModelUnavailable: a model that is not optional is missing.
        SettingsError: the profile or the device cannot work.
    """
    await child.run([], _LOADING_S)


async def measured_columns(child: Child) -> tuple[Column, ...]:
    """Columns that the child's profile measures.

    Raises:
        SettingsError: the profile cannot work.
    """
    return tuple(await child.run(None, _LOADING_S))
