"""A live API over a real store, whose publishing is the view itself."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
import uvicorn
from typer.testing import CliRunner

from api.app import create_app
from api.cli import app as command
from api.service import ApiSettings, Steps
from store.codec import encode
from store.errors import ModelUnavailable, Passing
from store.records import (
    Affect,
    Annotation,
    Check,
    Clip,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    Column,
    Control,
    DeadLetter,
    DroppedSpan,
    FootageSegmented,
    FootageSubmitted,
    Json,
    Reasoning,
    Record,
    clip_id,
)
from store.store import Store
from store.view import View

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COLUMNS = (
    Column(name="face_count", kind="int"),
    Column(name="black_share", kind="float", low=0, high=1),
    Column(name="loudness", kind="curve", rate_hz=10),
    Column(name="visual_embedding", kind="vector", size=3),
    Column(name="visual_text", kind="vector", size=3),
    Column(name="signature", kind="vector", size=3),
    Column(name="face_embedding", kind="vector", size=3),
    Column(name="sound", kind="vector", size=3),
    Column(name="motion", kind="text"),
    Column(name="identity_faces", kind="json", measured=False),
)


@dataclass
class Live:
    """A running API.

    drops: while set, published records are lost on their way to the store.
    is_broker_up: while not set, the broker refuses.
    told: of the steps. worker_metrics: of the worker. text_vectors: of the texts that the model knows.
    put_back: by how much the clock is behind.
    """

    url: str
    http: httpx.Client
    store: Store
    view: View
    allowed: Path
    published: list[Record] = field(default_factory=list)
    replayed: list[Json] = field(default_factory=list)
    drops: bool = False
    is_broker_up: bool = True
    told: Steps = Steps((), "no worker here")
    worker_metrics: bytes = b""
    put_back: timedelta = timedelta(0)
    text_vectors: dict[str, list[float]] = field(default_factory=dict)

    async def publish(self, record: Record) -> None:
        if not self.is_broker_up:
            raise Passing("broker 127.0.0.1:1 did not confirm; try again")
        self.published.append(record)
        if not self.drops:
            self.view.apply([record])

    async def replay(self, letter: Json) -> None:
        if not self.is_broker_up:
            raise Passing("broker 127.0.0.1:1 did not confirm; try again")
        self.replayed.append(letter)

    async def ready(self) -> bool:
        return self.is_broker_up

    async def steps(self) -> Steps:
        return self.told

    async def exposition(self) -> bytes:
        return self.worker_metrics

    async def encode(self, text: str) -> list[float]:
        if text not in self.text_vectors:
            raise ModelUnavailable("model 'nobody/never-made' is not on this machine")
        return self.text_vectors[text]

    def apply(self, *records: Record) -> None:
        self.view.apply(records)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """A service with an empty store, an allowed folder and a clock that gains a second with every look."""
    store = Store.open(tmp_path / "data", COLUMNS)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    live = Live(url, httpx.Client(base_url=url, trust_env=False, timeout=30), store, View(store), allowed)
    moments = iter(NOON + timedelta(seconds=second) for second in range(10_000))
    settings = ApiSettings((allowed,), tmp_path / "uploads", shown_within_s=0.5)
    app = create_app(store, live, settings, live, lambda: next(moments) - live.put_back)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield live
    live.http.close()
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def video_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Half a second of moving picture, MP4."""
    path = tmp_path_factory.mktemp("video") / "made.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(12):
            picture = np.full((48, 64, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture
def video_file(live: Live, video_bytes: bytes) -> Path:
    """A video in the allowed folder."""
    path = live.allowed / "beach.mp4"
    path.write_bytes(video_bytes)
    return path


MakeClip = Callable[..., str]


@pytest.fixture
def submitted() -> Callable[..., FootageSubmitted]:
    """Makes a submission."""

    def make(video_id: str = "v1", source: str = "beach", licence: str | None = "MIT") -> FootageSubmitted:
        return FootageSubmitted(
            video_id=video_id,
            name=f"{video_id}.mp4",
            media_key=f"ab/{'ab' * 32}.mov",
            size_bytes=1000,
            source=source,
            licence=licence,
            submitted_at=NOON,
        )

    return make


@pytest.fixture
def make_clip(live: Live) -> MakeClip:
    """Puts an annotated clip into the store; returns its id. `values` are columns of the profile."""

    def make(
        start_s: int = 0,
        video_id: str = "v1",
        source: str = "beach",
        licence: str | None = "MIT",
        reasoning: Reasoning | None = None,
        **values: object,
    ) -> str:
        id_ = clip_id(video_id, start_s * 1000, (start_s + 4) * 1000, "seg-1")
        clip = Clip(
            clip_id=id_,
            video_id=video_id,
            source=source,
            licence=licence,
            shot=0,
            start_pts=start_s * 1000,
            end_pts=(start_s + 4) * 1000,
            time_base=(1, 1000),
            width=64,
            height=48,
            fps=(24, 1),
            n_frames=96,
            has_audio=False,
            media_key=live.store.media.put_bytes(f"media of {id_}".encode(), "mp4"),
            strip_key=live.store.media.put_bytes(f"strip of {id_}".encode(), "jpg"),
            samples_key=live.store.media.put_bytes(f"samples of {id_}".encode(), "pack"),
            recipe="seg-1",
        )
        values = {"face_count": 0, "black_share": 0.0, "visual_embedding": [1.0, 0.0, 0.0], "sound": None} | values
        recipes = {"vision.palette": "r-vision"}
        motion = values.pop("motion", "low")
        annotation = Annotation(
            attributes={"motion": str(motion)},
            temporal=(),
            affect=Affect(arousal=None, valence=None, arousal_trend=None),
            conditioning=f"medium shot, {motion} motion",
            control=Control(names=(), values=(), present=()),
            origins={"motion": "measured"},
            engine="measured" if reasoning is None else reasoning.engine,
        )
        embedded = ClipEmbedded(
            clip_id=id_,
            video_id=video_id,
            duration_s=4.0,
            values=values,
            recipes=recipes,
            failed={"audio.prosody": "silent"},
        )
        live.apply(
            ClipSegmented(clip=clip),
            embedded,
            ClipDensified(clip_id=id_, video_id=video_id, annotation=annotation, recipe="ann-1", reasoning=reasoning),
        )
        return id_

    return make


@pytest.fixture
def reasoned() -> Callable[..., Reasoning]:
    """Makes a model's reasoning with two claims; where it is contradicted, the first was measured otherwise."""

    def make(is_contradicted: bool = False, **changes: object) -> Reasoning:
        seen = {"frames": [1, 2], "facts": ["motion"]}
        trace = {
            "present": [],
            "events": [{"kind": "moves", "what": "a dog", "start_ms": 250, "end_ms": 1500, "evidence": seen}],
            "findings": {
                "motion": {"readings": [{"term": "high", "pct": 60}, {"term": "low", "pct": 40}], "evidence": seen},
                "pose": {"readings": [], "evidence": {"frames": [], "facts": []}},
            },
            "signals": [],
            "feeling": {"valence": None, "arousal": None},
            "caption": "A dog runs [fast].",
        }
        verdict, score = ("contradicted", 0.8) if is_contradicted else ("supported", 0.0)
        told = Reasoning(
            trace=trace,
            checks=(
                Check(claim="motion is high", measured="motion mean 0.01", verdict=verdict, score=score),
                Check(claim="a dog moves", measured="", verdict="unchecked", score=0.0),
            ),
            contradiction=score,
            is_contradicted=is_contradicted,
            engine="endpoint:made",
            recipe="0f" * 8,
            n_rounds=2 if is_contradicted else 1,
            failed=None,
        )
        return told.model_copy(update=changes)

    return make


@pytest.fixture
def segmented() -> Callable[..., FootageSegmented]:
    """Makes the end of a video's segmentation."""

    def make(video_id: str = "v1", clip_ids: tuple[str, ...] = ()) -> FootageSegmented:
        return FootageSegmented(
            video_id=video_id,
            recipe="seg-1",
            clip_ids=clip_ids,
            shots=((0, 9000),),
            dropped=(DroppedSpan(start_pts=8000, end_pts=9000, reason="shorter than 1 s after the fade"),),
            facts={"time_base": [1, 1000], "warnings": ["2 broken video packet(s) passed over"]},
        )

    return make


@pytest.fixture
def run(live: Live, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; (exit code, standard output, standard error). `given` is what the person types.

    Wide enough that tables fold nothing.
    """
    monkeypatch.setenv("COLUMNS", "250")

    def call(*arguments: object, url: str | None = None, given: str = "") -> tuple[int, str, str]:
        result = CliRunner().invoke(
            command, [str(argument) for argument in arguments], env={"CLIPLOOM_URL": url or live.url}, input=given
        )
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def run_json(run: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, Any]]:
    """Runs a command with --json; (exit code, what it printed)."""

    def call(*arguments: object, **options: str) -> tuple[int, Any]:
        code, out, _ = run(*arguments, "--json", **options)
        return code, json.loads(out)

    return call


@pytest.fixture
def letter(submitted: Callable[..., FootageSubmitted]) -> Callable[..., DeadLetter]:
    """Makes a dead letter that holds a submission."""

    def make(
        dead_id: str = "d1", raw: bytes | None = None, second: int = 0, step: str = "segment", kind: str = "refused"
    ) -> DeadLetter:
        return DeadLetter(
            dead_id=dead_id,
            step=step,
            origin_topic="footage.submitted",
            origin_partition=0,
            origin_offset=7,
            origin_key="v1",
            kind=kind,
            raw_base64=base64.b64encode(encode(submitted()) if raw is None else raw).decode(),
            reason="v1.mp4: no video stream",
            traceback="Traceback: ...",
            attempts=3,
            video_id="v1",
            clip_id=None,
            died_at=f"2026-03-01T12:00:{second:02d}Z",
        )

    return make
