"""`cliploom concepts` and `cliploom train`."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show, text
from store.records import Json


class Stage(StrEnum):
    """Stage of training."""

    A = "A"
    B = "B"


def concepts(
    name: Annotated[str | None, typer.Argument(help="One concept, with its clips.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Concepts with their purity, and why they are not ready to be trained on."""
    with service(url, as_json) as client:
        if name is None:
            show(client.get("/concepts"), as_json, _print_concepts)
        else:
            show(client.get(f"/concepts/{name}"), as_json, _print_concept)


def train(
    concept: Annotated[str, typer.Argument(help="The concept's name.")],
    stage: Annotated[Stage, typer.Option(help="A: the concept; B: refine it.")] = Stage.A,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Request a LoRA run by hand."""
    with service(url, as_json) as client:
        show(client.post("/training", concept=concept, stage=stage.value), as_json, _print_run)


def _print_concepts(console: Console, answer: list[Json]) -> None:
    rows = [
        (
            concept["concept"],
            concept["token"],
            f"{concept['n_eligible']} of {concept['n_members']} clips open to use, {concept['n_videos']} videos",
            "unknown"
            if concept["purity"] is None
            else f"{concept['purity']:.2f}, at least {text(concept['purity_low'])}",
            "yes" if concept["ready"] else "no: " + "; ".join(concept["reasons"]),
        )
        for concept in answer
    ]
    console.print(grid("", ("concept", "token", "subset", "purity", "ready"), rows))


def _print_concept(console: Console, answer: Json) -> None:
    _print_concepts(console, [answer["concept"]])
    rows = [(m["clip_id"], m["probability"], m["eligible"], m["held_for"]) for m in answer["members"]]
    console.print(grid("", ("clip", "agreement", "open to use", "kept out by"), rows))


def _print_run(console: Console, answer: Json) -> None:
    console.print(f"run {answer['id']}: {escape(answer['note'])}", highlight=False)
