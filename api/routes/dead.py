"""Dead letters: records that a step could not process, their replay, and giving them up."""

import base64
from typing import Literal

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Entered, Name, problems
from api.service import Given, Service
from store.codec import decode
from store.errors import Conflict, InputError, NotFound, Passing, RecordError
from store.records import DeadDropped, DeadReplayed, Json, Record

router = APIRouter(prefix="/dead", tags=["dead letters"])

Kind = Literal["unreadable", "refused", "bug", "exhausted"]
"""See `store.records.DeadLetter.kind`."""


class DeadSummary(BaseModel):
    """A dead letter in short."""

    dead_id: str
    status: Literal["dead", "replayed", "dropped"]
    step: str
    kind: Kind | None = None
    """None: it died before kinds were told apart."""
    origin_topic: str
    reason: str
    attempts: int
    video_id: str | None
    clip_id: str | None
    died_at: str


class DeadDetail(BaseModel):
    """A dead letter with the record that died."""

    letter: Json
    """With replayed_at, or dropped_at and note, and `by`, where that happened to it."""
    record: Json | None
    """The record, decoded; None where its bytes are no record."""
    record_error: str | None
    """Why they are none."""


class ReplayRequest(Body):
    """Who replays it."""

    by: Name = Field("an operator", examples=["Ada"])


class DropRequest(Body):
    """Who gives it up, and why."""

    by: Name = Field(examples=["Ada"])
    note: Name = Field(examples=["the file is truncated; the owner has no other"])


class BulkReplayRequest(Body):
    """Which letters are replayed: those named, or every open one of the step, of the kind, or of both."""

    dead_ids: tuple[str, ...] | None = None
    step: str | None = Field(None, examples=["embed"])
    kind: Kind | None = Field(None, examples=["exhausted"])
    by: Name = Field("an operator", examples=["Ada"])


class ReplayResult(BaseModel):
    """What became of one letter of several."""

    dead_id: str
    replayed: bool
    note: str


class BulkReplayed(BaseModel):
    """What became of each letter, in the order in which they died or were named."""

    results: list[ReplayResult]
    durable: bool
    """The store shows every replay; else the broker has them and the store follows."""


@router.get("")
def list_dead(
    service: Given,
    status: Literal["dead", "replayed", "dropped", "all"] = "dead",
    step: str | None = None,
    kind: Kind | None = None,
) -> list[DeadSummary]:
    """Dead letters, newest first; by default the open ones, neither replayed nor dropped."""
    letters = reversed(_matching(service, None if status == "all" else status, step, kind))
    return [DeadSummary.model_validate(letter) for letter in letters]


@router.get("/{dead_id}", responses=problems(404))
def show_dead(dead_id: str, service: Given) -> DeadDetail:
    """A dead letter with its traceback and the record that died."""
    letter = _letter(service, dead_id)
    try:
        record = decode(base64.b64decode(letter["raw_base64"]))
    except RecordError as error:
        return DeadDetail(letter=letter, record=None, record_error=str(error))
    return DeadDetail(letter=letter, record=record.model_dump(mode="json"), record_error=None)


@router.post("/replay", responses=problems(422, 503))
async def replay_several(body: BulkReplayRequest, service: Given) -> BulkReplayed:
    """Put the original records of several letters back on their topics, and say what became of each."""
    if (body.dead_ids is None) == (body.step is None and body.kind is None):
        raise InputError("say which letters: their dead_ids, or else a step, a kind or both")
    found = await to_thread.run_sync(_chosen, service, body)
    results: list[ReplayResult] = []
    awaited: dict[str, str] = {}
    gone: Passing | None = None
    for dead_id, letter in found.items():
        if letter is None:
            results.append(ReplayResult(dead_id=dead_id, replayed=False, note="no such dead letter"))
            continue
        try:
            if gone is None:
                awaited[dead_id] = _moment(await _put_back(service, letter, body.by))
        except Passing as error:
            gone = error
        note = _back_on(letter) if gone is None else f"not replayed: {gone}"
        results.append(ReplayResult(dead_id=dead_id, replayed=gone is None, note=note))
    durable = await service.wait_until_shown(lambda: all(_is_replayed(service, *one) for one in awaited.items()))
    return BulkReplayed(results=results, durable=durable)


