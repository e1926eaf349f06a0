"""`cliploom review`: what to decide next, asked one by one in the terminal, or listed."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.client import Client
from api.commands.decisions import By, Reason
from api.commands.output import DEFAULT_URL, AsJson, Url, grid, service, show, text
from store.records import Json

app = typer.Typer(help="Answer what matters most: the day's questions, decisions on record, what the model proposes.")

KEYS: Mapping[str, str] = {
    "yes": "y",
    "no": "n",
    "keep": "k",
    "drop": "d",
    "release": "r",
    "revoke": "x",
    "drop-others": "d",
    "keep-all": "k",
    "same": "s",
    "different": "d",
}
"""The key of each answer."""
_SKIP, _UNDO, _QUIT = " ", "u", "q"

Budget = Annotated[int, typer.Option(min=0, max=500, help="Answers a day (UTC); today's count against it.")]
Names = Annotated[list[str] | None, typer.Option("--concept", help="Only this concept's; may be given several times.")]


@app.callback(invoke_without_command=True)
def review(
    context: typer.Context,
    budget: Budget = 30,
    concept: Names = None,
    by: Annotated[str | None, typer.Option("--by", help="Who decides; it stays on record.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; stays on record.")] = "looked at in the queue",
    is_listed: Annotated[bool, typer.Option("--list", help="List the questions; ask nothing.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Ask the day's questions, the most useful first. One key answers; space skips, u undoes the last, q leaves."""
    if context.invoked_subcommand is not None:
        return
    if by is None and not (is_listed or as_json):
        raise typer.BadParameter("--by NAME is needed to decide (it stays on record); --list only shows the questions")
    with service(url, as_json) as client:
        queue = client.get("/review/queue", budget=budget, concept=concept)
        if by is None or is_listed or as_json:
            show(queue, as_json, _print_queue)
        else:
            _ask(Console(), client, queue, by, reason)


