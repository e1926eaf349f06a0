"""`cliploom dead list|show|replay|drop`."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.client import Client
from api.commands.output import DEFAULT_URL, REFUSED, AsJson, Url, grid, service, show
from store.records import Json

app = typer.Typer(help="Records that could not be processed.", no_args_is_help=True)

DeadId = Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.")]
Step = Annotated[str | None, typer.Option("--step", help="Only those that died in this step.")]


class Kind(StrEnum):
    """What kind of fault it was."""

    UNREADABLE = "unreadable"
    REFUSED = "refused"
    BUG = "bug"
    EXHAUSTED = "exhausted"


OfKind = Annotated[
    Kind | None,
    typer.Option(
        "--kind",
        help="Only these: no record of ours, footage of no use, an error of the program, a passing fault that stayed.",
    ),
]


@app.command("list")
def list_(
    step: Step = None,
    kind: OfKind = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that were replayed or dropped.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Dead letters, newest first; those that are open."""
    with service(url, as_json) as client:
        show(client.get("/dead", status="all" if all_ else "dead", step=step, kind=kind), as_json, _print_list)


@app.command("show")
def show_(dead_id: DeadId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """A dead letter: where it died and why, who replayed or dropped it, its traceback, and the record that died."""
    with service(url, as_json) as client:
        show(client.get(f"/dead/{dead_id}"), as_json, _print_one)


@app.command("replay")
def replay(
    dead_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The dead letters' ids.")] = None,
    step: Step = None,
    kind: OfKind = None,
    all_matching: Annotated[
        bool, typer.Option("--all-matching", help="Every open one of the --step, the --kind, or both.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Who replays.")] = "an operator",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before replaying all that match.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put records back on the topics that they came from, after what was wrong has been put right."""
    if bool(dead_ids) == all_matching:
        raise typer.BadParameter("give ids, or --all-matching with --step, --kind or both")
    if all_matching == (step is None and kind is None):
        raise typer.BadParameter("--all-matching goes with --step, --kind or both, and they with it")
    with service(url, as_json) as client:
        ids = dead_ids or _matching_ids(client, step, kind, yes)
        answer = client.post("/dead/replay", dead_ids=ids, by=by)
        show(answer, as_json, _print_replayed)
    if not all(result["replayed"] for result in answer["results"]):
        raise typer.Exit(REFUSED)


@app.command("drop")
def drop(
    dead_id: DeadId,
    by: Annotated[str, typer.Option("--by", help="Who gives it up; it stays on record.")],
    note: Annotated[str, typer.Option("--note", help="Why; it stays on record.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give a dead letter up: it stays on record, and no longer counts as open."""
    with service(url, as_json) as client:
        show(client.post(f"/dead/{dead_id}/drop", by=by, note=note), as_json, _print_dropped)


def _matching_ids(client: Client, step: str | None, kind: Kind | None, yes: bool) -> list[str]:
    """Ids of the open letters, in the order in which they died, once the person has agreed."""
    letters = client.get("/dead", step=step, kind=kind)
    if letters and not yes:
        typer.confirm(f"Replay {len(letters)} dead letter(s)?", abort=True, err=True)
    return [letter["dead_id"] for letter in reversed(letters)]


def _print_list(console: Console, answer: list[Json]) -> None:
    shown = ("dead_id", "step", "kind", "status", "attempts", "reason")
    rows = [[letter[name] for name in shown] for letter in answer]
    console.print(grid("", ("dead letter", "step", "kind", "status", "tries", "reason"), rows))


def _print_one(console: Console, answer: Json) -> None:
    letter = answer["letter"]
    told = ("dead_id", "status", "step", "kind", "origin_topic", "origin_partition", "origin_offset")
    shown = (*told, "video_id", "clip_id", "attempts", "died_at", "reason")
    decided = tuple(name for name in ("replayed_at", "dropped_at", "by", "note") if name in letter)
    rows = [(name, letter.get(name)) for name in shown + decided]
    console.print(grid("", ("field", "value"), rows))
    if letter["traceback"]:
        console.print(escape(letter["traceback"]), highlight=False)
    console.print_json(data=answer["record"]) if answer["record"] else console.print(escape(answer["record_error"]))


def _print_replayed(console: Console, answer: Json) -> None:
    for result in answer["results"]:
        colour = "green" if result["replayed"] else "red"
        line = f"[{colour}]{escape(result['dead_id'])}[/] {escape(result['note'])}"
        console.print(line, highlight=False, soft_wrap=True)
    replayed = sum(result["replayed"] for result in answer["results"])
    told = "" if answer["durable"] else "; the store does not show it yet"
    console.print(f"{replayed} of {len(answer['results'])} replayed{told}", highlight=False)


def _print_dropped(console: Console, answer: Json) -> None:
    console.print(escape(answer["note"]))
