"""A store whose clips come in batches, and a curator that follows it, in a process that may be killed at any time.

`python -m tests.store.clusters.road FOLDER N` puts N batches into the store under FOLDER, each once the one before has
been followed to its end, and goes on where an earlier process was killed.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from store.clip_columns import ClipRow
from store.clusters.curator import Curator
from store.clusters.file import load_state, state_digest
from store.clusters.options import ClusterOptions
from store.clusters.state import Clusters, PeopleSay
from store.records import ClipEmbedded, Record
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, Video, all_records

OPTIONS = ClusterOptions(capacity=60)
"""So small that clips leave the sample."""
PER_BATCH = 12
PLACE = [
    "cluster",
    "by_modality",
    "is_outlier",
    "is_boundary",
    "next_cluster",
    "sample_threshold",
    "copies",
    "curation_recipe",
]
"""Columns that tell where a clip lies."""


def batch(number: int) -> list[Record]:
    """The records of the twelve clips of a batch: of four looks, and now and then of none."""
    drawn = np.random.default_rng(number)
    records = []
    for record in all_records([Video(f"batch-{number}", n_clips=PER_BATCH)]):
        if isinstance(record, ClipEmbedded):
            look = 3.0 * np.eye(4)[drawn.integers(0, 4)] + drawn.normal(0, 0.3, 4)
            vector = look if drawn.random() < 0.95 else drawn.normal(0, 3, 4)
            record = record.model_copy(update={"values": record.values | {"visual": vector.tolist()}})
        records.append(record)
    return records


def follow_to_the_end(store: Store, curator: Curator, people: PeopleSay = PeopleSay()) -> list[Record]:
    """Follow, and write what is told, until nothing more is; all that was told."""
    told: list[Record] = []
    while (records := curator.follow(people=people, settle=True)) or curator.is_behind:
        View(store).apply(records)
        told += records
    return told


def run(folder: Path, n: int, kill_after_s: float | None = None) -> Literal["done", "killed"]:
    """How a process of this module ended; it is killed so long after it was ready."""
    command = [sys.executable, "-m", "tests.store.clusters.road", str(folder), str(n)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.kill()
        return "done" if process.stdout.readline() == "done\n" else "killed"


def end_of(folder: Path) -> tuple[str, dict[str, str], list[ClipRow]]:
    """What a store ended in: digests of its clusters and of those by one modality, and the places of its clips."""
    state = load_state(folder, OPTIONS)
    assert state is not None
    places = Store.open(folder, COLUMNS).clips.select(columns=PLACE)
    return state_digest(state.clusters), digests(state.facets), places


def digests(facets: Mapping[str, Clusters]) -> dict[str, str]:
    """Digests of the states of single modalities."""
    return {name: state_digest(state) for name, state in facets.items()}


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    folder, n = Path(arguments[0]), int(arguments[1])
    store = Store.open(folder, COLUMNS)
    curator = Curator(store, OPTIONS)
    came = store.clips.count() // PER_BATCH
    print("ready", flush=True)
    for number in range(max(0, came - 1), n):
        View(store).apply(batch(number))
        follow_to_the_end(store, curator)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
