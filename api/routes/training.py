"""Training runs: request one by hand, follow it, fetch what it made."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import FileResponse
from pydantic import Field

from api.bodies import ENTERED, Body, Entered, Name, enter, problems
from api.routes.concepts import concept_document
from api.service import Given, Service
from store.errors import Conflict, NotFound
from store.records import ConceptChanged, Json, TrainingRequested
from store.store import Store
from store.tokens import tokens_of
from trainer.scheduler import RunPlan, SchedulerSettings
from trainer.scheduler import request_run as plan_request

router = APIRouter(prefix="/training", tags=["training"])


class RunRequest(Body):
    """A run asked for by hand. The thresholds of purity and number are the asker's to judge; the gate is not."""

    concept: str = Field(examples=["lively"])
    stage: Literal["A", "B"] = "A"
    """A trains the concept's first adapter from nothing, B goes on from the last adapter of stage A."""
    by: Name = "an operator"


@router.post("", status_code=201, responses=ENTERED)
async def request_run(body: RunRequest, service: Given, response: Response) -> Entered:
    """Ask for a LoRA run on the concept's clips that are open to use."""
    request = await to_thread.run_sync(_planned, service.store, body, service.clock())
    return await enter(service, response, request, service.store.runs, request.run_id)


@router.get("")
def list_runs(service: Given) -> list[Json]:
    """Every run, the newest request first; without the ids of its clips."""
    runs = [{k: v for k, v in run.items() if k != "clip_ids"} for run in service.store.runs.all().values()]
    return sorted(runs, key=lambda run: run.get("requested_at", ""), reverse=True)


@router.get("/decisions")
def list_decisions(
    service: Given, concept: Annotated[str | None, Query(description="Of one concept only")] = None
) -> list[Json]:
    """Every time that the scheduler came to decide otherwise, the newest first: train or wait, and why."""
    told = service.store.training_decisions.all().values()
    wanted = [body for body in told if concept in (None, body["concept"])]
    return sorted(wanted, key=lambda body: (body["decided_at"], body["decision_id"]), reverse=True)


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


def _planned(store: Store, body: RunRequest, now: datetime) -> TrainingRequested:
    """The request for the run.

    Raises:
        NotFound: no such concept.
        Conflict: none of its clips is open to use, stage B has nothing to go on from, it ran with these clips, or its
            trigger token is not reserved yet.
    """
    document = concept_document(store, body.concept)
    concept = ConceptChanged.model_validate({name: document[name] for name in ConceptChanged.model_fields})
    reasons = "; ".join(concept.reasons)
    if concept.n_eligible == 0:
        raise Conflict(f"concept {body.concept!r} has no clip that is open to use: {reasons}")
    token = tokens_of(store, "concept").get(body.concept)
    if token is None:
        raise Conflict(f"concept {body.concept!r} has no trigger token yet; ask again once its worker has reserved one")
    runs = store.runs.all()
    settings = SchedulerSettings()
    chosen, parent = (settings.stage_a, None) if body.stage == "A" else (settings.stage_b, _last_a(runs, body.concept))
    why = f"stage {body.stage}: by hand" + (f", though not ready: {reasons}" if reasons else "")
    # A run that failed keeps its id, and its seed: another seed is another run.
    for seed in count():
        plan = RunPlan(body.stage, parent, chosen | ({"seed": seed} if seed else {}), why)
        request = plan_request(concept, token, plan, body.by, now)
        known = runs.get(request.run_id)
        if known is None:
            return request
        if known["status"] not in ("failed", "withdrawn"):
            told = f"run {request.run_id} of these very clips is {known['status']}"
            raise Conflict(f"{told}; ingest more footage, or take stage B")
    raise AssertionError("unreachable")


def _last_a(runs: Mapping[str, Json], concept: str) -> str:
    """The run of stage A whose adapter stage B goes on from."""
    of_a = [run for run in runs.values() if (run["concept"], run.get("stage")) == (concept, "A")]
    done = [run for run in of_a if run["status"] == "succeeded"]
    if not done:
        raise Conflict(f"stage B goes on from stage A's adapter, and concept {concept!r} has none; train stage A first")
    return max(done, key=lambda run: (run["finished_at"], run["run_id"]))["run_id"]


def _run(service: Service, run_id: str) -> Json:
    run = service.store.runs.get(run_id)
    if run is None:
        raise NotFound(f"no run {run_id!r}; GET /training lists runs")
    return run
