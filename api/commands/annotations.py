"""`cliploom reasoning`, `spent`, `annotate` and `calibrate`: where annotations come from, and making them anew."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.decisions import By, Reason, decide
from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show, text
from store.records import Json


def reasoning(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A clip's id.")],
    thinking: Annotated[bool, typer.Option("--thinking", help="Also what a model thought, raw.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What a clip's annotation was distilled from: the trace, and its checks against the measurements."""
    with service(url, as_json) as client:
        show(client.get(f"/clips/{clip}/reasoning", answers=thinking), as_json, _print)


def spent(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """What the models' answers took, by engine: tokens, seconds, cost."""
    columns = ("engine", "n_clips", "rounds", "seconds", "prompt_tokens", "answer_tokens", "cost")
    with service(url, as_json) as client:
        answer = client.get("/annotations/spent")
    show(
        answer,
        as_json,
        lambda console, told: console.print(grid("", columns, [[one[c] for c in columns] for one in told])),
    )


def annotate(
    reason: Reason,
    where: Annotated[str | None, typer.Option(help="SQL condition over the columns of clips; without it, all.")] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Have clips annotated anew, as a changed recipe does by itself. Answers that are kept are not asked for again."""
    with service(url, as_json) as client:
        answer = client.post("/annotations/due", where=where, reason=reason)
        show(answer, as_json, lambda console, told: console.print(f"{told['n_clips']:,} clips will be annotated anew"))


def calibrate(by: By, reason: Reason, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Have the control vectors measured by the quantiles of the dataset as it is now, until the next time."""
    decide("/calibrations", by, reason, url, as_json)


def _print(console: Console, answer: Json) -> None:
    trace = answer["trace"]
    failed = f"; {escape(answer['failed'])}" if answer["failed"] else ""
    console.print(f"[bold]{answer['clip_id']}[/]  by {escape(text(answer['engine']))}{failed}", highlight=False)
    if trace is None:
        console.print("annotated before reasoning was kept, or not annotated yet")
        return
    if trace["caption"]:
        console.print(escape(trace["caption"]), highlight=False)
    rows = [
        (slot, " or ".join(f"{one['term']} {one['pct']} %" for one in finding["readings"]), _evidence(finding))
        for slot, finding in trace["findings"].items()
        if finding["readings"]
    ]
    console.print(grid("Findings", ("slot", "readings", "evidence"), rows))
    told = [(event["kind"], event["what"], _when(event), _evidence(event)) for event in trace["events"]]
    console.print(grid("Events", ("kind", "what", "when", "evidence"), told))
    columns = ("claim", "measured", "verdict", "score")
    console.print(grid("Checks", columns, [[check[name] for name in columns] for check in answer["checks"]]))
    for recipe, answers in (answer["answers"] or {}).items():
        for question, one in answers.items():
            console.print(
                f"[bold]thinking[/] ({recipe}, {question}): {escape(one['thinking']) or '-'}", highlight=False
            )


def _when(event: Json) -> str:
    return f"{event['start_ms'] / 1000:.1f}-{event['end_ms'] / 1000:.1f} s"


def _evidence(claim: Json) -> str:
    frames = claim["evidence"]["frames"]
    shown = [f"frame {', '.join(map(str, frames))}"] if frames else []
    return "; ".join([*shown, *claim["evidence"]["facts"]])
