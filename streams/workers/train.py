"""Trains a LoRA for a request and puts what came of it into media storage."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from processors.clip_media import read_sound, read_video
from processors.decode import read_samples
from processors.device import choose_device, nth_device
from store.clip_columns import ClipRow
from store.errors import InputError
from store.records import Control, TrainingFinished, TrainingProgress, TrainingRequested, digest, utc_now
from store.store import Store
from streams.ranks import Link
from trainer.adapters import ADAPTER_FILE
from trainer.card import Lineage
from trainer.control import CONTROL_FILE
from trainer.crew import Crew
from trainer.dataset import PersonTrack, PoseTrack, TrainingClip
from trainer.joining import join
from trainer.leftovers import Leftovers
from trainer.lora import Parent
from trainer.material import RunClips
from trainer.run import Workplace, run_training

_READ = (
    *("video_id", "source", "licence", "held_for", "samples_key", "media_key"),
    *("conditioning", "caption", "alternatives", "control", "identity_ids", "people_tracks", "pose_tracks"),
)
"""What a run reads of a clip's row, most of which is vectors; some columns are not in every profile."""
_TELL_EVERY_S = 0.5
"""Chosen: a record of progress twice a second is enough for a bar."""


def make_worker(
    data: str, unfinished: Path, device: str
) -> Callable[[TrainingRequested, Callable[[Any], None]], TrainingFinished]:
    """A worker that emits `TrainingProgress` records and gives the run's end. A run that was stopped goes on where its
    last checkpoint is when it is requested again."""
    on = choose_device(device)

    def work(request: TrainingRequested, emit: Callable[[Any], None]) -> TrainingFinished:
        return _trained(data, unfinished, on, request, emit, Crew())

    return work


def make_rank(data: str, unfinished: Path, device: str) -> Callable[[TrainingRequested, Link], TrainingFinished | None]:
    """What each process of a run does that several share (`streams.ranks`): the first all that a worker does, the
    others their parts of the steps. GPUs are taken in their order from `device` on.

    Raises:
        SettingsError: there are not so many.
    """

    def work(request: TrainingRequested, link: Link) -> TrainingFinished | None:
        on = nth_device(device, link.rank)
        if link.rank == 0:
            nth_device(device, link.size - 1)
            return _trained(data, unfinished, on, request, link.emit, Crew(0, link.size, link.call))
        join(link.called(), Crew(link.rank, link.size), on)
        return None

    return work


def _trained(
    data: str,
    unfinished: Path,
    device: str,
    request: TrainingRequested,
    emit: Callable[[TrainingProgress], None],
    crew: Crew,
) -> TrainingFinished:
    store, left = Store.open(data), Leftovers(Path(data))
    run = left.runs / request.run_id
    with tempfile.TemporaryDirectory(dir=unfinished) as out:
        place = Workplace(bases=left.bases, kept=left.kept, run=run, out=Path(out), device=device, crew=crew)
        finished = train(store, place, request, emit)
    shutil.rmtree(run, ignore_errors=True)
    return finished


