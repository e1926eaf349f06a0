"""Watching a store for drift: takes the reference, compares what comes with it, and raises an alarm once.

A reference holds until the space of the clusters is fitted anew, footage is removed, or a person has answered its
alarm. The state lies beside that of the clustering; where it is lost, a new reference is taken. Videos count once all
their clips have come.
"""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from store.clip_columns import ClipRow
from store.clusters.folder import keep, kept
from store.clusters.rows import ANNOTATED, CONTROL, matrix_of, rows_of
from store.clusters.sample import order_of
from store.clusters.state import Clusters
from store.drift import LIMIT, Drift, Video, take_reference, watch
from store.records import DriftRaised, Json, digest
from store.store import Store
from store.tables import sql_in

_FILE = "drift.npz"
_REFERENCE = 400
"""Videos that a reference is made of. Chosen: with 100, places two spreads away were not told within 400 videos; with
400, after 190; with 1,600, which take four times as long to read, after 130 (`tests/bench/drift.py`)."""
_CLIPS = 16
"""Clips that a video is judged by, as good as random ones. Chosen: bounds what is read of a reference."""
_AT_ONCE = 50


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
        basis = self._basis(clusters)
        if self._drift is None or self._of != basis or (known or {}).get("status") == "answered":
            self._of, self._drift = basis, self._reference(clusters)
        else:
            rows = rows_of(self._store.clips, sorted(clip_ids), ["video_id"])
            came = self._store.videos.get_many(sorted({row["video_id"] for row in rows.values()}))
            whole = sorted(video for video, body in came.items() if body["status"] == "done")
            self._drift = watch(self._drift, self._videos(whole, clusters))
        _save(self._store.folder, self._of, self._drift)
        is_news = self._drift.is_alarming and self._store.alarms.get(self._alarm_id()) is None
        return [self._alarm(clusters.recipe, now)] if is_news else []

    def _basis(self, clusters: Clusters) -> str:
        """What a reference holds for: the space, and what was removed until then, since it holds vectors of clips. A
        removal counts when it is asked for and again when it is done: in between, its clips may still be there."""
        removals = self._store.removals.all()
        return digest([clusters.recipe, {id_: body["status"] for id_, body in removals.items()}])[:16]

    def _alarm_id(self) -> str:
        """One alarm of one reference is one alarm."""
        return "" if self._drift is None else digest(["drift", self._of, self._drift.reference])[:32]

    def _alarm(self, recipe: str, now: datetime) -> DriftRaised:
        assert self._drift is not None
        capital = self._drift.capital
        return DriftRaised(
            alarm_id=self._alarm_id(),
            score=self._drift.score,
            threshold=LIMIT,
            streams={name: value for name, value in sorted(capital.items(), key=lambda one: -one[1]) if value >= LIMIT},
            n_videos=self._drift.n_videos,
            sources=dict(self._drift.sources),
            clusters=dict(self._drift.clusters),
            recipe=recipe,
            raised_at=now,
        )

    def _reference(self, clusters: Clusters) -> Drift:
        """Of whole videos, as good as random ones."""
        whole = sorted(self._store.videos.all("done"), key=order_of)
        return take_reference(self._videos(whole[:_REFERENCE], clusters))

    def _videos(self, video_ids: Sequence[str], clusters: Clusters) -> list[Video]:
        """What is compared of videos; one of which no clip is annotated is left out."""
        columns = ["video_id", "source", CONTROL, *self._store.clips.vector_columns]
        found = []
        for first in range(0, len(video_ids), _AT_ONCE):
            where = f"{ANNOTATED} AND {sql_in('video_id', video_ids[first : first + _AT_ONCE])}"
            by_video: dict[str, list[ClipRow]] = defaultdict(list)
            for row in self._store.clips.select(where, columns):
                by_video[row["video_id"]].append(row)
            for video_id in sorted(by_video):
                rows = sorted(by_video[video_id], key=lambda row: order_of(row["clip_id"]))
                found.append(_video(rows[:_CLIPS], clusters))
        return found


def _video(rows: Sequence[ClipRow], clusters: Clusters) -> Video:
    """A video by some of its clips: where they lie by all that the space is of, and by each modality alone."""
    assert clusters.space is not None
    vectors = {name: matrix_of(rows, name) for name in clusters.space.modalities}
    alone = {f"place {name}": {name: rows_} for name, rows_ in vectors.items() if name != CONTROL}
    points = {name: _finite(clusters.space.project(part)) for name, part in {"place": vectors, **alone}.items()}
    inside = [int(one) for one in clusters.place(points["place"].astype(np.float32)).cluster]
    most, _ = Counter(inside).most_common(1)[0] if inside else (-1, 0)
    return Video(rows[0]["video_id"], points, _controls(rows), str(rows[0]["source"] or ""), None if most < 0 else most)


def _finite(points: np.ndarray) -> np.ndarray:
    """The points that lie somewhere, float64 [n, D]."""
    return np.compress(np.isfinite(points).all(axis=1), points, axis=0).astype(np.float64)


def _controls(rows: Sequence[ClipRow]) -> Mapping[str, float]:
    """Mean of each control over the clips where it is present."""
    present: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        control = row[CONTROL]
        for name, value, is_present in zip(control["names"], control["values"], control["present"], strict=True):
            if is_present:
                present[name].append(value)
    return {name: float(np.mean(values)) for name, values in present.items()}


def _save(folder: Path, of: str, drift: Drift) -> None:
    told: Json = {name: getattr(drift, name) for name in _TOLD} | {"of": of}
    arrays = {f"strange {name}": values for name, values in drift.strangeness.items()}
    arrays |= {f"near {name}": values for name, values in drift.near.items()}
    file = io.BytesIO()
    np.savez(file, told=np.array(json.dumps(told)), allow_pickle=False, **arrays)
    keep(folder, _FILE, file.getvalue())


_TOLD = ("reference", "accounts", "n_videos", "seen", "sources", "clusters")
"""What of the state is kept as JSON; the rest are arrays."""


def _load(folder: Path) -> tuple[str, Drift | None]:
    path = kept(folder, _FILE)
    if not path.is_file():
        return "", None
    with np.load(path, allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        near, strangeness = (
            {name.partition(" ")[2]: arrays[name] for name in arrays if name.startswith(f"{kind} ")}
            for kind in ("near", "strange")
        )
    of = told.pop("of")
    told["seen"] = tuple(told["seen"])
    told["accounts"] = {name: (a, b, c) for name, (a, b, c) in told["accounts"].items()}
    return of, Drift(near=near, strangeness=strangeness, **told)
