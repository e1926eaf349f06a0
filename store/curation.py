"""Judging the concepts: which clips each has, how pure they are, how much they hold, and whether that is enough; and
where videos change from one to another.

Reads the tables and writes only manifests into media storage (they are named by their content); what changed comes
back as records, for the one writer of the tables to store. Vectors are read of at most a thousand clips a side,
whichever come first in an order that is as good as random.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np

from store.asked import Asked
from store.clip_columns import ClipRow
from store.clusters.rows import ANNOTATED, CONTROL, matrix_of
from store.clusters.sample import order_of
from store.clusters.state import Clusters
from store.concepts import UNDECLARED, Concept, is_declared
from store.diversity import Diversity, diversity
from store.documents import record_of
from store.duplicates import COLUMN
from store.media import media_key
from store.membership import Answers, Found, members_of
from store.pivots import COLUMNS as PIVOT_COLUMNS
from store.pivots import pivots_of
from store.purity import Purity, Side, purity
from store.readiness import Standing, shortcomings
from store.records import ClipCurated, ConceptChanged, Json, PivotsFound, digest
from store.store import Store
from store.tables import sql_in

_VERSION = 3
_COMPARED = 1_000
"""Most clips of a side whose neighbourhoods are compared. Chosen: the bound of a pure concept is within .01 then."""
_COUNTED = 2_000
"""Most clips among which copies are looked for, each with each. Chosen: 2,000 take 0.3 s, 4,000 take 1.8 s."""
_PLACED = {"cluster", "cluster_probability"}
_NO_PART = {"priority"}
"""What a concept says that makes no difference to its members and their purity."""
_LIGHT = ("video_id", "source", "held_for", "identity_ids")


def find_members(
    store: Store,
    concepts: Sequence[Concept],
    clusters: Clusters,
    answers: Mapping[str, Answers],
    text_vectors: Mapping[str, Sequence[float]],
) -> dict[str, Found]:
    """The clips of every concept.

    Args:
        answers: by concept, what people said of clips. text_vectors: by concept, of its text, where a model tells it.
    """
    return {
        one.name: members_of(store.clips, one, clusters, answers.get(one.name, {}), text_vectors.get(one.name))
        for one in concepts
    }


def judge_concepts(
    store: Store,
    concepts: Sequence[Concept],
    found: Mapping[str, Found],
    clusters: Clusters,
    answers: Mapping[str, Answers],
    now: datetime,
) -> list[ConceptChanged]:
    """A record for each concept whose state differs from what the store holds, computed `now`; of one that is declared
    no more that it is not ready, so that nothing is trained for it."""
    known = store.concepts.all()
    judged = [
        _judged(store, one, found, clusters, answers.get(one.name, {}), known.get(one.name, {})) for one in concepts
    ]
    aside: Json = {"status": None, "computed_at": None}
    declared = {one.name for one in concepts}
    gone = [body for name, body in known.items() if name not in declared and is_declared(body)]
    judged += [record_of(ConceptChanged, body | {"ready": False, "reasons": UNDECLARED}) for body in gone]
    changed = [one for one in judged if one.model_dump(mode="json") | aside != known.get(one.concept, {}) | aside]
    return [one.model_copy(update={"computed_at": now}) for one in changed]


def find_pivots(
    store: Store, clip_ids: Sequence[str], found: Mapping[str, Found], places: Mapping[str, ClipCurated]
) -> list[PivotsFound]:
    """A record for each clip whose pivots differ from what the store holds, in the videos of these clips and in those
    that nobody looked at.

    Args:
        places: of clips whose rows do not show theirs yet.
    """
    videos = {row["video_id"] for row in store.clips.get_many(clip_ids, ["video_id"]).values()}
    unseen = store.clips.select(f"{ANNOTATED} AND pivots IS NULL", columns=["video_id"])
    videos |= {row["video_id"] for row in unseen}
    memberships = {name: one.probabilities for name, one in found.items()}
    told = []
    for video in sorted(videos):
        where = f"{ANNOTATED} AND {sql_in('video_id', [video])}"
        rows = [
            row | (places[row["clip_id"]].model_dump(include=_PLACED) if row["clip_id"] in places else {})
            for row in store.clips.select(where, columns=[*PIVOT_COLUMNS, "pivots"])
        ]
        pivots = pivots_of(rows, memberships)
        changed = [row["clip_id"] for row in rows if row["pivots"] != pivots[row["clip_id"]]]
        told += [PivotsFound(clip_id=one, video_id=video, pivots=tuple(pivots[one])) for one in changed]
    return told


def _judged(
    store: Store,
    concept: Concept,
    found: Mapping[str, Found],
    clusters: Clusters,
    answers: Answers,
    known: Json,
) -> ConceptChanged:
    """The concept's present state; of clips that are removed meanwhile, whatever is still there is told."""
    members = found[concept.name]
    rows = store.clips.get_many(members.probabilities, _LIGHT)
    eligible = [one for one, row in rows.items() if not row["held_for"]]
    told, ids_compared = _purity(store, concept, found, clusters, eligible)
    held = _held(store, [rows[one] for one in eligible])
    manifest = _manifest(members, rows, answers, told, ids_compared)
    standing = Standing(held.n_distinct, held.n_videos, held.n_sources, told.value, told.low)
    reasons = shortcomings(concept, standing, bool(known.get("ready")))
    if members.fault is not None:
        reasons = (members.fault,)
    return ConceptChanged(
        concept=concept.name,
        definition=concept.model_dump(mode="json"),
        members_key=_put(store, manifest, known.get("members_key")),
        members_digest=digest(manifest),
        n_members=len(rows),
        n_eligible=len(eligible),
        n_asked=len(answers),
        purity=told.value,
        purity_low=told.low,
        purity_by_modality=dict(told.by_modality),
        how=members.how,
        ready=not reasons,
        reasons=reasons,
        recipe=digest(["concept", _VERSION, concept.model_dump(mode="json", exclude=_NO_PART), clusters.recipe])[:16],
        **asdict(held),
    )


