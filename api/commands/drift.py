"""`cliploom drift`: alarms of drift, and answers to them."""

from typing import Annotated

import typer
from rich.console import Console

from api.commands.decisions import By, Reason, decide
from api.commands.output import DEFAULT_URL, AsJson, Url, counts, grid, service, show, text
from store.records import Json

app = typer.Typer(no_args_is_help=True, help="Whether new footage is still like what clusters and controls rest on.")


@app.command("list")
def list_(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Every alarm: what moved, where it came from, and who answered it."""
    with service(url, as_json) as client:
        show(client.get("/curation/drift"), as_json, _print)


@app.command()
def answer(
    alarm: Annotated[str, typer.Argument(metavar="ALARM", help="Its id.")],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Answer an alarm: new footage is compared with that of now from here on."""
    decide(f"/curation/drift/{alarm}/answer", by, reason, url, as_json)


def _print(console: Console, answer: list[Json]) -> None:
    rows = [
        (one["alarm_id"], one["status"], one["raised_at"][:16], _moved(one), *_whence(one), one["reason"])
        for one in answer
    ]
    console.print(grid("", ("alarm", "status", "raised", "what moved", "videos of", "in clusters", "answer"), rows))


def _moved(one: Json) -> str:
    return text(list(one["streams"])) if one["streams"] else "a little of everything"


def _whence(one: Json) -> tuple[str, str]:
    """Where the videos came from, and in which clusters they are."""
    return counts(one["sources"]), counts(one["clusters"])
