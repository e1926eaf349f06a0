"""What people decided about identities, and what becomes of the links by it: merges, splits, and what was undone.

Links stay as they were made; who a track is now is computed from them and from every decision that stands, in order of
time. So a decision can be undone at any time, also in the middle of later ones, and whatever arrived in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from store.records import Json, digest


def split_identity(decision_id: str) -> str:
    """The pseudonym of what a split takes out of an identity."""
    return f"p-{digest(['split', decision_id])[:16]}"


@dataclass(frozen=True)
class Decisions:
    """Every decision on record, in order of time; `standing` are the ids of those that are not undone."""

    ordered: tuple[Json, ...]
    standing: frozenset[str]

    @classmethod
    def of(cls, documents: Mapping[str, Json]) -> "Decisions":
        """Of the documents in the store, by decision id."""
        ordered = sorted(
            documents.values(), key=lambda one: (datetime.fromisoformat(one["decided_at"]), one["decision_id"])
        )
        standing: set[str] = set()
        undone: set[str] = set()
        # Backwards: an undoing that was itself undone undoes nothing.
        for body in reversed(ordered):
            if body["decision_id"] not in undone:
                standing.add(body["decision_id"])
                if body["verb"] == "undo":
                    undone.add(body["undoes"])
        return cls(tuple(ordered), frozenset(standing))

    def now(self, linked: str, track: tuple[str, int] | None = None) -> str:
        """Which identity a track is that was linked to `linked`, or, without a track, what that identity is now.

        Args:
            track: clip id and number of the track.
        """
        identity = linked
        for body in self.ordered:
            stands = body["decision_id"] in self.standing
            if body["verb"] == "merge" and stands and identity in body["others"]:
                identity = body["identity"]
            elif body["verb"] == "split":
                own = split_identity(body["decision_id"])
                if not stands and identity == own:
                    identity = body["identity"]
                named = track is not None and list(track) in [[one["clip_id"], one["track"]] for one in body["tracks"]]
                if stands and named and identity == body["identity"]:
                    identity = own
        return identity

    def applied(self, clip_id: str, links: Sequence[Json]) -> list[Json]:
        """A clip's entries of the column `identity_ids` with the `identity` that each track and candidate is now."""
        entries = []
        for link in links:
            linked = link["linked"]
            identity = None if linked is None else self.now(linked, (clip_id, link["track"]))
            candidates = [one | {"identity": self.now(one["linked"])} for one in link["candidates"]]
            entries.append(link | {"identity": identity, "candidates": candidates})
        return entries


def mentioned(decision: Json, documents: Mapping[str, Json]) -> set[str]:
    """Identities whose tracks a decision may move; of an undoing, those of what it undoes."""
    ids: set[str] = set()
    body: Json | None = decision
    seen: set[str] = set()
    while body is not None and body["decision_id"] not in seen:
        seen.add(body["decision_id"])
        ids.update(body["others"])
        ids.update([body["identity"]] if body["identity"] else [])
        ids.update([split_identity(body["decision_id"])] if body["verb"] == "split" else [])
        body = documents.get(body["undoes"]) if body["undoes"] else None
    return ids
