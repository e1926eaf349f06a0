"""Follows the stored clips: clusters them and judges the concepts."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from store.clusters.curator import Curator
from store.clusters.map import follow_map, load_map, save_map
from store.concepts import load_concepts
from store.curation import judge_concepts
from store.records import Record
from store.store import Store
from store.watching import Watch

Request = tuple[tuple[str, ...], bool, datetime]
"""Ids of clips that came or changed; whether no more come, so that all that is known may count; the time."""


def make_worker(data: str, concepts: Path) -> Callable[[Request, Any], tuple[list[Record], bool]]:
    """A worker that gives the records of what changed, and whether there is more to be placed anew."""
    store = Store.open(data)
    declared = load_concepts(concepts)
    curator = Curator(store)
    drawn = load_map(store.folder)
    watch = Watch(store)

    def work(request: Request, emit: Callable[[Any], None]) -> tuple[list[Record], bool]:
        nonlocal drawn
        clip_ids, settle, now = request
        records = curator.follow(clip_ids, settle=settle)
        judged = judge_concepts(store, declared, curator.clusters, {}, {}, now)
        alarms = watch.follow(curator.clusters, clip_ids, now)
        drawn = follow_map(drawn, curator.clusters)
        save_map(store.folder, drawn)
        return [*records, *judged, *alarms], curator.is_behind

    return work
