"""Measures clips by a profile's processors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from processors.base import DecodedClip
from processors.decode import read_samples
from processors.engine import Engine
from processors.profile import load_profile
from processors.tiny import build_tiny_models
from store.errors import NotFound
from store.media import MediaStore
from store.records import Clip, ClipEmbedded, Column
from store.store import open_media


def make_worker(data: str, profile_name: str, device: str) -> Callable[[list[Clip] | None, Any], Any]:
    """A worker that gives, for a list of clips, a `ClipEmbedded` or the reason of its absence for each; for None,
    the columns that the profile measures.
    """
    models = Path(data, "models")
    if profile_name == "tiny":
        build_tiny_models(models)
    profile = load_profile(profile_name, models)
    media = open_media(data)
    engine = Engine(profile, device)
    loaded = False

    def work(clips: list[Clip] | None, emit: Callable[[Any], None]) -> list[Column] | list[ClipEmbedded | str]:
        nonlocal loaded
        if clips is None:
            return list(profile.columns)
        if not loaded:
            engine.load()
            loaded = True
        return _measured(engine, media, clips)

    return work


def _measured(engine: Engine, media: MediaStore, clips: list[Clip]) -> list[ClipEmbedded | str]:
    read = [_read(media, clip) for clip in clips]
    by_id = {m.clip_id: m for m in engine.run([clip for clip in read if isinstance(clip, DecodedClip)])}
    return [
        found
        if isinstance(found, str)
        else ClipEmbedded(
            clip_id=clip.clip_id,
            video_id=clip.video_id,
            duration_s=clip.duration_s,
            values=by_id[clip.clip_id].values,
            recipes=by_id[clip.clip_id].recipes,
            failed=by_id[clip.clip_id].failed,
        )
        for clip, found in zip(clips, read, strict=True)
    ]


def _read(media: MediaStore, clip: Clip) -> DecodedClip | str:
    try:
        return read_samples(media.read(clip.samples_key), clip.clip_id)
    except NotFound as error:
        return str(error)
