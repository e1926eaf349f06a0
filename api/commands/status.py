"""`cliploom status`."""

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from api.commands.output import DEFAULT_URL, AsJson, Url, counts, grid, service, show
from api.commands.watch import watch
from store.records import Json


def status(
    watch_: Annotated[bool, typer.Option("--watch", help="Go on, and draw it again in place.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks of --watch.")] = 2.0,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """How far everything is: videos, clips and why they are kept out, steps, runs, snapshots, dead letters."""
    if watch_ and as_json:
        raise typer.BadParameter("--watch draws for people; for programs, call --json again and again")
    with service(url, as_json) as client:
        if watch_:
            watch(client, every, Console(), datetime.now)
            return
        show(client.get("/status"), as_json, _print)


def _print(console: Console, answer: Json) -> None:
    clips = answer["clips"]
    rows = [
        ("videos", counts(answer["videos"])),
        ("clips", counts(clips["by_stage"])),
        ("verdicts", counts(clips["by_verdict"])),
        ("kept out by", counts(clips["reasons"])),
        ("concepts", counts(answer["concepts"])),
        ("training runs", counts(answer["runs"])),
        ("snapshots", counts(answer["snapshots"])),
        ("removals", counts(answer["removals"])),
        ("dead letters", counts(answer["dead_letters"])),
        ("waiting", counts({step["step"]: step["lag"] for step in answer["steps"] if step["lag"]})),
    ]
    console.print(grid("", ("what", "how many"), rows))
    for processor, reason in answer["absent"].items():
        console.print(f"left out: {processor}, {reason}", soft_wrap=True, highlight=False, markup=False)
    on_its_way = {name: number for name, number in answer["in_flight"].items() if number}
    console.print("settled: nothing is on its way" if answer["settled"] else f"on its way: {counts(on_its_way)}")
