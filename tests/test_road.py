"""The whole road on the embedded broker: `cliploom up` as its users run it, undisturbed and killed."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from api.client import Refused
from demo.footage import render_footage
from demo.service import DemoService
from store.clip_columns import ClipRow
from store.records import Json
from store.store import Store
from tests.curated import comparable, is_curated

ROOT = Path(__file__).parent.parent
WITHIN_S = 420.0


@dataclass(frozen=True)
class Outcome:
    """What a service left behind."""

    rows: dict[str, ClipRow]
    videos: dict[str, Json]
    digest: str


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("footage")
    videos = render_footage(folder, 20.0, seed=7)
    return [video.path for video in videos[:3]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, footage: list[Path]) -> Iterator[tuple[DemoService, Outcome]]:
    with DemoService(tmp_path_factory.mktemp("undisturbed"), ROOT / "concepts.yaml", footage[0].parent) as service:
        _submit(service, footage)
        outcome = _finish(service, len(footage))
        yield service, outcome


def _submit(service: DemoService, footage: list[Path]) -> None:
    for path in footage:
        service.client.post("/footage", path=str(path), source="rendered", licence="CC-BY-4.0")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what}"
        time.sleep(0.2)


def _finish(service: DemoService, n_videos: int) -> Outcome:
    """Wait until everything is curated, release the source, publish, and read what is there."""
    store = Store.open(service.data)

    def curated() -> bool:
        return store.videos.counts() == {"done": n_videos} and is_curated(store)

    _wait(curated, "every clip curated")
    service.client.post(
        "/reviews",
        subject="source",
        subject_id="rendered",
        verdict="release",
        covers=["age"],
        by="test",
        reason="drawn figures and two adults",
    )
    service.client.post("/snapshots", tag="end", note="")
    _wait(lambda: (store.snapshots.get("end") or {}).get("status") == "created", "the snapshot")
    snapshot = store.snapshots.get("end")
    assert snapshot is not None
    rows = {row["clip_id"]: row for row in store.clips.select()}
    return Outcome(rows, store.videos.all(), snapshot["digest"])


def test_every_clip_plays_and_is_as_long_as_its_row_says(undisturbed: tuple[DemoService, Outcome]) -> None:
    service, outcome = undisturbed
    store = Store.open(service.data)
    assert len(outcome.rows) >= 3
    for row in outcome.rows.values():
        with store.media.local_file(row["media_key"]) as path, av.open(path) as container:
            frames = sum(1 for _ in container.decode(video=0))
            assert (container.streams.video[0].codec.name, bool(container.streams.audio)) == ("h264", row["has_audio"])
        assert frames == row["n_frames"]
        assert frames / (row["fps"][0] / row["fps"][1]) == pytest.approx(row["duration_s"], abs=1.5 / 24)
        assert row["stage"] == "densified"
        assert row["conditioning"]
        assert row["verdict"] == "keep", row["held_for"]


def test_the_same_footage_under_another_name_changes_nothing(
    undisturbed: tuple[DemoService, Outcome], footage: list[Path]
) -> None:
    service, outcome = undisturbed
    store = Store.open(service.data)
    twin = footage[0].with_name(f"twin{footage[0].suffix}")
    shutil.copy(footage[0], twin)
    service.client.post("/footage", path=str(twin), source="another", licence="MIT")
    time.sleep(1.0)
    assert store.videos.all() == outcome.videos
    assert {row["clip_id"]: row for row in store.clips.select()} == outcome.rows


def test_what_is_no_video_is_refused_and_the_service_goes_on(
    undisturbed: tuple[DemoService, Outcome], footage: list[Path]
) -> None:
    service, _ = undisturbed
    text = footage[0].with_name("letter.mp4")
    text.write_text("Dear video,")
    with pytest.raises(Refused, match=r"letter\.mp4"):
        service.client.post("/footage", path=str(text), source="rendered", licence="CC-BY-4.0")
    assert service.client.get("/health")["alive"]


def test_a_service_killed_at_two_moments_ends_in_the_same_store(
    undisturbed: tuple[DemoService, Outcome], footage: list[Path], tmp_path: Path
) -> None:
    _, expected = undisturbed
    concepts = ROOT / "concepts.yaml"
    with DemoService(tmp_path, concepts, footage[0].parent) as service:
        _submit(service, footage)
        service.kill()
    with DemoService(tmp_path, concepts, footage[0].parent) as service:
        store = Store.open(service.data)
        _wait(lambda: store.clips.count("stage = 'segmented'") > 0, "a clip that is cut and not yet measured")
        service.kill()
    with DemoService(tmp_path, concepts, footage[0].parent) as service:
        outcome = _finish(service, len(footage))
        assert service.stop() == 0
    assert comparable(outcome.rows) == comparable(expected.rows)
    assert outcome.digest == expected.digest
    assert {id_: body["status"] for id_, body in outcome.videos.items()} == dict.fromkeys(expected.videos, "done")
