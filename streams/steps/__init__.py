"""The steps of the road, wired to one store."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from processors.distill.annotate import Annotator
from store.store import Store
from streams.child import Child
from streams.runner import Step
from streams.steps.curate import Curate
from streams.steps.densify import Densify
from streams.steps.embed import Embed, measured_columns
from streams.steps.persist import Persist
from streams.steps.schedule import Schedule
from streams.steps.segment import Segment
from streams.steps.snapshot import Snapshot
from streams.steps.train import Train


@dataclass(frozen=True)
class Workplace:
    """Where and by what the steps work.

    data: folder of the store. profile: name of a model profile, or path to a TOML file. concepts: concepts.yaml.
    """

    data: Path
    profile: str
    concepts: Path
    device: str = "cpu"

    @property
    def unfinished(self) -> Path:
        """Folder of files that are being made; what a killed service left there is of no use."""
        return self.data / "unfinished"


async def open_road(place: Workplace, clock: Callable[[], datetime]) -> tuple[Store, list[Step]]:
    """The store, with the columns that the profile and the annotation need, and every step in the road's order.

    Raises:
        SettingsError: profile or concepts cannot work.
    """
    shutil.rmtree(place.unfinished, ignore_errors=True)
    place.unfinished.mkdir(parents=True)
    embedding = Child("embed", "streams.workers.embed", str(place.data), place.profile, place.device)
    annotator = Annotator()
    columns = (*await measured_columns(embedding), *annotator.columns)
    store = Store.open(place.data, columns)
    snapshots = place.data / "snapshots"
    return store, [
        Segment(store, place.data, place.unfinished),
        Embed(embedding),
        Densify(annotator),
        Persist(store, place.data, snapshots, clock),
        Curate(place.data, place.concepts),
        Schedule(store, clock),
        Train(store, place.data, place.unfinished, clock),
        Snapshot(store, snapshots),
    ]
