"""The order of questions: the most clips that are expected to be made right by one answer come first.

For a question whose present state is right with probability p (the clip is of the concept that it is in; the held clip
may be used), that concerns n clips, for a concept that needs it by the factor w:

    purity:    gain = (1 - p) n w      the clips are in the subset, and wrong ones go
    coverage:  gain = p n w            the clips are out of use, and right ones come in

p comes from the model of `store.reviewing.proposals` or is stated by who asks. w is 1 for a concept that has what it
wants, and up to 2 the further it is from it (`needs`).

Clips of one video in one cluster look alike: each question that is chosen halves the gain of the others about the same
cluster and video, so that an answer is heard before its neighbours are asked about.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from store.records import Json
from store.reviewing.proposals import Learnt, Model

Kind = Literal["member", "hold", "source", "copies", "identity"]
_DISCOUNT = 0.5
"""Chosen: where videos say nothing about right and wrong, as in `tests.bench.review`, it costs next to nothing: a mean
of 43, 106, 213 decisions with a tenth, 15% and a fifth wrong, in place of 42, 104, 216 without it."""


@dataclass(frozen=True)
class Candidate:
    """A question that may be asked.

    item_id: names the question; the same one as long as it is the same question. because: what it came up for.
    prior: probability that the present state is right, where no model knows. features: what a model knows it by.
    """

    item_id: str
    kind: Kind
    because: str
    gains: Literal["purity", "coverage"]
    why: str
    concept: str | None = None
    clip_ids: tuple[str, ...] = ()
    """Clips to look at, the one in question first."""
    n_affected: int = 1
    need: float = 1.0
    prior: float = 0.5
    features: Mapping[str, float] = field(default_factory=dict)
    cluster: int | None = None
    video_id: str | None = None


@dataclass(frozen=True)
class Ranked:
    """A question in its place. probability: that the answer is yes; (low, high): its 95% interval, where a model
    knows. gain: clips that are expected to be made right, weighed by need, before any discount."""

    candidate: Candidate
    probability: float
    low: float | None
    high: float | None
    gain: float


def needs(concept: Json) -> tuple[float, float]:
    """Weights of purity and of coverage, in [1, 2], by a concept's document in the store: 1 plus the share of what it
    wants that it lacks; 2 where the purity is not known."""
    wanted, low = concept["definition"], concept["purity_low"]
    purity = 2.0 if low is None else 1.0 + max(0.0, 1.0 - low / wanted["purity"])
    clips = 1.0 - concept["n_eligible"] / wanted["min_clips"]
    videos = 1.0 - concept["n_videos"] / wanted["min_videos"]
    return purity, 1.0 + max(0.0, clips, videos)


def rank(candidates: Sequence[Candidate], models: Mapping[Learnt, Model], limit: int) -> list[Ranked]:
    """The `limit` questions to ask first, in order; equal ones by their ids."""
    waiting = [(-one.gain, one.candidate.item_id, 0, one) for one in _judged(candidates, models)]
    heapq.heapify(waiting)
    chosen: list[Ranked] = []
    asked: Counter[tuple[int, str]] = Counter()
    while waiting and len(chosen) < limit:
        _, item_id, n_before, one = heapq.heappop(waiting)
        near = _neighbourhood(one.candidate)
        if near is not None and asked[near] > n_before:
            heapq.heappush(waiting, (-one.gain * _DISCOUNT ** asked[near], item_id, asked[near], one))
            continue
        chosen.append(one)
        if near is not None:
            asked[near] += 1
    return chosen


def _judged(candidates: Sequence[Candidate], models: Mapping[Learnt, Model]) -> list[Ranked]:
    judged: list[Ranked] = []
    for kind in ("member", "hold"):
        some = [one for one in candidates if one.kind == kind]
        for one, (p, low, high) in zip(some, models[kind].predict([one.features for one in some]), strict=True):
            judged.append(Ranked(one, float(p), float(low), float(high), _gain(one, float(p))))
    others = [one for one in candidates if one.kind not in ("member", "hold")]
    return judged + [Ranked(one, one.prior, None, None, _gain(one, one.prior)) for one in others]


def _gain(one: Candidate, p: float) -> float:
    return (1.0 - p if one.gains == "purity" else p) * one.n_affected * one.need


def _neighbourhood(one: Candidate) -> tuple[int, str] | None:
    return None if one.cluster is None or one.video_id is None else (one.cluster, one.video_id)
