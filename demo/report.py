"""What the demo found in the service when it was done, and how it is printed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.client import Client, Refused

Document = dict[str, Any]
_PAGE = 200
_MEASURE = re.compile(r"\d[\d.]*")


@dataclass(frozen=True)
class Findings:
    """The service's own answers, and what the door refused.

    refused: (file name, why) of files that were not taken.
    members: concept to its members.
    settled: False where time ran out before all was done.
    """

    settled: bool
    refused: tuple[tuple[str, str], ...]
    videos: tuple[Document, ...]
    """As `GET /footage/{video_id}` shows each."""
    clips: tuple[Document, ...]
    concepts: tuple[Document, ...]
    members: dict[str, list[Document]]
    map: list[Document]
    """Where clips lie in two dimensions; empty while there are too few."""
    runs: tuple[Document, ...]
    snapshot: Document | None
    dead_letters: tuple[Document, ...]


def pages(client: Client, path: str, name: str) -> list[Document]:
    """Everything under `name` in the pages of a collection."""
    found: list[Document] = []
    while True:
        page = client.get(path, limit=_PAGE, offset=len(found))
        found += page[name]
        if len(found) >= page["total"] or not page[name]:
            return found


def find(client: Client, refused: Sequence[tuple[str, str]], settled: bool, snapshot: Document | None) -> Findings:
    """Ask the service for everything; raises what `Client` raises."""
    videos = [client.get(f"/footage/{video['video_id']}") for video in pages(client, "/footage", "videos")]
    concepts = client.get("/concepts")
    return Findings(
        settled=settled,
        refused=tuple(refused),
        videos=tuple(videos),
        clips=tuple(pages(client, "/clips", "clips")),
        concepts=tuple(concepts),
        members={c["concept"]: client.get(f"/concepts/{c['concept']}")["members"] for c in concepts},
        map=_map(client),
        runs=tuple(client.get("/training")),
        snapshot=snapshot,
        dead_letters=tuple(client.get("/dead")),
    )


def _map(client: Client) -> list[Document]:
    try:
        return client.get("/curation/map")
    except Refused:
        return []


def print_report(console: Console, found: Findings, written: Sequence[Path]) -> None:
    """Print what was made, in the order of the road."""
    if not found.settled:
        console.print("time ran out before everything was done; this is how far it came")
    for section in (_videos, _clips, _concepts, _runs, _snapshot):
        section(console, found)
    console.rule("pictures and files", align="left")
    for path in written:
        console.print(str(path), soft_wrap=True, highlight=False)


def _videos(console: Console, found: Findings) -> None:
    console.rule("videos", align="left")
    statuses = Counter(video["video"]["status"] for video in found.videos)
    console.print(", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "none")
    for name, why in found.refused:
        console.print(f"refused: {escape(name)}: {escape(why)}")
    for letter in found.dead_letters:
        console.print(f"dead letter of step {letter['step']}: {escape(letter['reason'])}")


def _clips(console: Console, found: Findings) -> None:
    console.rule("clips", align="left")
    seconds = sum(clip["duration_s"] or 0 for clip in found.clips)
    clusters = {clip["cluster"] for clip in found.clips} - {None}
    console.print(f"{counted(len(found.clips), 'clip')}, {seconds:.0f} s, in {counted(len(clusters), 'cluster')}")
    table = Table("verdict", "clips", "rule", "why (of the first)")
    verdicts = Counter(clip["verdict"] or "not judged yet" for clip in found.clips)
    table.add_row("keep", str(verdicts.pop("keep", 0)), "", "every rule lets them through")
    for (verdict, rule), (count, why) in sorted(reasons(found.clips).items()):
        table.add_row(verdict, str(count), rule, escape(why))
    if verdicts.get("not judged yet"):
        table.add_row("not judged yet", str(verdicts["not judged yet"]), "", "time ran out before their annotation")
    for why, lost_s in sorted(dropped_seconds(found.videos).items()):
        table.add_row("no clip", f"{lost_s:.1f} s", "segment", escape(why))
    console.print(table)


def counted(number: int, name: str) -> str:
    """A number of things, such as `1 clip` or `2 clips`."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def reasons(clips: Sequence[Document]) -> dict[tuple[str, str], tuple[int, str]]:
    """(verdict, rule) that keeps clips out, to how many and why of the first; a clip may be kept out by several."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for clip in clips:
        for decision in clip["decisions"] or ():
            if decision["verdict"] != "keep":
                key = decision["verdict"], decision["rule"]
                count, why = found.get(key, (0, decision["reason"]))
                found[key] = count + 1, why
    return found


def dropped_seconds(videos: Sequence[Document]) -> dict[str, float]:
    """Reason to the seconds of footage that became no clip for it; reasons that differ in their measure are one."""
    lost: Counter[str] = Counter()
    for video in videos:
        for span in video["dropped"]:
            lost[_MEASURE.sub("…", span["reason"], count=1)] += span["end_s"] - span["start_s"]
    return dict(lost)


def _concepts(console: Console, found: Findings) -> None:
    console.rule("concepts", align="left")
    table = Table("concept", "clips", "open to use", "of videos", "purity", "its lower bound", "ready")
    for concept in found.concepts:
        counts = [str(concept[name]) for name in ("n_members", "n_eligible", "n_videos")]
        purity = ["–" if concept[name] is None else f"{concept[name]:.2f}" for name in ("purity", "purity_low")]
        table.add_row(escape(concept["concept"]), *counts, *purity, "yes" if concept["ready"] else "no")
    console.print(table if found.concepts else "none was computed")
    for concept in found.concepts:
        if not concept["ready"]:
            console.print(escape(f"{concept['concept']} is not ready: {'; '.join(concept['reasons'])}"))


def _runs(console: Console, found: Findings) -> None:
    console.rule("LoRA runs", align="left")
    for run in found.runs:
        line = f"{run['run_id']}: concept {run['concept']}, stage {run['stage']}: {run['status']}"
        if run["status"] == "running":
            line += f" ({run['progress']['phase']}, step {run['progress']['step']} of {run['progress']['steps']})"
        console.print(escape(line + (f": {run['ended_because']}" if "ended_because" in run else "")), soft_wrap=True)
        numbers = {name: value for name, value in run.get("metrics", {}).items() if not isinstance(value, dict | list)}
        for name, value in numbers.items():
            console.print(f"  {name}: {value:.4g}" if isinstance(value, float) else escape(f"  {name}: {value}"))
    if not found.runs:
        console.print("none: no concept was ready")


def _snapshot(console: Console, found: Findings) -> None:
    console.rule("snapshot", align="left")
    snapshot = found.snapshot
    if snapshot is None:
        console.print("none was asked for: time ran out")
    elif snapshot["status"] != "created":
        console.print(
            escape(f"{snapshot['tag']}: {snapshot['status']}: {snapshot.get('reason') or 'not done in time'}")
        )
    else:
        kept = counted(snapshot["n_kept"], "clip")
        console.print(f"{snapshot['tag']}: {kept} published, {snapshot['n_dropped']} dropped")
        console.print(f"digest {snapshot['digest']}", soft_wrap=True)
        console.print(str(snapshot["folder"]), soft_wrap=True)
