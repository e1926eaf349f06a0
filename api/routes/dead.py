"""Dead letters: records that a step could not process, and their replay."""

import base64
from typing import Literal

from anyio import to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Entered, Name, problems
from api.service import Given, Service
from store.codec import decode
from store.errors import NotFound, RecordError
from store.records import DeadReplayed, Json

router = APIRouter(prefix="/dead", tags=["dead letters"])


class DeadSummary(BaseModel):
    """A dead letter in short."""

    dead_id: str
    status: Literal["dead", "replayed"]
    step: str
    origin_topic: str
    reason: str
    attempts: int
    video_id: str | None
    clip_id: str | None
    died_at: str


class DeadDetail(BaseModel):
    """A dead letter with the record that died."""

    letter: Json
    record: Json | None
    """The record, decoded; None where its bytes are no record."""
    record_error: str | None
    """Why they are none."""


class ReplayRequest(Body):
    """Who replays it."""

    by: Name = Field("an operator", examples=["Ada"])


@router.get("")
def list_dead(
    service: Given, status: Literal["dead", "replayed", "all"] = "dead", step: str | None = None
) -> list[DeadSummary]:
    """Dead letters, newest first; by default those that were not replayed."""
    documents = service.store.dead_letters.all(None if status == "all" else status)
    letters = [letter for letter in documents.values() if step in (None, letter["step"])]
    letters.sort(key=lambda letter: letter["died_at"], reverse=True)
    return [DeadSummary(**{name: letter[name] for name in DeadSummary.model_fields}) for letter in letters]


@router.get("/{dead_id}", responses=problems(404))
def show_dead(dead_id: str, service: Given) -> DeadDetail:
    """A dead letter with its traceback and the record that died."""
    letter = _letter(service, dead_id)
    try:
        record = decode(base64.b64decode(letter["raw_base64"]))
    except RecordError as error:
        return DeadDetail(letter=letter, record=None, record_error=str(error))
    return DeadDetail(letter=letter, record=record.model_dump(mode="json"), record_error=None)


@router.post("/{dead_id}/replay", status_code=201, responses=ENTERED)
async def replay_dead(dead_id: str, body: ReplayRequest, service: Given, response: Response) -> Entered:
    """Put the original record back on its topic; if it fails again it is a dead letter again."""
    letter = await to_thread.run_sync(_letter, service, dead_id)
    replayed = DeadReplayed(dead_id=dead_id, by=body.by, replayed_at=service.clock())
    moment = replayed.model_dump(mode="json")["replayed_at"]
    # On record first: were it second, a record that dies again at once would end up as replayed.
    shown = await service.publish_until_shown(replayed, lambda: _letter(service, dead_id).get("replayed_at") == moment)
    await service.replay(letter)
    response.status_code = 201 if shown else 202
    document = await to_thread.run_sync(_letter, service, dead_id) if shown else None
    note = f"its record is back on topic {letter['origin_topic']}"
    return Entered(id=dead_id, durable=shown, note=note, document=document)


def _letter(service: Service, dead_id: str) -> Json:
    letter = service.store.dead_letters.get(dead_id)
    if letter is None:
        raise NotFound(f"no dead letter {dead_id!r}; GET /dead?status=all lists them")
    return letter
