"""Questions about single clips: is it of the concept that it is in, and may it be used though it is held.

Every search has a limit and reads the columns that it needs, never a vector.

Seen over 1,000,000 rows without vectors or copies: a day's questions take 4.4 s and 22 MB, 2.6 s of it for identities.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from store.clip_columns import ClipRow
from store.concepts import is_declared
from store.filters import Filter
from store.gate import GateOptions
from store.records import Json
from store.reviewing.ledger import Ledger
from store.reviewing.ranking import Candidate, needs
from store.store import Store

SEARCHED = 300
"""Chosen: clips that each search may find, ten days of questions at 30 a day; 300 whole rows are read in 0.1 s."""
UNCERTAIN = 0.75
"""Chosen: a membership probability below it is a reason to ask; halfway between chance and sure."""
_OUTLYING = 0.7
"""Chosen: an outlier score from here on is a reason to ask, below the 0.9 that holds a clip."""
_PLACE = ("video_id", "cluster", "cluster_probability", "outlier_score", "margin", "is_boundary", "is_outlier")
_OPEN = "stage = 'densified' AND verdict = 'keep'"
_HELD = "stage = 'densified' AND verdict = 'hold' AND review IS NULL"
LIFTABLE = "NOT array_has(held_for, 'age') AND NOT array_has(held_for, 'licence')"
"""A keep lifts every hold but these two, which its source's release lifts: until then asking about the clip is idle."""


@dataclass(frozen=True)
class Subset:
    """A concept as the queue sees it. members: clip id to probability (None: cannot be told), open and held. purity,
    coverage: what it needs (`store.reviewing.ranking.needs`)."""

    name: str
    members: Mapping[str, float | None]
    eligible: frozenset[str]
    purity: float
    coverage: float


def subsets(store: Store, concepts: Sequence[str] | None) -> list[Subset]:
    """The declared concepts of these names (None: all) by the store's documents and their manifests."""
    found = []
    for name, body in store.concepts.all().items():
        if not is_declared(body) or (concepts is not None and name not in concepts):
            continue
        manifest: list[Json] = json.loads(store.media.read(body["members_key"]))
        members = {one["clip_id"]: one["probability"] for one in manifest}
        found.append(Subset(name, members, frozenset(o["clip_id"] for o in manifest if o["eligible"]), *needs(body)))
    return found


def features_of(row: ClipRow, membership: float | None, filters: Iterable[Filter]) -> dict[str, float]:
    """What `store.reviewing.proposals` knows a clip by; a feature that nothing measured is missing."""
    excess = [_excess(one, float(row[one.column])) for one in filters if row.get(one.column) is not None]
    pivots = [float(one["score"]) for one in row.get("pivots") or ()]
    told = {
        "membership": membership,
        **{name: row.get(name) for name in ("margin", "cluster_probability", "outlier_score", "contradiction")},
        "excess": max(excess, default=None),
        "pivot": max(pivots, default=None),
    }
    return {name: float(value) for name, value in told.items() if value is not None}


def member_questions(store: Store, known: Sequence[Subset], ledger: Ledger) -> list[Candidate]:
    """Is the clip of the concept? Of open members: the least probable of each concept, and those among the clips that
    lie between clusters, far from all, or where something changes."""
    ids = set(_conspicuous(store))
    for one in known:
        ids.update(_least_probable(one))
    ids -= ledger.verdicts.keys()
    rows = {row["clip_id"]: row for row in _rows(store, ids & {id_ for one in known for id_ in one.eligible})}
    return [
        _member_question(row, subset)
        for subset in known
        for clip_id, row in rows.items()
        if clip_id in subset.eligible and clip_id not in ledger.labels.get(subset.name, {})
    ]


def hold_questions(store: Store, known: Sequence[Subset], gate: GateOptions) -> list[Candidate]:
    """May the clip be used? Of clips that a person's keep would open: for each rule, those that are nearest to passing
    it."""
    columns = set(store.clips.schema.names)
    rules = [("outlier", "outlier_score", False), ("reasoning", "contradiction", False)]
    rules += [(one.rule, one.column, one.beyond == "below") for one in gate.filters if one.column in columns]
    ids: set[str] = set()
    for rule, column, is_highest in rules:
        where = f"{_HELD} AND {LIFTABLE} AND array_has(held_for, '{rule}')"
        ids.update(row["clip_id"] for row in store.clips.top(column, where, SEARCHED, is_highest))
    # Another reviewer's keep may have opened a clip since it was found.
    return [_hold_question(row, known, gate) for row in _rows(store, ids, gate) if row["held_for"]]


