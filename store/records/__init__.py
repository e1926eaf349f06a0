"""The records on the wire and the values inside them: frozen, versioned, free of any broker's types.

A record type names its topic and its key; `store.codec` puts it on the wire. Media never travel: records carry keys
into the content-addressed media storage, and vectors of at most a few hundred numbers.
"""

from store.records.base import IDS_AT_ONCE, Json, Record, Value, digest, utc_now
from store.records.curation import (
    ClipCurated,
    ClusterChanged,
    ClustersFounded,
    ConceptChanged,
    DriftAnswered,
    DriftRaised,
    IdentityDecided,
    IdentityLinked,
    PivotsFound,
    ReviewDecided,
)
from store.records.keeping import (
    DeadDropped,
    DeadLetter,
    DeadReplayed,
    RemovalDone,
    RemovalRequested,
    SnapshotFinished,
    SnapshotRequested,
)
from store.records.parts import (
    Affect,
    Alternative,
    Annotation,
    Candidate,
    Check,
    Clip,
    Column,
    Control,
    Decision,
    DroppedSpan,
    Reasoning,
    Span,
    Spent,
    TrackLink,
    TrackName,
    clip_id,
)
from store.records.road import (
    AnnotationDue,
    CalibrationAdopted,
    CalibrationRequested,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClipsStored,
    FootageContinued,
    FootageSegmented,
    FootageSubmitted,
)
from store.records.training import (
    AdapterDecided,
    TokenKind,
    TokenReserved,
    TrainingControlled,
    TrainingDecided,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)

__all__ = [
    "IDS_AT_ONCE",
    "AdapterDecided",
    "Affect",
    "Alternative",
    "Annotation",
    "AnnotationDue",
    "CalibrationAdopted",
    "CalibrationRequested",
    "Candidate",
    "Check",
    "Clip",
    "ClipCurated",
    "ClipDensified",
    "ClipEmbedded",
    "ClipSegmented",
    "ClipsStored",
    "ClusterChanged",
    "ClustersFounded",
    "Column",
    "ConceptChanged",
    "Control",
    "DeadDropped",
    "DeadLetter",
    "DeadReplayed",
    "Decision",
    "DriftAnswered",
    "DriftRaised",
    "DroppedSpan",
    "FootageContinued",
    "FootageSegmented",
    "FootageSubmitted",
    "IdentityDecided",
    "IdentityLinked",
    "Json",
    "PivotsFound",
    "Reasoning",
    "Record",
    "RemovalDone",
    "RemovalRequested",
    "ReviewDecided",
    "SnapshotFinished",
    "SnapshotRequested",
    "Span",
    "Spent",
    "TokenKind",
    "TokenReserved",
    "TrackLink",
    "TrackName",
    "TrainingControlled",
    "TrainingDecided",
    "TrainingFinished",
    "TrainingProgress",
    "TrainingRequested",
    "Value",
    "clip_id",
    "digest",
    "utc_now",
    "video_and_clip",
]


def video_and_clip(record: Record) -> tuple[str | None, str | None]:
    """Ids of the video and of the clip that a record speaks of, where it speaks of one."""
    if isinstance(record, ClipSegmented):
        return record.clip.video_id, record.clip.clip_id
    if isinstance(record, FootageContinued):
        return record.footage.video_id, None
    return getattr(record, "video_id", None), getattr(record, "clip_id", None)
