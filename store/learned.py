"""Which clips an adapter learned from: a list among its run's artefacts, so that no record grows with a concept."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from store.media import MediaStore

LEARNED_FILE = "learned_from.json"
"""Name of the artefact."""


@dataclass(frozen=True)
class Learned:
    """Ids of clips. drawn: those that a run drew. every: with them, those of the adapter that it began from, and of a
    base that was built here."""

    drawn: frozenset[str]
    every: frozenset[str]


def put_learned(media: MediaStore, run_id: str, drawn: Collection[str], every: Collection[str]) -> str:
    """Store the list of a run; returns its media key. No two runs share one, which a removal of either would take."""
    told = {"run_id": run_id, "drawn": sorted(drawn), "every": sorted(every)}
    return media.put_bytes(json.dumps(told, separators=(",", ":")).encode(), "json")


def learned_by(media: MediaStore, run: Mapping[str, Any]) -> Learned:
    """What the run of a document learned from.

    Raises:
        NotFound: its list is gone.
    """
    key = run.get("artefacts", {}).get(LEARNED_FILE)
    if key is None:
        return _of_version_1(run)
    told = json.loads(media.read(key))
    return Learned(frozenset(told["drawn"]), frozenset(told["every"]))


def _of_version_1(run: Mapping[str, Any]) -> Learned:
    """Of a run whose document told the clips itself."""
    every, metrics = frozenset(run.get("clip_ids", ())), run.get("metrics", {})
    known = every - set(metrics.get("base_clip_ids", ()))
    return Learned(frozenset(metrics.get("learned_from", known)), every)
