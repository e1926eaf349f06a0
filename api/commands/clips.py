"""`cliploom search` and `cliploom why`."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import DEFAULT_URL, AsJson, Url, grid, seconds, service, show, text
from store.records import Json

_VIDEO_ID_DIGITS = 64


def search(
    words: Annotated[str | None, typer.Argument(help="Words to look for in the conditioning strings.")] = None,
    like: Annotated[str | None, typer.Option(help="A clip id: its nearest neighbours.")] = None,
    looks: Annotated[str | None, typer.Option(help="A text: the clips that show it. Needs profile pretrained.")] = None,
    column: Annotated[str | None, typer.Option(help="Vector column that --like compares by.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition, such as \"verdict = 'keep'\".")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Find clips by words, by what they show, by likeness to a clip, by a condition, or by it and one of the others."""
    if sum(given is not None for given in (words, like, looks)) > 1:
        raise typer.BadParameter("give words, --looks or --like, one of them")
    if column is not None and like is None:
        raise typer.BadParameter("--column goes with --like")
    with service(url, as_json) as client:
        if words is None and like is None and looks is None:
            answer = client.get("/clips", where=where, limit=limit)
        else:
            asked = {"text": words, "looks": looks, "like": like, "column": column, "where": where, "limit": limit}
            answer = client.get("/clips/search", **asked)
        show(answer, as_json, _print_found)


def why(
    subject: Annotated[str, typer.Argument(metavar="CLIP", help="A clip's id, or a video's.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Every decision on a clip and what it rests on; of a video, what was dropped of it."""
    with service(url, as_json) as client:
        if len(subject) == _VIDEO_ID_DIGITS:
            show(client.get(f"/footage/{subject}/why"), as_json, _print_video)
        else:
            show(client.get(f"/clips/{subject}/why"), as_json, _print_clip)


def _print_found(console: Console, answer: Json) -> None:
    rank = next((name for name in ("distance", "score") if answer["clips"] and name in answer["clips"][0]), None)
    rows = []
    for clip in answer["clips"]:
        place = f"{clip['source']}, {seconds(clip['duration_s'])} from {seconds(clip['start_s'])}"
        verdict = clip["verdict"] or clip["stage"]
        held_for = f" ({', '.join(clip['held_for'])})" if clip["held_for"] else ""
        ranked = [clip[rank]] if rank else []
        rows.append((clip["clip_id"], f"{place}\n{text(clip['conditioning'])}", verdict + held_for, *ranked))
    console.print(grid("", ("clip", "what it is", "verdict", *([rank] if rank else [])), rows))
    compared = f", compared by {answer['column']}" if answer.get("column") else ""
    console.print(f"{len(rows)} of {answer['total']:,} clips" if "total" in answer else f"{len(rows)} clips{compared}")


def _print_clip(console: Console, answer: Json) -> None:
    lineage = answer["lineage"]
    console.print(f"[bold]{answer['clip_id']}[/]  {answer['verdict'] or 'no verdict yet'}, stage {answer['stage']}")
    console.print(
        f"from {escape(text(lineage['video_name']))} at {seconds(lineage['start_s'])},"
        f" {seconds(lineage['duration_s'])} long; source {escape(text(lineage['source']))},"
        f" licence {escape(text(lineage['licence']))}",
        highlight=False,
    )
    told = ("rule", "verdict", "score", "threshold", "by", "reason")
    console.print(grid("Decisions", told, [[decision[name] for name in told] for decision in answer["decisions"]]))
    _print_place(console, answer["place"])
    _print_concepts(console, answer["concepts"])
    failed = answer["failed"]
    rows = [(group, recipe, failed.get(group)) for group, recipe in _recipes(answer)]
    console.print(grid("Recipes", ("of", "recipe", "failed"), rows))
    if answer["contradictions"]:
        claimed = ("claim", "measured", "score")
        checks = [[check[name] for name in claimed] for check in answer["contradictions"]]
        console.print(grid("Contradictions", claimed, checks))
    if answer["reason_failed"]:
        console.print(f"described by rules: {escape(answer['reason_failed'])}")
    if answer["reviews"]:
        told = ("decided_at", "subject", "verdict", "covers", "by", "reason")
        console.print(grid("Reviews", told, [[review[name] for name in told] for review in answer["reviews"]]))
    if answer["dead"]:
        console.print(f"dead in step {answer['dead']['step']}: {escape(answer['dead']['reason'])}")


def _print_place(console: Console, place: Json) -> None:
    """Where the clip lies among the others, in a line."""
    if place["cluster_probability"] is None:
        console.print("not placed among the others yet")
        return
    inside = place["cluster"] is not None
    where = f"cluster {place['cluster']} ({place['cluster_probability']:.0%})" if inside else "no cluster"
    margin = f", margin {text(place['margin'])} to cluster {text(place['next_cluster'])}"
    told = [name for name, holds in (("an outlier", "is_outlier"), ("at a border", "is_boundary")) if place[holds]]
    copies = f"; one of the copies {place['copies']}, " if place["copies"] else ""
    kept = ("the one to keep" if place["is_keeper"] else "not the one to keep") if copies else ""
    console.print(
        f"in {where}{margin if place['next_cluster'] is not None else ''}, outlier score {text(place['outlier_score'])}"
        f"{', ' if told else ''}{' and '.join(told)}{copies}{kept}",
        highlight=False,
    )


def _print_concepts(console: Console, concepts: list[Json]) -> None:
    """What speaks for the clip's being in each of its concepts."""
    if not concepts:
        return
    told = ("concept", "how", "probability", "agreement", "answer")
    modalities = sorted({name for one in concepts for name in one["agreements"]})
    rows = [[*(one[name] for name in told), *(one["agreements"].get(name) for name in modalities)] for one in concepts]
    titles = ("concept", "found by", "probability", "agreement", "a person says", *modalities)
    console.print(grid("Concepts", titles, rows))


def _recipes(answer: Json) -> list[tuple[str, Any]]:
    """(group of columns, its recipe), in the order of the road."""
    recipes = answer["recipes"]
    measured = {
        processor: recipes["measured"].get(processor) for processor in {**recipes["measured"], **answer["failed"]}
    }
    gate = sorted({decision["recipe"] for decision in answer["decisions"]})
    return [
        ("segment", recipes["segment"]),
        *sorted(measured.items()),
        ("reason", recipes["reason"]),
        ("annotation", recipes["annotation"]),
        ("curation", recipes["curation"]),
        ("decisions", gate),
    ]


def _print_video(console: Console, answer: Json) -> None:
    reason = f": {escape(answer['reason'])}" if answer["reason"] else ""
    console.print(f"[bold]{answer['video_id']}[/]  {answer['status']}{reason}, {answer['n_clips']} clips")
    rows = [(seconds(span["start_s"]), seconds(span["end_s"]), span["reason"]) for span in answer["dropped"]]
    console.print(grid("Dropped", ("from", "to", "reason"), rows))
    for warning in answer["warnings"]:
        console.print(f"note: {escape(warning)}")
