"""Files that are there as a whole or not at all, and folders that work leaves behind."""

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_S = 24 * 3600.0
"""No piece of work takes so long."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place where the block ends without an error.

    Several processes may write one file at once: one of them is the last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def folders(of: Path) -> list[Path]:
    """The folders in a folder, by name; none where it is not there."""
    return sorted(one for one in of.iterdir() if one.is_dir()) if of.is_dir() else []


def discard_old(left: Iterable[Path]) -> None:
    """Delete those of the folders that are so old that no work can be going on in them."""
    for folder in left:
        if time.time() - folder.stat().st_mtime > _LONGEST_S:
            shutil.rmtree(folder, ignore_errors=True)
