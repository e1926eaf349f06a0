"""A store on disk, and footage in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
