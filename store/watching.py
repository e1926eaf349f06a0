"""Watching a store for drift: takes the reference, compares what comes with it, and raises an alarm once.

A reference holds until the space of the clusters is fitted anew, footage is removed, or a person has answered its
alarm. The state lies beside that of the clustering; where it is lost, a new reference is taken. Videos count once all
their clips have come, and where they were submitted since the reference was taken: what is told of older ones (a source
is released, the gate changes, clips are annotated anew) is nothing new.
"""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from store.clip_columns import ClipRow
from store.clusters.folder import keep, kept
from store.clusters.rows import ANNOTATED, CONTROL, matrix_of
from store.clusters.sample import order_of
from store.clusters.state import Clusters
from store.drift import LIMIT, Drift, Video, take_reference, watch
from store.records import DriftRaised, Json, digest
from store.store import Store
from store.tables import in_parts, sql_in

_FILE = "drift.npz"
_REFERENCE = 400
"""Videos that a reference is made of. Chosen: with 100, places two spreads away were not told within 400 videos; with
400, after 190; with 1,600, which take four times as long to read, after 130 (`tests/bench/drift.py`)."""
_CLIPS = 16
"""Clips that a video is judged by, as good as random ones. Chosen: bounds what is read of a reference."""
_AT_ONCE = 50


@dataclass(frozen=True)
class _Watched:
    """A reference, and what is known of drift since.

    of: what the reference holds for. since: when it was taken. n_answered: alarms that were answered by then.
    """

    of: str
    since: datetime
    n_answered: int
    drift: Drift

    @property
    def alarm_id(self) -> str:
        """One alarm of one reference is one alarm, also where the state was lost. The number tells it from those that
        were answered: where videos are many, the next reference often is of the same ones."""
        return digest(["drift", self.of, self.drift.reference, self.n_answered])[:32]


class Watch:
    """Follows a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched = _load(store.folder)

    def follow(self, clusters: Clusters, clip_ids: Sequence[str], now: datetime) -> list[DriftRaised]:
        """Compare what came with the reference; an alarm, while there is one that nobody knows of."""
        if clusters.space is None or not len(clusters.sample):
            return []
        basis, watched = self._basis(clusters), self._watched
        if watched is None or watched.of != basis or self._is_answered(watched):
            n_answered = self._store.alarms.counts().get("answered", 0)
            watched = _Watched(basis, now, n_answered, self._reference(clusters))
        else:
            new = self._videos(self._submitted_since(watched.since, clip_ids), clusters)
            watched = replace(watched, drift=watch(watched.drift, new))
        self._watched = watched
        _save(self._store.folder, watched)
        is_news = watched.drift.is_alarming and self._store.alarms.get(watched.alarm_id) is None
        return [_alarm(watched, clusters.recipe, now)] if is_news else []

    def _is_answered(self, watched: _Watched) -> bool:
        return (self._store.alarms.get(watched.alarm_id) or {}).get("status") == "answered"

    def _submitted_since(self, since: datetime, clip_ids: Sequence[str]) -> list[str]:
        """The whole ones of the clips' videos that were submitted since a time."""
        rows = self._store.clips.get_many(clip_ids, ["video_id"])
        came = self._store.videos.get_many(sorted({row["video_id"] for row in rows.values()}))
        whole = {video: body for video, body in came.items() if body["status"] == "done" and "submitted_at" in body}
        return sorted(video for video, body in whole.items() if datetime.fromisoformat(body["submitted_at"]) >= since)

    def _basis(self, clusters: Clusters) -> str:
        """What a reference holds for: the space, and what was removed until then, since it holds vectors of clips. A
        removal counts when it is asked for and again when it is done: in between, its clips may still be there."""
        removals = self._store.removals.all()
        return digest([clusters.recipe, {id_: body["status"] for id_, body in removals.items()}])[:16]

    def _reference(self, clusters: Clusters) -> Drift:
        """Of whole videos, as good as random ones."""
        whole = sorted(self._store.videos.all("done"), key=order_of)
        return take_reference(self._videos(whole[:_REFERENCE], clusters))

    def _videos(self, video_ids: Sequence[str], clusters: Clusters) -> list[Video]:
        """What is compared of videos; one of which no clip is annotated is left out."""
        assert clusters.space is not None
        columns = list(dict.fromkeys(["video_id", "source", CONTROL, *clusters.space.modalities]))
        found = []
        for part in in_parts(video_ids, _AT_ONCE):
            by_video: dict[str, list[ClipRow]] = defaultdict(list)
            for row in self._store.clips.get_many(self._few(part), columns).values():
                by_video[row["video_id"]].append(row)
            found += [_video(rows, clusters) for _, rows in sorted(by_video.items())]
        return found

    def _few(self, video_ids: Sequence[str]) -> list[str]:
        """Ids of the clips that each of the videos is judged by."""
        by_video: dict[str, list[str]] = defaultdict(list)
        for row in self._store.clips.select(f"{ANNOTATED} AND {sql_in('video_id', video_ids)}", ["video_id"]):
            by_video[row["video_id"]].append(row["clip_id"])
        return [one for ids in by_video.values() for one in sorted(ids, key=order_of)[:_CLIPS]]


def _alarm(watched: _Watched, recipe: str, now: datetime) -> DriftRaised:
    drift = watched.drift
    most = sorted(drift.capital.items(), key=lambda one: -one[1])
    return DriftRaised(
        alarm_id=watched.alarm_id,
        score=drift.score,
        threshold=LIMIT,
        streams={name: value for name, value in most if value >= LIMIT},
        n_videos=drift.n_videos,
        sources=dict(drift.sources),
        clusters=dict(drift.clusters),
        recipe=recipe,
        raised_at=now,
    )


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


def _save(folder: Path, watched: _Watched) -> None:
    drift = watched.drift
    told: Json = {name: getattr(drift, name) for name in _TOLD}
    told |= {"of": watched.of, "since": watched.since.isoformat(), "n_answered": watched.n_answered}
    arrays = {f"strange {name}": values for name, values in drift.strangeness.items()}
    arrays |= {f"near {name}": values for name, values in drift.near.items()}
    file = io.BytesIO()
    np.savez(file, told=np.array(json.dumps(told)), allow_pickle=False, **arrays)
    keep(folder, _FILE, file.getvalue())


_TOLD = ("reference", "accounts", "n_videos", "seen", "sources", "clusters")
"""What of the drift is kept as JSON; the rest are arrays."""


def _load(folder: Path) -> _Watched | None:
    """What was known; None also where it was kept before there was a time in it, so that a reference is taken anew."""
    path = kept(folder, _FILE)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        near, strangeness = (
            {name.partition(" ")[2]: arrays[name] for name in arrays if name.startswith(f"{kind} ")}
            for kind in ("near", "strange")
        )
    if "since" not in told:
        return None
    of, since, n_answered = told.pop("of"), datetime.fromisoformat(told.pop("since")), told.pop("n_answered")
    told["seen"] = tuple(told["seen"])
    told["accounts"] = {name: (a, b, c) for name, (a, b, c) in told["accounts"].items()}
    return _Watched(of, since, n_answered, Drift(near=near, strangeness=strangeness, **told))
