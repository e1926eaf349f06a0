"""Media storage: content keys, one object for equal bytes, and refusals; on disk and over fsspec."""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from store.errors import InputError, NotFound, Unavailable
from store.media import MediaStore, file_sha256, media_key
from tests.store.made_footage import NOON, later


def test_what_is_stored_is_read_back(media):
    key = media.put_bytes(b"footage", "mp4")
    assert key == media_key(hashlib.sha256(b"footage").hexdigest(), "mp4")
    assert media.exists(key)
    assert media.read(key) == b"footage"


def test_a_files_key_is_that_of_its_bytes(media, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 3_000_000)
    key = media.put_file(path, "mp4")
    assert key == media.put_bytes(b"x" * 3_000_000, "mp4")
    assert file_sha256(path) in key
    assert len(media.read(key)) == 3_000_000


def test_equal_bytes_are_one_object(media):
    media.put_bytes(b"same", "mp4")
    media.put_bytes(b"same", "mp4")
    assert len(media.keys()) == 1


def test_keys_lists_every_object_in_order(media):
    keys = [media.put_bytes(str(i).encode(), "json") for i in range(5)]
    assert media.keys() == sorted(keys)


def test_keys_of_a_folder_are_those_that_begin_with_its_digits(media):
    keys = [media.put_bytes(str(i).encode(), "json") for i in range(5)]
    assert media.keys(keys[0][:2]) == sorted(key for key in keys if key.startswith(keys[0][:2]))
    assert media.keys("00") == []


def test_the_age_of_an_object_begins_anew_when_it_is_touched_or_put_again(media):
    key = media.put_bytes(b"same", "json")
    times = [media.changed_at(key)]
    for again in (lambda: media.touch(key), lambda: media.put_bytes(b"same", "json")):
        time.sleep(1.1)  # S3 tells whole seconds
        again()
        times.append(media.changed_at(key))
    assert times == sorted(set(times))
    assert abs(datetime.now(UTC) - times[-1]) < timedelta(minutes=1)
    assert media.read(key) == b"same"


def test_what_is_not_there_has_no_age_and_is_not_touched(media):
    key = media_key("0" * 64, "json")
    media.touch(key)
    assert media.changed_at(key) is None
    assert media.keys() == []


def test_an_empty_storage_has_no_keys(media):
    assert media.keys() == []


def test_a_local_file_holds_the_bytes(media):
    key = media.put_bytes(b"footage", "mp4")
    with media.local_file(key) as path:
        assert path.read_bytes() == b"footage"


def test_what_is_not_there_is_not_found(media):
    key = media_key("0" * 64, "mp4")
    assert not media.exists(key)
    with pytest.raises(NotFound, match=key):
        media.read(key)
    with pytest.raises(NotFound, match=key), media.local_file(key):
        pass


def test_deleting_twice_is_no_error(media):
    key = media.put_bytes(b"footage", "mp4")
    media.delete(key)
    media.delete(key)
    assert not media.exists(key)


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/etc/passwd", "", "ab/short.mp4", "00/" + "0" * 64, "00/" + "0" * 64 + ".mp4/../x"]
)
def test_what_is_no_key_is_refused(key, media):
    with pytest.raises(InputError, match="is no media key"):
        media.read(key)


def test_a_failed_write_leaves_nothing(tmp_path):
    media = MediaStore(str(tmp_path / "media"))

    class Torn:
        """Reads as bytes whose length cannot be told: the write fails in the middle."""

    with pytest.raises(TypeError):
        media._write(media_key("0" * 64, "mp4"), iter((b"half", Torn())))
    assert [path for path in (tmp_path / "media").rglob("*") if path.is_file()] == []


class Failing(MemoryFileSystem):
    """Fails its next `faults` calls."""

    protocol = "failing"
    cachable = False
    faults = 0

    def exists(self, path, **kwargs) -> bool:
        if Failing.faults:
            Failing.faults -= 1
            raise ConnectionResetError("the storage hung up")
        return super().exists(path, **kwargs)


@pytest.fixture
def failing() -> Iterator[type[Failing]]:
    fsspec.register_implementation("failing", Failing, clobber=True)
    yield Failing
    Failing.faults = 0


def test_a_storage_over_a_network_is_asked_again_after_longer_and_longer_waits(failing):
    waits: list[float] = []
    media = MediaStore(f"failing://{uuid.uuid4().hex}", sleep=waits.append)
    key = media.put_bytes(b"footage", "mp4")
    failing.faults = 4
    assert media.exists(key)
    assert len(waits) == 4
    assert waits == sorted(waits)


def test_a_storage_that_stays_away_is_unavailable(failing):
    media = MediaStore(f"failing://{uuid.uuid4().hex}", sleep=lambda wait_s: None)
    failing.faults = 5
    with pytest.raises(Unavailable, match="the storage hung up"):
        media.exists(media_key("0" * 64, "mp4"))


def test_sweep_deletes_old_unfinished_files_only(tmp_path):
    media = MediaStore(str(tmp_path / "media"))
    key = media.put_bytes(b"footage", "mp4")
    folder = tmp_path / "media" / "ab"
    folder.mkdir(exist_ok=True)
    for name, at in ((".unfinished-old", NOON), (".unfinished-new", later(120))):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (at.timestamp(), at.timestamp()))
    os.utime(tmp_path / "media" / key, (NOON.timestamp(), NOON.timestamp()))
    media.sweep(later(60))
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".unfinished-new"]
    assert media.keys() == [key]


@pytest.mark.parametrize("suffix", ["mp4", "json", "samples", "safetensors"])
def test_every_kind_of_file_that_the_road_stores_has_a_key(tmp_path, suffix):
    media = MediaStore(str(tmp_path / "media"))
    assert media.read(media.put_bytes(b"bytes", suffix)) == b"bytes"
