"""The view: what records make of the store.

`View.apply` folds a batch of records into the tables by read, fold, upsert. Records may come twice and in any
order across topics; the same set of records always gives the same rows. Only one process applies records. Records
of removed footage are refused (`store.removed`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from store.clips import (
    ClipRow,
    annotation_columns,
    curation_columns,
    linked_columns,
    reasoning_columns,
    segmented_columns,
    stage_of,
)
from store.gate import GateOptions, judge, verdict_of
from store.identity_decisions import Decisions, mentioned, split_identity
from store.records import (
    CalibrationAdopted,
    CalibrationRequested,
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClusterChanged,
    ClustersFounded,
    ConceptChanged,
    DeadDropped,
    DeadLetter,
    DeadReplayed,
    DriftAnswered,
    DriftRaised,
    FootageContinued,
    FootageSegmented,
    FootageSubmitted,
    IdentityDecided,
    IdentityLinked,
    Json,
    PivotsFound,
    Record,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    SnapshotFinished,
    SnapshotRequested,
    TokenReserved,
    TrainingDecided,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)
from store.removed import refuse_late, tombstone, withdrawn_run, without_original
from store.reviewing.subjects import source_answers, subject_document
from store.store import DOCUMENTS, Store
from store.tables import DocumentTable, sql_holds, sql_in
from store.tokens import nameless, reserved


class Documents:
    """Documents of one table, each read once, changed in memory, written once."""

    def __init__(self, table: DocumentTable) -> None:
        self._table = table
        self._bodies: dict[str, Json | None] = {}
        self._changed: set[str] = set()

    def get(self, id_: str) -> Json | None:
        """The document as changed so far, or None."""
        if id_ not in self._bodies:
            self._bodies[id_] = self._table.get(id_)
        return self._bodies[id_]

    def fetch(self, ids: Iterable[str]) -> None:
        """Read documents that are going to be asked for, all at once."""
        unread = [id_ for id_ in ids if id_ not in self._bodies]
        self._bodies |= dict.fromkeys(unread) | self._table.get_many(unread)

    def all(self) -> dict[str, Json]:
        """Every document as changed so far, by id."""
        return self._table.all() | {id_: body for id_ in self._changed if (body := self._bodies[id_]) is not None}

    def put(self, id_: str, body: Json) -> None:
        """Replace the document."""
        if body != self.get(id_):
            self._bodies[id_] = body
            self._changed.add(id_)

    def merge(self, id_: str, changes: Json) -> None:
        """Change some fields of the document, creating it where it is missing."""
        self.put(id_, (self.get(id_) or {}) | changes)

    def flush(self) -> None:
        """Write what changed; durable on return."""
        self._table.put({id_: body for id_ in sorted(self._changed) if (body := self._bodies[id_]) is not None})
        self._changed.clear()


Tables = dict[str, Documents]
_HISTORY = ("concept", "computed_at", "n_members", "n_eligible", "n_distinct", "n_videos", "purity", "purity_low")
"""What is kept of a concept's past: numbers, and no clip."""

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
            if (fold := _DOCUMENT_FOLDS.get(type(record))) is not None:
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
        for start in range(0, len(ids), _JUDGED_AT_ONCE):
            known = self._store.clips.get_many(ids[start : start + _JUDGED_AT_ONCE])
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


# --- records onto documents ------------------------------------------------------------------------------

_READS_FOOTAGE = ("segment", "resume")
_ENDED_RUN = ("succeeded", "failed", "withdrawn")


def _submitted(record: FootageSubmitted, tables: Tables) -> None:
    video = tables["videos"].get(record.video_id)
    if video is not None and "submitted_at" in video:
        if video["status"] in ("submitted", "dead") and record.submitted_at > _time(video, "submitted_at"):
            again = {"status": "submitted", "submitted_at": record.model_dump(mode="json")["submitted_at"]}
            tables["videos"].put(record.video_id, {k: v for k, v in video.items() if k != "reason"} | again)
        return
    tables["videos"].put(record.video_id, {"status": "submitted"} | record.model_dump(mode="json") | (video or {}))
    source = tables["sources"].get(record.source) or {"source": record.source, "released": {}}
    licences = sorted({*source.get("licences", []), *([record.licence] if record.licence else [])})
    tables["sources"].put(record.source, source | {"licences": licences})


def _continued(record: FootageContinued, tables: Tables) -> None:
    """How far long footage has been read, and from where to read on."""
    video = tables["videos"].get(record.key)
    if video is None or video.get("status", "submitted") != "submitted" or video.get("chunk", 0) >= record.chunk:
        return
    body = record.model_dump(mode="json", include={"chunk", "checkpoint_key", "share", "clip_ids"})
    tables["videos"].merge(record.key, body)


