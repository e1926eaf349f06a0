"""Follows the stored clips: clusters them, judges the concepts, finds pivots, and watches for drift."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from processors.vision.texts import text_encoder
from store.clusters.curator import Curator
from store.clusters.map import follow_map, load_map, save_map
from store.clusters.state import PeopleSay
from store.concepts import Concept, load_concepts
from store.curation import find_members, find_pivots, judge_concepts
from store.errors import InputError, ModelUnavailable
from store.records import Record
from store.reviewing.ledger import Ledger, cluster_decisions
from store.store import Store
from store.watching import Watch

Request = tuple[tuple[str, ...], bool, datetime]
"""Ids of clips that came or changed; whether no more come, so that all that is known may count; the time."""


def make_worker(data: str, concepts: Path, profile: str) -> Callable[[Request, Any], tuple[list[Record], bool]]:
    """A worker that gives the records of what changed, and whether there is more to be placed anew."""
    # Its matrices are small: threads of BLAS that wait for each other beside the other steps cost up to three times the
    # processor time.
    threadpool_limits(1)
    store = Store.open(data)
    declared = load_concepts(concepts)
    texts = _text_vectors(declared, profile, Path(data, "models"))
    following: _Following | None = None
    changed: set[str] = set()

    def work(request: Request, emit: Callable[[Any], None]) -> tuple[list[Record], bool]:
        nonlocal following
        # A look that fails may change half of what is remembered; what was kept on disk is whole.
        current, following = following or _Following(store), None
        curator = current.curator
        clip_ids, settle, now = request
        changed.update(clip_ids)
        reviews = store.reviews.all()
        merges, splits = cluster_decisions(reviews)
        records = curator.follow(clip_ids, PeopleSay(tuple(merges), tuple(splits)), settle)
        answers = Ledger.of(reviews).labels
        found = find_members(store, declared, curator.clusters, answers, texts)
        records += judge_concepts(store, declared, found, curator.clusters, answers, now)
        records += current.watch.follow(curator.clusters, clip_ids, now)
        if settle:
            records += find_pivots(store, sorted(changed), found, curator.in_flight)
            changed.clear()
        current.drawn = follow_map(current.drawn, curator.clusters)
        save_map(store.folder, current.drawn)
        following = current
        return records, curator.is_behind

    return work


class _Following:
    """What is remembered of a store from one look at it to the next."""

    def __init__(self, store: Store) -> None:
        self.curator = Curator(store)
        self.drawn = load_map(store.folder)
        self.watch = Watch(store)


def _text_vectors(concepts: Sequence[Concept], profile: str, models: Path) -> dict[str, list[float]]:
    """Vectors of the texts that concepts are declared by; without a model for them, their words are looked for."""
    texts = {one.name: one.text for one in concepts if one.text is not None}
    if not texts:
        return {}
    try:
        encode = text_encoder(profile, models)
    except (InputError, ModelUnavailable):
        return {}
    return {name: encode(text) for name, text in texts.items()}
