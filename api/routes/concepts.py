"""Concepts: their subsets, purity and readiness."""

import json

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from api.bodies import problems
from api.service import Given
from store.errors import NotFound
from store.proposing import propose
from store.records import Json
from store.store import Store
from store.tokens import tokens_of

router = APIRouter(prefix="/concepts", tags=["concepts"])


class Concept(BaseModel):
    """A concept as last computed."""

    model_config = ConfigDict(extra="allow")
    concept: str
    token: str | None
    """The trigger word of its adapters; None for the moment until it is reserved."""
    status: str
    definition: Json
    n_members: int
    n_eligible: int
    n_videos: int
    n_sources: int = 0
    n_identities: int = 0
    n_distinct: int = 0
    """Of the members that are open to use, near copies counted once."""
    effective_videos: float = 0.0
    """Videos that would give the same spread if each gave as many clips."""
    n_asked: int = 0
    """Clips that people were asked about."""
    how: str = "query"
    """What found the members."""
    purity_by_modality: dict[str, float] = {}
    purity: float | None
    purity_low: float | None
    """Lower end of the 95% interval."""
    ready: bool
    reasons: list[str]
    """Why it is not ready."""


class Member(BaseModel):
    """A clip of a concept."""

    clip_id: str
    probability: float | None
    """Of being a member."""
    agreement: float | None = None
    """Share that members have of the clips around it; None where it was not compared."""
    agreements: dict[str, float | None] = {}
    """The same, in each modality alone."""
    answer: bool | None = None
    """Whether a person says that it belongs; None where nobody did."""
    eligible: bool
    held_for: list[str]


class ConceptDetail(BaseModel):
    """A concept with its clips."""

    concept: Concept
    members: list[Member]


class Term(BaseModel):
    """A term that sets a cluster apart. z: log-odds inside against elsewhere, in standard deviations."""

    attribute: str
    term: str
    share: float
    share_elsewhere: float
    z: float


class Proposal(BaseModel):
    """A concept that a cluster suggests."""

    concept: Json
    """An entry for concepts.yaml."""
    cluster: int
    n_clips: int
    n_videos: int
    terms: list[Term]
    agreement: float
    """Clips in both / clips in either, of its condition and the cluster; 1 where the concept is the cluster."""


@router.get("")
def list_concepts(service: Given) -> list[Concept]:
    """Every concept that was computed, by name."""
    tokens = tokens_of(service.store, "concept")
    return [Concept(**body, token=tokens.get(name)) for name, body in service.store.concepts.all().items()]


@router.get("/proposed")
def list_proposals(service: Given) -> list[Proposal]:
    """Concepts that the clusters suggest and that no declared concept is already, the largest cluster first."""
    return [
        Proposal(**vars(one) | {"concept": one.concept.entry, "terms": [Term(**vars(term)) for term in one.terms]})
        for one in propose(service.store)
    ]


@router.get("/{name}", responses=problems(404))
def show_concept(name: str, service: Given) -> ConceptDetail:
    """A concept with its members."""
    document = concept_document(service.store, name)
    members = json.loads(service.store.media.read(document["members_key"]))
    token = tokens_of(service.store, "concept").get(name)
    return ConceptDetail(concept=Concept(**document, token=token), members=members)


@router.get("/{name}/history", responses=problems(404))
def show_history(name: str, service: Given) -> list[Json]:
    """How the concept's numbers changed, in order of time: by minutes lately, by hours and days further back."""
    concept_document(service.store, name)
    past = {body["computed_at"]: body for body in service.store.concept_history.under(f"{name}@").values()}
    return [past[time] for time in sorted(past)]


def concept_document(store: Store, name: str) -> Json:
    """The concept's document.

    Raises:
        NotFound: no such concept was computed.
    """
    document = store.concepts.get(name)
    if document is None:
        there = ", ".join(store.concepts.all()) or "none"
        raise NotFound(f"no concept {name!r} was computed yet; there are: {there}")
    return document
