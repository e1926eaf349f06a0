"""Decisions of people: reviews of clips and sources, and removals."""

from datetime import datetime
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.bodies import ENTERED, Body, Entered, Name, enter
from api.intake import removal_of
from api.routes.identities import check_identity
from api.service import Given
from store.errors import Conflict, InputError, NotFound
from store.records import Json, RemovalRequested, ReviewDecided, digest
from store.store import Store

router = APIRouter(tags=["decisions"])

_VERDICTS = {"clip": ("keep", "drop"), "source": ("release", "revoke")}


class Review(Body):
    """A decision on a clip (keep, drop) or on a source (release, revoke)."""

    subject: Literal["clip", "source"] = Field(examples=["source"])
    subject_id: str = Field(examples=["beach-shoot"])
    verdict: Literal["keep", "drop", "release", "revoke"] = Field(examples=["release"])
    covers: tuple[Literal["age", "licence"], ...] = Field((), examples=[["age"]])
    """What a release or revocation of a source is about."""
    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["model releases of everyone shown are on file"])


class Removal(Body):
    """Everything of a source, of one video, or in which an identity appears, must go for good."""

    subject: Literal["source", "video", "identity"] = Field(examples=["video"])
    subject_id: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    by: Name = Field(examples=["Ada"])
    reason: Name = Field(examples=["the person shown withdrew consent"])


@router.post("/reviews", status_code=201, responses=ENTERED)
async def decide(body: Review, service: Given, response: Response) -> Entered:
    """Put a decision on record; the verdicts of the clips concerned follow at once."""
    await to_thread.run_sync(_check_review, service.store, body)
    latest = await to_thread.run_sync(service.store.reviews.get, f"{body.subject}:{body.subject_id}")
    decided_at = service.now_after(latest["decided_at"] if latest else None)
    decision_id = digest(["review", body.model_dump(mode="json"), decided_at.isoformat()])[:32]
    record = ReviewDecided(decision_id=decision_id, decided_at=decided_at, **body.model_dump())
    return await enter(service, response, record, service.store.reviews, decision_id)


@router.get("/reviews")
def list_reviews(
    service: Given,
    subject: Literal["clip", "source", "cluster"] | None = None,
    subject_id: Annotated[str | None, Query(description="A clip id, a source's name or a cluster's number")] = None,
) -> list[Json]:
    """Every decision on record, in order of time."""
    wanted = [
        review
        for review in service.store.reviews.all("decided").values()
        if subject in (None, review["subject"]) and subject_id in (None, review["subject_id"])
    ]
    return sorted(wanted, key=lambda review: (datetime.fromisoformat(review["decided_at"]), review["decision_id"]))


@router.post("/removals", status_code=201, responses=ENTERED)
async def remove(body: Removal, service: Given, response: Response) -> Entered:
    """Ask for a removal: clips, media and originals go, snapshots and adapters made of them are withdrawn."""
    await to_thread.run_sync(_check_removal, service.store, body)
    requested_at = service.clock()
    removal_id = digest(["removal", body.model_dump(mode="json"), requested_at.isoformat()])[:32]
    record = RemovalRequested(removal_id=removal_id, requested_at=requested_at, **body.model_dump())
    return await enter(service, response, record, service.store.removals, removal_id)


@router.get("/removals")
def list_removals(service: Given) -> list[Json]:
    """Every removal with its proof, in order of time."""
    return sorted(service.store.removals.all().values(), key=lambda removal: removal.get("requested_at", ""))


def _check_review(store: Store, body: Review) -> None:
    if body.verdict not in _VERDICTS[body.subject]:
        allowed = " or ".join(_VERDICTS[body.subject])
        raise InputError(f"verdict {body.verdict!r} is not for a {body.subject}; give {allowed}")
    if (body.subject == "source") != bool(body.covers):
        raise InputError(
            f"covers {list(body.covers)} with subject {body.subject!r}: a source's review says what it covers"
            " (age, licence, or both), a clip's covers nothing"
        )
    if body.subject == "clip":
        store.clips.get(body.subject_id)
    else:
        _check_source(store, body.subject_id)


def _check_removal(store: Store, body: Removal) -> None:
    if body.subject == "source":
        _check_source(store, body.subject_id)
        return
    if body.subject == "identity":
        check_identity(store, body.subject_id)
        return
    video = store.videos.get(body.subject_id)
    if video is None:
        raise NotFound(f"no video {body.subject_id!r}; GET /footage lists videos")
    if video["status"] == "removed":
        raise Conflict(f"video {body.subject_id} is removed already: {removal_of(store, body.subject_id, video)}")


def _check_source(store: Store, source: str) -> None:
    if store.sources.get(source) is None:
        there = ", ".join(store.sources.all()) or "none"
        raise NotFound(f"no source {source!r}; there are: {there}")
