"""The questions of the day: what a person is asked next, within a budget, and what the model would answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from store.gate import GateOptions
from store.reviewing.candidates import Subset, features_of, hold_questions, member_questions, subsets
from store.reviewing.ledger import Ledger, answered_on
from store.reviewing.proposals import Learnt, Model, Proposal, examples, fitted
from store.reviewing.ranking import Candidate, Kind, Ranked, rank
from store.reviewing.wider import copy_questions, identity_questions, source_questions
from store.store import Store
from store.tables import sql_in

ANSWERS: Mapping[Kind, tuple[str, ...]] = {
    "member": ("yes", "no", "drop"),
    "hold": ("keep", "drop"),
    "source": ("release", "revoke"),
    "copies": ("drop-others", "keep-all"),
    "identity": ("same", "different"),
}
"""What each kind of question may be answered with."""


@dataclass(frozen=True)
class Item:
    """A question. why: why it is asked. expected: what an answer is expected to do. probability: that the first of
    `answers` is right (of copies: that all may stay), with its 95% interval where a model knows it. proposed: the
    answer that the model proposes; None: it knows too little. pictures: thumbnail strips of `clip_ids`, as local paths
    where media are in a folder, else None."""

    item_id: str
    kind: Kind
    because: str
    why: str
    expected: str
    gain: float
    concept: str | None
    clip_ids: tuple[str, ...]
    answers: tuple[str, ...]
    probability: float
    low: float | None
    high: float | None
    proposed: str | None
    pictures: tuple[str | None, ...]


@dataclass(frozen=True)
class Queue:
    """The day's questions. n_answered: what people answered today, which counts against `budget`. notes: what the
    models lack, by kind of question."""

    budget: int
    n_answered: int
    items: tuple[Item, ...]
    notes: Mapping[str, str]


def models_of(ledger: Ledger) -> dict[Learnt, Model]:
    """The models of both kinds of questions, fitted to all answers that stand."""
    kinds: tuple[Learnt, ...] = ("member", "hold")
    return {kind: fitted(kind, examples(ledger, kind)) for kind in kinds}


def queue(store: Store, concepts: Sequence[str] | None, budget: int, now: datetime, gate: GateOptions) -> Queue:
    """What to ask on the UTC day of `now`, best first, within what is left of the budget.

    Args:
        concepts: names of those that matter; None: all.
        budget: answers a day.
        gate: what holds clips back.
    """
    documents, identities = store.reviews.all(), store.identity_decisions.all()
    n_answered = answered_on(now, documents, identities)
    ledger = Ledger.of(documents)
    models = models_of(ledger)
    ranked = rank(_candidates(store, subsets(store, concepts), ledger, now, gate), models, max(0, budget - n_answered))
    named = sorted({clip_id for one in ranked for clip_id in one.candidate.clip_ids})
    strips = store.clips.select(f"{sql_in('clip_id', named)} AND strip_key IS NOT NULL", ["strip_key"])
    pictures = {row["clip_id"]: store.media.local_path(row["strip_key"]) for row in strips}
    return Queue(
        budget=budget,
        n_answered=n_answered,
        items=tuple(_item(one, models, pictures) for one in ranked),
        notes={kind: model.lacks for kind, model in models.items() if model.lacks is not None},
    )


def proposals(
    store: Store, concepts: Sequence[str] | None, limit: int, gate: GateOptions
) -> tuple[list[Proposal], dict[str, str]]:
    """What people would likely answer about single clips, the surest first; and what the models lack, by kind."""
    ledger = Ledger.of(store.reviews.all())
    models, known = models_of(ledger), subsets(store, concepts)
    found: list[Proposal] = []
    asked = {"member": member_questions(store, known, ledger), "hold": hold_questions(store, known, gate)}
    for kind, model in models.items():
        if model.lacks is None:
            predicted = model.predict([one.features for one in asked[kind]])
            for one, (p, low, high) in zip(asked[kind], predicted.tolist(), strict=True):
                concept = one.concept if kind == "member" else None
                found.append(Proposal(one.clip_ids[0], concept, p >= 0.5, p, low, high))
    found.sort(key=lambda one: (-max(one.low, 1.0 - one.high), one.clip_id, one.concept or ""))
    return found[:limit], {kind: model.lacks for kind, model in models.items() if model.lacks is not None}


def shown(store: Store, clip_id: str, concept: str | None, gate: GateOptions) -> dict[str, float]:
    """What is known of a clip, for the record of an answer about it: the features that its question rests on.

    Raises:
        NotFound: no such clip.
    """
    row = store.clips.get(clip_id)
    if concept is None:
        return features_of(row, None, gate.filters)
    membership = next((one.members.get(clip_id) for one in subsets(store, [concept])), None)
    told = features_of(row, None, ())
    return told if membership is None else told | {f"membership.{concept}": float(membership)}


def _candidates(
    store: Store, known: Sequence[Subset], ledger: Ledger, now: datetime, gate: GateOptions
) -> list[Candidate]:
    return [
        *member_questions(store, known, ledger),
        *hold_questions(store, known, gate),
        *source_questions(store, known),
        *copy_questions(store, known, ledger, now),
        *identity_questions(store),
    ]


def _item(one: Ranked, models: Mapping[Learnt, Model], pictures: Mapping[str, str | None]) -> Item:
    asked = one.candidate
    answers = ANSWERS[asked.kind]
    model = models[asked.kind] if asked.kind == "member" or asked.kind == "hold" else None
    is_known = model is not None and model.lacks is None
    return Item(
        item_id=asked.item_id,
        kind=asked.kind,
        because=asked.because,
        why=asked.why,
        expected=_expected(one),
        gain=one.gain,
        concept=asked.concept,
        clip_ids=asked.clip_ids,
        answers=answers,
        probability=one.probability,
        low=one.low,
        high=one.high,
        proposed=answers[0 if one.probability >= 0.5 else 1] if is_known else None,
        pictures=tuple(pictures.get(clip_id) for clip_id in asked.clip_ids),
    )


def _expected(one: Ranked) -> str:
    asked = one.candidate
    n_right = one.gain / asked.need
    what = "wrong clips go" if asked.gains == "purity" else "right clips come in"
    return f"{n_right:.2f} {what}, for {asked.concept or 'the dataset'} ({asked.gains} weighs {asked.need:.2f})"