def train(
    store: Store, place: Workplace, request: TrainingRequested, emit: Callable[[TrainingProgress], None]
) -> TrainingFinished:
    """Train on the eligible members that are open now, and put the artefacts into media storage.

    Raises:
        InputError: no member is open any more, or one was closed while training; also what `run_training` raises.
    """
    read = [name for name in _READ if name in store.clips.schema.names]
    kept = store.clips.select(where="verdict = 'keep'", columns=read)
    footage = {row["clip_id"]: training_clip(store, row) for row in kept}
    parent = _parent_run(store, request)
    clips = RunClips(
        members=_open_members(store, request, footage),
        earlier=[footage[one] for one in (parent or {}).get("clip_ids", ()) if one in footage],
        footage=list(footage.values()),
    )

    last: tuple[str, float] = ("", 0.0)

    def progress(phase: str, step: int, steps: int, loss: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if phase == last[0] and step < steps and now - last[1] < _TELL_EVERY_S:
            return
        last = (phase, now)
        told = {"run_id": request.run_id, "phase": phase, "step": step, "steps": steps, "loss": loss}
        emit(TrainingProgress.model_validate(told))

    with ExitStack() as files:
        concept = store.concepts.get(request.concept) or {}
        lineage = Lineage(
            definition=concept.get("definition", {}),
            recipe=concept.get("recipe", ""),
            snapshot=None,
            parent=_parent_files(store, parent, place.out, files) if parent else None,
            trained_at=request.requested_at,
        )
        result = run_training(request, clips, place, lineage, progress)
    learned_from = {*result.clip_ids, *result.metrics["base_clip_ids"]}
    learned_from |= set((parent or {}).get("clip_ids", ()))
    closed = learned_from - {row["clip_id"] for row in store.clips.select(where="verdict = 'keep'", columns=[])}
    if closed:
        raise InputError(f"{len(closed)} of the clips were removed or held while the run trained; ask for it again")
    artefacts = {
        name: store.media.put_file(path, path.suffix.removeprefix(".")) for name, path in result.artefacts.items()
    }
    return TrainingFinished(
        run_id=request.run_id,
        concept=request.concept,
        status="succeeded",
        reason="",
        artefacts=artefacts,
        metrics=result.metrics,
        clip_ids=tuple(sorted(learned_from)),
        finished_at=utc_now(),
    )


def _open_members(store: Store, request: TrainingRequested, footage: Mapping[str, TrainingClip]) -> list[TrainingClip]:
    """The manifest's eligible clips that are, at this moment, still there and still open to use.

    Raises:
        InputError: there is none.
    """
    manifest = json.loads(store.media.read(request.members_key))
    wanted = [member["clip_id"] for member in manifest if member["eligible"]]
    members = [footage[clip_id] for clip_id in wanted if clip_id in footage]
    if not members:
        raise InputError(f"concept {request.concept!r}: none of its {len(wanted)} clips is open to use any more")
    return members


def training_clip(store: Store, row: ClipRow) -> TrainingClip:
    """A row as the trainer takes it; media are read when they are asked for."""

    def load_frames() -> np.ndarray:
        return read_samples(store.media.read(row["samples_key"]), row["clip_id"]).frames_rgb

    def load_video(frame_rate: float) -> np.ndarray:
        with store.media.local_file(row["media_key"]) as path:
            return read_video(path, frame_rate)

    def load_sound(rate_hz: int, channels: int) -> np.ndarray:
        with store.media.local_file(row["media_key"]) as path:
            return read_sound(path, rate_hz, channels)

    return TrainingClip(
        clip_id=row["clip_id"],
        video_id=row["video_id"],
        source=row["source"],
        licence=row["licence"],
        conditioning=row["conditioning"],
        control=Control.model_validate(row["control"]),
        load_frames=load_frames,
        load_video=load_video,
        load_sound=load_sound,
        media=digest([row["samples_key"], row["media_key"]]),
        held_for=tuple(row["held_for"]),
        caption=row.get("caption"),
        alternatives=tuple((one["text"], one["weight"]) for one in row["alternatives"] or ()),
        people=tuple(
            PersonTrack(tuple(one["times_s"]), tuple(tuple(box) for box in one["boxes_xyxy"]))
            for one in row.get("people_tracks") or ()
        ),
        poses=_poses(row),
        load_times=lambda: read_samples(store.media.read(row["samples_key"]), row["clip_id"]).frame_times_s,
        identities=tuple(sorted({one["identity"] for one in row["identity_ids"] or ()} - {None})),
    )


def _poses(row: ClipRow) -> tuple[PoseTrack, ...] | None:
    tracks = row.get("pose_tracks")
    if tracks is None:
        return None
    return tuple(
        PoseTrack(
            tuple(one["times_s"]), tuple(tuple((x, y, score) for x, y, score in sight) for sight in one["keypoints"])
        )
        for one in tracks
        if one["times_s"]
    )


def _parent_run(store: Store, request: TrainingRequested) -> Mapping[str, Any] | None:
    """The run whose adapter this one starts from."""
    if request.parent is None:
        return None
    run = store.runs.get(request.parent)
    if run is None or run["status"] != "succeeded":
        raise InputError(f"parent run {request.parent} has no adapter to start from; train stage A first")
    return run


def _parent_files(store: Store, run: Mapping[str, Any], out: Path, files: ExitStack) -> Parent:
    """The parent's files, side by side under their own names, as those who load them expect."""
    folder = Path(files.enter_context(tempfile.TemporaryDirectory(dir=out)))
    found = {}
    for name in (ADAPTER_FILE, CONTROL_FILE):
        if name in run["artefacts"]:
            with store.media.local_file(run["artefacts"][name]) as path:
                found[name] = Path(shutil.copyfile(path, folder / name))
    return Parent(found[ADAPTER_FILE], found.get(CONTROL_FILE))