def _put(store: Store, manifest: list[Json], known: str | None) -> str:
    """The manifest's key; it is written unless it is the known one and there."""
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    if known == media_key(hashlib.sha256(content).hexdigest(), "json") and store.media.exists(known):
        return known
    return store.media.put_bytes(content, "json")


def _manifest(
    members: Found, rows: Mapping[str, ClipRow], answers: Answers, told: Purity, compared: Sequence[str]
) -> list[Json]:
    """What is known of each member; `compared` are the clips that the purity's agreements are of."""
    place = {clip_id: i for i, clip_id in enumerate(compared)}

    def agreement(clip_id: str, scores: np.ndarray) -> float | None:
        score = scores[place[clip_id]] if clip_id in place else np.nan
        return float(score) if np.isfinite(score) else None

    return [
        {
            "clip_id": one,
            "probability": members.probabilities[one],
            "answer": answers.get(one),
            "agreement": agreement(one, told.agreement),
            "agreements": {name: agreement(one, scores) for name, scores in told.agreements.items()},
            "eligible": not row["held_for"],
            "held_for": row["held_for"],
        }
        for one, row in rows.items()
    ]


def _purity(
    store: Store, concept: Concept, found: Mapping[str, Found], clusters: Clusters, eligible: Sequence[str]
) -> tuple[Purity, list[str]]:
    """Purity of the clips that are open to use, and the clips that were compared for it.

    Clips that only a person's word makes members are no part of it: they tell nothing of those that were found.
    """
    own = found[concept.name]
    out = store.clips.get_many(sorted(own.taken_out), ["held_for"])
    taken_out = [one for one, row in out.items() if not row["held_for"]]
    pool = [*(one for one in eligible if one not in own.added), *taken_out]
    yes = own.confirmed.intersection(pool)
    few = _few(pool) if clusters.space is not None else []
    against = _few(_contrast(store, concept, found)) if clusters.space is not None else []
    # What steers a clip is made of what the queries ask for: it would vouch for them whatever is seen and heard.
    modalities = [one for one in clusters.space.modalities if one != CONTROL] if clusters.space is not None else []
    ids, members = _side(store, few, modalities)
    _, contrast = _side(store, against, modalities)
    labels = np.array([own.probabilities[one] for one in ids if one in own.probabilities and one not in yes])
    said = np.array([1.0 if one in yes else 0.0 if one in own.taken_out else np.nan for one in ids])
    return purity(members, contrast, labels, Asked(len(pool), len(yes), len(taken_out), said)), ids


def _contrast(store: Store, concept: Concept, found: Mapping[str, Found]) -> list[str]:
    """The clips that a concept is told apart from: the members of its contrasts, or else every other clip."""
    own = found[concept.name].probabilities.keys() | found[concept.name].taken_out
    if concept.contrasts:
        others = {one for name in concept.contrasts for one in found[name].probabilities}
        return sorted(others - own)
    rows = store.clips.select(ANNOTATED, columns=[])
    return [row["clip_id"] for row in rows if row["clip_id"] not in own]


def _few(clip_ids: Sequence[str]) -> list[str]:
    """At most a thousand of the clips, in order of their ids."""
    return sorted(sorted(clip_ids, key=order_of)[:_COMPARED])


def _side(store: Store, clip_ids: Sequence[str], modalities: Sequence[str]) -> tuple[list[str], Side]:
    """Those of the clips that are there, and what is compared of them."""
    rows = store.clips.get_many(clip_ids, ["video_id", *modalities])
    videos = [int(digest(row["video_id"])[:12], 16) for row in rows.values()]
    vectors = {name: matrix_of(list(rows.values()), name) for name in modalities}
    return list(rows), Side(np.array(videos, np.int64), vectors)


def _held(store: Store, rows: Sequence[ClipRow]) -> Diversity:
    """What clips hold; where copies were looked for among some of them, there are as many among the others."""
    signatures = _signatures(store, [row["clip_id"] for row in rows])
    held = diversity(rows, signatures)
    share = held.n_distinct / len(signatures) if signatures else 1.0
    return replace(held, n_distinct=round(share * len(rows)))


def _signatures(store: Store, clip_ids: Sequence[str]) -> list[list[float] | None]:
    """Signatures of the clips, or of as many as copies are looked for among; None for a clip without one."""
    if COLUMN not in store.clips.schema.names:
        return [None] * len(clip_ids)
    few = sorted(clip_ids, key=order_of)[:_COUNTED]
    return [row[COLUMN] for row in store.clips.get_many(few, [COLUMN]).values()]
