"""`cliploom status`."""

from rich.console import Console

from api.commands.output import DEFAULT_URL, AsJson, Url, counts, grid, service, show
from store.records import Json


def status(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """How far everything is: videos, clips and why they are kept out, runs, snapshots, dead letters."""
    with service(url, as_json) as client:
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
    ]
    console.print(grid("", ("what", "how many"), rows))
    on_its_way = {name: number for name, number in answer["in_flight"].items() if number}
    console.print("settled: nothing is on its way" if answer["settled"] else f"on its way: {counts(on_its_way)}")
