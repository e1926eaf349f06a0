"""`cliploom release` and `cliploom remove`."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import DEFAULT_URL, AsJson, Url, service, show
from store.records import Json

By = Annotated[str, typer.Option("--by", help="Who decides; it stays on record.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays on record.")]


class Covers(StrEnum):
    """What a release answers for."""

    AGE = "age"
    LICENCE = "licence"


class Removable(StrEnum):
    """What can be removed."""

    SOURCE = "source"
    VIDEO = "video"
    IDENTITY = "identity"


def decide(path: str, by: str, reason: str, url: str, as_json: bool) -> None:
    """Send a decision that is nothing but who and why, and print what became of it."""
    with service(url, as_json) as client:
        show(client.post(path, by=by, reason=reason), as_json, print_entered)


def release(
    source: Annotated[str, typer.Argument(help="The source's name.")],
    by: By,
    reason: Reason,
    covers: Annotated[list[Covers], typer.Option(help="What is answered for; may be given twice.")],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Release a source on record: its clips are no longer held for what is covered."""
    with service(url, as_json) as client:
        review = {"subject": "source", "subject_id": source, "verdict": "release", "by": by, "reason": reason}
        show(client.post("/reviews", covers=sorted(set(covers)), **review), as_json, print_entered)


def remove(
    subject: Removable,
    subject_id: Annotated[
        str, typer.Argument(metavar="ID", help="The source's name, or the id of the video or identity.")
    ],
    by: By,
    reason: Reason,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Remove a source, a video, or all that shows an identity, for good: clips, media, originals, and the snapshots and
    adapters made of them."""
    with service(url, as_json) as client:
        answer = client.post("/removals", subject=subject, subject_id=subject_id, by=by, reason=reason)
        show(answer, as_json, print_entered)


def print_entered(console: Console, answer: Json) -> None:
    """What became of a decision."""
    console.print(f"on record as {answer['id']}: {escape(answer['note'])}", highlight=False, soft_wrap=True)
