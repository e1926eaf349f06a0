"""`cliploom snapshot create|list|show|diff`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show, text
from store.records import Json

app = typer.Typer(help="Tagged, immutable versions of the dataset.", no_args_is_help=True)

Tag = Annotated[str, typer.Argument(help="The snapshot's name.")]


@app.command("create")
def create(
    tag: Tag,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask for a snapshot of what is kept now; it is written in the background."""
    with service(url, as_json) as client:
        show(client.post("/snapshots", tag=tag, note=note), as_json, _print_created)


@app.command("list")
def list_(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Every snapshot."""
    with service(url, as_json) as client:
        show(client.get("/snapshots"), as_json, _print_list)


@app.command("show")
def show_(tag: Tag, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """A snapshot: its digest, its folder, how many clips it holds."""
    with service(url, as_json) as client:
        show(client.get(f"/snapshots/{tag}"), as_json, _print_one)


@app.command("diff")
def diff(older: Tag, newer: Tag, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What changed from one snapshot to another."""
    with service(url, as_json) as client:
        show(client.get(f"/snapshots/{older}/diff/{newer}"), as_json, _print_diff)


def _print_created(console: Console, answer: Json) -> None:
    console.print(f"snapshot {escape(answer['id'])}: {escape(answer['note'])}", highlight=False)


def _print_list(console: Console, answer: list[Json]) -> None:
    rows = [
        (
            snapshot["tag"],
            snapshot["status"],
            snapshot.get("n_kept"),
            snapshot.get("n_dropped"),
            (snapshot.get("digest") or "")[:12],
            snapshot.get("requested_at", "")[:16].replace("T", " "),
            snapshot.get("reason") or snapshot.get("note"),
        )
        for snapshot in answer
    ]
    console.print(grid("", ("tag", "status", "kept", "dropped", "digest", "requested (UTC)", "note"), rows))


def _print_one(console: Console, answer: Json) -> None:
    rows = [(name, value) for name, value in answer.items() if value not in (None, "")]
    console.print(grid("", ("field", "value"), rows))


def _print_diff(console: Console, answer: Json) -> None:
    rows = [(clip, "added", "") for clip in answer["added"]]
    rows += [(clip, "removed", "") for clip in answer["removed"]]
    rows += [(clip, "changed", text(columns)) for clip, columns in answer["changed"].items()]
    rows += [(clip, "verdict", f"{text(was)} to {text(now)}") for clip, (was, now) in answer["verdicts"].items()]
    console.print(grid("", ("clip", "what", "how"), rows))
    same = answer["digests"][0] == answer["digests"][1]
    console.print("the same content" if same else f"{len(rows)} differences")
