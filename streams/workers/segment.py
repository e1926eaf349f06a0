"""Reads one chunk of footage at a time, stores the files of its clips, and announces each clip as it is cut."""

import ctypes
import logging
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import torch

from processors.segment.checkpoint import UnfitCheckpoint
from processors.segment.clip import SegmentedClip
from processors.segment.reading import Reading, SegmentedVideo
from processors.segment.recipe import SegmentRecipe
from processors.segment.run import Segmenter
from store.errors import NotFound
from store.media import MediaStore
from store.records import Clip, ClipSegmented, FootageContinued, FootageSegmented, FootageSubmitted
from store.store import open_media

log = logging.getLogger(__name__)

Emit = Callable[[Any], None]

_M_MMAP_THRESHOLD = -3
RETURNED_BYTES = 256 << 10
"""Chosen: a picture is a third of a megabyte. glibc raises its own threshold beyond that, and what is freed stays in
holes: 1.4 GB at most were seen on a minute of 1080p without this, 1.2 GB with it."""


def make_worker(
    data: str, unfinished: Path, chunk_s: float
) -> Callable[[FootageSubmitted | FootageContinued, Emit], FootageSegmented | FootageContinued]:
    """A worker that reads the footage's next chunk, and emits a `ClipSegmented` for each clip.

    Args:
        data: folder of the store.
        unfinished: folder for files in the making.
        chunk_s: length of a chunk.
    """
    _return_large_blocks()
    # One core per process: a second thread makes each window of TransNetV2 cost 1.05 s of processor instead of 0.76.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    segmenter = Segmenter(SegmentRecipe()).load("cpu")
    return ChunkWorker(segmenter, open_media(data), unfinished, Fraction(chunk_s)).work


def _return_large_blocks() -> None:
    """Have glibc give blocks of `RETURNED_BYTES` and more back as soon as they are freed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, RETURNED_BYTES)


@dataclass
class OpenFootage:
    """A reading with all that it keeps open."""

    reading: Reading
    out_dir: Path
    opened: ExitStack


class ChunkWorker:
    """Reads chunks; keeps the reading of the last one open, in case that footage's next chunk is asked for next."""

    def __init__(self, segmenter: Segmenter, media: MediaStore, unfinished: Path, chunk_s: Fraction) -> None:
        self._segmenter = segmenter
        self._media = media
        self._unfinished = unfinished
        self._chunk_s = chunk_s
        self._open: dict[str, OpenFootage] = {}
        """By the key of the checkpoint at which it stands. One at most: each keeps 200 MB and more."""

    def work(self, request: FootageSubmitted | FootageContinued, emit: Emit) -> FootageSegmented | FootageContinued:
        """Read the first chunk of submitted footage, or the next of continued footage."""
        footage = request if isinstance(request, FootageSubmitted) else request.footage

        def announce(cut: SegmentedClip) -> None:
            emit(ClipSegmented(clip=_stored(self._media, cut, footage)))

        current = self._take(request)
        with ExitStack() as unless_kept:
            unless_kept.push(current.opened)
            video = current.reading.read(current.out_dir, self._chunk_s, announce)
            if video is not None:
                return _segmented(video)
            key = self._media.put_bytes(current.reading.checkpoint(), "checkpoint")
            if isinstance(request, FootageContinued):  # the second chunk is read in another process than the first
                self._open[key] = current
                unless_kept.pop_all()
        return FootageContinued(
            footage=footage,
            chunk=request.chunk + 1 if isinstance(request, FootageContinued) else 1,
            checkpoint_key=key,
            clip_ids=current.reading.clip_ids,
            share=current.reading.share,
        )

    def _take(self, request: FootageSubmitted | FootageContinued) -> OpenFootage:
        """The reading that stands where the request wants to go on."""
        if isinstance(request, FootageContinued) and request.checkpoint_key in self._open:
            return self._open.pop(request.checkpoint_key)
        while self._open:
            self._open.popitem()[1].opened.close()
        with ExitStack() as opened:
            footage = request if isinstance(request, FootageSubmitted) else request.footage
            path = opened.enter_context(self._media.local_file(footage.media_key))
            out_dir = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=self._unfinished)))
            reading = self._read_on(path, request)
            opened.callback(reading.close)
            return OpenFootage(reading, out_dir, opened.pop_all())

    def _read_on(self, path: Path, request: FootageSubmitted | FootageContinued) -> Reading:
        """A reading from the checkpoint, or from the start where there is none, or none of this recipe."""
        if isinstance(request, FootageSubmitted):
            return self._segmenter.open(path, request.video_id)
        video_id = request.footage.video_id
        try:
            return self._segmenter.resume(path, video_id, self._media.read(request.checkpoint_key))
        except (UnfitCheckpoint, NotFound) as error:
            log.warning("%s is read from its start again: %s", request.footage.name, error)
            return self._segmenter.open(path, video_id)


def _segmented(video: SegmentedVideo) -> FootageSegmented:
    return FootageSegmented(
        video_id=video.video_id,
        recipe=video.recipe,
        clip_ids=video.clip_ids,
        shots=video.shots,
        dropped=video.dropped,
        facts=video.facts,
    )


def _stored(media: MediaStore, cut: SegmentedClip, footage: FootageSubmitted) -> Clip:
    """The clip, its files in media storage; the local ones are removed."""
    keys = {}
    for kind in ("media", "strip", "samples"):
        path: Path = getattr(cut, f"{kind}_path")
        keys[f"{kind}_key"] = media.put_file(path, path.suffix.removeprefix("."))
        path.unlink()
    fields = {name: getattr(cut, name) for name in Clip.model_fields if hasattr(cut, name)}
    return Clip.model_validate(fields | keys | {"source": footage.source, "licence": footage.licence})