def _member_question(row: ClipRow, subset: Subset) -> Candidate:
    clip_id, membership = row["clip_id"], subset.members[row["clip_id"]]
    because = next(iter(_reasons(row, membership)), ("member", f"it is one of the less certain clips of {subset.name}"))
    told = "unknown" if membership is None else f"{membership:.2f}"
    return Candidate(
        item_id=f"member:{clip_id}:{subset.name}",
        kind="member",
        because=because[0],
        gains="purity",
        why=f"{because[1]}; its probability in {subset.name} is {told}",
        concept=subset.name,
        clip_ids=(clip_id,),
        need=subset.purity,
        features=features_of(row, membership, ()),
        cluster=row["cluster"],
        video_id=row["video_id"],
    )


def _reasons(row: ClipRow, membership: float | None) -> Iterator[tuple[str, str]]:
    """(what the clip came up for, the same for a person), the strongest first."""
    if row.get("pivots"):
        change = max(row["pivots"], key=lambda one: one["score"])
        yield "pivot", f"at {change['at_s']:.1f} s it changes from {change['from']} to {change['to']}"
    if row["is_outlier"] or (row["outlier_score"] or 0.0) >= _OUTLYING:
        yield "outlier", f"it lies far from every cluster (outlier score {row['outlier_score']:.2f})"
    if row["is_boundary"]:
        yield "boundary", f"it lies between two clusters (margin {row['margin']:.2f})"
    if membership is not None and membership < UNCERTAIN:
        yield "uncertain", "it is hard to tell from what its concept contrasts with"


def _hold_question(row: ClipRow, known: Sequence[Subset], gate: GateOptions) -> Candidate:
    clip_id, held_for = row["clip_id"], row["held_for"]
    reasons = [one["reason"] for one in row["decisions"] if one["verdict"] == "hold"]
    wanting = max((one for one in known if clip_id in one.members), key=lambda one: one.coverage, default=None)
    return Candidate(
        item_id=f"hold:{clip_id}",
        kind="hold",
        because=held_for[0],
        gains="coverage",
        why=f"held for {', '.join(held_for)}: {'; '.join(reasons)}",
        concept=None if wanting is None else wanting.name,
        clip_ids=(clip_id,),
        need=1.0 if wanting is None else wanting.coverage,
        features=features_of(row, None, gate.filters),
        cluster=row["cluster"],
        video_id=row["video_id"],
    )


def _conspicuous(store: Store) -> Iterator[str]:
    """Open clips between clusters, far from all, or with a change of concept."""
    searches = [
        ("margin", f"{_OPEN} AND is_boundary", False),
        ("outlier_score", f"{_OPEN} AND outlier_score >= {_OUTLYING}", True),
    ]
    if "pivots" in store.clips.schema.names:
        searches.append(("margin", f"{_OPEN} AND pivots IS NOT NULL AND pivots != '[]'", False))
    for column, where, is_highest in searches:
        yield from (row["clip_id"] for row in store.clips.top(column, where, SEARCHED, is_highest))


def _least_probable(subset: Subset) -> list[str]:
    told = ((p, id_) for id_ in subset.eligible if (p := subset.members[id_]) is not None)
    return [id_ for _, id_ in nsmallest(SEARCHED, told)]


def _rows(store: Store, ids: Iterable[str], gate: GateOptions | None = None) -> list[ClipRow]:
    """The clips' columns that a question rests on, in clip id order."""
    there = set(store.clips.schema.names)
    columns = [
        *_PLACE,
        "contradiction",
        "held_for",
        "decisions",
        "pivots",
        *(f.column for f in (gate.filters if gate else ())),
    ]
    wanted = [name for name in dict.fromkeys(columns) if name in there]
    return list(store.clips.get_many(ids, wanted).values())


def _excess(one: Filter, score: float) -> float:
    """How far a score is beyond a filter's threshold, as a share of the threshold, at most 1; 0 where it passes."""
    beyond = score - one.threshold if one.beyond == "above" else one.threshold - score
    return min(1.0, max(0.0, beyond) / max(abs(one.threshold), 1e-9))
