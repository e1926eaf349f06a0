"""Manifests of concepts that nothing refers to any more.

Each look at the clips may give a concept another manifest, so they would fill media storage, and a removal reads them
all. A manifest goes a day after it was superseded: until then a run may have been asked for with it whose record is
not in the store yet. Its age in media storage tells: it is that of the last time it was put or superseded.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from store.records import ConceptChanged, Record
from store.removed import delete_media
from store.store import Store

FOLDERS = tuple(f"{number:02x}" for number in range(256))
"""Of media storage."""
_KEPT_FOR = timedelta(days=1)
"""Chosen: records reach the store within seconds, and within hours where the writer was away."""
_AT_ONCE = 500
"""Manifests that are deleted at a time. Chosen: a few hundred MB are read to tell what they are."""


def supersede(store: Store, records: Sequence[Record]) -> None:
    """Begin the day of each manifest that the records are going to take the place of; before they are stored."""
    keys = {record.concept: record.members_key for record in records if isinstance(record, ConceptChanged)}
    for name, body in store.concepts.get_many(keys).items():
        if body["members_key"] != keys[name]:
            store.media.touch(body["members_key"])


def reclaim(store: Store, folders: Iterable[str], now: datetime) -> list[str]:
    """Delete manifests in these folders that were superseded a day ago and that no concept and no run refers to; in the
    writing process, between writes. Returns their keys."""
    listed = [key for folder in folders for key in store.media.keys(folder) if key.endswith(".json")]
    used = {body["members_key"] for body in store.concepts.all().values()}
    for run in store.runs.all().values():
        used.update([run.get("members_key"), *run.get("artefacts", {}).values()])
    old = [key for key in listed if key not in used and _is_old(store, key, now)][:_AT_ONCE]
    return sorted(delete_media(store, [key for key in old if _is_manifest(store, key)])) if old else []


def _is_old(store: Store, key: str, now: datetime) -> bool:
    changed_at = store.media.changed_at(key)
    return changed_at is not None and changed_at < now - _KEPT_FOR


def _is_manifest(store: Store, key: str) -> bool:
    """What else is JSON may belong to a run that is not told of yet."""
    content = json.loads(store.media.read(key))
    return isinstance(content, list) and all(isinstance(one, dict) and "clip_id" in one for one in content)
