"""What commands share: their common options, how they print, and how they fail."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.client import Client, Refused, connected
from store.errors import CliploomError
from store.records import Json

Url = Annotated[str, typer.Option("--url", envvar="CLIPLOOM_URL", help="The service's URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
DEFAULT_URL = "http://127.0.0.1:8420"

REFUSED = 1
"""Exit code of a command that was refused; 0 is success, 2 wrong usage."""


def show(answer: Any, as_json: bool, table: Callable[[Console, Any], None]) -> None:
    """Print an answer: as JSON, or for people by `table`."""
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        table(Console(), answer)


def fail(problem: Json, as_json: bool) -> typer.Exit:
    """Print a problem; raise what is returned."""
    if as_json:
        print(json.dumps(problem, ensure_ascii=False))
    else:
        console = Console(stderr=True)
        console.print(f"[bold red]refused[/] {escape(problem['what'])}", soft_wrap=True, highlight=False)
        console.print(f"[dim]{escape(problem.get('remedy', ''))}[/]", soft_wrap=True, highlight=False)
    return typer.Exit(REFUSED)


@contextmanager
def service(url: str, as_json: bool) -> Iterator[Client]:
    """A client of the service; a refusal inside the block is printed and ends the command with code 1."""
    with connected(url) as client:
        try:
            yield client
        except Refused as refused:
            raise fail(refused.problem, as_json) from refused


@contextmanager
def local(where: str, as_json: bool) -> Iterator[None]:
    """As `service`, for what this process does itself."""
    try:
        yield
    except CliploomError as error:
        problem = {"error": type(error).__name__, "what": str(error), "where": where, "remedy": "see `cliploom doctor`"}
        raise fail(problem, as_json) from error


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of text; None is shown as a dash, ids are never folded."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column in ("clip", "run", "dead letter"), overflow="fold")
    for row in rows:
        table.add_row(*(escape(text(value)) for value in row))
    return table


def text(value: Any) -> str:
    """A value for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value) or "–"
    return str(value)


def seconds(value: float | None) -> str:
    """A duration, such as `4.2 s` or `3 min 05 s`."""
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def size(n_bytes: int | None) -> str:
    """A size in decimal units, such as `1.2 MB`."""
    if n_bytes is None:
        return "–"
    amount = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def counts(numbers: dict[str, int]) -> str:
    """Counts in a line, the largest first."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {name}" for name, number in ordered) or "none"
