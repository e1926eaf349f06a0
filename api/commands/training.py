"""`cliploom train`: LoRA runs: what is due, asked for, paused, cancelled, resumed and watched."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.decisions import By, Reason, decide
from api.commands.following import ENDED, follow_run, run_to_follow
from api.commands.output import DEFAULT_URL, REFUSED, AsJson, Url, grid, service, show, text
from store.records import Json

app = typer.Typer(no_args_is_help=True, help="LoRA runs: what is due and why; request, pause, cancel, resume, watch.")

Run = Annotated[str, typer.Argument(metavar="RUN", help="Its id.")]


class Stage(StrEnum):
    """Stage of training."""

    A = "A"
    B = "B"


@app.command()
def run(
    concept: Annotated[str, typer.Argument(help="The concept's name.")],
    stage: Annotated[Stage, typer.Option(help="A: the concept; B: refine it.")] = Stage.A,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Request a LoRA run by hand."""
    with service(url, as_json) as client:
        show(client.post("/training", concept=concept, stage=stage.value), as_json, _print_run)


@app.command()
def plan(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What would be trained now, in order, and why; nothing is asked for."""
    with service(url, as_json) as client:
        show(client.get("/training/plan"), as_json, _print_plan)


@app.command()
def pause(run: Run, by: By, reason: Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Stop a run where it is, or keep it from starting; its device is free until it is resumed."""
    decide(f"/training/{run}/pause", by, reason, url, as_json)


@app.command()
def cancel(run: Run, by: By, reason: Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """End a run for good: it is not asked for again with the same clips until a person does."""
    decide(f"/training/{run}/cancel", by, reason, url, as_json)


@app.command()
def resume(run: Run, by: By, reason: Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Let a paused run go on from its last checkpoint."""
    decide(f"/training/{run}/resume", by, reason, url, as_json)


@app.command()
def watch(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Its id; without it, the run under way.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it ends: phase, steps, loss, time left. Exit code 1 where it did not succeed."""
    with service(url, as_json) as client:
        found = run_to_follow(client, run)
        if found is None:
            show([], as_json, lambda console, _: console.print("no run is under way; `cliploom train plan` says why"))
            return
        ended = follow_run(client, found, Console(stderr=True, quiet=as_json))
        show(ended, as_json, _print_ended)
    if ended["status"] != ENDED[0]:
        raise typer.Exit(REFUSED)


def _print_run(console: Console, answer: Json) -> None:
    console.print(f"run {answer['id']}: {escape(answer['note'])}", highlight=False)


def _print_plan(console: Console, answer: Json) -> None:
    budget_h, left_h = answer["device_hours_per_day"], answer["device_hours_left"]
    left = "no limit" if budget_h is None else f"{left_h:.1f} of {budget_h:g} left"
    taken = len(answer["under_way"]) * answer["devices_per_run"]
    console.print(
        f"{taken} of {answer['devices']} devices taken; device hours on {answer['day']} (UTC):"
        f" {answer['device_hours_used']:.1f} used, {left}; at most {answer['runs_per_day']} runs a day of a concept",
        highlight=False,
    )
    rows = [
        (one["concept"], one["priority"], one["verdict"], one["stage"], one["reason"]) for one in answer["concepts"]
    ]
    console.print(grid("", ("concept", "priority", "now", "stage", "why"), rows))


def _print_ended(console: Console, run: Json) -> None:
    told = f"run {run['run_id']} of {run['concept']}: {run['status']}"
    numbers = {name: value for name, value in run.get("metrics", {}).items() if isinstance(value, int | float)}
    listed = ", ".join(f"{name} {text(value)}" for name, value in numbers.items())
    parts = (told, run.get("ended_because"), listed)
    console.print(escape("; ".join(part for part in parts if part)), highlight=False, soft_wrap=True)
