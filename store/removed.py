"""What was removed, and what becomes of records that speak of it afterwards.

Topics keep no order among each other: a clip's record may arrive after the removal of its footage. Such a record
is refused, and the media that it brings are deleted.
"""

import base64
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from store.answers import AnswerStore
from store.clip_columns import ClipRow
from store.errors import NotFound
from store.learned import learned_by
from store.records import (
    AdapterDecided,
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ConceptChanged,
    DeadLetter,
    FootageSegmented,
    FootageSubmitted,
    IdentityDecided,
    IdentityLinked,
    Json,
    PivotsFound,
    Record,
    ReviewDecided,
    TrainingFinished,
    TrainingRequested,
)
from store.runs import HELD
from store.store import Store
from store.tables import in_parts, sql_in

CLIP_MEDIA = ("media_key", "strip_key", "samples_key")
"""Columns of the clip table that hold media keys."""
_ID = re.compile(r"[0-9a-f]{32,64}")
"""Video ids, clip ids, and the digests in media keys."""


@dataclass(frozen=True)
class Removed:
    """Footage that was removed.

    ids: of its videos and clips.
    sources: source to the time at which its removal was last asked for.
    runs: ids of withdrawn training runs.
    """

    ids: frozenset[str]
    sources: Mapping[str, datetime]
    runs: frozenset[str]

    @classmethod
    def read(cls, store: Store) -> "Removed":
        """All that the store knows of."""
        removals = store.removals.all()
        if not removals:
            return cls(frozenset(), {}, frozenset())
        ids = {id_ for body in removals.values() for field in ("video_ids", "clip_ids") for id_ in body.get(field, ())}
        sources: dict[str, datetime] = {}
        for body in removals.values():
            if body.get("subject") == "source" and "video_ids" in body:
                asked = datetime.fromisoformat(body["requested_at"])
                sources[body["subject_id"]] = max(asked, sources.get(body["subject_id"], asked))
        return cls(frozenset(ids) | store.videos.all("removed").keys(), sources, frozenset(store.runs.all("withdrawn")))

    def concerns(self, record: Record, store: Store) -> bool:
        """Whether a record speaks of removed footage."""
        match record:
            case FootageSubmitted():
                asked = self.sources.get(record.source)
                return record.video_id in self.ids or (asked is not None and record.submitted_at <= asked)
            case FootageSegmented():
                return record.video_id in self.ids
            case ClipEmbedded() | ClipDensified() | PivotsFound() | IdentityLinked():
                return not self.ids.isdisjoint((record.video_id, record.clip_id))
            case ClipSegmented():
                return not self.ids.isdisjoint((record.clip.video_id, record.clip.clip_id))
            case ClipCurated():
                return record.clip_id in self.ids
            case ReviewDecided():
                asked = self.sources.get(record.subject_id) if record.subject == "source" else None
                return record.subject_id in self.ids or (asked is not None and record.decided_at <= asked)
            case DeadLetter():
                return bool(ids_in_letter(record.model_dump(mode="json")) & self.ids)
            case ConceptChanged():
                return bool(ids_in_object(store, record.members_key) & self.ids)
            case TrainingFinished():
                return record.run_id in self.runs or self._taught(record, store)
            case AdapterDecided():
                return record.run_id in self.runs
        return False

    def _taught(self, record: TrainingFinished, store: Store) -> bool:
        """Whether a run learned from removed footage: a list that is gone was taken by its removal."""
        try:
            every = learned_by(store.media, record.model_dump(include={"artefacts", "clip_ids"})).every
        except NotFound:
            return True
        return not self.ids.isdisjoint(every)


def refuse_late(store: Store, records: Sequence[Record]) -> list[Record]:
    """The records that do not speak of removed footage; the others' media are deleted."""
    removed = Removed.read(store)
    if not removed.ids and not removed.sources:
        return list(records)
    submitted = [r for r in records if isinstance(r, FootageSubmitted) and removed.concerns(r, store)]
    removed = replace(removed, ids=removed.ids | {record.video_id for record in submitted})
    late = [record for record in records if removed.concerns(record, store)]
    keys: set[str] = set()
    for record in late:
        match record:
            case FootageSubmitted():
                keys.add(record.media_key)
                keys.update(_close_video(store, record))
            case ClipSegmented():
                keys.update(getattr(record.clip, column) for column in CLIP_MEDIA)
            case ClipDensified() | DeadLetter() if record.clip_id is not None:
                AnswerStore(store.media).delete(record.clip_id)
            case ConceptChanged():
                keys.add(record.members_key)
            case TrainingFinished():
                keys.update(record.artefacts.values())
                why = "it was trained on footage that was removed meanwhile"
                withdraw_run(store, record.run_id, why, record)
    delete_media(store, keys)
    return [struck(record, removed.ids) for record in records if record not in late]


