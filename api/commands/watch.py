"""The live view of `cliploom status --watch`."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from api.client import Client, Refused
from api.commands.output import counts, text
from store.records import Json

_MOST_ROWS = 6
"""Of one kind that are shown; the others are counted."""


@dataclass(frozen=True)
class Look:
    """What the service told at one moment.

    at_s: seconds of a monotonic clock.
    """

    at_s: float
    at: datetime
    status: Json
    concepts: list[Json]
    runs: list[Json]


def watch(
    client: Client,
    every_s: float,
    console: Console,
    now: Callable[[], datetime],
    wait: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Draw how the service fares, again and again in place, until Ctrl-C; also while no service answers."""
    before: Look | None = None
    last: Look | None = None
    away_since: datetime | None = None
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while True:
                try:
                    before, last, away_since = last, _look(client, now(), monotonic()), None
                except Refused as refused:
                    before, away_since = None, away_since or now()
                    live.update(_away(refused, away_since, client.url, last), refresh=True)
                else:
                    live.update(view(last, before, client.url), refresh=True)
                wait(every_s)
        except KeyboardInterrupt:
            return


def view(look: Look, before: Look | None, url: str) -> RenderableType:
    """A look as it is drawn; rates are those since the look before."""
    tables = [_steps(look, before), _concepts(look.concepts), _runs(look.runs)]
    parts: list[RenderableType] = [_headline(look, url), _counts(look.status)]
    if look.status["reading"]:
        parts.append(_reading(look.status["reading"]))
    return Group(*parts, Columns([table for table in tables if table.row_count], padding=(0, 2)))


def rates(look: Look, before: Look | None) -> dict[str, float]:
    """Records per second since the look before, by step; none of a step that was started again since."""
    if before is None or look.at_s <= before.at_s:
        return {}
    known = {step["step"]: step["done"] for step in before.status["steps"]}
    told = {step["step"]: (step["done"], known.get(step["step"])) for step in look.status["steps"]}
    return {
        step: (done - was) / (look.at_s - before.at_s)
        for step, (done, was) in told.items()
        if done is not None and was is not None and done >= was
    }


def _look(client: Client, at: datetime, at_s: float) -> Look:
    return Look(at_s, at, client.get("/status"), client.get("/concepts"), client.get("/training"))


def _away(refused: Refused, since: datetime, url: str, last: Look | None) -> RenderableType:
    told = Text(f"away since {since:%H:%M:%S}: {refused}; trying again, Ctrl-C ends", style="red")
    if last is None:
        return told
    return Group(told, Text(f"as it was at {last.at:%H:%M:%S}:", style="dim"), view(last, None, url))


def _headline(look: Look, url: str) -> Text:
    on_its_way = {name: number for name, number in look.status["in_flight"].items() if number}
    told = "settled" if look.status["settled"] else f"on its way: {counts(on_its_way)}"
    headline = Text.assemble(("Cliploom", "bold"), f" {url} at {look.at:%H:%M:%S}  ")
    return headline.append(told, style="green" if look.status["settled"] else "yellow")


def _counts(status: Json) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    letters = status["dead_letters"]
    open_ = letters.get("dead", 0)
    others = {name: number for name, number in letters.items() if name != "dead"}
    dead = Text(f"{open_:,} open", style="red" if open_ else "")
    if others:
        dead.append(f" ({counts(others)})", style="dim")
    for name, told in (("videos", status["videos"]), ("clips", status["clips"]["by_stage"])):
        grid.add_row(name, counts(told))
    grid.add_row("verdicts", counts(status["clips"]["by_verdict"]))
    grid.add_row("dead letters", dead)
    return grid


def _reading(videos: list[Json]) -> Table:
    table = _table("being read", "read", "chunks")
    for video in videos[:_MOST_ROWS]:
        name = escape(text(video["name"]))
        table.add_row(name, _bar(video["share"]) if video["share"] else "length unknown", str(video["chunk"]))
    return _counted(table, videos)


def _steps(look: Look, before: Look | None) -> Table:
    table = _table("step", "waiting", "records/s", "done", "workers", right=("waiting", "records/s", "done", "workers"))
    rate = rates(look, before)
    for step in look.status["steps"]:
        name = escape(step["step"])
        told = f"{rate[step['step']]:.1f}" if step["step"] in rate else "–"
        waiting = Text(_number(step["lag"]), style="yellow" if step["lag"] else "")
        workers = Text(_number(step["workers"]), style="red" if step["workers"] == 0 else "")
        table.add_row(name, waiting, told, _number(step["done"]), workers)
    if not look.status["steps"]:
        table.add_row(Text(look.status["steps_note"], style="dim"))
    return table


def _concepts(concepts: list[Json]) -> Table:
    table = _table("concept", "clips", "purity", "ready", right=("clips", "purity"))
    for concept in concepts[:_MOST_ROWS]:
        ready = Text("yes", style="green") if concept["ready"] else Text("no", style="dim")
        purity = "–" if concept["purity"] is None else f"{concept['purity']:.2f}"
        table.add_row(escape(concept["concept"]), _number(concept["n_eligible"]), purity, ready)
    return _counted(table, concepts)


def _runs(runs: list[Json]) -> Table:
    table = _table("run of", "stage", "phase", "steps", "loss")
    going = [run for run in runs if run["status"] in ("requested", "running")]
    for run in going[:_MOST_ROWS]:
        progress: Mapping[str, object] = run.get("progress") or {}
        name, stage = escape(text(run.get("concept"))), text(run.get("stage"))
        table.add_row(name, stage, text(progress.get("phase") or "waits"), _run_steps(run), text(progress.get("loss")))
    return _counted(table, going)


def _run_steps(run: Json) -> RenderableType:
    progress = run.get("progress")
    if not progress:
        return "–"
    return _bar(progress["step"] / max(1, progress["steps"]), f"{progress['step']}/{progress['steps']}")


def _bar(share: float, told: str | None = None) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=1.0, completed=share, width=16), told or f"{share:.0%}")
    return grid


def _table(*columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="ellipsis", no_wrap=True)
    return table


def _counted(table: Table, rows: list[Json]) -> Table:
    if len(rows) > _MOST_ROWS:
        table.add_row(Text(f"and {len(rows) - _MOST_ROWS:,} more", style="dim"))
    return table


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