def _segmented(record: FootageSegmented, tables: Tables) -> None:
    video = tables["videos"].get(record.video_id)
    if video is None or video.get("status", "submitted") in ("submitted", "dead"):
        body = record.model_dump(mode="json", exclude={"video_id"})
        done = dict.fromkeys(("chunk", "checkpoint_key", "share"))
        tables["videos"].merge(record.video_id, body | done | {"status": "segmented"})


def _reviewed(record: ReviewDecided, tables: Tables) -> None:
    reviews = tables["reviews"]
    reviews.put(record.decision_id, record.model_dump(mode="json") | {"status": "decided"})
    subject = f"{record.subject}:{record.subject_id}"
    reviews.put(subject, subject_document(record, reviews.get(subject), reviews))
    if record.subject == "source":
        source = tables["sources"].get(record.subject_id) or {"source": record.subject_id, "licences": []}
        answers = source_answers(reviews.get(subject) or {}, reviews)
        released = {rule: answer for rule, answer in answers.items() if answer["verdict"] == "release"}
        tables["sources"].put(record.subject_id, source | {"answers": answers, "released": released})


def _dead(record: DeadLetter, tables: Tables) -> None:
    letter = (tables["dead_letters"].get(record.dead_id) or {}) | record.model_dump(mode="json")
    status = _letter_status(letter)
    tables["dead_letters"].put(record.dead_id, letter | {"status": status})
    if record.step in _READS_FOOTAGE and record.video_id and status != "replayed":
        video = tables["videos"].get(record.video_id)
        known = video or {}
        submitted_since = "submitted_at" in known and _time(known, "submitted_at") > record.died_at
        if known.get("status", "submitted") == "submitted" and not submitted_since:
            tables["videos"].merge(record.video_id, {"status": "dead", "reason": record.reason})


def _identity_decided(record: IdentityDecided, tables: Tables) -> None:
    body = record.model_dump(mode="json") | {"status": record.verb}
    own = {"split_off": split_identity(record.decision_id)} if record.verb == "split" else {}
    tables["identity_decisions"].put(record.decision_id, body | own)


def _letter_decided(record: DeadReplayed | DeadDropped, tables: Tables) -> None:
    letter = tables["dead_letters"].get(record.dead_id)
    if letter is not None:  # else its footage was removed, and the letter with it
        letter = letter | record.model_dump(mode="json")
        tables["dead_letters"].put(record.dead_id, letter | {"status": _letter_status(letter)})


def _letter_status(letter: Json) -> str:
    """What happened to it last: a replayed record may die again."""
    fates = {"died_at": "dead", "replayed_at": "replayed", "dropped_at": "dropped"}
    known = [
        (_time(letter, field), order, fate) for order, (field, fate) in enumerate(fates.items()) if field in letter
    ]
    return max(known)[2]


def _calibration(record: CalibrationRequested | CalibrationAdopted, tables: Tables) -> None:
    known = tables["calibrations"].get(record.request_id) or {}
    is_adopted = isinstance(record, CalibrationAdopted) or known.get("status") == "adopted"
    body = known | record.model_dump(mode="json") | {"status": "adopted" if is_adopted else "requested"}
    tables["calibrations"].put(record.request_id, body)


def _founded(record: ClustersFounded, tables: Tables) -> None:
    tables["foundations"].put(record.foundation_id, record.model_dump(mode="json") | {"status": "founded"})


def _cluster_changed(record: ClusterChanged, tables: Tables) -> None:
    tables["cluster_events"].put(record.event_id, record.model_dump(mode="json") | {"status": record.kind})


def _concept(record: ConceptChanged, tables: Tables) -> None:
    body = record.model_dump(mode="json")
    status = "ready" if record.ready else "waiting"
    tables["concepts"].put(record.concept, body | {"status": status})
    if record.computed_at is None:
        return
    minute = f"{record.concept}@{record.computed_at:%Y-%m-%dT%H:%M}"
    known = tables["concept_history"].get(minute)
    if known is None or _time(known, "computed_at") <= record.computed_at:
        tables["concept_history"].put(minute, {name: body[name] for name in _HISTORY} | {"status": status})


def _drift(record: DriftRaised | DriftAnswered, tables: Tables) -> None:
    known = tables["alarms"].get(record.alarm_id) or {}
    is_answered = isinstance(record, DriftAnswered) or known.get("status") == "answered"
    body = known | record.model_dump(mode="json") | {"status": "answered" if is_answered else "open"}
    tables["alarms"].put(record.alarm_id, body)


