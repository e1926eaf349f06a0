"""Curation: one pass over the stored clips that says where each lies and what each concept's subset is.

Reads the tables and writes only manifests into media storage (they are named by their content); what changed
comes back as records, for the one writer of the tables to store.
"""

import json
from collections.abc import Sequence

import numpy as np

from store.clips import ClipRow, ClipTable
from store.clustering import Clustering, ClusterOptions, cluster
from store.concepts import Concept, ConceptState, Member, concept_state, contrasts_of
from store.errors import InputError
from store.gate import GateOptions
from store.modalities import chosen_columns
from store.records import ClipCurated, ConceptChanged, Record, digest
from store.store import Store

_ANNOTATED = "stage = 'densified'"
_PLACE = ("cluster", "cluster_probability", "outlier_score", "is_outlier", "margin", "is_boundary")


def curate(store: Store, concepts: Sequence[Concept]) -> tuple[int, list[Record]]:
    """Cluster the annotated clips and judge every concept.

    Returns:
        Number of clips, and a record for each clip whose place and each concept whose state differs from what
        the store holds.
    """
    counts = {name: store.clips.count(f"{_ANNOTATED} AND {name} IS NOT NULL") for name in store.clips.vector_columns}
    vector_columns = chosen_columns(counts)
    columns = ["video_id", "held_for", "control", "curation_recipe", *_PLACE, *vector_columns]
    rows = store.clips.select(where=_ANNOTATED, columns=columns)
    clustering = _cluster(rows, vector_columns)
    changed: list[Record] = [c for row, c in zip(rows, clustering.curated, strict=True) if _moved(row, c)]
    clips = {row["clip_id"]: Member(row["clip_id"], row["video_id"], tuple(row["held_for"])) for row in rows}
    points = dict(zip(clustering.clip_ids, clustering.points, strict=True))
    members, faults = _members(store.clips, concepts, clips)
    known = store.concepts.all()
    for concept in concepts:
        others = contrasts_of(concept, members, clips.values())
        state = concept_state(concept, members[concept.name], others, points, clustering.recipe)
        record = _announce(store, state, faults.get(concept.name))
        if record.model_dump(mode="json") | {"status": None} != known.get(concept.name, {}) | {"status": None}:
            changed.append(record)
    return len(rows), changed


def _cluster(rows: Sequence[ClipRow], vector_columns: Sequence[str]) -> Clustering:
    vectors = {}
    for name in vector_columns:
        size = next((len(row[name]) for row in rows if row[name] is not None), None)
        if size is not None:
            missing = [np.nan] * size
            vectors[name] = np.array([missing if row[name] is None else row[name] for row in rows], np.float32)
    if rows:
        # What steers a clip also tells it apart: it raised the purity bound of "lively" in the demo from .67 to .74.
        vectors["control"] = np.array([row["control"]["values"] for row in rows], np.float32)
    previous = {row["clip_id"]: row["cluster"] for row in rows if row["cluster"] is not None}
    options = ClusterOptions(outlier_score=GateOptions().outlier_score)
    return cluster([row["clip_id"] for row in rows], vectors, options, previous)


def _moved(row: ClipRow, curated: ClipCurated) -> bool:
    """Whether the clip's place differs from the row's (which keeps 32-bit numbers)."""
    if row["curation_recipe"] != curated.recipe:
        return True
    now = [getattr(curated, name) for name in _PLACE]
    return any(
        abs(a - b) > 1e-6 if isinstance(a, float) and isinstance(b, float) else a != b
        for a, b in zip(now, (row[name] for name in _PLACE), strict=True)
    )


def _members(
    clips: ClipTable, concepts: Sequence[Concept], annotated: dict[str, Member]
) -> tuple[dict[str, list[Member]], dict[str, str]]:
    """Members of every concept, and why the query of some could not be run."""
    members: dict[str, list[Member]] = {}
    faults: dict[str, str] = {}
    for concept in concepts:
        try:
            found = clips.select(where=f"{_ANNOTATED} AND ({concept.query})", columns=[])
        except InputError as error:
            faults[concept.name] = str(error)
            found = []
        members[concept.name] = [annotated[row["clip_id"]] for row in found if row["clip_id"] in annotated]
    return members, faults


def _announce(store: Store, state: ConceptState, fault: str | None) -> ConceptChanged:
    manifest = json.dumps(state.manifest, sort_keys=True, separators=(",", ":")).encode()
    record = state.record(store.media.put_bytes(manifest, "json"))
    assert record.members_digest == digest(state.manifest)
    return record if fault is None else record.model_copy(update={"ready": False, "reasons": (fault,)})