@router.post("/{dead_id}/replay", status_code=201, responses=ENTERED)
async def replay_dead(dead_id: str, body: ReplayRequest, service: Given, response: Response) -> Entered:
    """Put the original record back on its topic; if it fails again it is a dead letter again."""
    letter = await to_thread.run_sync(_letter, service, dead_id)
    moment = _moment(await _put_back(service, letter, body.by))
    shown = await service.wait_until_shown(lambda: _is_replayed(service, dead_id, moment))
    return await _entered(service, response, letter, shown, _back_on(letter))


@router.post("/{dead_id}/drop", status_code=201, responses=ENTERED)
async def drop_dead(dead_id: str, body: DropRequest, service: Given, response: Response) -> Entered:
    """Give an open letter up: it stays on record, and no longer counts as open."""
    letter = await to_thread.run_sync(_letter, service, dead_id)
    if letter["status"] != "dead":
        raise Conflict(f"dead letter {dead_id} is {letter['status']} already, by {letter['by']}; only an open one can")
    dropped = DeadDropped(dead_id=dead_id, by=body.by, note=body.note, dropped_at=service.now_after(letter["died_at"]))
    await service.streams.publish(dropped)
    shown = await service.wait_until_shown(lambda: _letter(service, dead_id)["status"] == "dropped")
    return await _entered(service, response, letter, shown, "given up, on record")


async def _put_back(service: Service, letter: Json, by: str) -> DeadReplayed:
    """Replay a letter, and say so on record.

    The moment is taken first, so that a record that dies again at once is newer than its replay. The record goes
    first: were only the word of it out, the letter would look replayed and nothing would be.
    """
    replayed = DeadReplayed(dead_id=letter["dead_id"], by=by, replayed_at=service.now_after(letter["died_at"]))
    await service.streams.replay(letter)
    await service.streams.publish(replayed)
    return replayed


async def _entered(service: Service, response: Response, letter: Json, shown: bool, note: str) -> Entered:
    response.status_code = 201 if shown else 202
    document = await to_thread.run_sync(_letter, service, letter["dead_id"]) if shown else None
    return Entered(id=letter["dead_id"], durable=shown, note=note, document=document)


def _chosen(service: Service, body: BulkReplayRequest) -> dict[str, Json | None]:
    """Letters by id; None for an id that is none."""
    if body.dead_ids is not None:
        return {dead_id: service.store.dead_letters.get(dead_id) for dead_id in body.dead_ids}
    return {letter["dead_id"]: letter for letter in _matching(service, "dead", body.step, body.kind)}


def _matching(service: Service, status: str | None, step: str | None, kind: str | None) -> list[Json]:
    """Letters in the order in which they died."""
    letters = service.store.dead_letters.all(status).values()
    wanted = [letter for letter in letters if step in (None, letter["step"]) and kind in (None, letter.get("kind"))]
    return sorted(wanted, key=lambda letter: (letter["died_at"], letter["dead_id"]))


def _letter(service: Service, dead_id: str) -> Json:
    letter = service.store.dead_letters.get(dead_id)
    if letter is None:
        raise NotFound(f"no dead letter {dead_id!r}; GET /dead?status=all lists them")
    return letter


def _is_replayed(service: Service, dead_id: str, moment: str) -> bool:
    return (service.store.dead_letters.get(dead_id) or {}).get("replayed_at") == moment


def _moment(record: Record) -> str:
    """As the store writes it."""
    return record.model_dump(mode="json")["replayed_at"]


def _back_on(letter: Json) -> str:
    return f"its record is back on topic {letter['origin_topic']}"
