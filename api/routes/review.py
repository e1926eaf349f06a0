"""The review queue: what to decide next, decisions on record, and what the model would answer."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Limit, Name, problems
from api.routes import identities
from api.service import Given, Service
from store.errors import Conflict, InputError, NotFound
from store.records import IdentityDecided, Json, ReviewDecided
from store.reviewing.answering import drafts, recorded, undoing
from store.reviewing.ledger import ordered, unrefuted
from store.reviewing.proposals import Proposal
from store.reviewing.queue import Queue, proposals, queue

router = APIRouter(prefix="/review", tags=["review"])

Concepts = Annotated[list[str] | None, Query(description="Names of the concepts that matter; none: all")]


class Answer(Body):
    """An answer to a question of the queue, or a decision of the same form; /docs of the route lists the forms."""

    item: str = Field(max_length=2000, examples=["member:0a1b2c3d4e5f60718293a4b5c6d7e8f9:calm"])
    answer: str = Field(max_length=20, examples=["yes"])
    reason: Name = Field(examples=["she is asleep"])


class Answers(Body):
    """Answers of one person."""

    by: Name = Field(examples=["Ada"])
    decisions: list[Answer] = Field(min_length=1, max_length=100)


class Decided(BaseModel):
    """What became of answers."""

    ids: list[list[str]]
    """Of each answer the decisions that it made, in the order of the request."""
    durable: bool
    """The store holds them (201); else the broker has them and the store does not show them yet (202)."""
    note: str


class Proposals(BaseModel):
    """What people would likely answer; nothing is decided by it."""

    proposals: list[Proposal]
    notes: dict[str, str]
    """What the models lack, by kind of question."""


@router.get("/queue", responses=problems(422))
def show_queue(service: Given, budget: Annotated[int, Query(ge=0, le=500)] = 30, concept: Concepts = None) -> Queue:
    """What to ask next, best first: at most `budget` answers a day (UTC), less what people answered today."""
    return queue(service.store, concept, budget, service.clock(), service.settings.gate)


@router.get("/proposals", responses=problems(422))
def show_proposals(service: Given, limit: Annotated[Limit, Query()] = 100, concept: Concepts = None) -> Proposals:
    """What people would likely answer about single clips, the surest first."""
    found, notes = proposals(service.store, concept, limit, service.settings.gate)
    return Proposals(proposals=found, notes=notes)


@router.get("/decisions")
def list_decisions(service: Given) -> list[Json]:
    """Every decision on clips, sources and clusters, in order of time; `stands` unless it was undone. Those on
    identities: /identities/decisions."""
    documents = service.store.reviews.all("decided")
    standing = {one["decision_id"] for one in unrefuted(documents)}
    return [one | {"stands": one["decision_id"] in standing} for one in ordered(documents)]


@router.post("/decisions", status_code=201, responses=ENTERED)
async def decide(body: Answers, service: Given, response: Response) -> Decided:
    """Put answers on record: all of them, or none where one is refused.

    member:CLIP:CONCEPT takes yes, no, drop; hold:CLIP keep, drop; source:RULE:SOURCE release, revoke;
    copies:BEST+OTHER drop-others, keep-all; identity:ONE:OTHER same, different; cluster:NUMBER split;
    cluster:NUMBER+OTHER merge.
    """
    made = [await to_thread.run_sync(_drafts, service, one) for one in body.decisions]
    at = await to_thread.run_sync(_time, service, [draft for some in made for draft in some])
    records = [
        [recorded(draft, body.by, answer.reason, at + timedelta(microseconds=number)) for draft in some]
        for number, (answer, some) in enumerate(zip(body.decisions, made, strict=True))
    ]
    return await _enter(service, response, records)


@router.post("/decisions/{decision_id}/undo", status_code=201, responses=ENTERED)
async def undo(decision_id: str, body: identities.Undo, service: Given, response: Response) -> Decided:
    """Let a decision no longer stand, also one on identities; undoing an undoing lets it stand again."""
    known = await to_thread.run_sync(service.store.reviews.get, decision_id)
    if known is None or known["status"] != "decided":
        if await to_thread.run_sync(service.store.identity_decisions.get, decision_id) is None:
            raise NotFound(f"no decision {decision_id!r}; GET /review/decisions lists them")
        entered = await identities.undo(decision_id, body, service, response)
        return Decided(ids=[[entered.id]], durable=entered.durable, note=entered.note)
    documents = await to_thread.run_sync(service.store.reviews.all, "decided")
    if decision_id not in {one["decision_id"] for one in unrefuted(documents)}:
        raise Conflict(f"decision {decision_id} is undone already; to let it stand again, undo its undoing")
    draft = undoing(known)
    at = await to_thread.run_sync(_time, service, [draft])
    return await _enter(service, response, [[recorded(draft, body.by, body.reason, at)]])


def _drafts(service: Service, answer: Answer) -> list[Json]:
    """Raises InputError or NotFound that names the item."""
    try:
        return drafts(service.store, answer.item, answer.answer, service.settings.gate)
    except (InputError, NotFound) as error:
        if answer.item in str(error):
            raise
        raise type(error)(f"item {answer.item!r}: {error}") from error


def _time(service: Service, made: Sequence[Json]) -> datetime:
    """Now, but after every earlier decision on the same subjects, so that the last word counts."""
    subjects = {f"{draft['subject']}:{draft['subject_id']}" for draft in made if "subject" in draft}
    known = list(service.store.reviews.get_many(subjects).values())
    if any("verb" in draft for draft in made):
        known += service.store.identity_decisions.all().values()
    return service.now_after(max((one["decided_at"] for one in known), key=datetime.fromisoformat, default=None))


async def _enter(
    service: Service, response: Response, records: Sequence[Sequence[ReviewDecided | IdentityDecided]]
) -> Decided:
    for record in (one for some in records for one in some):
        await service.streams.publish(record)
    ids = [[one.decision_id for one in some] for some in records]
    wanted = {id_ for some in ids for id_ in some}

    def are_shown() -> bool:
        tables = (service.store.reviews, service.store.identity_decisions)
        return wanted <= {id_ for table in tables for id_ in table.get_many(wanted)}

    durable = await service.wait_until_shown(are_shown)
    response.status_code = 201 if durable else 202
    note = "stored" if durable else "the broker has them, the store does not show them yet; GET /review/decisions"
    return Decided(ids=ids, durable=durable, note=note)
