"""Groups of clips that show the same footage, and the one of each that is best kept."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from store.clip_columns import ClipRow
from store.clips import ClipTable
from store.duplicates import COLUMN, group_of
from store.errors import InputError, NotFound
from store.records import digest
from store.tables import sql_in

_BAD = ("blur", "overlay_share", "text_share", "subtitle_share", "letterbox_share", "flicker")
"""Scores of which less is better, where the profile measures them."""
_READ = ("width", "height", "n_frames", "copies")


@dataclass(frozen=True)
class Copy:
    """A clip's place in a group of copies."""

    group: str
    is_keeper: bool


def copies_of(clips: ClipTable, clip_ids: Sequence[str]) -> dict[str, Copy]:
    """The groups that some clips are in, all of their members; a clip without copies is in none.

    Kept is the clip with most pixels left by bars and writing, the least spoilt by blur and flicker, then the longest.
    """
    names = clips.schema.names
    if COLUMN not in names:
        return {}
    have = clips.select(f"{sql_in('clip_id', clip_ids)} AND {COLUMN} IS NOT NULL", columns=[]) if clip_ids else []
    found: dict[str, Copy] = {}
    for row in have:
        if row["clip_id"] in found:
            continue
        try:
            others = group_of(clips, row["clip_id"])
        except (NotFound, InputError):  # its footage was removed, or measured anew, since it was read
            continue
        if others:
            found |= _judged(clips, [row["clip_id"], *(one.clip_id for one in others)])
    return found


def _judged(clips: ClipTable, members: Sequence[str]) -> dict[str, Copy]:
    there = [name for name in _BAD if name in clips.schema.names]
    rows = clips.select(sql_in("clip_id", members), columns=[*_READ, *there])
    if len(rows) < 2:  # the others were removed meanwhile
        return {}
    keeper = best_of(rows)
    known = sorted(row["copies"] for row in rows if row["copies"] is not None)
    group = known[0] if known else digest(["copies", min(members)])[:16]
    return {row["clip_id"]: Copy(group, row["clip_id"] == keeper) for row in rows}


def best_of(rows: Iterable[ClipRow]) -> str:
    """The clip of a group of copies that is best kept."""
    return min(rows, key=_worse)["clip_id"]


def _worse(row: ClipRow) -> tuple[float, int, str]:
    unspoilt = math.prod(1.0 - min(1.0, row.get(name) or 0.0) for name in _BAD)
    return -(row["width"] or 0) * (row["height"] or 0) * unspoilt, -(row["n_frames"] or 0), row["clip_id"]
