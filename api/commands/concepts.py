"""`cliploom concepts`: subsets of the clips, and whether they are ready to be trained on."""

from textwrap import indent
from typing import Annotated

import typer
import yaml
from rich.console import Console

from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show, text
from store.records import Json


def concepts(
    name: Annotated[str | None, typer.Argument(help="One concept, with its clips.")] = None,
    proposed: Annotated[bool, typer.Option("--proposed", help="What clusters suggest, for concepts.yaml.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Concepts with their purity, and why they are not ready to be trained on."""
    if proposed and name is not None:
        raise typer.BadParameter("--proposed is of no declared concept; leave out one of both")
    with service(url, as_json) as client:
        if proposed:
            show(client.get("/concepts/proposed"), as_json, _print_proposals)
        elif name is None:
            show(client.get("/concepts"), as_json, _print_concepts)
        else:
            show(client.get(f"/concepts/{name}"), as_json, _print_concept)


def _print_concepts(console: Console, answer: list[Json]) -> None:
    rows = [
        (
            concept["concept"],
            concept["token"],
            f"{concept['n_eligible']} of {concept['n_members']} clips open to use, {concept['n_distinct']} but for"
            f" copies, {concept['n_videos']} videos, {concept['n_sources']} sources",
            "unknown"
            if concept["purity"] is None
            else f"{concept['purity']:.2f}, at least {text(concept['purity_low'])}",
            "yes" if concept["ready"] else "no: " + "; ".join(concept["reasons"]),
        )
        for concept in answer
    ]
    console.print(grid("", ("concept", "token", "subset", "purity", "ready"), rows))


def _print_concept(console: Console, answer: Json) -> None:
    concept = answer["concept"]
    _print_concepts(console, [concept])
    told = ", ".join(f"{name} {value:.2f}" for name, value in concept["purity_by_modality"].items())
    console.print(
        f"found by {concept['how']}; purity by modality: {told or '–'}; people were asked about {concept['n_asked']}"
        f" clips; as varied as {concept['effective_videos']:.1f} equal videos; {concept['n_identities']} people seen",
        highlight=False,
    )
    columns = ("clip_id", "probability", "agreement", "answer", "eligible", "held_for")
    rows = [[member[column] for column in columns] for member in answer["members"]]
    titles = ("clip", "probability", "agreement", "a person says", "open to use", "kept out by")
    console.print(grid("", titles, rows))


def _print_proposals(console: Console, answer: list[Json]) -> None:
    """As YAML that can be pasted in concepts.yaml, under `concepts:`."""
    if not answer:
        console.print("# no cluster of enough clips and videos that a declared concept is not already")
    for proposal in answer:
        told = f"# cluster {proposal['cluster']}: {proposal['n_clips']} clips of {proposal['n_videos']} videos"
        if "query" in proposal["concept"]:
            told += f", agrees with the condition by {proposal['agreement']:.2f}"
        entry = yaml.safe_dump([proposal["concept"]], sort_keys=False, allow_unicode=True, width=110)
        console.out(indent(f"{told}\n{entry}", "  "), highlight=False)
