"""`cliploom adapters`: which there are, what they descend from, which is in use; promote, retire and fetch one."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.decisions import By, Reason, decide
from api.commands.output import DEFAULT_URL, AsJson, Url, fail, grid, local, service, show, size, text
from store.errors import InputError
from store.learned import LEARNED_FILE
from store.records import Json

app = typer.Typer(
    no_args_is_help=True, help="Trained adapters: which is in use, and why; promote, retire and fetch one."
)

Adapter = Annotated[
    str, typer.Argument(metavar="ADAPTER", help="Concept and version, such as calm/A3, or its run's id.")
]


@app.command("list")
def list_(
    concept: Annotated[str | None, typer.Argument(help="Of one concept only.")] = None,
    in_use: Annotated[bool, typer.Option("--in-use", help="Only those that are in use.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Every adapter, with its state and how it did."""
    with service(url, as_json) as client:
        show(client.get("/adapters", concept=concept, in_use=in_use), as_json, _print_list)


@app.command("show")
def show_(adapter: Adapter, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What an adapter descends from, how it did, and what was decided about it."""
    with service(url, as_json) as client:
        show(client.get(f"/adapters/{adapter}"), as_json, _print_one)


@app.command()
def promote(adapter: Adapter, by: By, reason: Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Put an adapter into use, whatever its evaluation said: the next runs go on from it."""
    decide(f"/adapters/{adapter}/promote", by, reason, url, as_json)


@app.command()
def retire(adapter: Adapter, by: By, reason: Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Take an adapter out of use: the one that was in use before it is again."""
    decide(f"/adapters/{adapter}/retire", by, reason, url, as_json)


@app.command()
def fetch(
    adapter: Adapter,
    out: Annotated[Path | None, typer.Option(help="The folder to write to; else its name, such as calm-A3.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Save everything that its run made: adapter, control and the script that loads it, card, exports, report."""
    with service(url, as_json) as client:
        found: Json = client.get(f"/adapters/{adapter}")
        folder = out or Path(found["name"].replace("/", "-"))
        if not found["artefacts"]:
            raise fail(_nothing(found), as_json)
        # What of the dataset it learned from stays here.
        names = [name for name in found["artefacts"] if name != LEARNED_FILE]
        with local(f"write {folder}", as_json):
            try:
                for name in names:
                    client.download(f"/training/{found['run_id']}/artefacts/{name}", folder / Path(name).name)
            except OSError as error:
                told = f"{folder} cannot be written: {error.strerror}; give another folder with --out"
                raise InputError(told) from error
    files = {name: (folder / Path(name).name).stat().st_size for name in names}
    show({"adapter": found["name"], "folder": str(folder), "files": files}, as_json, _print_fetched)


def _nothing(found: Json) -> Json:
    why = f": {found['withdrawn_because']}" if found["withdrawn_because"] else ""
    what = f"adapter {found['name']} is {found['state']} and has no files{why}"
    remedy = "`cliploom adapters list --in-use` names those that have"
    return {"error": "NotFound", "what": what, "where": f"GET /adapters/{found['name']}", "remedy": remedy}


def _print_list(console: Console, answer: list[Json]) -> None:
    rows = [
        (
            one["name"],
            one["state"],
            one["parent"],
            one["ended_at"][:16].replace("T", " "),
            one["evaluation"].get("held_out_loss_before"),
            one["evaluation"].get("held_out_loss_after"),
            _last_word(one),
        )
        for one in answer
    ]
    columns = ("adapter", "state", "goes on from", "trained (UTC)", "held-out loss before", "after", "why")
    console.print(grid("", columns, rows))


def _last_word(one: Json) -> str:
    """Why it is in the state that it is in: what a person said last, or else the verdict."""
    if one["withdrawn_because"]:
        return str(one["withdrawn_because"])
    if one["decisions"]:
        last = one["decisions"][-1]
        return f"{last['verb']}d by {last['by']}: {last['reason']}"
    return text(one["verdict"])


def _print_one(console: Console, answer: Json) -> None:
    rows: list[tuple[str, object]] = []
    for name, value in answer.items():
        if isinstance(value, dict):
            rows += [(f"{name}: {part}", _readable(told)) for part, told in value.items() if told is not None]
        elif name == "decisions":
            rows += [(f"{one['verb']}d {one['decided_at'][:16]}", f"{one['by']}: {one['reason']}") for one in value]
        elif value not in (None, []):
            rows.append((name, value))
    console.print(grid("", ("field", "value"), rows))


def _readable(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _print_fetched(console: Console, answer: Json) -> None:
    rows = [(name, size(n_bytes)) for name, n_bytes in answer["files"].items()]
    console.print(grid(f"{escape(answer['adapter'])}: {escape(answer['folder'])}", ("file", "size"), rows))
