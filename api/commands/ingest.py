"""`cliploom ingest`: submit files and folders, once or as they arrive."""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from watchfiles import Change, watch

from api.client import Client, Refused, submit
from api.commands.output import DEFAULT_URL, REFUSED, AsJson, Url, fail, service
from api.folders import is_footage, video_files

SETTLE_MS = 1_000
"""A file is taken for complete when it has not changed for this long, twice over."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: str
    outcome: Literal["accepted", "known", "again", "refused"]
    video_id: str | None
    note: str


def ingest(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Videos, and folders of videos.")],
    source: Annotated[str, typer.Option(help="Who or what the footage comes from.")],
    licence: Annotated[
        str | None, typer.Option(help="SPDX identifier, or LicenseRef-...; without one the clips are held.")
    ] = None,
    watch_: Annotated[bool, typer.Option("--watch", help="Go on, and submit what arrives in the folders.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Submit videos: by path where the service is on this machine and may read them (`up --allow`), else by upload."""
    if watch_ and not all(path.is_dir() for path in paths):
        raise typer.BadParameter("--watch goes with folders only")
    with service(url, as_json) as client:
        client.get("/health")
        if watch_:
            _watch(client, paths, source, licence, as_json)
            return
        files, others = files_of(paths)
        if not files:
            what = f"no video in {', '.join(map(str, paths))} ({others} other files)"
            raise fail({"error": "InputError", "what": what, "where": "ingest", "remedy": "name a video file"}, as_json)
        outcomes = list(_submitted(client, files, source, licence, Console(quiet=as_json)))
    _print_summary(outcomes, others, as_json)
    if any(outcome.outcome == "refused" for outcome in outcomes):
        raise typer.Exit(REFUSED)


def files_of(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """(files named and videos in folders named, each once; number of other files in the folders)."""
    files: dict[Path, None] = {}
    others = 0
    for path in paths:
        found, skipped = video_files(path) if path.is_dir() else ([path], 0)
        files.update(dict.fromkeys(found))
        others += skipped
    return list(files), others


def arriving_files(folders: Sequence[Path], stop: threading.Event) -> Iterator[Path]:
    """Videos in the folders, those that are there and then those that arrive, each once it no longer changes."""
    growing: dict[Path, int] = {}
    listed = False
    for changes in watch(*folders, stop_event=stop, rust_timeout=SETTLE_MS, yield_on_timeout=True):
        if not listed:  # Only now is the watch set up, so that nothing arrives unseen.
            growing.update(dict.fromkeys(files_of(folders)[0], -1))
            listed = True
        arrived = (Path(name) for change, name in changes if change != Change.deleted)
        growing.update({path: -1 for path in arrived if is_footage(path)})
        for path, size_bytes in list(growing.items()):
            now_bytes = path.stat().st_size if path.is_file() else None
            if now_bytes is None or now_bytes == size_bytes:
                del growing[path]
            else:
                growing[path] = now_bytes
            if now_bytes == size_bytes:
                yield path


def _watch(client: Client, folders: Sequence[Path], source: str, licence: str | None, as_json: bool) -> None:
    console = Console(quiet=as_json)
    console.print(f"watching {', '.join(map(str, folders))}; Ctrl-C ends it")
    try:
        for outcome in _submitted(client, arriving_files(folders, threading.Event()), source, licence, console):
            if as_json:
                print(json.dumps(asdict(outcome), ensure_ascii=False), flush=True)
    except KeyboardInterrupt:
        console.print("stopped watching")


def _submitted(
    client: Client, files: Iterable[Path], source: str, licence: str | None, console: Console
) -> Iterator[Outcome]:
    of_all = f" of {len(files)}" if isinstance(files, Sized) else ""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for number, path in enumerate(files, start=1):
            task = progress.add_task(f"{number}{of_all} {escape(path.name)}")
            try:
                with progress.open(path, "rb", task_id=task) as stream:
                    answer = submit(client, path, stream, source, licence)
                outcome = Outcome(str(path), answer["outcome"], answer["id"], answer["note"])
            except Refused as refused:
                if refused.problem["error"] == "NoService":
                    raise
                outcome = Outcome(str(path), "refused", None, refused.problem["what"])
            except OSError as error:
                outcome = Outcome(str(path), "refused", None, f"cannot be read: {error.strerror}")
            progress.remove_task(task)
            _print_outcome(console, outcome)
            yield outcome


def _print_outcome(console: Console, outcome: Outcome) -> None:
    colour = {"accepted": "green", "again": "yellow", "known": "cyan", "refused": "red"}[outcome.outcome]
    told = "" if outcome.outcome == "accepted" else f": {escape(outcome.note)}"
    line = f"[{colour}]{outcome.outcome:>8}[/] {escape(outcome.path)}{told}"
    console.print(line, highlight=False, soft_wrap=True)


def _print_summary(outcomes: Sequence[Outcome], others: int, as_json: bool) -> None:
    summary = {name: sum(o.outcome == name for o in outcomes) for name in ("accepted", "known", "again", "refused")}
    summary["others"] = others
    if as_json:
        print(json.dumps({"files": [asdict(outcome) for outcome in outcomes], "summary": summary}, ensure_ascii=False))
        return
    told = [f"{number} {name}" for name, number in summary.items() if number and name != "others"]
    left = f"; {others} other files in the folders were left out" if others else ""
    Console().print(", ".join(told) + left, highlight=False)
