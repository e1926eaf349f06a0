"""Drift: whether new footage still is like what the clusters and the control vectors were built on.

How strange a video is, is measured by where it lies, by each modality and by all of them (the median distance of its
clips to the nearest of one half of the reference videos), and by each control (its mean over the clips: small and large
p-values are bet on alike, so that a rise and a fall both count). Its p-value is the share of the
videos of the other half, and of all that came before it, that are at least as strange. While videos are exchangeable,
p-values are uniform and independent of each other, and bets on them are fair: the simple jumper (Vovk et al. 2021,
"Retrain or not retrain") keeps three accounts that bet on small, on large and on no p-values, and moves 1 % of its
capital between them at each step. Its capital is a martingale, so that it exceeds a thousand times the stake with a
probability of one in a thousand, however long one waits (Ville 1939). What counts is the mean over all of the streams.

That holds while a reference video and a new one are the same kind of draw. So both are whole videos: a reference of
single clips makes the means of new videos look tame, and bets on that raised an alarm in one case of five.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.distance import cdist

from store.clusters.sample import order_of
from store.records import digest

LIMIT = 1000.0
"""Capital from which there is an alarm: one false one in a thousand references."""
LEAST_VIDEOS = 20
"""Reference videos without which nothing is compared. Chosen: of fewer, no p-value is small."""
_COMPARED, _SEEN = 5_000, 1_000
"""Most videos that are compared with, and that are known to have been; the last ones. Chosen: 40 kB a stream."""
_JUMP = 0.01
_BETS = (-1.0, 0.0, 1.0)
"""Slopes of the accounts' bets 1 + e (p - 1/2); Vovk et al. use these."""


@dataclass(frozen=True)
class Video:
    """What is compared of a video, all of it by the name of a stream.

    points: float64 [n, D], where those of its clips lie that lie somewhere; n may be 0. controls: mean over its clips;
    one that none of them has is not there. cluster: that most of its clips are in; None: in none.
    """

    video_id: str
    points: Mapping[str, np.ndarray]
    controls: Mapping[str, float]
    source: str
    cluster: int | None = None


@dataclass(frozen=True)
class Drift:
    """What is known of drift since a reference was taken.

    reference: hash of the ids of its videos. near: stream to float64 [M, D], clips that places are measured by; the
    other streams are controls. strangeness: stream to float64 [R], of each of the videos that are compared with.
    accounts: stream to the capital of its three accounts. n_videos: that were compared. seen: videos that are counted
    already, the last ones. sources, clusters: of the videos since the capital was last below its stake; "none" is no
    cluster.
    """

    reference: str
    near: Mapping[str, np.ndarray]
    strangeness: Mapping[str, np.ndarray]
    accounts: Mapping[str, tuple[float, float, float]]
    n_videos: int = 0
    seen: tuple[str, ...] = ()
    sources: Mapping[str, int] = field(default_factory=dict)
    clusters: Mapping[str, int] = field(default_factory=dict)

    @property
    def capital(self) -> Mapping[str, float]:
        """Of each stream, as a multiple of its stake."""
        return {name: sum(accounts) for name, accounts in self.accounts.items()}

    @property
    def score(self) -> float:
        """Mean capital of the streams; 1 where nothing speaks for drift."""
        return float(np.mean(list(self.capital.values()))) if self.accounts else 1.0

    @property
    def is_alarming(self) -> bool:
        """Whether footage has moved away."""
        return self.score >= LIMIT


def take_reference(videos: Sequence[Video]) -> Drift:
    """Drift from now on, compared with these videos."""
    ordered = sorted(videos, key=lambda video: order_of(video.video_id))
    half, rest = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
    places = sorted({name for video in half for name in video.points})
    near = {name: np.vstack([video.points[name] for video in half if name in video.points]) for name in places}
    controls = sorted({name for video in rest for name in video.controls})
    ids = tuple(video.video_id for video in ordered)
    nobody = Drift(digest(sorted(ids)), near, {}, {}, seen=ids[-_SEEN:])
    strangeness: dict[str, np.ndarray] = {}
    for stream in (*near, *controls) if len(ordered) >= LEAST_VIDEOS else ():
        known = [one for video in rest if (one := _strange(stream, video, nobody)) is not None]
        if len(known) >= LEAST_VIDEOS // 2 and np.std(known) > 1e-9:
            strangeness[stream] = np.array(known)
    third = 1.0 / 3.0
    return replace(nobody, strangeness=strangeness, accounts=dict.fromkeys(strangeness, (third, third, third)))


def watch(drift: Drift, videos: Sequence[Video]) -> Drift:
    """Drift with new videos compared, each once; after an alarm nothing is compared any more."""
    for video in videos:
        if not drift.is_alarming and drift.strangeness and video.video_id not in drift.seen:
            drift = _compared(drift, video)
    return drift


def _compared(drift: Drift, video: Video) -> Drift:
    accounts, strangeness = dict(drift.accounts), dict(drift.strangeness)
    for stream, known in drift.strangeness.items():
        strange = _strange(stream, video, drift)
        if strange is not None:
            accounts[stream] = _bet(accounts[stream], _p_value(strange, known, f"{stream} {video.video_id}"))
            strangeness[stream] = np.append(known, strange)[-_COMPARED:]
    now = replace(drift, accounts=accounts, strangeness=strangeness, n_videos=drift.n_videos + 1)
    is_growing = now.score >= 1.0
    return replace(
        now,
        seen=(*drift.seen, video.video_id)[-_SEEN:],
        sources=_counted(drift.sources if is_growing else {}, video.source),
        clusters=_counted(
            drift.clusters if is_growing else {}, "none" if video.cluster is None else str(video.cluster)
        ),
    )


def _counted(counts: Mapping[str, int], name: str) -> dict[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}


def _strange(stream: str, video: Video, drift: Drift) -> float | None:
    """How strange a video is; None where that cannot be told. A control's own value is: its distance from the median
    hid which way it went, and a shift by a spread was not told within 400 videos (80 now)."""
    if stream not in drift.near:
        return video.controls.get(stream)
    points, near = video.points.get(stream), drift.near[stream]
    if points is None or not len(points) or not len(near):
        return None
    return float(np.median(cdist(points, near).min(axis=1)))


def _p_value(strange: float, known: np.ndarray, name: str) -> float:
    """Share of the reference that is at least as strange, ties shared out by a number that is as good as random."""
    above, equal = int((known > strange).sum()), int((known == strange).sum())
    return (above + order_of(name) * (equal + 1)) / (len(known) + 1)


def _bet(accounts: Sequence[float], p: float) -> tuple[float, float, float]:
    total = sum(accounts)
    moved = [(1.0 - _JUMP) * capital + _JUMP / 3.0 * total for capital in accounts]
    first, second, third = (capital * (1.0 + slope * (p - 0.5)) for capital, slope in zip(moved, _BETS, strict=True))
    return first, second, third
