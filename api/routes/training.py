"""Training runs: what is due and why; request, pause, cancel and resume one; follow it, fetch what it made."""

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from api.bodies import ENTERED, Body, Decided, Entered, Name, enter, problems
from api.routes.concepts import concept_document
from api.service import Given, Service
from store.errors import Conflict, NotFound
from store.records import ConceptChanged, Json, TrainingControlled, TrainingRequested, digest
from store.registry import in_use, read_adapters
from store.runs import UNDER_WAY, halting
from store.store import Store
from store.tokens import tokens_of
from trainer.scheduler import RunPlan, day_of, decide, device_hours
from trainer.scheduler import request_run as plan_request
from trainer.scheduler_state import read_state

router = APIRouter(prefix="/training", tags=["training"])

Verb = Literal["pause", "cancel", "resume"]
_DONE: dict[Verb, str] = {"pause": "paused", "cancel": "cancelled", "resume": "resumed"}


class RunRequest(Body):
    """A run asked for by hand. The thresholds of purity and number are the asker's to judge; the gate is not."""

    concept: str = Field(examples=["lively"])
    stage: Literal["A", "B"] = "A"
    """Both go on from stage A's adapter in use; where there is none, A starts from nothing."""
    by: Name = "an operator"


class PlannedRun(BaseModel):
    """What the scheduler would decide for a concept now."""

    concept: str
    priority: int
    verdict: Literal["train", "wait"]
    reason: str
    stage: Literal["A", "B"] | None
    """Of the run that is due; None where none is."""
    parent: str | None
    """The run whose adapter it would go on from."""
    settings: Json
    """Fields of the run's settings that differ from their defaults."""
    run_id: str | None
    """None where no run would be asked for now."""


class TrainingPlan(BaseModel):
    """What the scheduler would do now. Hours are those of the UTC day `day`."""

    at: datetime
    day: str
    devices: int
    devices_per_run: int
    under_way: list[str]
    """Ids of the runs that have, or wait for, a device."""
    device_hours_used: float
    device_hours_per_day: float | None
    """None: no limit."""
    device_hours_left: float | None
    runs_per_day: int
    """Of one concept."""
    concepts: list[PlannedRun]
    """First those that are due, in the order in which they go."""


@router.post("", status_code=201, responses=ENTERED)
async def request_run(body: RunRequest, service: Given, response: Response) -> Entered:
    """Ask for a LoRA run on the concept's clips that are open to use."""
    request = await to_thread.run_sync(_planned, service, body)
    return await enter(service, response, request, service.store.runs, request.run_id)


@router.get("")
def list_runs(service: Given) -> list[Json]:
    """Every run, the newest request first."""
    return sorted(service.store.runs.all().values(), key=lambda run: run.get("requested_at", ""), reverse=True)


@router.get("/decisions")
def list_decisions(
    service: Given, concept: Annotated[str | None, Query(description="Of one concept only")] = None
) -> list[Json]:
    """Every time that the scheduler came to decide otherwise, the newest first: train or wait, and why."""
    told = service.store.training_decisions.all().values()
    wanted = [body for body in told if concept in (None, body["concept"])]
    return sorted(wanted, key=lambda body: (body["decided_at"], body["decision_id"]), reverse=True)


@router.get("/plan")
def show_plan(service: Given) -> TrainingPlan:
    """What would be trained now, in order, and why; nothing is asked for."""
    settings, now = service.settings.training, service.clock()
    state = read_state(service.store)
    used_h, budget_h = device_hours(state.runs, now, settings.devices_per_run), settings.device_hours_per_day
    return TrainingPlan(
        at=now,
        day=f"{day_of(now):%Y-%m-%d}",
        devices=settings.devices,
        devices_per_run=settings.devices_per_run,
        under_way=[run.run_id for run in state.under_way],
        device_hours_used=used_h,
        device_hours_per_day=budget_h,
        device_hours_left=None if budget_h is None else max(0.0, budget_h - used_h),
        runs_per_day=settings.runs_per_day,
        concepts=[
            PlannedRun(
                concept=one.concept,
                priority=one.priority,
                verdict=one.verdict,
                reason=one.reason,
                stage=one.plan.stage if one.plan else None,
                parent=one.plan.parent if one.plan else None,
                settings=one.plan.settings if one.plan else {},
                run_id=one.request.run_id if one.request else None,
            )
            for one in decide(state, now, settings)
        ],
    )


@router.post("/{run_id}/pause", status_code=201, responses=ENTERED)
async def pause_run(run_id: str, body: Decided, service: Given, response: Response) -> Entered:
    """Stop a run where it is, or keep it from starting, until it is resumed; its device is free for others."""
    return await _control(service, response, run_id, "pause", body)


@router.post("/{run_id}/cancel", status_code=201, responses=ENTERED)
async def cancel_run(run_id: str, body: Decided, service: Given, response: Response) -> Entered:
    """End a run for good: the scheduler asks for none of the same clips until a person does."""
    return await _control(service, response, run_id, "cancel", body)


@router.post("/{run_id}/resume", status_code=201, responses=ENTERED)
async def resume_run(run_id: str, body: Decided, service: Given, response: Response) -> Entered:
    """Let a paused run go on from its last checkpoint, once a worker is free."""
    return await _control(service, response, run_id, "resume", body)


