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
    batch: ClassVar[int] = 16
    """Two groups of the worker's, so that one is read while the other is measured."""
    within_s: ClassVar[float] = 0.5

    def __init__(self, child: Child) -> None:
        self._child = child

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        clips = [record.clip for record in records if isinstance(record, ClipSegmented)]
        outcomes: dict[str, ClipEmbedded | str] = {}

        async def take(group: dict[str, ClipEmbedded | str]) -> None:
            await publish([found for found in group.values() if isinstance(found, ClipEmbedded)])
            outcomes.update(group)

        await self._child.run(clips, _LOADING_S + _SECONDS_PER_CLIP * len(clips), take)
        return {
            index: Failure(reason, clip.video_id, clip.clip_id)
            for index, clip in enumerate(clips)
            if isinstance(reason := outcomes[clip.clip_id], str)
        }

    def stop(self) -> None:
        self._child.kill()


async def load_models(child: Child) -> dict[str, str]:
    """Load the child's profile now, so that a missing model is told at the start and not by the first clip.

    Returns:
        Id of each optional processor that is absent, to the reason.

    Raises:
        ModelUnavailable: a model that is not optional is missing.
        SettingsError: the profile or the device cannot work.
    """
    return dict(await child.run([], _LOADING_S))


async def measured_columns(child: Child) -> tuple[Column, ...]:
    """Columns that the child's profile measures.

    Raises:
        SettingsError: the profile cannot work.
    """
    return tuple(await child.run(None, _LOADING_S))
