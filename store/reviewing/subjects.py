"""What stands of one subject (a clip, a source, a cluster): the document that the view keeps by `subject:id`.

It names every decision on its subject, so that a decision more, or an undoing, is folded by reading these alone.
"""

from typing import Protocol

from store.records import Json, ReviewDecided
from store.reviewing.ledger import ordered, standing, verdict

_SAID = ("decision_id", "verdict", "by", "reason")


class Reviews(Protocol):
    """Documents of the table `reviews`, as changed so far."""

    def get(self, id_: str) -> Json | None:
        """One of them."""

    def all(self) -> dict[str, Json]:
        """All of them, by id."""


def subject_document(record: ReviewDecided, known: Json | None, reviews: Reviews) -> Json:
    """The subject's document after a decision on it.

    `decision_ids`: every decision on the subject, in order of time. `decided_at`: of the last. verdict, by, reason and
    decision_id: of the keep or drop that stands (of a source or cluster, of the last decision that stands); None where
    nothing stands.
    """
    ids = {*_known_ids(record, known, reviews), record.decision_id}
    documents = _read(ids, reviews)
    decided, stand = ordered(documents), standing(documents)
    said = verdict(stand) if record.subject == "clip" else next(reversed(stand), None)
    return {
        "status": "latest",
        "subject": record.subject,
        "subject_id": record.subject_id,
        "decision_ids": [one["decision_id"] for one in decided],
        "decided_at": decided[-1]["decided_at"],
    } | {name: None if said is None else said[name] for name in _SAID}


def source_answers(document: Json, reviews: Reviews) -> Json:
    """`age` and `licence` to the last standing release or revocation of a source: verdict, by, reason, decided_at.

    Args:
        document: the source's, as `subject_document` gives it.
    """
    answers: Json = {}
    for one in standing(_read(document["decision_ids"], reviews)):
        for rule in one["covers"]:
            answers[rule] = {name: one[name] for name in ("verdict", "by", "reason", "decided_at")}
    return answers


def without_decisions(document: Json, gone: set[str]) -> Json:
    """A subject's document once some of the decisions on it were removed."""
    return document | {"decision_ids": [id_ for id_ in document["decision_ids"] if id_ not in gone]}


def _known_ids(record: ReviewDecided, known: Json | None, reviews: Reviews) -> list[str]:
    if known is None:
        return []
    if "decision_ids" in known:
        return list(known["decision_ids"])
    # Written before decisions could be undone: it holds the latest only.
    subject = (record.subject, record.subject_id)
    every = ordered(reviews.all())
    return [one["decision_id"] for one in every if (one["subject"], one["subject_id"]) == subject]


def _read(ids: set[str] | list[str], reviews: Reviews) -> dict[str, Json]:
    return {id_: body for id_ in ids if (body := reviews.get(id_)) is not None}
