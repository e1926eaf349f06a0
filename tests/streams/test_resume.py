"""Long footage, chunk by chunk: who reads what, what is published, and when a checkpoint goes."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from store.errors import InputError
from store.records import FootageContinued, FootageSegmented, FootageSubmitted, Record
from store.store import Store, open_media
from store.view import View
from streams.child import Child
from streams.steps.resume import Resume
from streams.steps.segment import Segment
from tests.streams.test_steps import Published

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK_BYTES = 100


def make_worker(data: str) -> Callable[[Any, Callable[[Any], None]], Record]:
    """Reads 100 bytes of footage at a time; each chunk is one clip. Footage named `broken` breaks in its second."""
    media = open_media(data)

    def work(request: FootageSubmitted | FootageContinued, emit: Callable[[Any], None]) -> Record:
        continued = isinstance(request, FootageContinued)
        footage = request.footage if continued else request
        chunk = request.chunk if continued else 0
        clip_ids = (*(request.clip_ids if continued else ()), f"{footage.name}/{chunk}")
        if continued and footage.name == "broken":
            raise InputError("no pictures follow")
        read = (chunk + 1) * CHUNK_BYTES
        if read >= footage.size_bytes:
            return FootageSegmented(
                video_id=footage.video_id, recipe="r", clip_ids=clip_ids, shots=(), dropped=(), facts={}
            )
        key = media.put_bytes(f"{footage.video_id} {read}".encode(), "checkpoint")
        share = read / footage.size_bytes
        return FootageContinued(footage=footage, chunk=chunk + 1, checkpoint_key=key, clip_ids=clip_ids, share=share)

    return work


def film(name: str, chunks: int) -> FootageSubmitted:
    return FootageSubmitted(
        video_id=name.encode().hex().ljust(64, "0"),
        name=name,
        media_key="ab/" + "ab" * 32 + ".mp4",
        size_bytes=chunks * CHUNK_BYTES,
        source="films",
        licence=None,
        submitted_at=NOW,
    )


class Road:
    """Both steps on one store, whose tables know what was published once `store_all` was called."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder)
        self.segment = Segment(self.store, Child("segment", __name__, str(folder)))
        self.resume = Resume(self.store, Child("resume", __name__, str(folder)))
        self.published = Published()

    async def submit(self, footage: FootageSubmitted) -> list[Record]:
        View(self.store).apply([footage])
        return await self.take(self.segment, footage)

    async def take(self, step: Segment | Resume, record: Record) -> list[Record]:
        """What a step publishes for a record."""
        before = len(self.published)
        assert await step.process([record], self.published) == {}
        return self.published[before:]

    async def store_all(self) -> None:
        View(self.store).apply(self.published)
        await self.resume.idle(self.published)

    def checkpoints(self) -> list[str]:
        keys = self.store.media.keys()
        return [key for key in keys if key.endswith(".checkpoint")]


@pytest.fixture
def road(tmp_path: Path):
    road = Road(tmp_path)
    yield road
    road.segment.stop()
    road.resume.stop()


async def test_short_footage_is_read_in_one_piece_and_leaves_no_checkpoint(road: Road) -> None:
    (ended,) = await road.submit(film("short", 1))
    assert isinstance(ended, FootageSegmented)
    assert ended.clip_ids == ("short/0",)
    assert road.checkpoints() == []


async def test_long_footage_is_read_on_to_its_end_and_its_checkpoints_go(road: Road) -> None:
    (record,) = await road.submit(film("film", 4))
    shares = []
    while isinstance(record, FootageContinued):
        shares.append((record.chunk, record.share))
        await road.store_all()
        assert road.store.videos.get(record.key)["chunk"] == record.chunk
        assert road.checkpoints() == [record.checkpoint_key]
        (record,) = await road.take(road.resume, record)
    assert shares == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert isinstance(record, FootageSegmented)
    assert record.clip_ids == ("film/0", "film/1", "film/2", "film/3")
    await road.store_all()
    assert road.checkpoints() == []


async def test_a_checkpoint_stays_until_the_store_knows_what_followed(road: Road) -> None:
    (first,) = await road.submit(film("film", 3))
    await road.store_all()
    (second,) = await road.take(road.resume, first)
    await road.resume.idle(road.published)
    assert road.checkpoints() == sorted([first.checkpoint_key, second.checkpoint_key])
    assert await road.take(road.resume, first) == [second], "killed before the store knew: read again, to the same end"
    await road.store_all()
    assert road.checkpoints() == [second.checkpoint_key]


async def test_a_chunk_that_comes_again_starts_no_second_reading(road: Road) -> None:
    footage = film("film", 4)
    (first,) = await road.submit(footage)
    await road.store_all()
    (second,) = await road.take(road.resume, first)
    await road.store_all()
    assert await road.take(road.resume, first) == []
    assert await road.take(road.segment, footage) == []
    other = second.model_copy(update={"checkpoint_key": road.store.media.put_bytes(b"elsewhere", "checkpoint")})
    assert await road.take(road.resume, other) == []
    assert road.checkpoints() == [second.checkpoint_key]


async def test_films_take_turns(road: Road) -> None:
    waiting = [*await road.submit(film("one", 3)), *await road.submit(film("two", 3))]
    order = []
    while waiting:
        record = waiting.pop(0)
        order.append((record.footage.name, record.chunk))
        await road.store_all()
        waiting += [r for r in await road.take(road.resume, record) if isinstance(r, FootageContinued)]
    assert order == [("one", 1), ("two", 1), ("one", 2), ("two", 2)]


async def test_removed_footage_is_read_no_further(road: Road) -> None:
    (record,) = await road.submit(film("film", 3))
    await road.store_all()
    road.store.videos.put({record.key: {"status": "removed", "video_id": record.key}})
    assert await road.take(road.resume, record) == []
    assert road.checkpoints() == []


async def test_footage_whose_clips_the_store_lost_is_read_again_to_its_end(road: Road) -> None:
    footage = film("film", 3)
    (record,) = await road.submit(footage)
    stale = record
    while isinstance(record, FootageContinued):
        await road.store_all()
        (record,) = await road.take(road.resume, record)
    await road.store_all()
    assert road.store.videos.get(footage.video_id)["status"] == "segmented"
    assert await road.take(road.resume, stale) == [], "its checkpoint is gone: a late duplicate"
    (again,) = await road.take(road.segment, footage)
    while isinstance(again, FootageContinued):
        (again,) = await road.take(road.resume, again)
    assert again == record
    await road.store_all()
    assert road.checkpoints() == []


async def test_footage_that_breaks_later_on_is_refused_by_its_name(road: Road) -> None:
    (record,) = await road.submit(film("broken", 2))
    failures = await road.resume.process([record], road.published)
    assert failures[0].reason == "broken: no pictures follow"
    assert failures[0].video_id == record.key
