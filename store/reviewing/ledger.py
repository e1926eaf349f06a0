"""Which of people's decisions stand, and what they say.

A decision stands until it is undone; an undoing is a decision too and may be undone, and what stood before counts
again. All of it is computed from the documents of `store.reviews`, so their order of arrival does not matter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from store.records import Json

_VERDICTS = ("keep", "drop")


def ordered(documents: Mapping[str, Json]) -> tuple[Json, ...]:
    """Every decision among the documents, in order of time; what is kept by subject is no decision of its own."""
    decided = [body for body in documents.values() if body["status"] == "decided"]
    return tuple(sorted(decided, key=lambda one: (datetime.fromisoformat(one["decided_at"]), one["decision_id"])))


def standing(documents: Mapping[str, Json]) -> tuple[Json, ...]:
    """The decisions that are not undone, in order of time, the undoings left out."""
    return tuple(one for one in unrefuted(documents) if one["verdict"] != "undo")


def unrefuted(documents: Mapping[str, Json]) -> tuple[Json, ...]:
    """The decisions that are not undone, undoings among them: what may be undone now."""
    found: list[Json] = []
    undone: set[str] = set()
    # Backwards: an undoing that was itself undone undoes nothing.
    for body in reversed(ordered(documents)):
        if body["decision_id"] not in undone:
            found.append(body)
            if body["verdict"] == "undo":
                undone.add(body["undoes"])
    return tuple(reversed(found))


def verdict(decisions: Iterable[Json]) -> Json | None:
    """The latest keep or drop among the standing decisions on one clip; None: nobody says either."""
    return next((one for one in reversed(tuple(decisions)) if one["verdict"] in _VERDICTS), None)


@dataclass(frozen=True)
class Ledger:
    """What stands. verdicts: clip id to its latest keep or drop. labels: concept to clip id to whether the clip is of
    it, as last said."""

    decisions: tuple[Json, ...]
    verdicts: Mapping[str, Json]
    labels: Mapping[str, Mapping[str, bool]]

    @classmethod
    def of(cls, documents: Mapping[str, Json]) -> "Ledger":
        """Of the documents of `store.reviews`."""
        decisions = standing(documents)
        verdicts = {one["subject_id"]: one for one in decisions if one["verdict"] in _VERDICTS}
        labels: dict[str, dict[str, bool]] = {}
        for one in decisions:
            for concept, is_of_it in one.get("concepts", {}).items():
                labels.setdefault(concept, {})[one["subject_id"]] = is_of_it
        return cls(decisions, verdicts, labels)

    def answers(self, concept: str) -> dict[str, bool]:
        """Clip id to whether it is of the concept, of the clips that people answered for."""
        return dict(self.labels.get(concept, {}))


def cluster_decisions(documents: Mapping[str, Json]) -> tuple[list[tuple[int, ...]], list[int]]:
    """(merges, splits) that stand, each in order of time: clusters that are one, the one that stays first; and
    clusters that are several things. A split of a cluster that was merged takes back the last merge, and is no split of
    what it was before."""
    merges: list[tuple[int, ...]] = []
    splits: list[int] = []
    for one in standing(documents):
        number = int(one["subject_id"]) if one["subject"] == "cluster" else None
        if number is not None and one["verdict"] == "merge":
            merges.append((number, *(int(other) for other in one["others"])))
        elif number is not None and one["verdict"] == "split":
            held = [i for i, merge in enumerate(merges) if number in merge]
            if held:
                del merges[held[-1]]
            else:
                splits.append(number)
    return merges, splits


def answered_on(day: datetime, *ledgers: Mapping[str, Json]) -> int:
    """How many questions people answered on the UTC day of `day`; undoing is free.

    Decisions that one person made at one instant are one answer (the copies of a clip are dropped together).

    Args:
        ledgers: documents of `store.reviews` and of `store.identity_decisions`.
    """
    made = {
        (body["by"], datetime.fromisoformat(body["decided_at"]))
        for documents in ledgers
        for body in documents.values()
        if body["status"] != "latest" and "undo" not in (body.get("verdict"), body.get("verb"))
    }
    return sum(at.astimezone(UTC).date() == day.astimezone(UTC).date() for _, at in made)
