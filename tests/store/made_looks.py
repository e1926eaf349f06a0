"""Clips of known looks and readings, for tests of what is made of them."""

from collections.abc import Sequence

import numpy as np

from store.clusters.curator import Curator
from store.records import ClipDensified, ClipEmbedded
from store.store import Store
from store.view import View
from tests.store.made_footage import Video, all_records

LOOKS = {"wide": (5.0, 0.0, 0.0, 0.0), "close": (0.0, 5.0, 0.0, 0.0)}


def put_video(
    store: Store, name: str, terms: Sequence[str], seed: int = 0, sure: float = 1.0, source: str = "park"
) -> list[str]:
    """A video of clips that look like their terms, and are read to show them with probability `sure`; its clip ids."""
    drawn = np.random.default_rng([seed, len(name), *name.encode()])
    video = Video(name, n_clips=len(terms), source=source)
    places = {clip_id: i for i, clip_id in enumerate(video.clip_ids)}
    records = []
    for record in all_records([video]):
        if isinstance(record, ClipEmbedded):
            look = np.array(LOOKS[terms[places[record.clip_id]]]) + drawn.normal(0, 0.5, 4)
            record = record.model_copy(update={"values": record.values | {"visual": look.tolist()}})
        elif isinstance(record, ClipDensified):
            term = terms[places[record.clip_id]]
            readings = {"shot_scale": {term: sure, "medium": 1.0 - sure}}
            told = {"attributes": {"shot_scale": term}, "readings": readings, "conditioning": f"{term} shot"}
            record = record.model_copy(update={"annotation": record.annotation.model_copy(update=told)})
        records.append(record)
    View(store).apply(records)
    return list(video.clip_ids)


def curated(store: Store) -> Curator:
    """The curator of the store, once it has followed it to its end."""
    curator = Curator(store)
    while records := curator.follow(settle=True):
        View(store).apply(records)
    return curator
