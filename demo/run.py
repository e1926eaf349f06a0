"""`make demo`: footage in; clips, clusters, concepts, a LoRA and a snapshot out, on this machine, within ten minutes.

`python -m demo.run` renders footage of its own; `--footage FOLDER` takes the user's. Everything lies under
`build/demo` afterwards: the store, the snapshot, the pictures and the service's log.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from api.client import Client, Refused
from api.commands.plot import draw_map, write_plot
from demo.charts import SheetRow, write_contact_sheet
from demo.footage import render_footage
from demo.report import Document, Findings, counted, find, print_report
from demo.service import DemoService
from store.errors import CliploomError, InputError
from store.store import Store

FOOTAGE_S = 180.0
WITHIN_S = 1200.0
"""From start to end, at most. Two cores take nine minutes, and were seen to take half as much again where others used
them too: a demo that is cut off before its LoRA shows less than one that is waited for."""
WRAP_UP_S = 75.0
"""Of it, kept for the snapshot, the pictures and the end of the service."""
QUIET_S = 12.0
"""Clips and concepts are what they will be once nothing changed for this long; curation itself waits 3 s."""
POLL_S = 1.0
SHEET_CLIPS = 8
"""Clips of each concept on the contact sheet."""


@dataclass(frozen=True)
class Batch:
    """Footage to take in, and what its operator answers for.

    released: what a release on record covers; empty: nothing is released.
    """

    folder: Path
    source: str
    licence: str | None
    released: tuple[str, ...]
    by: str
    reason: str


def own_footage(folder: Path) -> Batch:
    """The footage that the demo renders: its faces are two adults in photographs in the public domain."""
    return Batch(
        folder=folder,
        source="rendered",
        licence="CC-BY-2.0",
        released=("age",),
        by="the demo",
        reason="rendered by demo.footage; its faces are photographs of two adults, in the public domain",
    )


def given_footage(folder: Path, licence: str | None, release: str | None) -> Batch:
    """The user's footage; without licence and release its clips are held for what nobody answered for."""
    covers = () if not release else ("age",) if licence else ("age", "licence")
    return Batch(folder, "given", licence, covers, "the operator of the demo", release or "")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--footage", type=Path, help="folder of videos; default: the demo renders its own")
    parser.add_argument("--licence", metavar="SPDX", help="licence of the given footage; without one it is held")
    parser.add_argument("--release", metavar="REASON", help="release the given footage on record, for this reason")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder to write; it is emptied first")
    parser.add_argument("--seconds", type=float, default=FOOTAGE_S, help="length of the rendered footage")
    parsed = parser.parse_args(arguments)
    console = Console()
    try:
        batch = own_footage(parsed.out.resolve() / "footage")
        if parsed.footage is not None:
            batch = given_footage(parsed.footage.resolve(), parsed.licence, parsed.release)
        return run(console, parsed.out.resolve(), batch, None if parsed.footage else parsed.seconds)
    except (CliploomError, Refused) as error:
        console.print(f"the demo failed: {error}", markup=False, soft_wrap=True)
        return 1


def run(console: Console, out: Path, batch: Batch, render_s: float | None) -> int:
    """The whole demo; returns the exit code: 0 if there are clips and the service ended well.

    Args:
        render_s: length of the footage that is rendered into the batch's folder; None takes what lies there.

    Raises:
        InputError: the batch's folder is none.
        CliploomError, Refused: the service does not start or does not answer.
    """
    end_s = time.monotonic() + WITHIN_S
    if render_s is None and not batch.folder.is_dir():
        raise InputError(f"{str(batch.folder)!r} is no folder; give a folder of videos: make demo FOOTAGE=folder")
    shutil.rmtree(out, ignore_errors=True)
    pictures = out / "pictures"
    pictures.mkdir(parents=True)
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        if render_s is not None:
            render_footage(batch.folder, render_s, told=_bar(progress, "videos rendered"))
        with DemoService(out, Path("concepts.yaml").resolve(), batch.folder) as service:
            refused = ingest(service.client, batch, _bar(progress, "videos submitted"))
            settled = follow(service.client, Bars(progress), end_s - WRAP_UP_S)
            snapshot = take_snapshot(service.client, end_s - WRAP_UP_S / 3)
            found = find(service.client, refused, settled, snapshot)
            written = [*write_pictures(pictures, Store.open(service.data), found), service.log_path]
            code = service.stop()
    print_report(console, found, written)
    if batch.released:
        console.print(
            f"released on record for {' and '.join(batch.released)} by {batch.by}: {batch.reason}", markup=False
        )
    else:
        console.print(
            'nobody answered for who is shown; if you can: make demo FOOTAGE=... LICENCE=... RELEASE="who knows what"',
            markup=False,
        )
    console.print(f"the service ended on SIGTERM with exit code {code}")
    return 0 if found.clips and code == 0 else 1


