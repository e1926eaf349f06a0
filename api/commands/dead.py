"""`cliploom dead list|show|replay`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show
from store.records import Json

app = typer.Typer(help="Records that could not be processed.", no_args_is_help=True)

DeadId = Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")]


@app.command("list")
def list_(
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those that were replayed.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Dead letters, newest first."""
    with service(url, as_json) as client:
        show(client.get("/dead", status="all" if replayed else "dead"), as_json, _print_list)


@app.command("show")
def show_(dead_id: DeadId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """A dead letter with its traceback and the record that died."""
    with service(url, as_json) as client:
        show(client.get(f"/dead/{dead_id}"), as_json, _print_one)


@app.command("replay")
def replay(
    dead_id: DeadId,
    by: Annotated[str, typer.Option("--by", help="Who replays it.")] = "an operator",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put the record back on the topic that it came from."""
    with service(url, as_json) as client:
        show(client.post(f"/dead/{dead_id}/replay", by=by), as_json, _print_replayed)


def _print_list(console: Console, answer: list[Json]) -> None:
    rows = [[letter[name] for name in ("dead_id", "step", "status", "attempts", "reason")] for letter in answer]
    console.print(grid("", ("dead letter", "step", "status", "tries", "reason"), rows))


def _print_one(console: Console, answer: Json) -> None:
    letter = answer["letter"]
    shown = ("dead_id", "status", "step", "origin_topic", "video_id", "clip_id", "attempts", "died_at", "reason")
    console.print(grid("", ("field", "value"), [(name, letter[name]) for name in shown]))
    if letter["traceback"]:
        console.print(escape(letter["traceback"]))
    console.print_json(data=answer["record"]) if answer["record"] else console.print(escape(answer["record_error"]))


def _print_replayed(console: Console, answer: Json) -> None:
    console.print(escape(answer["note"]))
