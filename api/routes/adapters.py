"""Adapters: which version each is, what it descends from, which is in use; put one into use, or take it out of it."""

from datetime import datetime
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Decided, Entered, enter, problems
from api.service import Given, Service
from store import registry
from store.errors import Conflict
from store.records import AdapterDecided, Json, digest

router = APIRouter(prefix="/adapters", tags=["adapters"])

Verb = Literal["promote", "retire"]
Named = Annotated[str, Path(description="Concept and version, such as calm/A3, or the id of its run")]


class Adapter(BaseModel):
    """An adapter, what it descends from and how it did. None: its run does not tell (any more)."""

    name: str = Field(examples=["calm/A3"])
    concept: str
    version: str
    """Stage and number; the numbers of a concept and stage go by when its runs ended, and are never given again."""
    stage: Literal["A", "B"]
    run_id: str
    state: registry.State
    token: str | None
    """The trigger word that its texts began with."""
    ended_at: datetime
    """When its run did."""
    parent: str | None
    """The adapter that it went on from, by name; None: from nothing."""
    members_digest: str
    dataset: Json
    """definition, recipe, dataset_digest, snapshot (the newest that publishes every member), n_clips, n_videos."""
    base: Json
    """base, base_label, base_revision."""
    settings: Json
    evaluation: Json
    """Losses, control, drift, likeness and flicker, before and after."""
    promoted: bool | None
    """Whether the evaluation put it into use."""
    verdict: list[str]
    """Why."""
    exports: Json
    """Files of other programs' formats, by name: how far what comes of them is from what comes of the adapter."""
    decisions: list[Json]
    """What people decided about it, and why, in order of time."""
    withdrawn_because: str | None
    artefacts: list[str]
    """Names of its files: GET /training/{run_id}/artefacts/{name} gives them."""


@router.get("")
def list_adapters(
    service: Given,
    concept: Annotated[str | None, Query(description="Of one concept only")] = None,
    in_use: Annotated[bool, Query(description="Only those that are in use")] = False,
) -> list[Adapter]:
    """Every adapter, by concept, stage and number."""
    adapters = registry.read_adapters(service.store)
    return [
        _told(one, adapters)
        for one in adapters
        if concept in (None, one.concept) and (one.state == "in use" or not in_use)
    ]


@router.get("/{adapter:path}", responses=problems(404))
def show_adapter(adapter: Named, service: Given) -> Adapter:
    """An adapter, what it descends from and how it did."""
    adapters = registry.read_adapters(service.store)
    return _told(registry.find(adapters, adapter), adapters)


@router.post("/{adapter:path}/promote", status_code=201, responses=ENTERED)
async def promote_adapter(adapter: Named, body: Decided, service: Given, response: Response) -> Entered:
    """Put an adapter into use, whatever its evaluation said: the next runs go on from it."""
    return await _decide(service, response, adapter, "promote", body)


@router.post("/{adapter:path}/retire", status_code=201, responses=ENTERED)
async def retire_adapter(adapter: Named, body: Decided, service: Given, response: Response) -> Entered:
    """Take an adapter out of use: the one that was in use before it is again, if there is one."""
    return await _decide(service, response, adapter, "retire", body)


async def _decide(service: Service, response: Response, name: str, verb: Verb, body: Decided) -> Entered:
    adapters = await to_thread.run_sync(registry.read_adapters, service.store)
    found = registry.find(adapters, name)
    _refuse(found, verb)
    line = [one for one in adapters if (one.concept, one.stage) == (found.concept, found.stage)]
    now = service.now_after(max(one.last_word_at for one in line).isoformat())
    told: Json = {"run_id": found.run_id, "verb": verb, **body.model_dump()}
    decision_id = digest([told, now.isoformat()])[:32]
    record = AdapterDecided(**told, decision_id=decision_id, decided_at=now)
    return await enter(service, response, record, service.store.adapter_decisions, decision_id)


def _refuse(adapter: registry.Adapter, verb: Verb) -> None:
    """Raises Conflict: the adapter's state does not allow it."""
    forbidden: dict[Verb, dict[registry.State, str]] = {
        "promote": {"in use": "retire it to go back to the one before"},
        "retire": {
            "retired": "promote it to put it into use again",
            "not promoted": "nothing goes on from it, and it needs no retiring",
        },
    }
    gone: dict[registry.State, str] = {"withdrawn": "it is gone for good; POST /training asks for another"}
    remedy = (forbidden[verb] | gone).get(adapter.state)
    if remedy is None:
        return
    last = adapter.decisions[-1] if adapter.state == "retired" else None
    by = f" by {last['by']}: {last['reason']}" if last else ""
    raise Conflict(f"adapter {adapter.name} cannot be {verb}d: it is {adapter.state}{by}; {remedy}")


def _told(adapter: registry.Adapter, adapters: list[registry.Adapter]) -> Adapter:
    run = adapter.run
    told = registry.lineage(adapter, adapters) | {
        "name": adapter.name,
        "concept": adapter.concept,
        "version": adapter.version,
        "stage": adapter.stage,
        "run_id": adapter.run_id,
        "state": adapter.state,
        "token": run.get("token"),
        "ended_at": run["finished_at"],
        "decisions": list(adapter.decisions),
        "withdrawn_because": run.get("ended_because"),
        "artefacts": sorted(run.get("artefacts", {})),
    }
    return Adapter.model_validate(told)
