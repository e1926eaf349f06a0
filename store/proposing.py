"""Concepts that the clusters suggest: what sets each cluster apart, put so that a person can paste it in concepts.yaml.

A term sets a cluster apart where its log-odds inside exceed those outside. Counts are shrunk towards the share that the
term has of all clips, and the difference is held against its spread (Monroe, Colaresi and Quinn 2008, equations 15 to
22, "informative Dirichlet prior"):

    delta = ln (x + p) / (n + P - x - p) - ln (y + p) / (m + P - y - p),   z = delta / sqrt(1 / (x + p) + 1 / (y + p)),

x of the cluster's n clips and y of the m others have the term, p = P times its share of all clips. The terms make a SQL
condition, as long as each makes it agree better with the cluster (Jaccard: clips in both / clips in either). Where the
condition agrees well it is the proposal, since it says what it means and goes on to hold; else the cluster itself is.

Only counts are read: one scan to an attribute, whatever the number of clusters, and a few to a proposal.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from store.clips import ClipTable
from store.clusters.rows import ANNOTATED
from store.concepts import Concept, is_declared
from store.errors import InputError
from store.membership import attributes_of
from store.records import Json
from store.store import Store
from store.tables import in_parts, sql_in

_MOST = 20
"""Chosen: a person reads so many, the largest clusters first."""
_MOST_TERMS = 3
"""Chosen: a condition that a person takes in at a glance."""
_PRIOR = 10.0
"""P, in clips. Chosen: so many clips count as much as all that is known of the others."""
_LEAST_Z = 3.0
"""Chosen: of the some hundred terms of the vocabulary, chance lets less than one through in five clusters."""
_LEAST_SHARE = 0.5
"""Chosen: a term that most clips of a cluster lack does not say what it is, however rare it is elsewhere."""
_AGREES = 0.7
"""Jaccard index from which a condition stands for its cluster. Chosen: then four of five clips of either are the
other's, if both are equally many."""
_COVERED = 0.5
"""Jaccard index from which a declared concept is the cluster already. Chosen: no two disjoint concepts can be."""
_READ = 1_000
"""Most ids in one condition."""


@dataclass(frozen=True)
class Term:
    """A term that sets a cluster apart: the shares of the clips that have it, inside and elsewhere, and z as above."""

    attribute: str
    term: str
    share: float
    share_elsewhere: float
    z: float

    @property
    def condition(self) -> str:
        """As SQL."""
        return f"{self.attribute} = '{self.term.replace(chr(39), chr(39) * 2)}'"


@dataclass(frozen=True)
class Proposal:
    """A concept that a cluster suggests. agreement: Jaccard index of its condition and the cluster, 1 without one;
    terms: those of its condition, else all that set the cluster apart."""

    concept: Concept
    cluster: int
    n_clips: int
    n_videos: int
    terms: tuple[Term, ...]
    agreement: float


def propose(store: Store) -> list[Proposal]:
    """A concept for each cluster of enough clips of enough videos that no declared concept is already, the largest
    cluster first; contrasts are the concepts that the clusters next to theirs are."""
    clips = store.clips
    least = Concept.model_fields
    sizes = {n: size for n, size in clips.counts("cluster", ANNOTATED).items() if n is not None}
    videos = {n: len(found) for n, found in clips.counts_by("video_id", "cluster", ANNOTATED).items()}
    declared = covered(store, sizes)
    wanted = [
        number
        for number in sorted(sizes, key=lambda n: (-sizes[n], n))
        if sizes[number] >= least["min_clips"].default
        and videos[number] >= least["min_videos"].default
        and number not in declared
    ][:_MOST]
    terms = distinctive_terms(clips, wanted)
    names = dict(declared)
    found = []
    for number in wanted:
        chosen, agreement = _condition(clips, number, sizes[number], terms[number])
        is_query = agreement >= _AGREES
        names[number] = _name(
            number, chosen if is_query else terms[number][:1], {*names.values(), *store.concepts.all()}
        )
        told = chosen if is_query else terms[number]
        concept = Concept(
            name=names[number],
            description=_description(number, told),
            query=" AND ".join(term.condition for term in chosen) if is_query else None,
            cluster=None if is_query else number,
        )
        found.append(Proposal(concept, number, sizes[number], videos[number], told, agreement if is_query else 1.0))
    next_to = clips.counts_by("next_cluster", "cluster", ANNOTATED) if found else {}
    return [_contrasted(one, next_to.get(one.cluster, {}), names) for one in found]