@router.get("/{run_id}", responses=problems(404))
def show_run(run_id: str, service: Given) -> Json:
    """A run with its progress or its outcome."""
    return _run(service, run_id)


def _artefact_file(run_id: str, name: str, service: Given) -> Iterator[Path]:
    artefacts = _run(service, run_id).get("artefacts", {})
    if name not in artefacts:
        raise NotFound(f"run {run_id} has no artefact {name!r}; it has {', '.join(artefacts) or 'none'}")
    with service.store.media.local_file(artefacts[name]) as path:
        yield path


@router.get("/{run_id}/artefacts/{name}", response_class=FileResponse, responses=problems(404))
def fetch_artefact(name: str, path: Annotated[Path, Depends(_artefact_file)]) -> FileResponse:
    """A file that the run made: adapter, sample grid, model card, losses."""
    return FileResponse(path, filename=name)


async def _control(service: Service, response: Response, run_id: str, verb: Verb, body: Decided) -> Entered:
    run = await to_thread.run_sync(_run, service, run_id)
    _refuse_control(run_id, run, verb)
    earlier = run.get("controls", [])
    now = service.now_after(earlier[-1]["decided_at"] if earlier else None)
    told: Json = {"run_id": run_id, "verb": verb, **body.model_dump()}
    control_id = digest([told, now.isoformat()])[:32]
    record = TrainingControlled(**told, control_id=control_id, decided_at=now)

    def shows(document: Json) -> bool:
        return any(one["control_id"] == control_id for one in document.get("controls", []))

    return await enter(service, response, record, service.store.runs, run_id, shows)


def _refuse_control(run_id: str, run: Json, verb: Verb) -> None:
    """Raises Conflict: the run's status does not allow it."""
    status = run["status"]
    allowed = {"pause": UNDER_WAY, "cancel": (*UNDER_WAY, "paused"), "resume": ("paused",)}[verb]
    if status in allowed:
        return
    halt = halting(run)
    by = f" by {halt['by']}: {halt['reason']}" if halt is not None and status in ("paused", "cancelled") else ""
    remedy = {
        "requested": "it waits for a worker, and needs no resuming",
        "running": "it needs no resuming",
        "paused": "resume or cancel it",
    }.get(status, "it is at its end; POST /training asks for another")
    raise Conflict(f"run {run_id} cannot be {_DONE[verb]}: it is {status}{by}; {remedy}")


def _planned(service: Service, body: RunRequest) -> TrainingRequested:
    """The request for the run.

    Raises:
        NotFound: no such concept.
        Conflict: none of its clips is open to use, stage B has nothing to go on from, it ran with these clips, or its
            trigger token is not reserved yet.
    """
    store, now = service.store, service.clock()
    document = concept_document(store, body.concept)
    concept = ConceptChanged.model_validate({name: document[name] for name in ConceptChanged.model_fields})
    reasons = "; ".join(concept.reasons)
    if concept.n_eligible == 0:
        raise Conflict(f"concept {body.concept!r} has no clip that is open to use: {reasons}")
    token = tokens_of(store, "concept").get(body.concept)
    if token is None:
        raise Conflict(f"concept {body.concept!r} has no trigger token yet; ask again once its worker has reserved one")
    runs = store.runs.all()
    parent = _parent(store, concept, body.stage)
    chosen = service.settings.training.of_run(body.stage, parent is not None)
    why = f"stage {body.stage}: by hand" + (f", though not ready: {reasons}" if reasons else "")
    # A run that failed or was cancelled keeps its id, and its seed: another seed is another run.
    for seed in count():
        plan = RunPlan(body.stage, parent, chosen | ({"seed": seed} if seed else {}), why)
        request = plan_request(concept, token, plan, body.by, now)
        known = runs.get(request.run_id)
        if known is None:
            return request
        if known["status"] not in ("failed", "cancelled", "withdrawn"):
            told = f"run {request.run_id} of these very clips is {known['status']}"
            remedy = "resume it" if known["status"] == "paused" else "ingest more footage, or take stage B"
            raise Conflict(f"{told}; {remedy}")
    raise AssertionError("unreachable")


def _parent(store: Store, concept: ConceptChanged, stage: Literal["A", "B"]) -> str | None:
    """The run that made the adapter to go on from.

    Raises:
        Conflict: stage B has none; stage A's was trained of these very clips.
    """
    name, adapters = concept.concept, read_adapters(store)
    found = in_use(adapters, name, "A")
    if found is not None:
        if stage == "A" and found.run["members_digest"] == concept.members_digest:
            told = f"run {found.run_id} of these very clips is succeeded, and its adapter {found.name} is in use"
            raise Conflict(f"{told}; ingest more footage, or take stage B")
        return found.run_id
    if stage == "A":
        return None
    known = [f"{one.name} is {one.state}" for one in adapters if (one.concept, one.stage) == (name, "A")]
    told = f"has none in use: {', '.join(known)}; promote one, or train" if known else "has none; train"
    raise Conflict(f"stage B goes on from stage A's adapter, and concept {name!r} {told} stage A first")


def _run(service: Service, run_id: str) -> Json:
    run = service.store.runs.get(run_id)
    if run is None:
        raise NotFound(f"no run {run_id!r}; GET /training lists runs")
    return run