def _bar(progress: Progress, title: str) -> Callable[[int, int], None]:
    task = progress.add_task(title, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def ingest(client: Client, batch: Batch, told: Callable[[int, int], None]) -> list[tuple[str, str]]:
    """Submit every video of the batch and put its release on record; returns (name, why) of those refused.

    Raises:
        InputError: the folder holds no video.
        Refused: the service does not answer, or refuses the release.
    """
    files = [Path(path) for path in client.get("/footage/files", path=str(batch.folder))["files"]]
    if not files:
        raise InputError(f"folder {batch.folder} holds no file that looks like a video; give another")
    refused = []
    for done, path in enumerate(files, start=1):
        try:
            client.post("/footage", path=str(path), source=batch.source, licence=batch.licence)
        except Refused as problem:
            refused.append((path.name, str(problem)))
        told(done, len(files))
    if len(refused) == len(files):
        raise InputError(f"none of the {len(files)} files was taken; the first: {refused[0][0]}: {refused[0][1]}")
    if batch.released:
        release = {"subject": "source", "subject_id": batch.source, "verdict": "release", "covers": batch.released}
        client.post("/reviews", **release, by=batch.by, reason=batch.reason)
    return refused


class Bars:
    """Progress bars of what the service does."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, status: Document, n_curated: int, runs: Sequence[Document]) -> None:
        """Bring the bars up to date."""
        videos, stages = status["videos"], status["clips"]["by_stage"]
        ended = sum(videos.get(name, 0) for name in ("done", "dead", "removed"))
        n_clips = status["clips"]["total"]
        embedded = n_clips - stages.get("segmented", 0)
        self._set("videos done", ended, sum(videos.values()))
        self._set("clips cut and embedded", embedded, n_clips)
        self._set("clips annotated", embedded - stages.get("embedded", 0), n_clips)
        self._set("clips placed by clustering", n_curated, n_clips)
        for run in runs:
            step = run.get("progress")
            if step is not None:
                loss = "" if step["loss"] is None else f" loss {step['loss']:.3f}"
                self._set(f"LoRA {run['concept']}", step["step"], step["steps"], f"{step['phase']}{loss}")

    def _set(self, name: str, done: int, total: int, note: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None)
        self._progress.update(
            self._tasks[name], description=f"{name} {note}".strip(), completed=done, total=total or None
        )


@dataclass(frozen=True)
class Clock:
    """Time as the demo spends it; tests give another."""

    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def follow(client: Client, bars: Bars, until_s: float, clock: Clock = Clock()) -> bool:
    """Show progress until it is enough, or until that moment of the clock; returns whether it was enough.

    Enough: every video came to its end, nothing changed for `QUIET_S`, and the first LoRA run, if one was requested,
    has ended. The service would go on to train the next concept.
    """
    last: object = None
    changed_s = clock.now_s()
    while clock.now_s() < until_s:
        status, runs = client.get("/status"), client.get("/training")
        n_curated = client.get("/clips", where="curation_recipe IS NOT NULL", limit=1)["total"]
        bars.show(status, n_curated, runs)
        state = (status["videos"], status["clips"], status["concepts"], n_curated)
        if state != last:
            last, changed_s = state, clock.now_s()
        trained = not runs or any(run["status"] not in ("requested", "running") for run in runs)
        if trained and status["in_flight"]["videos"] == 0 and clock.now_s() - changed_s > QUIET_S:
            return True
        clock.sleep(POLL_S)
    return False


def take_snapshot(client: Client, until_s: float, clock: Clock = Clock()) -> Document | None:
    """Ask for snapshot `demo` and wait for it until that moment of the clock; None if it was too late to ask."""
    if clock.now_s() >= until_s:
        return None
    client.post("/snapshots", tag="demo", note="made by make demo", by="the demo")
    while clock.now_s() < until_s:
        for snapshot in client.get("/snapshots"):
            if snapshot["status"] != "requested":
                return dict(snapshot)
        clock.sleep(POLL_S)
    return {"tag": "demo", "status": "requested"}


def write_pictures(folder: Path, store: Store, found: Findings) -> list[Path]:
    """Write the pictures that can be made of what was found; returns their paths."""
    written = []
    if found.clips:
        written.append(folder / "clips_by_concept.png")
        write_contact_sheet(written[-1], sheet_groups(store, found))
    if found.map:
        written.append(folder / "cluster_map.png")
        write_plot(written[-1], draw_map, found.map)
    for run in found.runs:
        for name, key in run.get("artefacts", {}).items():
            if name.endswith(".png"):
                path = folder / f"{run['concept']}_{run['run_id']}_{name}"
                path.write_bytes(store.media.read(key))
                written.append(path)
    return written


def sheet_groups(store: Store, found: Findings) -> dict[str, list[SheetRow]]:
    """The contact sheet's rows: the surest clips of each concept, and the clips of none."""
    clips = {clip["clip_id"]: clip for clip in found.clips if clip["strip_key"]}
    groups: dict[str, list[str]] = {}
    left = set(clips)
    for concept, members in found.members.items():
        surest = sorted(members, key=lambda member: -(member["probability"] or 0))
        ids = [member["clip_id"] for member in surest if member["clip_id"] in clips]
        groups[f"{concept} ({counted(len(ids), 'clip')})"] = ids
        left -= set(ids)
    groups[f"no concept ({counted(len(left), 'clip')})"] = sorted(left)
    return {
        title: [SheetRow(store.media.read(clips[i]["strip_key"]), _line(clips[i])) for i in ids[:SHEET_CLIPS]]
        for title, ids in groups.items()
    }


def _line(clip: Document) -> str:
    cluster = "no cluster" if clip["cluster"] is None else f"cluster {clip['cluster']}"
    held = f" for {', '.join(clip['held_for'])}" if clip["held_for"] else ""
    return f"{clip['duration_s']:.1f} s, {cluster}, {clip['verdict']}{held}\n{clip['conditioning'] or ''}"


if __name__ == "__main__":
    sys.exit(main())
