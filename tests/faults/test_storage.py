"""Storage that fails: an object store that often does not answer, a full disk, a second writer of the tables."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import lancedb
import pytest

from tests.faults.interpreter import sitecustomize
from tests.faults.road import BACK, FRONT, Outcome, Road, same
from tests.kafka import Kafka

DISK_BYTES = 300 << 20
FULL_S = 15.0


def test_an_object_store_that_fails_one_call_in_five_costs_time_only(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    assert sitecustomize.__file__ is not None  # which has made `flaky` known to this process, too
    media = ("--media", f"{sitecustomize.Flaky.protocol}://{tmp_path}/objects")
    reads_it = {"PYTHONPATH": str(Path(sitecustomize.__file__).parent)}
    with Road(tmp_path, fresh_kafka.address, media, reads_it) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        same(road.finish(len(footage)), undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 MiB where the road keeps its data."""
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount the small file system that this test fills")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_that_is_full_for_a_while_costs_time_only(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path, small_disk: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        road.start(FRONT, BACK)
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.clips.count() > 0, "a clip")
        _fill(small_disk / "ballast")
        assert shutil.disk_usage(small_disk).free == 0
        time.sleep(FULL_S)
        (small_disk / "ballast").unlink()
        same(road.finish(len(footage)), undisturbed)
        told = "".join(worker.log_path.read_text() for worker in road.workers)
        assert "No space left on device" in told


def _fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue


class Intruder(threading.Thread):
    """Another writer of the clip table, against the rules: it adds a row, rewrites files, and takes the row away."""

    def __init__(self, tables: Path) -> None:
        super().__init__(daemon=True)
        self._table = lancedb.connect(str(tables)).open_table("clips")
        self._ended = threading.Event()
        self.commits = 0

    def run(self) -> None:
        while not self._ended.is_set():
            self._table.add([{"clip_id": "intruder"}])
            with suppress(RuntimeError):  # it may lose against what the road writes, as the road may against it
                self._table.optimize()
            self._table.delete("clip_id = 'intruder'")
            self.commits += 2

    def end(self) -> None:
        """Stop after the commits in hand."""
        self._ended.set()
        self.join()


def test_a_second_writer_of_the_tables_costs_time_only(
    fresh_kafka: Kafka, footage: list[Path], undisturbed: Outcome, tmp_path: Path
) -> None:
    with Road(tmp_path, fresh_kafka.address) as road:
        road.start(FRONT, BACK)
        intruder = Intruder(road.data / "lance")
        intruder.start()
        road.submit(footage)
        store = road.store
        road.wait(lambda: store.videos.counts() == {"done": len(footage)}, "every video done")
        intruder.end()
        assert intruder.commits > 20
        same(road.finish(len(footage)), undisturbed)
