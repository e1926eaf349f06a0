"""Trains a LoRA for a request and puts what came of it into media storage."""

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from processors.decode import read_samples
from store.clips import ClipRow
from store.errors import InputError
from store.records import Control, TrainingFinished, TrainingProgress, TrainingRequested, utc_now
from store.store import Store
from trainer.card import Lineage
from trainer.dataset import TrainingClip
from trainer.families.base import ADAPTER_FILE
from trainer.run import Workplace, run_training


def make_worker(data: str, unfinished: Path) -> Callable[[TrainingRequested, Callable[[Any], None]], TrainingFinished]:
    """A worker that emits `TrainingProgress` records and gives the run's end."""
    store = Store.open(data)

    def work(request: TrainingRequested, emit: Callable[[Any], None]) -> TrainingFinished:
        with tempfile.TemporaryDirectory(dir=unfinished) as out:
            return train(store, Workplace(bases=Path(data, "bases"), out=Path(out)), request, emit)

    return work


def train(
    store: Store, place: Workplace, request: TrainingRequested, emit: Callable[[TrainingProgress], None]
) -> TrainingFinished:
    """Train on the eligible members that are open now, and put the artefacts into media storage.

    Raises:
        InputError: no member is open any more, or one was closed while training; also what `run_training` raises.
    """
    members = open_members(store, request)
    footage = [_training_clip(store, row) for row in store.clips.select(where="verdict = 'keep'")]

    def progress(phase: str, step: int, steps: int, loss: float | None) -> None:
        told = {"run_id": request.run_id, "phase": phase, "step": step, "steps": steps, "loss": loss}
        emit(TrainingProgress.model_validate(told))

    with ExitStack() as files:
        parent = _parent_adapter(store, request)
        concept = store.concepts.get(request.concept) or {}
        lineage = Lineage(
            definition=concept.get("definition", {}),
            recipe=concept.get("recipe", ""),
            snapshot=None,
            parent_adapter=files.enter_context(store.media.local_file(parent)) if parent else None,
            trained_at=request.requested_at,
        )
        result = run_training(request, members, footage, place, lineage, progress)
    learned_from = {clip.clip_id for clip in members} | set(result.metrics["base_clip_ids"])
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


def open_members(store: Store, request: TrainingRequested) -> list[TrainingClip]:
    """The manifest's eligible clips that are, at this moment, still there and still open to use.

    Raises:
        InputError: there is none.
    """
    manifest = json.loads(store.media.read(request.members_key))
    wanted = [member["clip_id"] for member in manifest if member["eligible"]]
    rows = store.clips.get_many(wanted)
    members = [_training_clip(store, rows[id_]) for id_ in wanted if id_ in rows and rows[id_]["verdict"] == "keep"]
    if not members:
        raise InputError(f"concept {request.concept!r}: none of its {len(wanted)} clips is open to use any more")
    return members


def _training_clip(store: Store, row: ClipRow) -> TrainingClip:
    def load_frames() -> np.ndarray:
        return read_samples(store.media.read(row["samples_key"]), row["clip_id"]).frames_rgb

    return TrainingClip(
        clip_id=row["clip_id"],
        video_id=row["video_id"],
        source=row["source"],
        licence=row["licence"],
        conditioning=row["conditioning"],
        control=Control.model_validate(row["control"]),
        load_frames=load_frames,
        held_for=tuple(row["held_for"]),
        caption=row.get("caption"),
    )


def _parent_adapter(store: Store, request: TrainingRequested) -> str | None:
    """Media key of the adapter that the run starts from."""
    if request.parent is None:
        return None
    run = store.runs.get(request.parent)
    if run is None or run["status"] != "succeeded":
        raise InputError(f"parent run {request.parent} has no adapter to start from; train stage A first")
    return run["artefacts"][ADAPTER_FILE]
