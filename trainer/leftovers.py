"""What runs leave on a machine that holds of clips: bases, encoded clips, states of unfinished runs. All of it goes
when a clip is removed.

Free of any model code, so that the process that writes the store can do it.
"""

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.bases import discard_bases

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

    def forget(self, clip_ids: Collection[str]) -> list[str]:
        """Delete what holds of these clips; returns the ids of the bases among it."""
        for name in (*clip_ids, TEXTS):
            shutil.rmtree(self.kept / name, ignore_errors=True)
        for folder in self.runs.iterdir() if self.runs.is_dir() else ():
            noted = folder / _CLIPS
            if not noted.is_file() or set(json.loads(noted.read_text())) & set(clip_ids):
                shutil.rmtree(folder, ignore_errors=True)
        return discard_bases(self.bases, clip_ids)


def note_clips(run: Path, clip_ids: Sequence[str]) -> None:
    """Leave in a run's folder which clips its state has learned from, before it has."""
    run.mkdir(parents=True, exist_ok=True)
    (run / _CLIPS).write_text(json.dumps(list(clip_ids)))
