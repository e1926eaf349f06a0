"""Trains a LoRA for a request and puts what came of it into media storage."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from processors.device import choose_device, nth_device
from store.errors import CliploomError, InputError
from store.learned import LEARNED_FILE, Learned, learned_by, put_learned
from store.records import TrainingFinished, TrainingProgress, TrainingRequested, utc_now
from store.snapshots import newest_with
from store.store import Store
from streams.ranks import Link
from streams.workers.training_clips import open_clips
from trainer.adapters import ADAPTER_FILE
from trainer.card import Lineage
from trainer.control import CONTROL_FILE
from trainer.crew import Crew
from trainer.dataset import TrainingClip
from trainer.joining import join
from trainer.leftovers import Leftovers, note_clips
from trainer.loop import Progress
from trainer.lora import Parent
from trainer.material import RunClips
from trainer.run import TrainingResult, Workplace, run_training
from trainer.settings import LoraSettings

_BARRED = {"age", "licence"}
"""What a clip may be held for that bars an adapter which learned from it earlier, too."""
_TELL_EVERY_S = 0.5
"""Chosen: a record of progress twice a second is enough for a bar."""


def make_worker(data: str, device: str) -> Callable[[TrainingRequested, Callable[[Any], None]], TrainingFinished]:
    """A worker that emits `TrainingProgress` records and gives the run's end. A run that was stopped goes on where its
    last checkpoint is when it is requested again."""
    on = choose_device(device)

    def work(request: TrainingRequested, emit: Callable[[Any], None]) -> TrainingFinished:
        return _trained(data, on, request, emit, Crew())

    return work


def make_rank(data: str, device: str) -> Callable[[TrainingRequested, Link], TrainingFinished | None]:
    """What each process of a run does that several share (`streams.ranks`): the first all that a worker does, the
    others their parts of the steps. GPUs are taken in their order from `device` on.

    Raises:
        SettingsError: there are not so many.
    """

    def work(request: TrainingRequested, link: Link) -> TrainingFinished | None:
        on = nth_device(device, link.rank)
        if link.rank == 0:
            nth_device(device, link.size - 1)
            return _trained(data, on, request, link.emit, Crew(0, link.size, link.call))
        join(link.called(), Crew(link.rank, link.size), on)
        return None

    return work


def _trained(
    data: str,
    device: str,
    request: TrainingRequested,
    emit: Callable[[TrainingProgress], None],
    crew: Crew,
) -> TrainingFinished:
    store, left = Store.open(data), Leftovers(Path(data))
    run = left.runs / request.run_id
    place = Workplace(bases=left.bases, kept=left.kept, run=run, out=run / "out", device=device, crew=crew)
    _forget_removed(store, left)
    shutil.rmtree(place.out, ignore_errors=True)
    try:
        finished = train(store, place, request, emit)
    except Exception as error:
        if isinstance(error, CliploomError) or run.is_dir():
            raise
        raise InputError("clips of the run were removed, and its state with them; ask for it again") from error
    finally:
        _forget_removed(store, left)
    shutil.rmtree(run, ignore_errors=True)
    return finished


def _forget_removed(store: Store, left: Leftovers) -> None:
    """Delete what runs left of clips that the store no longer has: a removal finds what is there, and not what a run
    writes at that moment."""
    noted = left.clip_ids()
    left.forget(noted - store.clips.get_many(noted, []).keys())


def train(
    store: Store,
    place: Workplace,
    request: TrainingRequested,
    emit: Callable[[TrainingProgress], None],
    run: Callable[[TrainingRequested, RunClips, Workplace, Lineage, Progress], TrainingResult] = run_training,
) -> TrainingFinished:
    """Train on the eligible members that are open now, and put the artefacts into media storage.

    Args:
        run: trains.

    Raises:
        InputError: no member is open any more, the parent learned from clips that are barred by now, or a clip was
            closed while training; also what `run_training` raises.
    """
    footage = open_clips(store, LoraSettings.of(request.settings))
    parent = _parent_run(store, request)
    before = learned_by(store.media, parent or {})
    _refuse_barred(store, request.parent, before)
    clips = RunClips(
        members=_open_members(store, request, footage),
        earlier=[footage[one] for one in sorted(before.drawn & footage.keys())],
        footage=list(footage.values()),
    )

    note_clips(place.run, {clip.clip_id for clip in (*clips.members, *clips.earlier)})
    place.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        concept = store.concepts.get(request.concept) or {}
        lineage = Lineage(
            definition=concept.get("definition", {}),
            recipe=concept.get("recipe", ""),
            snapshot=newest_with(store, [clip.clip_id for clip in clips.members]),
            parent=_parent_files(store, parent, place.out, files) if parent else None,
            trained_at=request.requested_at,
        )
        result = run(request, clips, place, lineage, _telling(request.run_id, emit))
    every = {*result.learned_from, *result.base_clip_ids, *before.every}
    still_open = {row["clip_id"] for row in store.clips.select(where="verdict = 'keep'", columns=[])}
    if closed := (every & footage.keys()) - still_open:
        raise InputError(f"{len(closed)} of the clips were removed or held while the run trained; ask for it again")
    artefacts = {
        name: store.media.put_file(path, path.suffix.removeprefix(".")) for name, path in result.artefacts.items()
    }
    artefacts[LEARNED_FILE] = put_learned(store.media, request.run_id, result.learned_from, every)
    return TrainingFinished(
        run_id=request.run_id,
        concept=request.concept,
        status="succeeded",
        reason="",
        artefacts=artefacts,
        metrics=result.metrics,
        finished_at=utc_now(),
    )


def _telling(run_id: str, emit: Callable[[TrainingProgress], None]) -> Progress:
    """Emits progress at most every `_TELL_EVERY_S`, and at each phase's first and last step."""
    last: tuple[str, float] = ("", 0.0)

    def progress(phase: str, step: int, steps: int, loss: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if phase == last[0] and step < steps and now - last[1] < _TELL_EVERY_S:
            return
        last = (phase, now)
        told = {"run_id": run_id, "phase": phase, "step": step, "steps": steps, "loss": loss}
        emit(TrainingProgress.model_validate(told))

    return progress


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


def _parent_run(store: Store, request: TrainingRequested) -> Mapping[str, Any] | None:
    """The run whose adapter this one starts from.

    Raises:
        InputError: it has none.
    """
    if request.parent is None:
        return None
    run = store.runs.get(request.parent)
    if run is None or run["status"] != "succeeded":
        raise InputError(f"parent run {request.parent} has no adapter to start from; train stage A first")
    return run


def _refuse_barred(store: Store, parent: str | None, before: Learned) -> None:
    """Raises InputError: the parent learned from clips that may be used no more, whoever dropped others since."""
    rows = store.clips.get_many(before.every, ["held_for"]).values()
    barred = [row["clip_id"] for row in rows if _BARRED & {*row["held_for"]}]
    if barred:
        raise InputError(
            f"parent run {parent} learned from {len(barred)} clips that are held for age or licence by now,"
            f" such as {barred[0]}; release their sources on record, or retire its adapter to start without it"
        )


def _parent_files(store: Store, run: Mapping[str, Any], out: Path, files: ExitStack) -> Parent:
    """The parent's files, side by side under their own names, as those who load them expect."""
    folder = Path(files.enter_context(tempfile.TemporaryDirectory(dir=out)))
    found = {}
    for name in (ADAPTER_FILE, CONTROL_FILE):
        if name in run["artefacts"]:
            with store.media.local_file(run["artefacts"][name]) as path:
                found[name] = Path(shutil.copyfile(path, folder / name))
    return Parent(found[ADAPTER_FILE], found.get(CONTROL_FILE))
