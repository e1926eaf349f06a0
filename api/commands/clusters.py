"""`cliploom clusters`."""

from typing import Annotated

import typer
from rich.console import Console

from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show, text
from store.records import Json


def clusters(
    number: Annotated[int | None, typer.Argument(help="One cluster: its clips, and what became of it.")] = None,
    modality: Annotated[
        str, typer.Option(help="A vector column: what is alike by it alone; joint: all of them together.")
    ] = "joint",
    near: Annotated[str | None, typer.Option(help="A clip id: why it lies where it lies.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Clusters of the clips, how they came, and why a clip lies in one."""
    if number is not None and near is not None:
        raise typer.BadParameter("give a cluster's number, or --near with a clip id")
    with service(url, as_json) as client:
        if near is not None:
            show(client.get(f"/clips/{near}/neighbourhood"), as_json, _print_neighbourhood)
        elif number is not None:
            show(client.get(f"/clusters/{number}"), as_json, _print_one)
        else:
            show(client.get("/clusters", modality=modality), as_json, _print_all)


def _print_all(console: Console, answer: Json) -> None:
    rows = [(one["cluster"], one["n_clips"], one["n_boundary"], _came(one)) for one in answer["clusters"]]
    console.print(grid("", ("cluster", "clips", "at its border", "came"), rows))
    console.print(
        f"{answer['n_noise']:,} clips in none, {answer['n_outliers']:,} fit nowhere at all;"
        f" {answer['n_waiting']:,} not placed yet"
    )


def _print_one(console: Console, answer: Json) -> None:
    _print_all_of(console, answer["cluster"])
    terms = [(one["attribute"], one["term"], f"{one['share']:.0%}") for one in answer["terms"]]
    console.print(grid("What its clips share", ("attribute", "term", "clips"), terms))
    console.print("surest: " + text(answer["examples"]), highlight=False, soft_wrap=True)
    events = [(e["settled"], e["kind"], e["cluster"], e["other"], e["n_clips"], e["by"]) for e in answer["events"]]
    console.print(grid("What happened", ("at clustering", "what", "cluster", "other", "clips", "by"), events))


def _print_all_of(console: Console, one: Json) -> None:
    console.print(f"[bold]cluster {one['cluster']}[/]  {one['n_clips']:,} clips, {_came(one)}")


def _print_neighbourhood(console: Console, answer: Json) -> None:
    rows = [(one["clip_id"], one["cluster"], one["distance"], one["reach"]) for one in answer["neighbours"]]
    console.print(grid("Nearest clips", ("clip", "cluster", "distance", "reach"), rows))
    console.print(
        grid("Nearest clusters", ("cluster", "distance"), [tuple(one.values()) for one in answer["to_clusters"]])
    )


def _came(one: Json) -> str:
    return "born" if one["split_from"] is None else f"split off from {one['split_from']}"
