"""Cuts videos, stores the files of their clips, and announces each clip as it is cut."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

from processors.segment.clip import SegmentedClip
from processors.segment.recipe import SegmentRecipe
from processors.segment.run import Segmenter
from store.media import MediaStore
from store.records import Clip, ClipSegmented, FootageSegmented, FootageSubmitted
from store.store import open_media


def make_worker(data: str, unfinished: Path) -> Callable[[FootageSubmitted, Callable[[Any], None]], FootageSegmented]:
    """A worker that emits `ClipSegmented` records and gives the video's `FootageSegmented`."""
    # One core per process: a second thread makes each window of TransNetV2 cost 1.05 s of processor instead of 0.76.
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    segmenter = Segmenter(SegmentRecipe()).load("cpu")
    media = open_media(data)

    def work(footage: FootageSubmitted, emit: Callable[[Any], None]) -> FootageSegmented:
        def announce(cut: SegmentedClip) -> None:
            emit(ClipSegmented(clip=_stored(media, cut, footage)))

        with media.local_file(footage.media_key) as path, tempfile.TemporaryDirectory(dir=unfinished) as out:
            video = segmenter.segment(path, footage.video_id, Path(out), announce)
        return FootageSegmented(
            video_id=footage.video_id,
            recipe=video.recipe,
            clip_ids=tuple(clip.clip_id for clip in video.clips),
            shots=video.shots,
            dropped=video.dropped,
            facts=video.facts,
        )

    return work


def _stored(media: MediaStore, cut: SegmentedClip, footage: FootageSubmitted) -> Clip:
    """The clip, its files in media storage; the local ones are removed."""
    keys = {}
    for kind in ("media", "strip", "samples"):
        path: Path = getattr(cut, f"{kind}_path")
        keys[f"{kind}_key"] = media.put_file(path, path.suffix.removeprefix("."))
        path.unlink()
    fields = {name: getattr(cut, name) for name in Clip.model_fields if hasattr(cut, name)}
    return Clip.model_validate(fields | keys | {"source": footage.source, "licence": footage.licence})
