"""Clips that show the same footage: re-encoded, brightened, cropped or letterboxed copies.

A clip's neighbours are looked up when they are asked for, which the column's index makes cheap however many clips there
are; nothing is kept that a new clip could make wrong. Which clip of a group should stay is not decided here.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from store.clips import ClipTable
from store.errors import InputError
from store.tables import sql_in

COLUMN = "signature"
NEAR = 0.12
"""Cosine distance under which two clips are copies. Chosen by the figures of `processors.quality.signature`: most
copies lie under 0.10, clips of other footage above 0.44; moments of one take that differ in next to nothing may lie
under it."""
LARGEST = 200
"""Chosen: a group is cut off here; so many copies are one still picture, not a search result."""


@dataclass(frozen=True)
class Duplicate:
    """A clip of a group. distance: to the clip that was asked for; greater than `NEAR` where others lie between."""

    clip_id: str
    distance: float

    @property
    def score(self) -> float:
        """1 the same, 0 nothing in common."""
        return max(0.0, 1.0 - self.distance)


def distance(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine distance of two signatures, float [D]: 0 the same to 2 opposite."""
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return 1.0 - float(np.dot(left, right)) / lengths if lengths else 1.0


def group_of(clips: ClipTable, clip_id: str, near: float = NEAR) -> list[Duplicate]:
    """The other clips of the clip's group, nearest first: its near copies, theirs, and so on.

    Raises:
        NotFound: no such clip.
        InputError: it has no signature.
    """
    asked = clips.get(clip_id)
    if asked.get(COLUMN) is None:
        raise InputError(f"clip {clip_id} has no {COLUMN}; a profile with `quality.signature` gives one")
    signatures = {clip_id: np.asarray(asked[COLUMN], np.float64)}
    waiting = deque([clip_id])
    while waiting and len(signatures) <= LARGEST:
        for other, signature in _near(clips, signatures, waiting.popleft(), near).items():
            signatures[other] = signature
            waiting.append(other)
    found = [
        Duplicate(other, distance(signatures[clip_id], signature))
        for other, signature in signatures.items()
        if other != clip_id
    ]
    return sorted(found, key=lambda one: (one.distance, one.clip_id))[:LARGEST]


def _near(clips: ClipTable, known: Mapping[str, np.ndarray], clip_id: str, near: float) -> dict[str, np.ndarray]:
    """Signatures of the clips near one of the known ones, other than these."""
    others = f"NOT ({sql_in('clip_id', known)})"
    rows = clips.nearest(known[clip_id], COLUMN, others, LARGEST, columns=[COLUMN])
    return {row["clip_id"]: np.asarray(row[COLUMN], np.float64) for row in rows if row["_distance"] < near}
