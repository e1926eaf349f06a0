"""The steps of the road, wired to one store."""

import asyncio
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from store.files import discard_old, folders
from store.gate import load_gate
from store.records import Column
from store.store import Store, choose_media
from streams.annotating import Annotating
from streams.child import Child
from streams.metrics import StepMetrics
from streams.runner import Step
from streams.steps.curate import Curate
from streams.steps.densify import Densify, about_annotations
from streams.steps.embed import Embed, load_models, measured_columns
from streams.steps.persist import Persist
from streams.steps.resume import Resume
from streams.steps.schedule import Schedule
from streams.steps.segment import CHUNK_S, Segment
from streams.steps.snapshot import Snapshot
from streams.steps.train import Train
from streams.topics import STEPS
from trainer.scheduler_settings import load_training


@dataclass(frozen=True)
class Workplace:
    """Where and by what the steps work.

    data: folder of the store. profile: name of a model profile, or path to a TOML file. concepts: concepts.yaml.
    device: where models compute (see `processors.device.choose_device`).
    media: object storage of a new store's media (see `store.store.choose_media`); None: where they are, or in `data`.
    chunk_s: footage that is read as one piece of work; what is longer is shared out.
    gate: a TOML file of what holds clips back (see `store.gate.load_gate`); None: the defaults.
    training: a TOML file of when to train (see `trainer.scheduler_settings.load_training`); None: the defaults.
    key: secret of the endpoint that the profile's engine asks, if it does.
    """

    data: Path
    profile: str
    concepts: Path
    device: str = "auto"
    media: str | None = None
    chunk_s: float = CHUNK_S
    gate: Path | None = None
    training: Path | None = None
    key: str = field(default="", repr=False)

    @property
    def unfinished(self) -> Path:
        """Folder of files that this process makes; what a killed one left there is of no use."""
        return self.data / "unfinished" / f"{socket.gethostname()}-{os.getpid()}"


async def open_road(
    place: Workplace, clock: Callable[[], datetime], names: Sequence[str] = STEPS, metrics: StepMetrics | None = None
) -> tuple[Store, list[Step]]:
    """The store and the steps of these names, in the road's order; with persist among them, the store's tables have
    every column that the profile and the annotation need.

    Raises:
        SettingsError: profile, device, concepts, gate or training cannot work.
        ModelUnavailable: the steps measure clips, and a model of the profile that is not optional is missing.
    """
    gate, training = load_gate(place.gate), load_training(place.training)
    metrics = metrics or StepMetrics()
    if place.media is not None:
        choose_media(place.data, place.media)
    _sweep(place.unfinished)
    place.unfinished.mkdir(parents=True, exist_ok=True)
    embedding = Child("embed", "streams.workers.embed", str(place.data), place.profile, place.device)
    describing = Child("densify", "streams.workers.densify", str(place.data), place.profile, place.device, place.key)
    annotating: Annotating | None = None
    columns: tuple[Column, ...] = ()
    if "persist" in names:
        about, measured = await asyncio.gather(about_annotations(describing), measured_columns(embedding))
        annotating = Annotating(about)
        columns = (*measured, *annotating.columns)
    store = Store.open(place.data, columns)
    snapshots = place.data / "snapshots"

    def reader(name: str) -> Child:
        return Child(name, "streams.workers.segment", str(place.data), place.unfinished, place.chunk_s)

    def trainer() -> Child:
        given, n = (str(place.data), place.device), training.devices_per_run
        if n == 1:
            return Child("train", "streams.workers.train", *given)
        return Child("train", "streams.workers.train_together", *given, n)

    def persist() -> Step:
        assert annotating is not None
        return Persist(store, place.data, snapshots, clock, metrics.queryable, annotating, gate)

    make: dict[str, Callable[[], Step]] = {
        "segment": lambda: Segment(store, reader("segment")),
        "resume": lambda: Resume(store, reader("resume")),
        "embed": lambda: Embed(embedding),
        "densify": lambda: Densify(describing),
        "persist": persist,
        "curate": lambda: Curate(place.data, place.concepts, place.profile, clock),
        "schedule": lambda: Schedule(store, clock, training),
        "train": lambda: Train(store, trainer(), clock),
        "snapshot": lambda: Snapshot(store, snapshots),
    }
    if "embed" in names:
        for processor, reason in (await load_models(embedding)).items():
            metrics.absent.labels(processor, reason.partition("; ")[0]).set(1)
    else:
        embedding.kill()
    if "densify" in names:
        if (absent := (await about_annotations(describing)).absent) is not None:
            metrics.absent.labels("reason", absent.partition("; ")[0]).set(1)
    else:
        describing.kill()
    return store, [make[name]() for name in STEPS if name in names]


def _sweep(own: Path) -> None:
    """Delete what killed workers left in the folder beside ours: of this machine, and of any, where it is so old that
    no work can be going on in it."""
    for left in folders(own.parent):
        machine, _, process = left.name.rpartition("-")
        if left == own or (machine == socket.gethostname() and not Path("/proc", process).exists()):
            shutil.rmtree(left, ignore_errors=True)
        else:
            discard_old(folders(left))
