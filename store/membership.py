"""Membership: which clips are a concept's, and how surely each.

By a query, a clip is as surely a member as its readings say that it has the terms that made it match. By examples, it
is a member where it lies nearer to them than the clips that are told apart from them; by a text, where a model finds
that it shows it, or where its string holds the words; by a cluster, as surely as it is in it. A person's answer stands
above all of these.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from store.asked import PEOPLE_ERR
from store.clip_columns import ClipRow
from store.clips import ClipTable
from store.clusters.rows import ANNOTATED, matrix_of, vectors_of
from store.clusters.sample import order_of
from store.clusters.state import Clusters
from store.concepts import Concept
from store.errors import InputError
from store.modalities import TEXT_COLUMN

_CANDIDATES = 5_000
"""Most clips that a concept of examples or of a text may have. Chosen: more would be looked over by nobody."""
_COMPARED = 2_000
"""Clips that a text is compared with to tell what is usual. Chosen: where all stand for as many, their mean is off by a
fiftieth of their spread."""
_NEAR_SHARE = 0.05
"""Share of all clips that are as near to an example as a clip that is as likely a member as not. Chosen."""
_LEAST = 0.5
"""Probability from which a clip that lies near examples, or shows a text, is a member."""
_WORD = re.compile(r"[A-Za-z_]\w*")
_LITERAL = re.compile(r"'((?:[^']|'')*)'")

Answers = Mapping[str, bool]
"""Clip id to whether a person says that it belongs."""


@dataclass(frozen=True)
class Found:
    """A concept's clips: probability by clip id; `how` tells people what found them, `fault` why nothing could.

    confirmed: clips among these that a person says belong. added: those of them that nothing else found. taken_out:
    clips that were found, and that a person's word makes members no more.
    """

    probabilities: Mapping[str, float]
    how: str
    fault: str | None = None
    confirmed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    taken_out: frozenset[str] = frozenset()


def members_of(
    clips: ClipTable,
    concept: Concept,
    clusters: Clusters,
    answers: Answers,
    text_vector: Sequence[float] | None = None,
) -> Found:
    """The clips of a concept.

    Args:
        clusters: the space that examples are compared in.
        text_vector: of the concept's text, where the profile has a model for it.
    """
    try:
        if concept.query is not None:
            found = Found(_by_query(clips, concept.query), "query")
        elif concept.examples:
            found = Found(_by_examples(clips, concept.examples, clusters), "examples, in the joint space")
        elif concept.text is not None:
            found = _by_text(clips, concept.text, text_vector, clusters)
        else:
            rows = clips.select(f"{ANNOTATED} AND cluster = {concept.cluster}", columns=["cluster_probability"])
            found = Found({row["clip_id"]: row["cluster_probability"] for row in rows}, "cluster")
    except InputError as error:
        return Found({}, concept.kind, str(error))
    asked = clips.get_many(clip_id for clip_id, belongs in answers.items() if belongs)
    people = {row["clip_id"]: 1.0 - PEOPLE_ERR for row in asked.values() if row["stage"] == "densified"}
    told = {one: p for one, p in found.probabilities.items() if answers.get(one, True)}
    return Found(
        told | people,
        found.how,
        confirmed=frozenset(people),
        added=frozenset(people.keys() - found.probabilities.keys()),
        taken_out=frozenset(found.probabilities.keys() - told.keys()),
    )


def _by_query(clips: ClipTable, query: str) -> dict[str, float]:
    attributes = [name for name in attributes_of(clips) if name in set(_WORD.findall(query))]
    rows = clips.select(f"{ANNOTATED} AND ({query})", columns=["readings", *attributes])
    literals = {one.replace("''", "'") for one in _LITERAL.findall(query)}
    return {row["clip_id"]: _by_readings(row, attributes, literals) for row in rows}


def attributes_of(clips: ClipTable) -> list[str]:
    """Names of the columns that hold a term of a closed vocabulary."""
    return [field.name for field in clips.schema if field.metadata and field.metadata.get(b"kind") == b"text"]


def _by_readings(row: ClipRow, attributes: Sequence[str], literals: set[str]) -> float:
    """Product over the attributes of the probability of the terms that the condition names, or does not name."""
    probability = 1.0
    for attribute in attributes:
        readings = (row["readings"] or {}).get(attribute)
        if not readings or row[attribute] is None:
            continue
        named = sum(p for term, p in readings.items() if term in literals)
        unnamed = sum(p for term, p in readings.items() if term not in literals)
        probability *= named if row[attribute] in literals else unnamed
    return min(1.0, probability)


def _by_examples(clips: ClipTable, examples: Sequence[str], clusters: Clusters) -> dict[str, float]:
    """Clips that lie as near to an example as few do: the probability is logistic in the distance to the nearest, a
    half where 5 % of all clips are as near, and as steep as their distances spread.

    Raises:
        InputError: an example is not in the store.
    """
    if clusters.space is None or not len(clusters.sample):
        return {}
    columns = clusters.space.modalities
    there, vectors = vectors_of(clips, examples, columns)
    missing = sorted(set(examples) - set(there))
    if missing:
        raise InputError(f"examples {', '.join(missing)} are not in the store; name clips that `cliploom search` lists")
    centres = clusters.space.project(vectors).astype(np.float64)
    centres = centres[np.isfinite(centres).all(axis=1)]
    if not len(centres):
        return {}
    usual = _to_nearest(clusters.sample.points, centres)
    rising = np.argsort(usual)
    share = np.cumsum(clusters.sample.masses[rising])
    middle = float(usual[rising[np.searchsorted(share, _NEAR_SHARE * share[-1])]])
    scale = max(1e-9, _mean_and_spread(usual, clusters.sample.masses)[1] / 4.0)
    near = _candidates(clips, examples, columns)
    ids, vectors = vectors_of(clips, near, columns)
    away = _to_nearest(clusters.space.project(vectors), centres)
    chances = 1.0 / (1.0 + np.exp(np.clip((away - middle) / scale, -50, 50)))
    told = {one: float(p) for one, p in zip(ids, chances, strict=True) if p >= _LEAST}
    return told | dict.fromkeys(examples, 1.0 - PEOPLE_ERR)


def _to_nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    apart = np.linalg.norm(np.nan_to_num(points, nan=1e6)[:, None].astype(np.float64) - centres[None], axis=2)
    return apart.min(axis=1)


def _candidates(clips: ClipTable, examples: Sequence[str], columns: Sequence[str]) -> set[str]:
    """Annotated clips near one of the examples in one of the modalities."""
    found = set(examples)
    rows = clips.get_many(examples).values()
    each = max(50, _CANDIDATES // max(1, len(rows) * len(columns)))
    for row in rows:
        for column in set(columns) & set(clips.vector_columns):
            if row[column] is not None:
                near = clips.nearest(np.asarray(row[column]), column, ANNOTATED, each, columns=[])
                found.update(one["clip_id"] for one in near)
    return found


def _mean_and_spread(values: np.ndarray, masses: np.ndarray) -> tuple[float, float]:
    """Of all clips, by values float64 [M] of clips that stand for as many as `masses` says (Horvitz-Thompson)."""
    mean = float(np.average(values, weights=masses))
    return mean, math.sqrt(float(np.average((values - mean) ** 2, weights=masses)))


def _by_text(clips: ClipTable, text: str, vector: Sequence[float] | None, clusters: Clusters) -> Found:
    """Clips that show a text: a standard deviation more like it than the likeness of clips usually exceeds by two."""
    if vector is None or TEXT_COLUMN not in clips.vector_columns:
        rows = clips.matching(text, ANNOTATED, _CANDIDATES)
        words = {word.lower() for word in _WORD.findall(text)}
        whole = [row for row in rows if words <= {word.lower() for word in _WORD.findall(row["conditioning"])}]
        return Found({row["clip_id"]: 1.0 for row in whole}, "words of the strings")
    likeness, masses = _likeness(clips, np.asarray(vector, np.float64), clusters)
    if not len(likeness):
        return Found({}, "what a model sees")
    mean, spread = _mean_and_spread(likeness, masses)
    found = {}
    for row in clips.nearest(np.asarray(vector), TEXT_COLUMN, ANNOTATED, _CANDIDATES, columns=[]):
        above = (1.0 - row["_distance"] - mean) / max(1e-9, spread) - 2.0
        found[row["clip_id"]] = 1.0 / (1.0 + math.exp(-4.0 * above))
    return Found({one: p for one, p in found.items() if p >= _LEAST}, "what a model sees")


def _likeness(clips: ClipTable, vector: np.ndarray, clusters: Clusters) -> tuple[np.ndarray, np.ndarray]:
    """Cosine similarity to a text of clips that stand for all, and how many each stands for: float64 [M] each."""
    masses = dict(zip(clusters.sample.ids, clusters.sample.masses, strict=True))
    # Not by the clips' own order, by which some of the sample were chosen already.
    few = sorted(masses, key=lambda one: order_of(f"text {one}"))[:_COMPARED]
    seen = {one: row for one, row in clips.get_many(few, [TEXT_COLUMN]).items() if row[TEXT_COLUMN] is not None}
    if not seen:
        return np.empty(0), np.empty(0)
    rows = matrix_of(list(seen.values()), TEXT_COLUMN).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    return rows @ vector / np.maximum(lengths, 1e-12), np.array([masses[one] for one in seen])
