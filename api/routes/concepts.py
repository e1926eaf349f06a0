"""Concepts: their subsets, purity and readiness."""

import json

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from api.bodies import problems
from api.service import Given
from store.errors import NotFound
from store.records import Json
from store.store import Store

router = APIRouter(prefix="/concepts", tags=["concepts"])


class Concept(BaseModel):
    """A concept as last computed."""

    model_config = ConfigDict(extra="allow")
    concept: str
    status: str
    definition: Json
    n_members: int
    n_eligible: int
    n_videos: int
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
    eligible: bool
    held_for: list[str]


class ConceptDetail(BaseModel):
    """A concept with its clips."""

    concept: Concept
    members: list[Member]


@router.get("")
def list_concepts(service: Given) -> list[Concept]:
    """Every concept that was computed, by name."""
    return [Concept(**document) for document in service.store.concepts.all().values()]


@router.get("/{name}", responses=problems(404))
def show_concept(name: str, service: Given) -> ConceptDetail:
    """A concept with its members."""
    document = concept_document(service.store, name)
    members = json.loads(service.store.media.read(document["members_key"]))
    return ConceptDetail(concept=Concept(**document), members=members)


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
