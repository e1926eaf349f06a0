"""Judging the concepts: which clips each has, how pure they are, how much they hold, and whether that is enough.

Reads the tables and writes only manifests into media storage (they are named by their content); what changed comes
back as records, for the one writer of the tables to store. Vectors are read of at most a thousand clips a side,
whichever come first in an order that is as good as random.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

import numpy as np

from store.clips import ClipRow
from store.clusters.curator import vectors_of
from store.clusters.sample import order_of
from store.clusters.state import Clusters
from store.concepts import Concept
from store.diversity import diversity
from store.duplicates import COLUMN
from store.membership import ANNOTATED, Answers, Found, members_of, rows_of
from store.purity import Asked, Purity, Side, purity
from store.readiness import Standing, shortcomings
from store.records import ConceptChanged, Json, digest
from store.store import Store

_VERSION = 2
_COMPARED = 1_000
"""Most clips of a side whose neighbourhoods are compared. Chosen: the bound of a pure concept is within .01 then."""
_LIGHT = ("video_id", "source", "held_for", "identity_ids")


def judge_concepts(
    store: Store,
    concepts: Sequence[Concept],
    clusters: Clusters,
    answers: Mapping[str, Answers],
    text_vectors: Mapping[str, Sequence[float]],
    now: datetime,
) -> list[ConceptChanged]:
    """A record for each concept whose state differs from what the store holds, computed `now`.

    Args:
        answers: by concept, what people said of clips. text_vectors: by concept, of its text, where a model tells it.
    """
    found = {
        one.name: members_of(store.clips, one, clusters, answers.get(one.name, {}), text_vectors.get(one.name))
        for one in concepts
    }
    known = store.concepts.all()
    judged = [
        _judged(store, one, found, clusters, answers.get(one.name, {}), known.get(one.name, {})) for one in concepts
    ]
    aside: Json = {"status": None, "computed_at": None}
    changed = [one for one in judged if one.model_dump(mode="json") | aside != known.get(one.concept, {}) | aside]
    return [one.model_copy(update={"computed_at": now}) for one in changed]


def _judged(
    store: Store,
    concept: Concept,
    found: Mapping[str, Found],
    clusters: Clusters,
    answers: Answers,
    known: Json,
) -> ConceptChanged:
    """The concept's present state."""
    members = found[concept.name]
    ids = sorted(members.probabilities)
    rows = rows_of(store.clips, ids, _LIGHT)
    eligible = [one for one in ids if not rows[one]["held_for"]]
    told = _purity(store, concept, found, clusters, answers, eligible)
    held = diversity(_with_signatures(store, eligible, rows))
    manifest = [
        {
            "clip_id": one,
            "probability": members.probabilities[one],
            "agreement": told[1].get(one),
            "eligible": not rows[one]["held_for"],
            "held_for": rows[one]["held_for"],
        }
        for one in ids
    ]
    standing = Standing(held.n_distinct, held.n_videos, held.n_sources, told[0].value, told[0].low)
    reasons = shortcomings(concept, standing, bool(known.get("ready")))
    if members.fault is not None:
        reasons = (members.fault,)
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return ConceptChanged(
        concept=concept.name,
        definition=concept.model_dump(mode="json"),
        members_key=store.media.put_bytes(content, "json"),
        members_digest=digest(manifest),
        n_members=len(ids),
        n_eligible=len(eligible),
        n_asked=_asked(answers).n,
        purity=told[0].value,
        purity_low=told[0].low,
        purity_by_modality=dict(told[0].by_modality),
        how=members.how,
        ready=not reasons,
        reasons=reasons,
        recipe=digest(["concept", _VERSION, concept.model_dump(mode="json"), clusters.recipe])[:16],
        **asdict(held),
    )


def _purity(
    store: Store,
    concept: Concept,
    found: Mapping[str, Found],
    clusters: Clusters,
    answers: Answers,
    eligible: Sequence[str],
) -> tuple[Purity, dict[str, float]]:
    """Purity of the clips that are open to use, and the agreement of those of them that were compared."""
    if clusters.space is None:
        return purity(Side(np.empty(0), {}), Side(np.empty(0), {}), np.empty(0), np.empty(0, bool), Asked()), {}
    ids = _few(eligible)
    against = _few(_contrast(store, concept, found))
    members, contrast = (_side(store, one, clusters.space.modalities) for one in (ids, against))
    labels = np.array([found[concept.name].probabilities[one] for one in ids])
    confirmed = np.array([answers.get(one, False) for one in ids], bool)
    told = purity(members, contrast, labels, confirmed, _asked(answers))
    scores = {one: float(score) for one, score in zip(ids, told.agreement, strict=True) if np.isfinite(score)}
    return told, scores


def _contrast(store: Store, concept: Concept, found: Mapping[str, Found]) -> list[str]:
    """The clips that a concept is told apart from: the members of its contrasts, or else every other clip."""
    own = found[concept.name].probabilities.keys()
    if concept.contrasts:
        others = {one for name in concept.contrasts for one in found[name].probabilities}
        return sorted(others - own)
    rows = store.clips.select(ANNOTATED, columns=[])
    return [row["clip_id"] for row in rows if row["clip_id"] not in own]


def _few(clip_ids: Sequence[str]) -> list[str]:
    """At most a thousand of the clips, in order of their ids."""
    return sorted(sorted(clip_ids, key=order_of)[:_COMPARED])


def _side(store: Store, clip_ids: Sequence[str], modalities: Sequence[str]) -> Side:
    videos = {row["clip_id"]: row["video_id"] for row in rows_of(store.clips, clip_ids, ["video_id"]).values()}
    numbers = {video: int(digest(video)[:12], 16) for video in set(videos.values())}
    _, vectors = vectors_of(store.clips, clip_ids, modalities)
    return Side(np.array([numbers[videos[one]] for one in clip_ids], np.int64), vectors)


def _with_signatures(store: Store, clip_ids: Sequence[str], rows: Mapping[str, ClipRow]) -> list[ClipRow]:
    """Rows of clips, with their signature where there are so few clips that copies can be counted."""
    has = COLUMN in store.clips.schema.names and len(clip_ids) <= 2 * _COMPARED
    signatures = rows_of(store.clips, clip_ids, [COLUMN]) if has else {}
    return [rows[one] | signatures.get(one, {}) for one in clip_ids]


def _asked(answers: Answers) -> Asked:
    return Asked(len(answers), sum(answers.values()))