def covered(store: Store, sizes: Mapping[int, int]) -> dict[int, str]:
    """Clusters that a declared concept is already, with its name: they share most of their clips.

    Args:
        sizes: cluster number to its number of clips.
    """
    best: dict[int, tuple[float, str]] = {}
    for name, body in sorted(store.concepts.all().items()):
        inside = _in_clusters(store, body) if is_declared(body) else {}
        total = sum(inside.values())
        for number, size in sizes.items():
            both = inside.get(number, 0)
            shared = both / (size + total - both)
            if shared >= _COVERED and shared > best.get(number, (0.0, ""))[0]:
                best[number] = (shared, name)
    return {number: name for number, (_, name) in best.items()}


def _in_clusters(store: Store, body: Json) -> dict[int | None, int]:
    """How many of a concept's clips lie in which cluster."""
    query = body["definition"].get("query")
    if query is not None:
        try:
            return store.clips.counts("cluster", f"{ANNOTATED} AND ({query})")
        except InputError:  # the concept's own reasons tell of it
            return {}
    ids = [member["clip_id"] for member in json.loads(store.media.read(body["members_key"]))]
    found: dict[int | None, int] = {}
    for part in in_parts(ids, _READ):
        for number, count in store.clips.counts("cluster", sql_in("clip_id", part)).items():
            found[number] = found.get(number, 0) + count
    return found


def distinctive_terms(clips: ClipTable, clusters: Sequence[int]) -> dict[int, tuple[Term, ...]]:
    """The terms that set each of the clusters apart, the most telling first."""
    found: dict[int, list[Term]] = {number: [] for number in clusters}
    for attribute in attributes_of(clips) if clusters else ():
        groups = clips.counts_by(attribute, "cluster", ANNOTATED)
        usual: dict[str, int] = {}
        for group in groups.values():
            for term, count in group.items():
                if term is not None:
                    usual[term] = usual.get(term, 0) + count
        for number in clusters:
            inside = {term: count for term, count in groups.get(number, {}).items() if term is not None}
            found[number].extend(_apart(attribute, inside, usual))
    return {number: tuple(sorted(terms, key=lambda t: (-t.z, t.attribute, t.term))) for number, terms in found.items()}


def _apart(attribute: str, inside: Mapping[str, int], usual: Mapping[str, int]) -> list[Term]:
    """Terms of one attribute that set a cluster apart: `inside` are its counts, `usual` those of all clips."""
    n, total = sum(inside.values()), sum(usual.values())
    told = []
    for term, x in inside.items():
        y, m, prior = usual[term] - x, total - n, _PRIOR * usual[term] / total
        if prior >= _PRIOR:
            continue  # every clip has it
        delta = math.log((x + prior) / (n + _PRIOR - x - prior)) - math.log((y + prior) / (m + _PRIOR - y - prior))
        z = delta / math.sqrt(1.0 / (x + prior) + 1.0 / (y + prior))
        if z >= _LEAST_Z and x / n >= _LEAST_SHARE:
            told.append(Term(attribute, term, x / n, y / m if m else 0.0, z))
    return told


def _condition(clips: ClipTable, number: int, size: int, terms: Sequence[Term]) -> tuple[tuple[Term, ...], float]:
    """The terms that together agree best with a cluster of so many clips, and how well: Jaccard index."""
    chosen: tuple[Term, ...] = ()
    best = 0.0
    for term in terms:
        if len(chosen) == _MOST_TERMS:
            break
        where = " AND ".join([ANNOTATED, *(one.condition for one in (*chosen, term))])
        inside = clips.count(f"{where} AND cluster = {number}")
        agreement = inside / (size + clips.count(where) - inside)
        if agreement > best:
            chosen, best = (*chosen, term), agreement
    return chosen, best


def _name(number: int, terms: Sequence[Term], taken: set[str]) -> str:
    """A name that a person can read and that is free."""
    words = re.sub(r"[^a-z0-9]+", "-", "-".join(term.term.lower() for term in terms)).strip("-")
    name = words or f"cluster-{number}"
    return name if name not in taken else f"{name}-{number}"


def _description(number: int, terms: Sequence[Term]) -> str:
    if not terms:
        return f"Like the clips of cluster {number}, which no attribute sets apart."
    told = "; ".join(
        f"{term.attribute} {term.term} ({term.share:.0%} of them, {term.share_elsewhere:.0%} elsewhere)"
        for term in terms
    )
    return f"Like the clips of cluster {number}: {told}."


def _contrasted(proposal: Proposal, next_to: Mapping[int | None, int], names: Mapping[int, str]) -> Proposal:
    """The proposal with what most of its clips lie next to as its contrast, where that has a name."""
    near = {n: count for n, count in next_to.items() if n is not None and n in names and n != proposal.cluster}
    if not near:
        return proposal
    nearest = min(near, key=lambda n: (-near[n], n))
    return replace(proposal, concept=proposal.concept.model_copy(update={"contrasts": (names[nearest],)}))