def _token_reserved(record: TokenReserved, tables: Tables) -> None:
    """A token is told of; whose it was is not told again once that was removed."""
    if (tables["tokens"].get(record.token) or {}).get("status") != "removed":
        tables["tokens"].put(record.token, reserved(record, told=True))


def _training_decided(record: TrainingDecided, tables: Tables) -> None:
    tables["training_decisions"].put(record.decision_id, record.model_dump(mode="json") | {"status": record.verdict})


def _run_requested(record: TrainingRequested, tables: Tables) -> None:
    known = tables["runs"].get(record.run_id) or {"status": "requested"}
    tables["runs"].put(record.run_id, record.model_dump(mode="json") | known)


def _run_progress(record: TrainingProgress, tables: Tables) -> None:
    run = tables["runs"].get(record.run_id) or {"status": "requested"}
    if run["status"] not in _ENDED_RUN:
        progress = record.model_dump(mode="json", exclude={"run_id"})
        tables["runs"].merge(record.run_id, {"status": "running", "progress": progress})


def _run_finished(record: TrainingFinished, tables: Tables) -> None:
    run = tables["runs"].get(record.run_id)
    if run is None or run["status"] != "withdrawn":
        tables["runs"].merge(record.run_id, record.model_dump(mode="json"))


def _removal_requested(record: RemovalRequested, tables: Tables) -> None:
    known = tables["removals"].get(record.removal_id) or {"status": "requested"}
    tables["removals"].put(record.removal_id, record.model_dump(mode="json") | known)


def _removal_done(record: RemovalDone, tables: Tables) -> None:
    """The proof; and what the removal wrote, for a store that is built anew from the topics."""
    tables["removals"].merge(record.removal_id, record.model_dump(mode="json") | {"status": "done"})
    took_away = f"removal {record.removal_id} took away"
    for video_id in record.video_ids:
        if (tables["videos"].get(video_id) or {}).get("status") != "removed":
            tables["videos"].put(video_id, tombstone(video_id, record.sources.get(video_id), record.removal_id))
    for video_id in record.originals:
        tables["videos"].put(
            video_id, without_original(tables["videos"].get(video_id) or {}, record.clip_ids, record.removal_id)
        )
    for token in record.tokens:
        tables["tokens"].put(token, nameless(token))
    for run_id in record.runs:
        known = tables["runs"].get(run_id) or {}
        if known.get("status") != "withdrawn":
            reason = f"it was trained on footage that {took_away}"
            tables["runs"].put(run_id, withdrawn_run(run_id, known, reason))
    for tag in record.snapshots:
        known = tables["snapshots"].get(tag) or {"tag": tag}
        if known.get("status") != "withdrawn":
            struck = {"status": "withdrawn", "reason": f"it held footage that {took_away}", "clip_ids": []}
            tables["snapshots"].put(tag, known | struck)


def _snapshot_requested(record: SnapshotRequested, tables: Tables) -> None:
    known = tables["snapshots"].get(record.tag) or {"status": "requested"}
    tables["snapshots"].put(record.tag, record.model_dump(mode="json") | known)


def _snapshot_finished(record: SnapshotFinished, tables: Tables) -> None:
    known = tables["snapshots"].get(record.tag) or {}
    body = record.model_dump(mode="json")
    if known.get("status") == "withdrawn":
        tables["snapshots"].put(record.tag, body | known)
    # A later request for a tag that is taken fails; the snapshot stands.
    elif known.get("status") != "created" or record.status != "failed":
        tables["snapshots"].merge(record.tag, body)


def _time(body: Json, field: str) -> datetime:
    return datetime.fromisoformat(body[field])


_DOCUMENT_FOLDS: dict[type[Record], Callable[[Any, Tables], None]] = {
    FootageSubmitted: _submitted,
    FootageContinued: _continued,
    FootageSegmented: _segmented,
    ReviewDecided: _reviewed,
    IdentityDecided: _identity_decided,
    CalibrationRequested: _calibration,
    CalibrationAdopted: _calibration,
    DeadLetter: _dead,
    DeadReplayed: _letter_decided,
    DeadDropped: _letter_decided,
    ClustersFounded: _founded,
    ClusterChanged: _cluster_changed,
    ConceptChanged: _concept,
    DriftRaised: _drift,
    DriftAnswered: _drift,
    TokenReserved: _token_reserved,
    TrainingDecided: _training_decided,
    TrainingRequested: _run_requested,
    TrainingProgress: _run_progress,
    TrainingFinished: _run_finished,
    RemovalRequested: _removal_requested,
    RemovalDone: _removal_done,
    SnapshotRequested: _snapshot_requested,
    SnapshotFinished: _snapshot_finished,
}

# --- records onto clip rows ------------------------------------------------------------------------------


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
