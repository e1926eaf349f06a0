"""Rows of clips as clustering sees them: vectors, and places."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from store.clip_columns import ClipRow
from store.clips import ClipTable
from store.clusters.copies import Copy
from store.clusters.space import Column, Vectors
from store.records import ClipCurated
from store.tables import in_parts, sql_in

ANNOTATED = "stage = 'densified'"
"""Condition on the clips that are clustered and counted."""
CONTROL = "control"
"""What steers a clip also tells it apart: it raised the purity bound of "lively" in the demo from .67 to .74."""
PLACE = (
    "cluster",
    "cluster_probability",
    "outlier_score",
    "is_outlier",
    "margin",
    "is_boundary",
    "next_cluster",
    "by_modality",
    "sample_threshold",
    "settled",
    "copies",
    "is_keeper",
    "curation_recipe",
)
AT_ONCE = 1000
"""Clips that are read and placed at once. Chosen: a few MB of vectors."""
_MOVED = 0.02
"""Change of a probability, score or margin that is worth a write."""


def vectors_of(clips: ClipTable, clip_ids: Iterable[str], columns: Sequence[str]) -> tuple[list[str], Vectors]:
    """Ids and vectors of those of some clips that are there, in order of the ids."""
    rows = clips.get_many(clip_ids, columns)
    return list(rows), {name: matrix_of(list(rows.values()), name) for name in columns}


def counts_of(clips: ClipTable, clip_ids: Sequence[str], columns: Sequence[str]) -> Counter[Column]:
    """How many of some clips have each column, read without their vectors."""
    counts: Counter[Column] = Counter()
    for part in in_parts(clip_ids, AT_ONCE):
        among = sql_in("clip_id", part)
        counts.update({(one, ""): clips.count(f"{among} AND {one} IS NOT NULL") for one in columns if one != CONTROL})
        if CONTROL in columns:
            rows = clips.select(among, [CONTROL])
            counts.update((CONTROL, name) for row in rows if row[CONTROL] for name in row[CONTROL]["names"])
    return +counts


def matrix_of(rows: Sequence[ClipRow], name: str) -> np.ndarray:
    """A modality of rows, float32 [N, D]; NaN where it is missing. Of the controls: [N], with a field for each."""
    if name == CONTROL:
        return _controls_of(rows)
    found = [row[name] for row in rows]
    size = next((len(one) for one in found if one is not None), 1)
    missing = [np.nan] * size
    return np.array([missing if one is None else one for one in found], np.float32).reshape(len(rows), size)


def _controls_of(rows: Sequence[ClipRow]) -> np.ndarray:
    """The controls of rows, float32 [N] with a field for each; NaN where a row was annotated by a vocabulary without
    it."""
    said = [
        dict(zip(row[CONTROL]["names"], row[CONTROL]["values"], strict=True)) if row[CONTROL] else {} for row in rows
    ]
    names = sorted({name for one in said for name in one})
    found = np.empty(len(rows), [(name, np.float32) for name in names])
    for name in names:
        found[name] = [one.get(name, np.nan) for one in said]
    return found


def place_of(row: ClipRow) -> ClipCurated:
    """The place that a row shows, as the record that told it."""
    told = {name: row[name] for name in PLACE if name != "curation_recipe"}
    told["by_modality"] = told["by_modality"] or {}
    return ClipCurated.model_validate({"clip_id": row["clip_id"], "recipe": row["curation_recipe"]} | told)


def is_same(before: ClipCurated, now: ClipCurated) -> bool:
    """Whether two places differ in nothing that is worth a write."""
    exact = (
        "cluster",
        "is_outlier",
        "is_boundary",
        "next_cluster",
        "by_modality",
        "sample_threshold",
        "copies",
        "is_keeper",
        "recipe",
    )
    if any(getattr(before, name) != getattr(now, name) for name in exact) or (before.margin is None) != (
        now.margin is None
    ):
        return False
    soft = ("cluster_probability", "outlier_score", "margin")
    return all(abs((getattr(before, name) or 0.0) - (getattr(now, name) or 0.0)) <= _MOVED for name in soft)


def copy_in(place: ClipCurated | None) -> Copy | None:
    """The group of copies that a place tells of."""
    return Copy(place.copies, bool(place.is_keeper)) if place is not None and place.copies is not None else None


def is_shown(shown: ClipCurated | None, told: ClipCurated) -> bool:
    return shown is not None and shown.settled == told.settled and is_same(shown, told)
