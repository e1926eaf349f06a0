"""Segment: one decode pass per video in a child process; each clip is stored and announced as it is cut."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from processors.segment.run import SegmentedClip, SegmentedVideo, Segmenter

from processors.segment.recipe import SegmentRecipe
from store.errors import InputError
from store.records import Clip, ClipSegmented, FootageSegmented, FootageSubmitted, Record
from store.store import Store
from streams.child import Child
from streams.runner import Failure, Publish, Step

_TIME_LIMIT_S = 4 * 3600.0
"""Footage that takes longer than this is stopped; four hours of 1080p decode in about one on two cores."""
_MAX_CLIPS_IN_FLIGHT = 400
"""The embedded broker keeps 5 MiB a partition and a measured clip takes about 20 KB: 400 stay far below."""
_WAIT_S = 1.0


@dataclass(frozen=True)
class _Request:
    path: Path
    video_id: str
    out_dir: Path


class Segment(Step):
    """Reads submitted footage.

    Args:
        data: folder that holds the temporary files of the video being cut.
    """

    name: ClassVar[str] = "segment"
    reads: ClassVar[tuple[str, ...]] = (FootageSubmitted.topic,)

    def __init__(self, store: Store, data: Path) -> None:
        self._store = store
        self._data = data
        self._child = Child("segment", partial(_make_worker, SegmentRecipe()))

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
        self._data.mkdir(parents=True, exist_ok=True)
        with (
            self._store.media.local_file(footage.media_key) as path,
            tempfile.TemporaryDirectory(prefix="segment-", dir=self._data) as out_dir,
        ):

            async def announce(cut: SegmentedClip) -> None:
                clip = await asyncio.to_thread(self._put, cut, footage)
                await publish([ClipSegmented(clip=clip)])

            request = _Request(path, footage.video_id, Path(out_dir))
            segmented: SegmentedVideo = await self._child.run(request, _TIME_LIMIT_S, announce)
        await publish(
            [
                FootageSegmented(
                    video_id=footage.video_id,
                    recipe=segmented.recipe,
                    clip_ids=segmented.clip_ids,
                    shots=segmented.shots,
                    dropped=segmented.dropped,
                    facts=segmented.facts,
                )
            ]
        )

    async def _wait_for_room(self) -> None:
        """Hold this step until the ones after it have caught up."""
        unfinished = "stage IN ('segmented', 'embedded')"
        while await asyncio.to_thread(self._store.clips.count, unfinished) > _MAX_CLIPS_IN_FLIGHT:
            await asyncio.sleep(_WAIT_S)

    def _put(self, cut: SegmentedClip, footage: FootageSubmitted) -> Clip:
        """Store a clip's files; the local ones are removed."""
        keys = {
            name: self._store.media.put_file(path, path.suffix.removeprefix("."))
            for name, path in (
                ("media_key", cut.media_path),
                ("strip_key", cut.strip_path),
                ("samples_key", cut.samples_path),
            )
        }
        for path in (cut.media_path, cut.strip_path, cut.samples_path):
            path.unlink()
        return cut.clip(source=footage.source, licence=footage.licence, **keys)


def _make_worker(recipe: SegmentRecipe) -> Callable[[_Request, Callable[[Any], None]], SegmentedVideo]:
    segmenter = Segmenter(recipe)
    segmenter.load("cpu")

    def work(request: _Request, emit: Callable[[Any], None]) -> SegmentedVideo:
        return segmenter.segment(request.path, request.video_id, request.out_dir, emit)

    return work
