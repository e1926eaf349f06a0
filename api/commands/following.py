"""The progress bar of `cliploom train watch`."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from api.client import Client
from api.commands.output import text
from store.records import Json

ENDED = ("succeeded", "failed", "cancelled", "withdrawn")
_LOOK_EVERY_S = 0.5


def run_to_follow(client: Client, run_id: str | None) -> str | None:
    """The run that was named, or else the one that is running, or else the next of those that wait; None: there is
    none.
    """
    if run_id is not None:
        return run_id
    runs: list[Json] = client.get("/training")  # the newest first
    for status in ("running", "requested"):
        of_status = [str(run["run_id"]) for run in runs if run["status"] == status]
        if of_status:
            return of_status[-1]
    return None


def follow_run(client: Client, run_id: str, console: Console, wait: Callable[[float], None] = time.sleep) -> Json:
    """Draw how far a run is until it ends; returns it as it ended. The time left is that of the phase.

    Raises:
        Refused: there is no such run, or no service answers.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task: TaskID | None = None
        shown: str | None = None
        while True:
            run: Json = client.get(f"/training/{run_id}")
            if run["status"] in ENDED:
                return run
            told = run.get("progress") or {"phase": "waits", "step": 0, "steps": 1, "loss": None}
            phase = told["phase"] if run["status"] == "running" else run["status"]
            if phase != shown:
                # A bar of its own for every phase: how fast one goes tells nothing of the next.
                if task is not None:
                    progress.remove_task(task)
                name = f"{run.get('concept', '')} {phase}"
                task, shown = progress.add_task(name, total=told["steps"], loss=""), phase
            assert task is not None
            loss = "" if told["loss"] is None else escape(f"loss {text(told['loss'])}")
            progress.update(task, completed=told["step"], total=told["steps"], loss=loss)
            wait(_LOOK_EVERY_S)
