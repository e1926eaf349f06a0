"""A store on disk, footage in it, and media storage of every kind."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from store.media import MediaStore
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, Video, all_records


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store under `tmp_path/data`."""
    return Store.open(tmp_path / "data", COLUMNS)


@pytest.fixture
def ingest() -> Callable[..., None]:
    """Put videos into a store, media and records."""

    def put(store: Store, *videos: Video) -> None:
        for video in videos:
            video.put_media(store.media)
        View(store).apply(all_records(videos))

    return put


@pytest.fixture(params=["folder", "fsspec", "s3"])
def media(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    """An empty media storage."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        return MediaStore(f"s3://cliploom/{uuid.uuid4().hex}/media")
    return MediaStore(str(tmp_path / "media") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/media")


@pytest.fixture(scope="module")
def s3() -> Iterator[ThreadedMotoServer]:
    """An S3 of the tests' own, found by the environment, as in a cluster; it has the bucket `cliploom`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environ.setenv("AWS_ACCESS_KEY_ID", "test")
        environ.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environ.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()  # one that another module's server was found with finds nobody now
        s3fs.S3FileSystem().makedirs("cliploom", exist_ok=True)
        yield server
    server.stop()
