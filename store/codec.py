"""The records on the wire: JSON `{"type": topic, "version": int, "body": {...}}`.

A record of an older version is brought up to date by numbered steps, one version at a time (`UPGRADES`); a newer one
than this program knows is refused, never guessed.
"""

import json
from collections.abc import Callable, Mapping

from pydantic import ValidationError

from store.errors import RecordError
from store.records import (
    AdapterDecided,
    AnnotationDue,
    CalibrationAdopted,
    CalibrationRequested,
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClipsStored,
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
    TrainingControlled,
    TrainingDecided,
    TrainingFinished,
    TrainingProgress,
    TrainingRequested,
)

RECORD_TYPES: dict[str, type[Record]] = {
    record.topic: record
    for record in (
        FootageSubmitted,
        FootageSegmented,
        FootageContinued,
        ClipSegmented,
        ClipEmbedded,
        AnnotationDue,
        ClipDensified,
        ClipsStored,
        ClipCurated,
        PivotsFound,
        IdentityLinked,
        IdentityDecided,
        CalibrationRequested,
        CalibrationAdopted,
        ClustersFounded,
        ClusterChanged,
        ConceptChanged,
        DriftRaised,
        DriftAnswered,
        TokenReserved,
        TrainingDecided,
        TrainingRequested,
        TrainingControlled,
        TrainingProgress,
        TrainingFinished,
        AdapterDecided,
        ReviewDecided,
        RemovalRequested,
        RemovalDone,
        SnapshotRequested,
        SnapshotFinished,
        DeadLetter,
        DeadReplayed,
        DeadDropped,
    )
}

Upgrade = Callable[[Json], Json]
"""The body of one version as the body of the next; never changes its argument."""


def _dead_letter_1(body: Json) -> Json:
    """Version 1 told neither the place of the original record nor what kind of fault it was."""
    passing = body["attempts"] > 1
    return body | {"origin_partition": None, "origin_offset": None, "kind": "exhausted" if passing else "refused"}


def _clip_densified_1(body: Json) -> Json:
    """Version 1 had one term to an attribute, all of them measured, and nothing that it was distilled from."""
    attributes = body["annotation"]["attributes"]
    known = {name: term for name, term in attributes.items() if term is not None}
    told: Json = {
        "readings": {name: {term: 1.0} for name, term in known.items()},
        "origins": dict.fromkeys(known, body["annotation"]["engine"]),
        "alternatives": [],
        "caption": None,
    }
    return body | {"annotation": body["annotation"] | told, "reasoning": None}


def _clip_curated_1(body: Json) -> Json:
    """Version 1 was of a clustering of all clips, which had no sample and knew no copies."""
    return (
        body
        | dict.fromkeys(("next_cluster", "sample_threshold", "copies", "is_keeper"))
        | {"settled": 0, "by_modality": {}}
    )


def _concept_changed_1(body: Json) -> Json:
    """Version 1 counted videos alone, and knew one purity."""
    told = {"n_sources": 0, "n_identities": 0, "n_distinct": body["n_eligible"], "effective_videos": 0.0, "n_asked": 0}
    return body | told | {"purity_by_modality": {}, "how": "query", "computed_at": None}


def _training_requested_1(body: Json) -> Json:
    """Version 1 knew no trigger tokens."""
    return body | {"token": None}


def _training_progress_1(body: Json) -> Json:
    """Version 1 did not tell when the run held a device."""
    return body | {"stints": []}


def _training_finished_1(body: Json) -> Json:
    """Version 1 told the clips in the record itself, where they are still read."""
    return body


def _review_decided_1(body: Json) -> Json:
    """Version 1 knew keep, drop, release and revoke only, and undid nothing."""
    return body | {"concepts": {}, "others": [], "undoes": None, "shown": {}}


def _removal_done_1(body: Json) -> Json:
    """Version 1 knew no trigger tokens."""
    return body | {"tokens": []}


def _removal_done_2(body: Json) -> Json:
    """Version 2 was always whole."""
    return body | {"n_parts": 1}


def _snapshot_finished_1(body: Json) -> Json:
    """Version 1 named the published clips, which the snapshot's own files do."""
    return {name: value for name, value in body.items() if name != "clip_ids"}


UPGRADES: Mapping[tuple[str, int], Upgrade] = {
    (DeadLetter.topic, 1): _dead_letter_1,
    (ClipDensified.topic, 1): _clip_densified_1,
    (ClipCurated.topic, 1): _clip_curated_1,
    (ConceptChanged.topic, 1): _concept_changed_1,
    (TrainingRequested.topic, 1): _training_requested_1,
    (TrainingProgress.topic, 1): _training_progress_1,
    (TrainingFinished.topic, 1): _training_finished_1,
    (ReviewDecided.topic, 1): _review_decided_1,
    (RemovalDone.topic, 1): _removal_done_1,
    (RemovalDone.topic, 2): _removal_done_2,
    (SnapshotFinished.topic, 1): _snapshot_finished_1,
}
"""(type, version) to the step that leads to the version after it."""


def encode(record: Record) -> bytes:
    """The record's bytes on the wire."""
    body = record.model_dump(mode="json")
    return json.dumps({"type": record.topic, "version": record.version, "body": body}, separators=(",", ":")).encode()


def decode(raw: bytes | None) -> Record:
    """The record that `raw` holds, in its present version.

    Raises:
        RecordError: `raw` is empty, no JSON, of an unknown type or version, or lacks or misspells a field.
    """
    if not raw:
        raise RecordError("empty record: expected JSON with type, version and body; was a tombstone produced?")
    try:
        envelope = json.loads(raw)
        kind, version, body = envelope["type"], envelope["version"], envelope["body"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(
            f"not a record: {raw[:80]!r} ({error!r}); expected JSON with type, version and body"
        ) from error
    record_type = RECORD_TYPES.get(kind) if isinstance(kind, str) else None
    if record_type is None:
        raise RecordError(f"unknown record type {kind!r}; this version knows {', '.join(RECORD_TYPES)}")
    try:
        return record_type.model_validate(upgraded(kind, version, body, record_type.version))
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise RecordError(f"{kind} is malformed: {where}") from error


def upgraded(
    kind: str, version: int, body: Json, wanted: int, upgrades: Mapping[tuple[str, int], Upgrade] = UPGRADES
) -> Json:
    """The body of `version` as one of version `wanted`, step by step.

    Raises:
        RecordError: `version` is none that this program knows, or the body lacks what a step reads.
    """
    if type(version) is not int or not 1 <= version <= wanted:
        raise RecordError(f"{kind} version {version!r} is unknown here (this version reads 1 to {wanted}); update")
    for at in range(version, wanted):
        try:
            body = upgrades[kind, at](body)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{kind} version {at} is malformed: {error!r}") from error
    return body
