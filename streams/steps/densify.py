"""Densify: measurements, and what an engine says of the clip, become the annotation; in a child process."""

from collections.abc import Sequence
from typing import ClassVar

from store.records import AnnotationDue, ClipDensified, ClipEmbedded, Record
from streams.annotating import About, Outcomes
from streams.child import Child
from streams.runner import Failure, Publish, Step

_SECONDS_PER_CLIP = 900.0
"""Time limit: a thinking model on a CPU takes minutes; an endpoint has limits of its own."""
_LOADING_S = 900.0


class Densify(Step):
    """Reads measured clips, and those that are to be annotated anew.

    Args:
        child: serves `streams.workers.densify`.
    """

    name: ClassVar[str] = "densify"
    reads: ClassVar[tuple[str, ...]] = (ClipEmbedded.topic, AnnotationDue.topic)
    batch: ClassVar[int] = 32

    def __init__(self, child: Child) -> None:
        self._child = child

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        outcomes: Outcomes = {}

        async def take(found: Outcomes) -> None:
            await publish([one for one in found.values() if isinstance(one, ClipDensified)])
            outcomes.update(found)

        clips = [record for record in records if isinstance(record, ClipEmbedded | AnnotationDue)]
        await self._child.run(clips, _LOADING_S + _SECONDS_PER_CLIP * len(clips), take)
        return {
            index: Failure(reason, record.video_id, record.clip_id)
            for index, record in enumerate(clips)
            if isinstance(reason := outcomes.get(record.clip_id), str)
        }

    def stop(self) -> None:
        self._child.kill()


async def about_annotations(child: Child) -> About:
    """What annotates, told by a child that serves `streams.workers.densify`.

    Raises:
        ModelUnavailable: the engine's model is missing and not optional.
        SettingsError: the profile's `[reason]` cannot work.
    """
    found: About = await child.run(None, _LOADING_S)
    return found
