"""Measuring clips: groups are read ahead, every result goes to its clip, and a missing model is told at the start."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.decode import write_samples
from store.errors import ModelUnavailable, NotFound, SettingsError
from store.media import MediaStore
from store.records import Clip, ClipEmbedded, ClipSegmented, Record
from store.store import open_media
from streams.steps.embed import Embed, load_models, measured_columns
from streams.workers.embed import GROUP_CLIPS, make_worker, read_ahead
from tests.processors.made_clips import make_clip

PROFILE = '[[processor]]\nid = "vision.texture"\n'
MISSING = '[[processor]]\nid = "vision.siglip"\nmodel = "nobody/nothing"\n'


class InProcess:
    """A `streams.child.Child` without a process of its own."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work

    async def run(
        self, request: Any, time_limit_s: float, on_message: Callable[[Any], Awaitable[None]] | None = None
    ) -> Any:
        messages: list[Any] = []
        result = self._work(request, messages.append)
        for message in messages:
            assert on_message is not None
            await on_message(message)
        return result


def child(data: Path, profile: str = PROFILE, device: str = "cpu") -> Any:
    path = data / "own.toml"
    path.write_text(profile)
    return InProcess(make_worker(str(data), str(path), device))


def clip_of(number: int, samples_key: str) -> Clip:
    return Clip(
        clip_id=f"clip{number}",
        video_id=f"video{number % 3}",
        source="made",
        licence=None,
        shot=number,
        start_pts=0,
        end_pts=25,
        time_base=(1, 25),
        width=64,
        height=48,
        fps=(25, 1),
        n_frames=25,
        has_audio=False,
        media_key="",
        strip_key="",
        samples_key=samples_key,
        recipe="",
    )


def grey(number: int, media: MediaStore) -> Clip:
    """A clip that is as bright as its number says."""
    frames = np.full((4, 48, 64, 3), 10 * number, np.uint8)
    return clip_of(number, media.put_bytes(write_samples(make_clip(frames_rgb=frames, duration_s=1.0)), "samples"))


async def embed(step: Embed, clips: Sequence[Clip]) -> tuple[list[list[ClipEmbedded]], dict[int, Any]]:
    """(what was published at a time, failures)."""
    published: list[Any] = []

    async def publish(records: Sequence[Any]) -> None:
        published.append(list(records))

    records: list[Record] = [ClipSegmented(clip=clip) for clip in clips]
    return published, await step.process(records, publish)


async def test_every_clip_gets_its_own_values_group_by_group(tmp_path: Path) -> None:
    clips = [grey(number, open_media(str(tmp_path))) for number in range(2 * GROUP_CLIPS + 3)]
    published, failures = await embed(Embed(child(tmp_path)), clips)
    assert failures == {}
    assert [len(group) for group in published] == [GROUP_CLIPS, GROUP_CLIPS, 3]
    found = [record for group in published for record in group]
    assert [(record.clip_id, record.video_id) for record in found] == [(c.clip_id, c.video_id) for c in clips]
    brightness = [record.values["brightness"] for record in found]
    assert brightness == sorted(brightness)
    assert len(set(brightness)) == len(clips)


async def test_a_clip_whose_samples_are_gone_fails_alone(tmp_path: Path) -> None:
    media = open_media(str(tmp_path))
    clips = [grey(1, media), clip_of(2, "ab/" + "ab" * 32 + ".samples"), grey(3, media)]
    published, failures = await embed(Embed(child(tmp_path)), clips)
    assert [record.clip_id for record in published[0]] == ["clip1", "clip3"]
    assert {index: (failure.clip_id, failure.video_id) for index, failure in failures.items()} == {
        1: ("clip2", "video2")
    }
    assert "was its source removed?" in failures[1].reason


def test_a_group_is_read_while_the_one_before_is_measured_and_no_further() -> None:
    read: list[str] = []
    second_read = threading.Event()

    class Media:
        def read(self, key: str) -> bytes:
            read.append(key)
            if len(read) == 2 * GROUP_CLIPS:
                second_read.set()
            raise NotFound("nothing here")

    clips = [clip_of(number, str(number)) for number in range(4 * GROUP_CLIPS)]
    groups = read_ahead(Media(), clips)  # type: ignore[arg-type]
    assert [clip.clip_id for clip in next(groups)[0]] == [f"clip{number}" for number in range(GROUP_CLIPS)]
    assert second_read.wait(10.0)
    assert read == [str(number) for number in range(2 * GROUP_CLIPS)]
    assert [len(group) for group, _ in groups] == [GROUP_CLIPS] * 3
    assert len(read) == len(clips)


async def test_a_model_that_is_missing_ends_the_start_unless_it_is_optional(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"vision\.siglip: model 'nobody/nothing' is not on this machine; run"):
        await load_models(child(tmp_path, PROFILE + MISSING))
    optional = child(tmp_path, PROFILE + MISSING + "optional = true\n")
    absent = await load_models(optional)
    assert list(absent) == ["vision.siglip"]
    published, failures = await embed(Embed(optional), [grey(1, open_media(str(tmp_path)))])
    (record,) = published[0]
    assert failures == {}
    assert (record.values["visual_text"], record.recipes["vision.siglip"]) == (None, "absent")
    assert record.failed["vision.siglip"] == "absent: model 'nobody/nothing' is not on this machine"


async def test_the_columns_are_known_without_the_models(tmp_path: Path) -> None:
    columns = await measured_columns(child(tmp_path, MISSING))
    assert [column.name for column in columns] == ["visual_text"]


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--device cuda:9: torch .* sees .*give --device cpu or auto"):
        child(tmp_path, device="cuda:9")
