"""Train: runs a requested LoRA training in a process of its own and publishes what came of it."""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from store.errors import CliploomError, InputError, Passing
from store.records import Control, Record, TrainingFinished, TrainingProgress, TrainingRequested
from store.store import Store
from streams.child import Child
from streams.runner import Failure, Publish, Step
from trainer.dataset import TrainingClip
from trainer.run import Lineage, run_training

_TIME_LIMIT_S = 6 * 3600.0


class Train(Step):
    """Reads training requests; one run at a time."""

    name: ClassVar[str] = "train"
    reads: ClassVar[tuple[str, ...]] = (TrainingRequested.topic,)

    def __init__(self, store: Store, data: Path) -> None:
        self._store = store
        self._data = data
        self._child: Child | None = None

    async def process(self, records: Sequence[Record], publish: Publish) -> dict[int, Failure]:
        for request in records:
            assert isinstance(request, TrainingRequested)
            run = self._store.runs.get(request.run_id)
            if run is None or run["status"] in ("requested", "running"):
                await publish([await self._train(request, publish)])
        return {}

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()

    async def _train(self, request: TrainingRequested, publish: Publish) -> TrainingFinished:
        async def tell(progress: TrainingProgress) -> None:
            await publish([progress])

        self._child = Child("train", partial(_make_worker, self._data))
        try:
            return await self._child.run(request, _TIME_LIMIT_S, tell)
        except Passing:
            raise
        except CliploomError as error:
            return _finished(request, "failed", str(error))
        finally:
            self._child.kill()


def _finished(request: TrainingRequested, status: str, reason: str = "", **outcome: Any) -> TrainingFinished:
    nothing = {"artefacts": {}, "metrics": {}, "clip_ids": ()}
    fields = {"run_id": request.run_id, "concept": request.concept, "status": status, "reason": reason}
    return TrainingFinished.model_validate(fields | nothing | outcome)


def _make_worker(data: Path) -> Callable[[TrainingRequested, Callable[[Any], None]], TrainingFinished]:
    store = Store.open(data)

    def work(request: TrainingRequested, emit: Callable[[Any], None]) -> TrainingFinished:
        return train(store, data, request, emit)

    return work


def train(
    store: Store, data: Path, request: TrainingRequested, emit: Callable[[TrainingProgress], None]
) -> TrainingFinished:
    """Train on the eligible members that are still open now, and put the artefacts into media storage.

    Raises:
        InputError: no member is open any more; also what `run_training` raises.
    """
    clips = training_clips(store, request)
    parent = store.runs.get(request.parent) if request.parent else None

    def progress(phase: str, step: int, steps: int, loss: float | None) -> None:
        emit(TrainingProgress(run_id=request.run_id, phase=phase, step=step, steps=steps, loss=loss))

    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="train-", dir=data) as out_dir:
        result = run_training(request, clips, data / "bases", Path(out_dir), progress)
        artefacts = {
            name: store.media.put_file(path, path.suffix.removeprefix(".")) for name, path in result.artefacts.items()
        }
    used = tuple(clip.clip_id for clip in clips)
    return _finished(request, "succeeded", artefacts=artefacts, metrics=result.metrics, clip_ids=used)


def training_clips(store: Store, request: TrainingRequested) -> list[TrainingClip]:
    """The manifest's eligible clips that are, at this moment, still there and still open to use."""
    manifest = json.loads(store.media.read(request.members_key))
    wanted = [member["clip_id"] for member in manifest if member["eligible"]]
    rows = store.clips.get_many(wanted)
    open_rows = [rows[clip_id] for clip_id in wanted if clip_id in rows and rows[clip_id]["verdict"] == "keep"]
    if not open_rows:
        raise InputError(f"concept {request.concept!r}: none of its {len(wanted)} clips is open to use any more")
    return [
        TrainingClip(
            clip_id=row["clip_id"],
            video_id=row["video_id"],
            source=row["source"],
            licence=row["licence"],
            held_for=tuple(row["held_for"]),
            conditioning=row["conditioning"],
            control=Control.model_validate(row["control"]),
            samples=partial(store.media.read, row["samples_key"]),
        )
        for row in open_rows
    ]
