"""Questions whose answer concerns several clips: may a source be used, are these copies, are these one person."""

from collections.abc import Sequence
from datetime import datetime

from store.clusters.copies import best_of
from store.duplicates import COLUMN, group_of
from store.identity_decisions import Decisions
from store.records import Json
from store.reviewing.candidates import Subset
from store.reviewing.ledger import Ledger
from store.reviewing.ranking import Candidate
from store.store import Store
from store.tables import sql_holds

RULES = ("age", "licence")
_RELEASED = 0.5
"""Stated: whether a source has its licence and its consents is not to be seen in its clips."""
_ALL_STAY = 0.1
"""Stated: of ten groups that close, nine are copies (`store.duplicates.NEAR` lies far below the distance of other
footage); moments of one take are the tenth."""
_MOST_COPIES = 20
"""Chosen: copies that a person looks over at once."""
_PROBED = 20
"""Chosen: clips whose copies are looked for in one queue, each by one search of the index."""
_SEEN = 500
"""Chosen: clips whose faces' candidates are read."""
_PAIRS = 20
"""Chosen: pairs of identities whose clips are counted, the likeliest first."""


def source_questions(store: Store, known: Sequence[Subset]) -> list[Candidate]:
    """May the source be used? Of sources whose clips wait for nobody's answer about age or licence yet."""
    need = max((one.coverage for one in known), default=1.0)
    found = []
    for rule in RULES:
        held = store.clips.groups("source", f"verdict = 'hold' AND array_has(held_for, '{rule}')")
        sources = store.sources.get_many(held)
        for name, (n_held, clip_id) in held.items():
            if rule not in sources.get(name, {}).get("answers", {}):
                found.append(
                    Candidate(
                        item_id=f"source:{rule}:{name}",
                        kind="source",
                        because=rule,
                        gains="coverage",
                        why=f"{n_held:,} clips of source {name!r} are held for {rule}; one release answers for all",
                        clip_ids=(clip_id,),
                        n_affected=n_held,
                        need=need,
                        prior=_RELEASED,
                    )
                )
    return found


def copy_questions(store: Store, known: Sequence[Subset], ledger: Ledger, now: datetime) -> list[Candidate]:
    """Are these copies, of which the best stays? Looked for around other members of each concept every day."""
    if COLUMN not in store.clips.schema.names:
        return []
    found: dict[str, Candidate] = {}
    grouped: set[str] = set()
    for clip_id, need in _probes(known, now):
        row = store.clips.get_many([clip_id]).get(clip_id)
        if row is None or row[COLUMN] is None or clip_id in grouped:
            continue
        ids = [clip_id, *(one.clip_id for one in group_of(store.clips, clip_id))]
        grouped.update(ids)
        rows = {id_: row for id_, row in store.clips.get_many(ids).items() if row["verdict"] == "keep"}
        unanswered = rows.keys() - ledger.verdicts.keys()
        if len(rows) > 1 and unanswered:
            best = best_of(rows.values())
            others = tuple(sorted(rows.keys() - {best})[:_MOST_COPIES])
            found[best] = Candidate(
                item_id=f"copies:{'+'.join((best, *others))}",
                kind="copies",
                because="copies",
                gains="purity",
                why=f"{len(others)} clips look like copies of {best}, the best of them",
                clip_ids=(best, *others),
                n_affected=len(others),
                need=need,
                prior=_ALL_STAY,
            )
    return [found[best] for best in sorted(found)]


def identity_questions(store: Store) -> list[Candidate]:
    """Are they the same person? Of the likeliest pairs that nobody answered for."""
    where = "identity_ids LIKE '%\"candidates\": [{%'"
    rows = store.clips.top("duration_s", where, _SEEN, columns=["identity_ids"])
    pairs: dict[tuple[str, str], tuple[float, str]] = {}
    for row in rows:
        for link in row["identity_ids"]:
            for other in link["candidates"]:
                if link["identity"] not in (None, other["identity"]):
                    pair = tuple(sorted((link["identity"], other["identity"])))
                    pairs[pair] = max((other["probability"], row["clip_id"]), pairs.get(pair, (0.0, "")))
    told_apart = _told_apart(store.identity_decisions.all())
    likely = sorted((pair for pair in pairs if pair not in told_apart), key=lambda pair: (-pairs[pair][0], pair))
    return [_identity_question(store, pair, *pairs[pair]) for pair in likely[:_PAIRS]]


def _identity_question(store: Store, pair: tuple[str, str], probability: float, clip_id: str) -> Candidate:
    n_clips = {one: store.clips.count(sql_holds("identity_ids", [one])) for one in pair}
    stays, other = sorted(pair, key=lambda one: (-n_clips[one], one))
    example = store.clips.top("duration_s", sql_holds("identity_ids", [other]), 1)
    return Candidate(
        item_id=f"identity:{stays}:{other}",
        kind="identity",
        because="same person?",
        gains="coverage",
        why=f"{other} ({n_clips[other]} clips) may be {stays} ({n_clips[stays]} clips)",
        clip_ids=tuple(dict.fromkeys((clip_id, *(row["clip_id"] for row in example)))),
        n_affected=n_clips[other],
        prior=probability,
    )


def _told_apart(documents: dict[str, Json]) -> set[tuple[str, ...]]:
    """Pairs that people called different: splits that name an other and no track."""
    decisions = Decisions.of(documents)
    return {
        tuple(sorted((one["identity"], other)))
        for one in decisions.ordered
        if one["decision_id"] in decisions.standing and one["verb"] == "split" and not one["tracks"]
        for other in one["others"]
    }


def _probes(known: Sequence[Subset], now: datetime) -> list[tuple[str, float]]:
    """(clip, need) of the members to look around today: the next ones in order of their ids, which are hashes."""
    members = sorted({(clip_id, one.purity) for one in known for clip_id in one.eligible})
    start = now.toordinal() * _PROBED % len(members) if members else 0
    return [*members[start : start + _PROBED], *members[: max(0, start + _PROBED - len(members))]][:_PROBED]
