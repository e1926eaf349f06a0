"""The view: what records make of the store.

`View.apply` folds a batch of records into the tables by read, fold, upsert. Records may come twice and in any
order across topics; the same set of records always gives the same rows. Only one process applies records. Records
of removed footage are refused (`store.removed`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from store.clip_columns import (
    ClipRow,
    annotation_columns,
    curation_columns,
    linked_columns,
    reasoning_columns,
    segmented_columns,
    stage_of,
)
from store.folds import DOCUMENT_FOLDS, Documents, Tables
from store.gate import GateOptions, judge, verdict_of
from store.identity_decisions import Decisions, mentioned
from store.records import (
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    DeadLetter,
    FootageSegmented,
    IdentityDecided,
    IdentityLinked,
    Json,
    PivotsFound,
    Record,
    ReviewDecided,
)
from store.removed import refuse_late
from store.store import DOCUMENTS, Store
from store.tables import in_parts, sql_holds, sql_in

_JUDGED_AT_ONCE = 1000
"""Chosen: rows of so many clips are a few MB."""


def _verdict(row: ClipRow) -> tuple[str | None, list[str] | None]:
    return row.get("verdict"), row.get("held_for")


_IDENTITY = (IdentityLinked, IdentityDecided)
"""Records that say who is seen in a clip, and do not touch its verdict."""


class View:
    """Applies records to a store.

    Args:
        gate: thresholds of the gate that every annotated clip passes.
    """

    def __init__(self, store: Store, gate: GateOptions = GateOptions()) -> None:
        self._store = store
        self._gate = gate

    def apply(self, records: Sequence[Record]) -> tuple[str, ...]:
        """Fold records into the store; durable on return.

        Returns:
            Ids of the complete clips that the records completed or whose verdict they changed, sorted; also where
            they were applied before, since the one who applied them may not have lived to tell.

        Raises:
            InputError: a value does not fit the clip table; no clip of the batch was written then.
        """
        records = refuse_late(self._store, records)
        tables = {name: Documents(getattr(self._store, name)) for name in DOCUMENTS}
        for record in records:
            if (fold := DOCUMENT_FOLDS.get(type(record))) is not None:
                fold(record, tables)
        changed = self._fold_clips(records, tables)
        self._finish_videos(records, changed, tables)
        for documents in tables.values():
            documents.flush()
        return tuple(sorted(row["clip_id"] for row in changed if row["stage"] == "densified"))

    def judge_again(self) -> tuple[str, ...]:
        """Judge the annotated clips whose decisions were made by other thresholds; durable on return.

        Returns:
            Ids of the clips whose verdict that changed, sorted.
        """
        tables = {name: Documents(getattr(self._store, name)) for name in DOCUMENTS}
        changed: list[str] = []
        elsewise = f"stage = 'densified' AND decisions NOT LIKE '%{self._gate.recipe}%'"
        ids = [row["clip_id"] for row in self._store.clips.select(where=elsewise, columns=["clip_id"])]
        for part in in_parts(ids, _JUDGED_AT_ONCE):
            known = self._store.clips.get_many(part)
            rows = [row for before in known.values() if (row := self._fold_row(before, (), tables)) is not None]
            self._store.clips.upsert(rows)
            changed += [row["clip_id"] for row in rows if _verdict(row) != _verdict(known[row["clip_id"]])]
        return tuple(sorted(changed))

    def _fold_clips(self, records: Sequence[Record], tables: Tables) -> list[ClipRow]:
        """Upsert the rows that the records change; returns those whose stage or verdict they decide."""
        by_clip: dict[str, list[Record]] = {}
        decisions = tables["identity_decisions"].all() if any(isinstance(r, _IDENTITY) for r in records) else {}
        for record in records:
            for clip_id in self._clips_touched_by(record, decisions):
                by_clip.setdefault(clip_id, []).append(record)
        known = self._store.clips.get_many(by_clip)
        tables["reviews"].fetch(f"clip:{clip_id}" for clip_id in by_clip)
        writes: list[ClipRow] = []
        changed: list[ClipRow] = []
        for clip_id, clip_records in sorted(by_clip.items()):
            before = known.get(clip_id, {"clip_id": clip_id})
            row = self._fold_row(before, clip_records, tables)
            if row is None:
                continue
            if any(isinstance(record, _IDENTITY) for record in clip_records) and row.get("identity_ids"):
                row["identity_ids"] = Decisions.of(decisions).applied(clip_id, row["identity_ids"])
            if row != before:
                writes.append(row)
            settles = any(not isinstance(record, (ClipCurated, PivotsFound, *_IDENTITY)) for record in clip_records)
            if settles or _verdict(row) != _verdict(before):
                changed.append(row)
        self._store.clips.upsert(writes)
        return changed

    def _clips_touched_by(self, record: Record, decisions: Mapping[str, Json]) -> list[str]:
        if type(record) in _CLIP_COLUMNS:
            clip_id = record.clip_id if isinstance(record, DeadLetter) else record.key
            return [clip_id] if clip_id else []
        if isinstance(record, IdentityDecided):
            moved = mentioned(record.model_dump(mode="json"), decisions)
            return [
                row["clip_id"] for row in self._store.clips.select(where=sql_holds("identity_ids", moved), columns=[])
            ]
        if not isinstance(record, ReviewDecided):
            return []
        if record.subject == "clip":
            return [record.subject_id]
        if record.subject == "cluster":
            return []
        where = sql_in("source", [record.subject_id])
        return [row["clip_id"] for row in self._store.clips.select(where=where, columns=["clip_id"])]

    def _fold_row(self, before: ClipRow, records: Sequence[Record], tables: Tables) -> ClipRow | None:
        """The row with the records folded in and its verdict up to date; None where its video is not known yet."""
        row = dict(before)
        for record in records:
            if (columns := _CLIP_COLUMNS.get(type(record))) is not None:
                # Of several dead letters one is kept, the same one whatever their order.
                latest = max(row.get("dead") or "", record.dead_id) if isinstance(record, DeadLetter) else None
                row.update(columns(record) | ({"dead": latest} if latest else {}))
        if row.get("video_id") is None:
            return None
        row["stage"] = stage_of(row)
        if (review := tables["reviews"].get(f"clip:{row['clip_id']}")) is not None:
            said = {name: review[name] for name in ("verdict", "by", "reason")}
            row["review"] = said if said["verdict"] is not None else None
        if row["stage"] == "densified":
            row = self._store.clips.rounded(row)
            decisions = judge(row, tables["sources"].get(row["source"]), self._gate)
            row["verdict"], row["held_for"] = verdict_of(decisions)
            row["decisions"] = [decision.model_dump() for decision in decisions]
        return row

    def _finish_videos(self, records: Sequence[Record], changed: Sequence[ClipRow], tables: Tables) -> None:
        """Mark segmented videos as done once each of their clips is annotated or dead."""
        video_ids = {record.video_id for record in records if isinstance(record, FootageSegmented)}
        video_ids |= {row["video_id"] for row in changed}
        for video_id in sorted(video_ids):
            video = tables["videos"].get(video_id)
            if video is None or video["status"] != "segmented":
                continue
            ended = self._store.clips.select(
                where=f"{sql_in('video_id', [video_id])} AND stage IN ('densified', 'dead')", columns=["clip_id"]
            )
            if set(video["clip_ids"]) <= {row["clip_id"] for row in ended}:
                tables["videos"].merge(video_id, {"status": "done"})


def _embedded_columns(record: ClipEmbedded) -> ClipRow:
    return record.values | {"video_id": record.video_id, "recipes": record.recipes, "failed": record.failed}


def _densified_columns(record: ClipDensified) -> ClipRow:
    annotated = annotation_columns(record.annotation, record.recipe)
    return annotated | reasoning_columns(record.reasoning) | {"video_id": record.video_id}


def _dead_columns(record: DeadLetter) -> ClipRow:
    return {"dead": record.dead_id} | ({"video_id": record.video_id} if record.video_id else {})


_CLIP_COLUMNS: dict[type[Record], Callable[[Any], ClipRow]] = {
    ClipSegmented: lambda record: segmented_columns(record.clip),
    ClipEmbedded: _embedded_columns,
    ClipDensified: _densified_columns,
    ClipCurated: curation_columns,
    PivotsFound: lambda record: {"pivots": list(record.pivots)},
    IdentityLinked: linked_columns,
    DeadLetter: _dead_columns,
}
