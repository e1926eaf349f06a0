"""`cliploom identities`: who appears where, under pseudonyms, and what people decide about it."""

from typing import Annotated, Any

import typer
from rich.console import Console

from api.commands.decisions import By, Reason, print_entered
from api.commands.output import DEFAULT_URL, AsJson, Url, grid, seconds, service, show, text
from store.records import Json

app = typer.Typer(no_args_is_help=True, help="Who appears in which clips, under pseudonyms: list, merge, split, undo.")

Identity = Annotated[str, typer.Argument(metavar="ID", help="A pseudonym, such as p-3f9a1c22d0b7e481.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Everybody who is known: those in most clips first."""
    with service(url, as_json) as client:
        show(client.get("/identities", limit=limit), as_json, _print_list)


@app.command("show")
def show_one(identity: Identity, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """One identity: its tracks, and who may be the same person."""
    with service(url, as_json) as client:
        show(client.get(f"/identities/{identity}"), as_json, _print_one)


@app.command()
def merge(
    identity: Identity,
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="Those who are the same person.")],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put on record that others are the same person."""
    with service(url, as_json) as client:
        answer = client.post(f"/identities/{identity}/merge", others=others, by=by, reason=reason)
        show(answer, as_json, print_entered)


@app.command()
def split(
    identity: Identity,
    tracks: Annotated[list[str], typer.Option("--track", help="CLIP:NUMBER of a track that is somebody else.")],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Put on record that some of its tracks are somebody else, who becomes an identity of their own."""
    named = [_track(one) for one in tracks]
    with service(url, as_json) as client:
        answer = client.post(f"/identities/{identity}/split", tracks=named, by=by, reason=reason)
        show(answer, as_json, print_entered)


@app.command()
def undo(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Id of a merge, a split or an undoing.")],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Let a decision no longer stand."""
    with service(url, as_json) as client:
        answer = client.post(f"/identities/decisions/{decision}/undo", by=by, reason=reason)
        show(answer, as_json, print_entered)


def _track(named: str) -> dict[str, Any]:
    clip_id, _, number = named.rpartition(":")
    if not clip_id or not number.isdecimal():
        raise typer.BadParameter(f"--track {named}: write CLIP:NUMBER, as `cliploom identities show` does")
    return {"clip_id": clip_id, "track": int(number)}


def _print_list(console: Console, answer: Json) -> None:
    rows = [
        (
            one["identity"],
            one["token"],
            one["n_clips"],
            one["n_videos"],
            one["n_tracks"],
            _face(one["exemplar"]),
            _maybe(one),
        )
        for one in answer["identities"]
    ]
    console.print(grid("", ("identity", "token", "clips", "videos", "tracks", "best face", "may be"), rows))
    console.print(f"{len(rows)} of {answer['total']:,} identities")


def _print_one(console: Console, answer: Json) -> None:
    console.print(f"[bold]{answer['identity']}[/]  {answer['n_clips']} clips of {answer['n_videos']} videos")
    console.print(f"token {text(answer['token'])}", highlight=False)
    if answer["candidates"]:
        console.print(f"may be the same person as {_maybe(answer)}", highlight=False)
    rows = [
        (f"{one['clip_id']}:{one['track']}", one["source"], seconds(one["start_s"]), one["probability"], one["quality"])
        for one in answer["tracks"]
    ]
    console.print(grid("Tracks", ("clip", "source", "from", "probability", "quality"), rows))


def _face(sight: Json) -> str:
    return f"{sight['clip_id']}:{sight['track']} at {seconds(sight['time_s'])}"


def _maybe(one: Json) -> str:
    return text([f"{likely['identity']} ({likely['probability']:.0%})" for likely in one["candidates"]])
