"""Training runs: request one by hand, follow it, fetch what it made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse

from api.bodies import problems
from api.service import Given, Service
from store.errors import NotFound
from store.records import Json

router = APIRouter(prefix="/training", tags=["training"])


@router.get("")
def list_runs(service: Given) -> list[Json]:
    """Every run, the newest request first; without the ids of its clips."""
    runs = [{k: v for k, v in run.items() if k != "clip_ids"} for run in service.store.runs.all().values()]
    return sorted(runs, key=lambda run: run.get("requested_at", ""), reverse=True)


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


def _run(service: Service, run_id: str) -> Json:
    run = service.store.runs.get(run_id)
    if run is None:
        raise NotFound(f"no run {run_id!r}; GET /training lists runs")
    return run
