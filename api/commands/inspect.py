"""`cliploom inspect`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from api.commands.output import DEFAULT_URL, AsJson, Url, local, service, show, size
from store.errors import InputError
from store.records import Json


def inspect(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A clip's id.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("page.html"),
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Write one page that shows what was measured of a clip, on its frames and over time; it opens from the file."""
    with service(url, as_json) as client:
        text = client.get_text(f"/clips/{clip}/page")
    with local(f"write {out}", as_json):
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{out} cannot be written: {error.strerror}; give another file with --out") from error
    show({"clip_id": clip, "page": str(out), "bytes": out.stat().st_size}, as_json, _print)


def _print(console: Console, answer: Json) -> None:
    console.print(f"{escape(answer['page'])}, {size(answer['bytes'])}: open it in a browser", highlight=False)
