"""Embed: the profile's processors measure clips in batches across videos, in a child process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from processors.base import DecodedClip
from processors.decode import read_samples
from processors.engine import Engine, Measured
from processors.profile import load_profile
from store.errors import NotFound
from store.media import MediaStore
from store.records import Clip, ClipEmbedded, ClipSegmented, Record
from streams.child import Child
from streams.runner import Failure, Publish, Step

_SECONDS_PER_CLIP = 120.0
"""Time limit; a clip of 10 s takes about 3 s in profile `measured` on one core."""
_LOADING_S = 600.0


class Embed(Step):
    """Reads segmented clips.

    Args:
        data: folder or URL of the store, whose media the child reads itself.
    """

    name: ClassVar[str] = "embed"
    reads: ClassVar[tuple[str, ...]] = (ClipSegmented.topic,)
    batch: ClassVar[int] = 8
    within_s: ClassVar[float] = 0.5

    def __init__(self, data: Path, profile: str, device: str) -> None:
        self._child = Child("embed", partial(_make_worker, f"{data}/media", profile, device))

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        clips = [record.clip for record in records if isinstance(record, ClipSegmented)]
        limit_s = _LOADING_S + _SECONDS_PER_CLIP * len(clips)
        results: list[Measured | _Missing] = await self._child.run(clips, limit_s)
        measured: list[Record] = []
        failures: dict[int, Failure] = {}
        for index, (clip, result) in enumerate(zip(clips, results, strict=True)):
            if isinstance(result, _Missing):
                failures[index] = Failure(result.reason, clip.video_id, clip.clip_id)
                continue
            assert result.clip_id == clip.clip_id
            measured.append(
                ClipEmbedded(
                    clip_id=clip.clip_id,
                    video_id=clip.video_id,
                    duration_s=clip.duration_s,
                    values=result.values,
                    recipes=result.recipes,
                    failed=result.failed,
                )
            )
        await publish(measured)
        return failures

    def stop(self) -> None:
        self._child.kill()


@dataclass(frozen=True)
class _Missing:
    reason: str


def _make_worker(media_url: str, profile: str, device: str) -> Callable[[list[Clip], Any], list[Measured | _Missing]]:
    media = MediaStore(media_url)
    engine = Engine(load_profile(profile), device)
    engine.load()

    def work(clips: list[Clip], emit: Callable[[Any], None]) -> list[Measured | _Missing]:
        packs = [_read(media, clip) for clip in clips]
        measured = iter(
            engine.run([read_samples(p, c.clip_id) for p, c in zip(packs, clips, strict=True) if isinstance(p, bytes)])
        )
        return [pack if isinstance(pack, _Missing) else next(measured) for pack in packs]

    return work


def _read(media: MediaStore, clip: Clip) -> DecodedClip | _Missing:
    try:
        return read_samples(media.read(clip.samples_key), clip.clip_id)
    except NotFound as error:
        return _Missing(str(error))
