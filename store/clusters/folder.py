"""What curation keeps beside the tables, all of which can be made anew from them."""

import shutil
from pathlib import Path

FOLDER = "clustering"
"""In the folder of the store."""


def forget_all(folder: Path) -> None:
    """Delete it, for the store under `folder`: some of it may tell of footage that was removed."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
