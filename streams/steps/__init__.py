"""The steps of the road, wired to one store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from processors.distill.annotate import Annotator

from processors.profile import load_profile
from store.records import Column
from store.store import Store
from streams.runner import Step
from streams.steps.curate import Curate
from streams.steps.densify import Densify
from streams.steps.embed import Embed
from streams.steps.persist import Persist
from streams.steps.schedule import Schedule
from streams.steps.segment import Segment
from streams.steps.snapshot import Snapshot
from streams.steps.train import Train


@dataclass(frozen=True)
class StepSettings:
    """What the steps work by."""

    profile: str
    """Name of a model profile, or path to a TOML file."""
    concepts: Path
    """concepts.yaml."""
    device: str = "cpu"


def store_columns(settings: StepSettings) -> tuple[Column, ...]:
    """Columns that the clip table needs beside its own."""
    return (*load_profile(settings.profile).columns, *Annotator().columns)


def create_steps(store: Store, data: Path, settings: StepSettings, clock: Callable[[], datetime]) -> list[Step]:
    """Every step, in the order of the road."""
    snapshots = data / "snapshots"
    return [
        Segment(store, data),
        Embed(data, settings.profile, settings.device),
        Densify(),
        Persist(store, snapshots, clock),
        Curate(data, settings.concepts),
        Schedule(store, clock),
        Train(store, data),
        Snapshot(store, snapshots),
    ]