def struck(record: Record, removed: Collection[str]) -> Record:
    """The record without what it says of removed clips, where it speaks of others as well."""
    if isinstance(record, FootageSegmented):
        left: tuple[object, ...] = tuple(id_ for id_ in record.clip_ids if id_ not in removed)
        return record.model_copy(update={"clip_ids": left})
    if isinstance(record, IdentityDecided):
        left = tuple(one for one in record.tracks if one.clip_id not in removed)
        return record.model_copy(update={"tracks": left})
    return record


def without_original(video: Json, removed_clips: Collection[str], removal_id: str) -> Json:
    """A video's document once its original and some of its clips are gone, and the others stay."""
    kept = {"clip_ids": [id_ for id_ in video["clip_ids"] if id_ not in removed_clips]} if "clip_ids" in video else {}
    # The first of several removals took the original.
    return video | kept | {"media_key": None, "original_removed": video.get("original_removed", removal_id)}


def _close_video(store: Store, record: FootageSubmitted) -> set[str]:
    """Refuse a video whose source was removed before it was told of; deletes the answers about rows
    that were faster, and returns their media.
    """
    if (store.videos.get(record.video_id) or {}).get("status") == "removed":
        return set()
    store.videos.put({record.video_id: tombstone(record.video_id, record.source, None)})
    rows = store.clips.select(where=sql_in("video_id", [record.video_id]), columns=CLIP_MEDIA)
    store.clips.delete([row["clip_id"] for row in rows])
    for row in rows:
        AnswerStore(store.media).delete(row["clip_id"])
    return _keys_of(rows)


def tombstone(video_id: str, source: str | None, removal_id: str | None) -> Json:
    """All that is kept of a removed video, so that it is refused when it comes again."""
    return {"status": "removed", "video_id": video_id, "source": source, "removal_id": removal_id}


def withdraw_run(store: Store, run_id: str, reason: str, finished: TrainingFinished | None = None) -> None:
    """Mark a run as withdrawn; of what it was trained on, measured and made nothing is kept.

    Args:
        finished: the run's end, where that is told only now.
    """
    known = store.runs.get(run_id) or {}
    told = known if known.get("status") == "withdrawn" else withdrawn_run(run_id, known, reason)
    if finished is not None and finished.status == "succeeded":
        told = told | finished.model_dump(mode="json", include={"finished_at"})
    if told != known:
        store.runs.put({run_id: told})


def withdrawn_run(run_id: str, known: Json, reason: str) -> Json:
    """All that is kept of a withdrawn run: that it was asked for, when it held a device, and where it succeeded (and
    only there) when it ended: its adapter's number is never given to another."""
    kept = (*TrainingRequested.model_fields, *HELD, *(["finished_at"] if known.get("status") == "succeeded" else []))
    asked = {name: known[name] for name in kept if name in known}
    return asked | {"run_id": run_id, "status": "withdrawn", "ended_because": reason, "artefacts": {}}


def withdrawn_snapshot(known: Json, reason: str) -> Json:
    """A snapshot's document once it is withdrawn; one of version 1 named its clips."""
    kept = {name: value for name, value in known.items() if name != "clip_ids"}
    return kept | {"status": "withdrawn", "reason": reason}


def delete_media(store: Store, keys: Collection[str]) -> set[str]:
    """Delete objects, except those that something in the store still refers to; returns the deleted keys.

    Equal bytes are one object: a still picture's clip may share its media with a clip of other footage.
    """
    gone = set(keys) - _in_use(store, keys)
    for key in sorted(gone):
        store.media.delete(key)
    return gone


def ids_in_letter(letter: Json) -> set[str]:
    """Ids that a dead letter mentions, in its fields or in the record that it holds."""
    raw = base64.b64decode(letter["raw_base64"]).decode(errors="replace")
    return set(_ID.findall(raw)) | set(_ID.findall(json.dumps(letter | {"raw_base64": ""})))


def ids_in_object(store: Store, key: str) -> set[str]:
    """Ids that a JSON object in media storage mentions; none where it is gone."""
    return set(_ID.findall(store.media.read(key).decode())) if store.media.exists(key) else set()


def _in_use(store: Store, keys: Collection[str]) -> set[str]:
    """Those of the keys that a clip, a video, a concept or a run refers to."""
    used: set[str] = set()
    for part in in_parts(sorted(keys), 1_000):
        where = " OR ".join(sql_in(column, part) for column in CLIP_MEDIA)
        used.update(_keys_of(store.clips.select(where=where, columns=CLIP_MEDIA)))
    used.update(body["media_key"] for body in store.videos.all().values() if body.get("media_key"))
    used.update(body["members_key"] for body in store.concepts.all().values())
    for run in store.runs.all().values():
        used.update(run.get("artefacts", {}).values())
    return used & set(keys)


def _keys_of(rows: Iterable[ClipRow]) -> set[str]:
    return {row[column] for row in rows for column in CLIP_MEDIA if row[column]}
