"""When curation has come to its end, and what of its rows is the same however the clips came."""

from collections.abc import Mapping
from typing import Any

from store.clip_columns import ClipRow
from store.store import Store

_CLUSTERS = ("cluster", "next_cluster")


def is_curated(store: Store) -> bool:
    """Whether every annotated clip is placed in the space that was fitted to all of them, and looked at for pivots."""
    rows = store.clips.select("stage = 'densified'", columns=["curation_recipe", "pivots"])
    latest = max(store.foundations.all().values(), key=lambda body: body["n_clips"], default=None)
    if latest is None or latest["n_clips"] < len(rows):
        return False
    return all(row["curation_recipe"] == latest["recipe"] and row["pivots"] is not None for row in rows)


def comparable(rows: Mapping[str, ClipRow]) -> dict[str, ClipRow]:
    """Rows without how often the sample was clustered, with each cluster's first clip for its number: both depend on
    the order of arrival. The key of the MP4, whose bytes x264 does not always repeat, is left out as well."""
    first: dict[tuple[str, int], str] = {}
    for clip_id in sorted(rows):
        for modality, number in _labels(rows[clip_id]).items():
            if number is not None:
                first.setdefault((modality, number), clip_id)
    return {clip_id: _renamed(row, first) for clip_id, row in rows.items()}


def _labels(row: ClipRow) -> dict[str, int | None]:
    return {"joint": row["cluster"]} | (row["by_modality"] or {})


def _renamed(row: ClipRow, first: Mapping[tuple[str, int], str]) -> ClipRow:
    kept: dict[str, Any] = {name: value for name, value in row.items() if name not in ("media_key", "settled")}
    for name in _CLUSTERS:
        kept[name] = None if row[name] is None else first.get(("joint", row[name]))
    kept["by_modality"] = {
        modality: None if number is None else first[modality, number]
        for modality, number in (row["by_modality"] or {}).items()
    }
    return kept
