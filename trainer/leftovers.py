"""What runs leave on a machine that holds of clips: bases, encoded clips, states of unfinished runs. All of it goes
when a clip is removed.

Free of any model code, so that the process that writes the store can do it.
"""

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from store.files import folders
from trainer.bases import built_bases, discard_bases

TEXTS = "texts"
"""Folder of encoded texts, beside those of clips."""
_CLIPS = "clips.json"


@dataclass(frozen=True)
class Leftovers:
    """The folders, below a store's data folder."""

    data: Path

    @property
    def bases(self) -> Path:
        """Of small bases."""
        return self.data / "bases"

    @property
    def kept(self) -> Path:
        """Of encoded clips, a folder each."""
        return self.data / "encoded"

    @property
    def runs(self) -> Path:
        """Of unfinished runs, a folder each."""
        return self.data / "runs"

    def clip_ids(self) -> set[str]:
        """Clips that something here holds of."""
        noted = {clip_id for folder in folders(self.runs) for clip_id in _noted(folder) or ()}
        based = {clip_id for base in built_bases(self.bases) for clip_id in base.clip_ids}
        return noted | based | {folder.name for folder in folders(self.kept)} - {TEXTS}

    def forget(self, clip_ids: Collection[str]) -> list[str]:
        """Delete what holds of these clips, and the states of runs that do not tell; the ids of the bases among it."""
        if not clip_ids:
            return []
        for name in (*clip_ids, TEXTS):
            shutil.rmtree(self.kept / name, ignore_errors=True)
        for folder in folders(self.runs):
            noted = _noted(folder)
            if noted is None or noted & set(clip_ids):
                shutil.rmtree(folder, ignore_errors=True)
        return discard_bases(self.bases, clip_ids)


def _noted(run: Path) -> set[str] | None:
    """The clips of a run's state; None where it did not come to that."""
    try:
        return set(json.loads((run / _CLIPS).read_text()))
    except FileNotFoundError:
        return None


def note_clips(run: Path, clip_ids: Collection[str]) -> None:
    """Leave in a run's folder of which clips its state will hold anything, before it does."""
    run.mkdir(parents=True, exist_ok=True)
    (run / _CLIPS).write_text(json.dumps(sorted(clip_ids)))
