"""Records onto documents: what each kind of record makes of the small tables.

Records may come twice and in any order across topics; the same set of records always gives the same documents.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from store.identity_decisions import split_identity
from store.records import (
    AdapterDecided,
    CalibrationAdopted,
    CalibrationRequested,
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
    Json,
    Record,
    RemovalDone,
    RemovalRequested,
    ReviewDecided,
    SnapshotFinished,
    SnapshotRequested,
    TokenReserved,
    TrainingControlled,
    TrainingDecided,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)
from store.removed import tombstone, withdrawn_run, withdrawn_snapshot, without_original
from store.reviewing.subjects import source_answers, subject_document
from store.runs import controlled, ended, progressed
from store.tables import DocumentTable
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
_HOURS_OF_DAYS = 60
"""Chosen."""


_READS_FOOTAGE = ("segment", "resume")


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
    for slot in _slots(record.computed_at):
        id_ = f"{record.concept}@{slot}"
        known = tables["concept_history"].get(id_)
        if known is None or _time(known, "computed_at") <= record.computed_at:
            tables["concept_history"].put(id_, {name: body[name] for name in _HISTORY} | {"status": status})


def _slots(time: datetime) -> tuple[str, str, str]:
    """Where a concept's past keeps what it was then; a slot holds the last of its time.

    Minutes are written over a day later and hours after `_HOURS_OF_DAYS` days, as in a round robin database, so that
    what is kept grows by one a day.
    """
    hours_of = time.toordinal() % _HOURS_OF_DAYS
    return f"minute/{time:%H:%M}", f"hour/{hours_of}/{time:%H}", f"day/{time:%Y-%m-%d}"


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
    tables["runs"].put(record.run_id, progressed(run, record))


def _run_controlled(record: TrainingControlled, tables: Tables) -> None:
    run = tables["runs"].get(record.run_id) or {"status": "requested"}
    tables["runs"].put(record.run_id, controlled(run, record))


def _run_finished(record: TrainingFinished, tables: Tables) -> None:
    tables["runs"].put(record.run_id, ended(tables["runs"].get(record.run_id) or {}, record))


def _adapter_decided(record: AdapterDecided, tables: Tables) -> None:
    tables["adapter_decisions"].put(record.decision_id, record.model_dump(mode="json") | {"status": record.verb})


def _removal_requested(record: RemovalRequested, tables: Tables) -> None:
    known = tables["removals"].get(record.removal_id) or {"status": "requested"}
    tables["removals"].put(record.removal_id, record.model_dump(mode="json") | known)


def _removal_done(record: RemovalDone, tables: Tables) -> None:
    """The proof; and what the removal wrote, for a store that is built anew from the topics."""
    proof = _proof(tables["removals"].get(record.removal_id) or {}, record)
    tables["removals"].put(record.removal_id, proof)
    took_away = f"removal {record.removal_id} took away"
    for video_id in record.video_ids:
        if (tables["videos"].get(video_id) or {}).get("status") != "removed":
            tables["videos"].put(video_id, tombstone(video_id, record.sources.get(video_id), record.removal_id))
    gone = frozenset(proof["clip_ids"])
    for video_id in proof["originals"] if record.clip_ids or record.originals else ():
        tables["videos"].put(video_id, without_original(tables["videos"].get(video_id) or {}, gone, record.removal_id))
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
            tables["snapshots"].put(tag, withdrawn_snapshot(known, f"it held footage that {took_away}"))


def _proof(known: Json, record: RemovalDone) -> Json:
    """The removal's document with its proof, or with one more part of that."""
    told = known | record.model_dump(mode="json") | {"status": "done"}
    if record.n_parts == 1 or known.get("status") != "done":
        return told
    lists = {name: sorted({*known.get(name, ()), *value}) for name, value in told.items() if isinstance(value, list)}
    return told | lists | {"sources": known["sources"] | told["sources"]}


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


DOCUMENT_FOLDS: dict[type[Record], Callable[[Any, Tables], None]] = {
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
    TrainingControlled: _run_controlled,
    TrainingProgress: _run_progress,
    TrainingFinished: _run_finished,
    AdapterDecided: _adapter_decided,
    RemovalRequested: _removal_requested,
    RemovalDone: _removal_done,
    SnapshotRequested: _snapshot_requested,
    SnapshotFinished: _snapshot_finished,
}
