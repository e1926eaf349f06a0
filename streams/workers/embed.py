"""Measures clips by a profile's processors; the next clips are read while these are measured."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from processors.base import DecodedClip
from processors.decode import read_samples
from processors.device import choose_device, half_precision
from processors.engine import Engine, Measured
from processors.profile import build_if_tiny, load_profile
from store.errors import NotFound
from store.media import MediaStore
from store.records import Clip, ClipEmbedded, Column
from store.store import open_media

GROUP_CLIPS = 8
"""Chosen: clips that are measured together. Groups of 1, 4, 8 and 16 take the same time (`tests.bench.perception`), as
nets batch over a clip's frames; two groups of decoded clips lie in memory, each clip of 10 s with 10 MB."""

Outcomes = dict[str, ClipEmbedded | str]
"""Clip id to what was measured, or the reason why nothing could be."""
Emit = Callable[[Outcomes], None]


def make_worker(
    data: str, profile_name: str, device: str
) -> Callable[[Sequence[Clip] | None, Emit], list[Column] | dict[str, str]]:
    """A worker that emits, group by group, the outcome of each of a list of clips, and gives the processors that are
    absent with the reason; for None it gives the columns that the profile measures, and loads nothing.
    """
    models = Path(data, "models")
    build_if_tiny(profile_name, models)
    profile = load_profile(profile_name, models)
    media = open_media(data)
    on = choose_device(device)
    engine = Engine(profile, on, half_precision(on))

    def work(clips: Sequence[Clip] | None, emit: Emit) -> list[Column] | dict[str, str]:
        if clips is None:
            return list(profile.columns)
        engine.load()
        for group, read in read_ahead(media, clips):
            emit(_measured(engine, group, read))
        return engine.absent

    return work


def read_ahead(media: MediaStore, clips: Sequence[Clip]) -> Iterator[tuple[Sequence[Clip], list[DecodedClip | str]]]:
    """Groups of clips with what they hold; a group is read while the one before it is measured."""
    groups = [clips[start : start + GROUP_CLIPS] for start in range(0, len(clips), GROUP_CLIPS)]
    with ThreadPoolExecutor(1, "reading") as reader:
        coming = [reader.submit(_read_group, media, group) for group in groups[:1]]
        for index, group in enumerate(groups):
            read = coming.pop().result()
            coming += [reader.submit(_read_group, media, after) for after in groups[index + 1 : index + 2]]
            yield group, read


def _read_group(media: MediaStore, clips: Sequence[Clip]) -> list[DecodedClip | str]:
    return [_read(media, clip) for clip in clips]


def _measured(engine: Engine, clips: Sequence[Clip], read: Sequence[DecodedClip | str]) -> Outcomes:
    by_id = {m.clip_id: m for m in engine.run([clip for clip in read if isinstance(clip, DecodedClip)])}
    return {
        clip.clip_id: found if isinstance(found, str) else _embedded(clip, by_id[clip.clip_id])
        for clip, found in zip(clips, read, strict=True)
    }


def _embedded(clip: Clip, measured: Measured) -> ClipEmbedded:
    return ClipEmbedded(
        clip_id=clip.clip_id,
        video_id=clip.video_id,
        duration_s=clip.duration_s,
        values=measured.values,
        recipes=measured.recipes,
        failed=measured.failed,
    )


def _read(media: MediaStore, clip: Clip) -> DecodedClip | str:
    try:
        return read_samples(media.read(clip.samples_key), clip.clip_id)
    except NotFound as error:
        return str(error)
