"""The demo's parts: what it submits and releases, when it is done, what it prints and draws."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from api.client import Refused
from demo.charts import SheetRow, write_contact_sheet
from demo.report import Findings, dropped_seconds, print_report, reasons
from demo.run import QUIET_S, Bars, Clock, follow, given_footage, ingest, own_footage, take_snapshot, write_pictures
from store.errors import InputError
from store.store import Store


class FakeClient:
    """Answers from tables; a path in `refused` is refused when it is submitted; keeps what was posted."""

    def __init__(self, answers: dict[str, list[Any]], refused: tuple[str, ...] = ()) -> None:
        self.answers = answers
        self.refused = refused
        self.posted: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, /, **query: Any) -> Any:
        """The next answer; the last one again and again."""
        waiting = self.answers[path]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def post(self, path: str, /, **body: Any) -> Any:
        if body.get("path") in self.refused:
            raise Refused({"error": "InputError", "what": "not a video"})
        self.posted.append((path, body))
        return {}


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def clock(self) -> Clock:
        return Clock(lambda: self.at_s, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.at_s += seconds


def status(videos_open: int, densified: int, embedded: int = 0) -> dict[str, Any]:
    stages = {"densified": densified, "embedded": embedded}
    clips = {"total": densified + embedded, "by_stage": stages}
    videos = {"done": 2 - videos_open, "segmented": videos_open}
    return {"videos": videos, "clips": clips, "concepts": {}, "in_flight": {"videos": videos_open, "runs": 1}}


def folder_of(*names: str) -> dict[str, list[Any]]:
    return {"/footage/files": [{"files": [f"/given/{name}" for name in names], "others": 0}]}


def strip(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (400, 64), colour).save(stream, "JPEG")
    return stream.getvalue()


CLIP = {
    "clip_id": "c1", "duration_s": 2.5, "cluster": 0, "verdict": "hold", "held_for": ["age"],
    "decisions": [
        {"rule": "age", "verdict": "hold", "reason": "1 face(s) whose age nothing here can assess"},
        {"rule": "signal", "verdict": "keep", "reason": "the picture shows something"},
    ],
}  # fmt: skip
FOUND = Findings(
    settled=True,
    refused=(("notes.txt", "not a video"),),
    videos=({"video": {"status": "done"}, "dropped": [{"start_s": 1.0, "end_s": 1.5, "reason": "too short"}]},),
    clips=(CLIP, CLIP | {"clip_id": "c2", "verdict": "keep", "held_for": [], "decisions": []}),
    concepts=(
        {"concept": "calm", "n_members": 2, "n_eligible": 1, "n_videos": 1, "purity": 0.91, "purity_low": 0.55,
         "ready": False, "reasons": ["1 clip is open, 8 are needed"]},
    ),
    members={"calm": [{"clip_id": "c1", "probability": 0.9}]},
    map=[],
    runs=({"run_id": "r1", "concept": "calm", "stage": "A", "status": "succeeded", "reason": "it is due",
           "metrics": {"final_loss": 0.1234567}},
          {"run_id": "r2", "concept": "calm", "stage": "B", "status": "failed", "reason": "it is due",
           "ended_because": "out of memory", "metrics": {}}),
    snapshot={"tag": "demo", "status": "created", "n_kept": 1, "n_dropped": 1, "digest": "abc", "folder": "/s/demo"},
    dead_letters=({"step": "segment", "reason": "half.mp4: truncated"},),
)  # fmt: skip


def printed(found: Findings, written: list[Path]) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_report(console, found, written)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_footage_of_its_own_is_released_for_age_with_a_reason(tmp_path: Path) -> None:
    client = FakeClient(folder_of("a.mp4", "b.mp4"))
    assert ingest(client, own_footage(tmp_path), lambda done, of: None) == []
    *submitted, (path, release) = client.posted
    assert [body["path"] for _, body in submitted] == ["/given/a.mp4", "/given/b.mp4"]
    assert path == "/reviews"
    assert (release["verdict"], release["covers"], release["subject_id"]) == ("release", ("age",), "rendered")
    assert release["reason"]


def test_given_footage_is_released_only_with_a_reason(tmp_path: Path) -> None:
    cases = (
        (None, None, ()),
        (None, "consent is on file", ("age", "licence")),
        ("CC0-1.0", "consent is on file", ("age",)),
        ("CC0-1.0", None, ()),
    )
    for licence, release, covers in cases:
        client = FakeClient(folder_of("a.mp4"))
        ingest(client, given_footage(tmp_path, licence, release), lambda done, of: None)
        assert [body["covers"] for path, body in client.posted if path == "/reviews"] == ([covers] if covers else [])


def test_a_file_that_is_refused_is_told_and_the_next_is_taken(tmp_path: Path) -> None:
    client = FakeClient(folder_of("bad.mp4", "good.mp4"), refused=("/given/bad.mp4",))
    assert ingest(client, given_footage(tmp_path, None, None), lambda done, of: None) == [("bad.mp4", "not a video")]
    assert [body["path"] for _, body in client.posted] == ["/given/good.mp4"]


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no file that looks like a video"):
        ingest(FakeClient(folder_of()), given_footage(tmp_path, None, None), lambda done, of: None)
    client = FakeClient(folder_of("bad.mp4"), refused=("/given/bad.mp4",))
    with pytest.raises(InputError, match=r"none of the 1 files was taken; the first: bad\.mp4: not a video"):
        ingest(client, given_footage(tmp_path, None, None), lambda done, of: None)


def run_of(status_: str, progress: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"run_id": "r", "concept": "calm", "status": status_, "progress": progress}


def followed(
    answers: dict[str, list[Any]], until_s: float
) -> tuple[bool, float, dict[str, tuple[float, float | None]]]:
    """(whether it was enough, when it ended, bars by their titles)."""
    time = FakeTime()
    with Progress(console=Console(file=io.StringIO())) as progress:
        enough = follow(FakeClient(answers), Bars(progress), until_s, time.clock())
        return enough, time.at_s, {task.description: (task.completed, task.total) for task in progress.tasks}


def test_following_ends_once_the_videos_are_done_and_nothing_changes() -> None:
    answers = {
        "/status": [status(1, 0, 3), status(1, 2, 1), status(0, 3)],
        "/training": [[]],
        "/clips": [{"total": 3}],
    }
    enough, at_s, bars = followed(answers, 100.0)
    assert enough
    assert QUIET_S + 2 < at_s < QUIET_S + 5
    assert bars == {
        "videos done": (2, 2),
        "clips cut and embedded": (3, 3),
        "clips annotated": (3, 3),
        "clips placed by clustering": (3, 3),
    }


def test_following_waits_for_the_first_run_and_for_no_other() -> None:
    running = run_of("running", {"phase": "lora", "step": 5, "steps": 10, "loss": 0.5})
    answers = {
        "/status": [status(0, 3)],
        "/training": [*[[running]] * 40, [run_of("requested"), run_of("succeeded")]],
        "/clips": [{"total": 3}],
    }
    enough, at_s, bars = followed(answers, 100.0)
    assert enough
    assert 39 < at_s < 42
    assert bars["LoRA calm lora loss 0.500"] == (5, 10)


def test_following_ends_when_time_is_up() -> None:
    answers = {"/status": [status(1, 2, 1)], "/training": [[]], "/clips": [{"total": 0}]}
    enough, at_s, _ = followed(answers, 20.0)
    assert not enough
    assert 20 <= at_s < 22


def test_a_snapshot_is_waited_for_but_not_for_ever() -> None:
    answers = {"/snapshots": [[], [{"status": "requested"}], [{"status": "created", "tag": "demo"}]]}
    assert take_snapshot(FakeClient(answers), 10.0, FakeTime().clock()) == {"status": "created", "tag": "demo"}
    never = {"/snapshots": [[{"status": "requested"}]]}
    late = take_snapshot(FakeClient(never), 10.0, FakeTime().clock())
    assert late == {"tag": "demo", "status": "requested"}
    assert take_snapshot(FakeClient(never), 0.0, FakeTime().clock()) is None


def test_the_reasons_are_counted_by_verdict_and_rule() -> None:
    assert reasons([CLIP, CLIP]) == {("hold", "age"): (2, "1 face(s) whose age nothing here can assess")}
    assert dropped_seconds(FOUND.videos * 2) == {"too short": 1.0}
    spans = [{"start_s": at, "end_s": at + 0.5, "reason": f"shot of {at} s is short (1 s)"} for at in (1.5, 2.5)]
    assert dropped_seconds([{"dropped": spans}]) == {"shot of … s is short (1 s)": 1.0}


def test_the_report_names_everything_that_was_made(tmp_path: Path) -> None:
    text = printed(FOUND, [tmp_path / "map.png"])
    for told in (
        "1 done", "refused: notes.txt: not a video", "dead letter of step segment: half.mp4: truncated",
        "2 clips, 5 s, in 1 cluster", "whose age nothing here can assess", "0.5 s", "too short",
        "0.91", "0.55", "calm is not ready: 1 clip is open, 8 are needed", "r1: concept calm, stage A: succeeded\n",
        "r2: concept calm, stage B: failed: out of memory",
        "final_loss: 0.1235", "demo: 1 clip published, 1 dropped", "digest abc", "/s/demo",
        str(tmp_path / "map.png"),
    ):  # fmt: skip
        assert told in text, told


def test_the_report_says_what_is_missing_when_time_ran_out() -> None:
    text = printed(replace(FOUND, settled=False, runs=(), concepts=(), snapshot=None), [])
    for told in (
        "time ran out before everything was done",
        "none was computed",
        "no concept was ready",
        "none was asked for",
    ):
        assert told in text, told


def test_the_contact_sheet_shows_every_clip_under_its_title(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    groups = {"calm": [SheetRow(strip((250, 0, 0)), "a\nb")], "none": [SheetRow(strip((0, 0, 250)), "c\nd")]}
    write_contact_sheet(path, groups)
    column = np.array(Image.open(path).convert("RGB"))[:, 100]
    red, blue = (np.flatnonzero((np.abs(column.astype(int) - c) < 12).all(axis=1)) for c in ((250, 0, 0), (0, 0, 250)))
    assert len(red) == len(blue) == 64
    assert red.max() < blue.min()


def test_a_run_that_has_ended_leaves_its_pictures_and_one_under_way_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "data")
    keys = {name: store.media.put_bytes(name.encode(), "bin") for name in ("grid.png", "losses.png", "losses.json")}
    ended = {"run_id": "r1", "concept": "calm", "artefacts": keys}
    found = replace(FOUND, clips=(), members={}, runs=(ended, {"run_id": "r2", "concept": "lively"}))
    written = write_pictures(tmp_path, store, found)
    assert {path.name: path.read_bytes() for path in written} == {
        "calm_r1_grid.png": b"grid.png",
        "calm_r1_losses.png": b"losses.png",
    }
