"""What curation keeps beside the tables, all of which can be made anew from them."""

import os
import shutil
from pathlib import Path

from store.files import replacing

_FOLDER = "clustering"
"""In the folder of the store."""


def kept(folder: Path, name: str) -> Path:
    """Where a file lies, if it does, for the store under `folder`."""
    return folder / _FOLDER / name


def keep(folder: Path, name: str, content: bytes) -> None:
    """Write a file as a whole or not at all; durable on return."""
    with replacing(kept(folder, name)) as unfinished, unfinished.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def forget_all(folder: Path) -> None:
    """Delete all of it: some of it may tell of footage that was removed."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)