@app.command()
def decide(
    item: Annotated[str, typer.Argument(help="As the queue names it, or cluster:7 (split), cluster:7+9 (merge).")],
    answer: Annotated[str, typer.Argument(help="One of the answers that the queue offers for it.")],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put one answer on record."""
    decision = {"item": item, "answer": answer, "reason": reason}
    with service(url, as_json) as client:
        show(client.post("/review/decisions", by=by, decisions=[decision]), as_json, _print_decided)


@app.command()
def undo(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Id of a decision, or of an undoing.")],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a decision no longer stand; what stood before counts again."""
    with service(url, as_json) as client:
        answer = client.post(f"/review/decisions/{decision}/undo", by=by, reason=reason)
        show(answer, as_json, _print_decided)


@app.command("decisions")
def list_decisions(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Every decision on clips, sources and clusters."""
    with service(url, as_json) as client:
        show(client.get("/review/decisions"), as_json, _print_decisions)


@app.command("proposals")
def list_proposals(
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    concept: Names = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """What people would likely answer, by their answers so far; nothing is decided by it."""
    with service(url, as_json) as client:
        show(client.get("/review/proposals", limit=limit, concept=concept), as_json, _print_proposals)


def _ask(console: Console, client: Client, queue: Json, by: str, reason: str) -> None:
    """Ask one question after the other until none is left or the person leaves; what is undone is asked again."""
    _print_head(console, queue)
    made: list[tuple[int, list[str]]] = []
    items: Sequence[Json] = queue["items"]
    place = 0
    while place < len(items):
        item = items[place]
        _print_item(console, item, f"{place + 1} of {len(items)}")
        keys = {KEYS[one]: one for one in item["answers"]}
        match _key([*keys, _SKIP, _UNDO, _QUIT]):
            case "q":
                break
            case "u" if made:
                place, decisions = made.pop()
                for decision in decisions:
                    client.post(f"/review/decisions/{decision}/undo", by=by, reason="taken back in the queue")
                console.print("the last answer is undone")
                continue
            case "u":
                console.print("nothing to undo here")
                continue
            case key if key in keys:
                answer = {"item": item["item_id"], "answer": keys[key], "reason": reason}
                decided = client.post("/review/decisions", by=by, decisions=[answer])
                made.extend((place, ids) for ids in decided["ids"])
                console.print(f"{keys[key]}: {decided['note']}", highlight=False)
        place += 1
    console.print(f"{len(made)} answers on record")


def _key(allowed: Sequence[str]) -> str:
    """The next of the allowed keys that is pressed."""
    try:
        while (key := typer.getchar().lower()) not in allowed:
            pass
    except OSError as error:
        raise typer.BadParameter("there is no terminal to press keys in; use `cliploom review decide`") from error
    return key


def _print_head(console: Console, queue: Json) -> None:
    console.print(f"{queue['n_answered']} of {queue['budget']} answers given today; {len(queue['items'])} to ask")
    for kind, note in sorted(queue["notes"].items()):
        console.print(f"[dim]proposals for {kind}: {escape(note)}[/]", highlight=False)


def _print_item(console: Console, item: Json, place: str) -> None:
    console.print(f"\n[bold]{place}[/]  {escape(_question(item))}", highlight=False, soft_wrap=True)
    console.print(f"asked because: {escape(item['why'])}", highlight=False, soft_wrap=True)
    console.print(f"expected: {escape(item['expected'])}", highlight=False, soft_wrap=True)
    console.print(_proposed(item), highlight=False)
    for clip_id, picture in zip(item["clip_ids"], item["pictures"], strict=True):
        console.print(f"  {clip_id}  {escape(picture or f'/clips/{clip_id}/strip')}", highlight=False, soft_wrap=True)
    keys = "  ".join(f"{KEYS[answer]} {answer}" for answer in item["answers"])
    console.print(f"{keys}  space skip  u undo  q leave", highlight=False)


def _question(item: Json) -> str:
    return {
        "member": f"Is this clip of {item['concept']}?",
        "hold": "May this clip be used?",
        "source": f"May this source be used ({item['because']})?",
        "copies": "Are these copies, of which the first stays?",
        "identity": "Is this the same person?",
    }[item["kind"]]


def _proposed(item: Json) -> str:
    if item["low"] is None:
        return f"stated probability {item['probability']:.0%}"
    told = f"{item['probability']:.0%} {item['answers'][0]} (95%: {item['low']:.0%} to {item['high']:.0%})"
    return f"proposed: {item['proposed']}, {told}" if item["proposed"] else f"by the prior: {told}"


def _print_queue(console: Console, queue: Json) -> None:
    _print_head(console, queue)
    rows = [
        (one["item_id"], one["because"], one["gain"], one["probability"], one["proposed"], one["answers"], one["why"])
        for one in queue["items"]
    ]
    console.print(grid("", ("item", "because", "gain", "probability", "proposed", "answers", "why"), rows))


def _print_decided(console: Console, answer: Json) -> None:
    ids = " ".join(id_ for some in answer["ids"] for id_ in some)
    console.print(f"on record as {ids}: {escape(answer['note'])}", highlight=False, soft_wrap=True)


def _print_decisions(console: Console, answer: list[Json]) -> None:
    rows = [
        (
            one["decision_id"],
            f"{one['subject']} {one['subject_id']}",
            _said(one),
            one["by"],
            one["reason"],
            one["decided_at"],
            one["stands"],
        )
        for one in answer
    ]
    console.print(grid("", ("decision", "subject", "verdict", "by", "why", "when", "stands"), rows))


def _said(one: Json) -> str:
    named = [f"{concept} {text(is_of_it)}" for concept, is_of_it in sorted(one["concepts"].items())]
    return " ".join([one["verdict"], *one["covers"], *one["others"], *named, one["undoes"] or ""]).strip()


def _print_proposals(console: Console, answer: Json) -> None:
    rows = [
        (one["clip_id"], one["concept"], one["answer"], one["probability"], one["low"], one["high"])
        for one in answer["proposals"]
    ]
    console.print(grid("", ("clip", "concept", "yes or keep", "probability", "low", "high"), rows))
    for kind, note in sorted(answer["notes"].items()):
        console.print(f"[dim]{kind}: {escape(note)}[/]", highlight=False)
