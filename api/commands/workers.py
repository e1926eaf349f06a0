"""`cliploom work` and `cliploom rebuild`, and how the streaming service is started."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from api.commands.output import AsJson, fail, show
from store.records import Json

Data = Annotated[Path, typer.Option(help="Folder of the store.")]
Profile = Annotated[str, typer.Option(help="Model profile: a name, or a path to a TOML file.")]
Concepts = Annotated[Path, typer.Option(help="Declarations of the concepts.")]
Gate = Annotated[
    Path | None,
    typer.Option(help="What holds clips back, such as minors: a TOML file; without it, gate.toml's numbers."),
]
Training = Annotated[
    Path | None, typer.Option(help="When LoRAs are trained: a TOML file; without it, training.toml's numbers.")
]
Media = Annotated[
    str | None, typer.Option(help="Object storage of the media (an fsspec URL); without it, the store's folder.")
]
Grace = Annotated[
    float, typer.Option(min=0, help="Seconds that a busy step may take to finish its record at a stop; 0: leave it.")
]
Device = Annotated[str, typer.Option(help="Where models compute: auto, cpu, cuda or cuda:<number>.")]
Cluster = Annotated[str, typer.Option(help="host:port of the Kafka cluster.")]


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


Logs = Annotated[LogFormat, typer.Option("--log-format", help="Of the worker's log lines.")]


def streams_command(data: Path, broker: str, profile: str, concepts: Path, **options: Any) -> tuple[str, ...]:
    """The command that starts the streaming service; options that are None are left out, True stands alone."""
    settings = {"data": data.resolve(), "broker": broker, "profile": profile, "concepts": concepts.resolve()}
    command = [sys.executable, "-m", "streams.app"]
    for name, value in (settings | options).items():
        if value is not None:
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return tuple(command)


def texts_command(data: Path, profile: str) -> tuple[str, ...]:
    """The command that starts the model that compares texts with clips."""
    return (sys.executable, "-m", "api.texts_worker", "--profile", profile, "--models", str(data.resolve() / "models"))


def work(
    steps: Annotated[str, typer.Option(help="all, or names of steps with commas between them.")],
    broker: Cluster,
    data: Data = Path("data"),
    profile: Profile = "measured",
    concepts: Concepts = Path("concepts.yaml"),
    gate: Gate = None,
    training: Training = None,
    media: Media = None,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="For Prometheus; 0 takes a free one.")] = 0,
    device: Device = "auto",
    grace: Grace = 0.0,
    log_format: Logs = LogFormat.TEXT,
) -> None:
    """Run some steps as one worker of a cluster; start as many as you like. Ctrl-C ends it, nothing is lost."""
    told: Json = {
        "steps": steps,
        "gate": gate and gate.resolve(),
        "training": training and training.resolve(),
        "media": media,
        "device": device,
        "metrics_port": metrics_port,
        "grace": grace,
    }
    _become(streams_command(data, broker, profile, concepts, **told, log_format=log_format.value, stay=True))


def rebuild(
    broker: Cluster,
    data: Data = Path("data"),
    profile: Profile = "measured",
    gate: Gate = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put the present tables aside.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the store's tables anew from the topics alone; media stay where they are. No worker may be running."""
    command = [sys.executable, "-m", "streams.rebuild", "--data", str(data.resolve()), "--broker", broker]
    command += ["--profile", profile, *(["--gate", str(gate.resolve())] if gate else [])]
    done = follow([*command, *(["--replace"] if replace else [])], as_json)
    show(done, as_json, _print_rebuilt)


def follow(command: Sequence[str], as_json: bool) -> Json:
    """Run a command that tells its progress in JSON lines (see `streams.rebuild`), and draw it; what it told last.

    Raises:
        typer.Exit: it failed, and its reason is printed.
    """
    last: Json = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, _progress(as_json) as progress:
        assert process.stdout is not None
        task = progress.add_task("preparing", total=None)
        for line in process.stdout:
            last = json.loads(line)
            if last["event"] == "progress":
                progress.update(task, description="records", completed=last["read"], total=last["total"])
    if process.returncode == 0 and last.get("event") == "done":
        return last
    told = last["reason"] if last.get("event") == "failed" else f"it ended with code {process.returncode}"
    remedy = "correct that and start it again; the present tables are as they were"
    raise fail({"error": "RebuildFailed", "what": told, "where": "rebuild", "remedy": remedy}, as_json)


def _progress(as_json: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal)


def _print_rebuilt(console: Console, done: Json) -> None:
    rows = ", ".join(f"{number:,} {table}" for table, number in done["tables"].items() if number)
    console.print(f"rebuilt from {done['records']:,} records: {rows or 'nothing'}", highlight=False, soft_wrap=True)
    if unreadable := done.get("unreadable"):
        console.print(f"{unreadable:,} records were none, or did not fit, and were left out", highlight=False)


def _become(command: tuple[str, ...]) -> NoReturn:
    """Turn this process into another program, so that signals go straight to it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
