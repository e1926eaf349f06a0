"""Watching a store for drift: takes the reference, compares what comes with it, and raises an alarm once.

A reference holds until the space of the clusters is fitted anew or a person has answered its alarm. The state lies
beside that of the clustering; where it is lost, a new reference is taken.
"""

import io
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from store.clips import ClipRow
from store.clusters.folder import FOLDER
from store.clusters.rows import CONTROL, matrix_of, rows_of
from store.clusters.state import Clusters
from store.drift import LIMIT, Drift, Videos, take_reference, watch
from store.records import DriftRaised, Json, digest
from store.store import Store

_FILE = "drift.npz"
_REFERENCE = 1_000
"""Clips that a reference is made of. Chosen: of a few hundred videos."""


class Watch:
    """Follows a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of, self._drift = _load(store.folder)

    def follow(self, clusters: Clusters, clip_ids: Sequence[str], now: datetime) -> list[DriftRaised]:
        """Compare what came with the reference; an alarm, while there is one that nobody knows of."""
        if clusters.space is None or not len(clusters.sample):
            return []
        known = self._store.alarms.get(self._alarm_id())
        if self._drift is None or self._of != clusters.recipe or (known or {}).get("status") == "answered":
            self._of, self._drift = clusters.recipe, self._reference(clusters)
        else:
            rows = self._rows(clip_ids)
            points = clusters.space.project({name: matrix_of(rows, name) for name in clusters.space.modalities})
            sources = {row["video_id"]: row["source"] for row in rows}
            self._drift = watch(self._drift, _videos(rows, points), sources)
        _save(self._store.folder, self._of, self._drift)
        is_news = self._drift.is_alarming and self._store.alarms.get(self._alarm_id()) is None
        return [self._alarm(now)] if is_news else []

    def _alarm_id(self) -> str:
        """One alarm of one reference is one alarm."""
        if self._drift is None:
            return ""
        return digest(["drift", self._of, sorted(self._drift.measure.ids)])[:32]

    def _alarm(self, now: datetime) -> DriftRaised:
        assert self._drift is not None
        capital = self._drift.capital
        return DriftRaised(
            alarm_id=self._alarm_id(),
            score=self._drift.score,
            threshold=LIMIT,
            streams={name: value for name, value in sorted(capital.items(), key=lambda one: -one[1]) if value >= LIMIT},
            n_videos=self._drift.n_videos,
            sources=dict(self._drift.recent),
            recipe=self._of,
            raised_at=now,
        )

    def _reference(self, clusters: Clusters) -> Drift:
        """Of clips of the sample that each stand for equally many."""
        sample = clusters.sample
        limit = min(1.0, _REFERENCE / max(1, clusters.n_clips))
        chosen = sample.taken(sample.order < limit)
        rows = {row["clip_id"]: row for row in self._rows(chosen.ids)}
        there = chosen.taken(np.array([one in rows for one in chosen.ids], bool))
        return take_reference(_videos([rows[one] for one in there.ids], there.points))

    def _rows(self, clip_ids: Sequence[str]) -> list[ClipRow]:
        columns = ["video_id", "source", "stage", CONTROL, *self._store.clips.vector_columns]
        rows = rows_of(self._store.clips, sorted(clip_ids), columns).values()
        return [row for row in rows if row["stage"] == "densified"]


def _videos(rows: Sequence[ClipRow], points: np.ndarray) -> Videos:
    """The clips that lie somewhere, with those of their controls that are present."""
    lies = [i for i in range(len(rows)) if np.isfinite(points[i]).all()]
    names = sorted({name for i in lies for name in rows[i][CONTROL]["names"]})
    controls = {name: np.full(len(lies), np.nan) for name in names}
    for place, i in enumerate(lies):
        control = rows[i][CONTROL]
        for name, value, present in zip(control["names"], control["values"], control["present"], strict=True):
            if present:
                controls[name][place] = value
    return Videos(tuple(rows[i]["video_id"] for i in lies), points[lies].astype(np.float64), controls)


def _save(folder: Path, of: str, drift: Drift) -> None:
    told: Json = {"of": of, "video": drift.measure.video, "accounts": drift.accounts, "n_videos": drift.n_videos}
    told |= {"seen": drift.seen, "recent": drift.recent}
    arrays = {f"strange {name}": values for name, values in drift.strangeness.items()}
    arrays |= {f"control {name}": values for name, values in drift.measure.controls.items()}
    file = io.BytesIO()
    np.savez(file, told=np.array(json.dumps(told)), points=drift.measure.points, allow_pickle=False, **arrays)
    path = folder / FOLDER / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(file.getvalue())
    unfinished.replace(path)


def _load(folder: Path) -> tuple[str, Drift | None]:
    path = folder / FOLDER / _FILE
    if not path.is_file():
        return "", None
    with np.load(path, allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        parts = {
            kind: {name.partition(" ")[2]: arrays[name] for name in arrays if name.startswith(f"{kind} ")}
            for kind in ("strange", "control")
        }
        measure = Videos(tuple(told["video"]), arrays["points"], parts["control"])
    accounts = {name: (a, b, c) for name, (a, b, c) in told["accounts"].items()}
    drift = Drift(measure, parts["strange"], accounts, told["n_videos"], tuple(told["seen"]), told["recent"])
    return told["of"], drift
