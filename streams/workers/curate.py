"""Clusters the stored clips and judges the concepts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.concepts import load_concepts
from store.curation import curate
from store.records import Record
from store.store import Store


def make_worker(data: str, concepts: Path) -> Callable[[None, Any], tuple[int, list[Record]]]:
    """A worker that gives the number of clips and the records of what changed."""
    store = Store.open(data)
    declared = load_concepts(concepts)

    def work(request: None, emit: Callable[[Any], None]) -> tuple[int, list[Record]]:
        return curate(store, declared)

    return work
