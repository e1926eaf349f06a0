"""Drift: whether new footage still is like what the clusters and the control vectors were built on.

How strange a video is, is measured by one half of the reference videos: where it lies (distance of its clips to the
nearest of theirs), and each control (distance of its mean from the median of theirs). Its p-value is the share of the
videos of the other half, and of all that came before it, that are at least as strange. While videos are exchangeable,
p-values are uniform and independent of each other, and bets on them are fair: the simple jumper (Vovk et al. 2021,
"Retrain or not retrain") keeps three accounts that bet on small, on large and on no p-values, and moves 1 % of its
capital between them at each step. Its capital is a martingale, so that it exceeds a thousand times the stake with a
probability of one in a thousand, however long one waits (Ville 1939). What counts is the mean over all of the streams,
which is a martingale too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from store.clusters.sample import order_of

LIMIT = 1000.0
"""Capital from which there is an alarm: one false one in a thousand references."""
PLACE = "place"
"""The stream of where videos lie; the others are named after their controls."""
LEAST_VIDEOS = 20
"""Reference videos without which nothing is compared. Chosen: of fewer, no p-value is small."""
_COMPARED, _SEEN = 5_000, 1_000
"""Most videos that are compared with, and that are known to have been; the last ones. Chosen: 40 kB a stream."""
_JUMP = 0.01
_BETS = (-1.0, 0.0, 1.0)
"""Slopes of the accounts' bets 1 + e (p - 1/2); Vovk et al. use these."""


@dataclass(frozen=True)
class Videos:
    """Clips by video. video: of N clips, the id of each one's video. points: float64 [N, D]. controls: control to
    float64 [N]; NaN where a clip has none."""

    video: tuple[str, ...]
    points: np.ndarray
    controls: Mapping[str, np.ndarray]

    def of(self, video: str) -> "Videos":
        """The clips of one video."""
        return self.among([video])

    def among(self, videos: Sequence[str]) -> "Videos":
        """The clips of some videos."""
        rows = np.array([i for i, one in enumerate(self.video) if one in set(videos)], int)
        controls = {name: values[rows] for name, values in self.controls.items()}
        return Videos(tuple(self.video[i] for i in rows), self.points[rows], controls)

    @property
    def ids(self) -> tuple[str, ...]:
        """Each video once, in order of arrival."""
        return tuple(dict.fromkeys(self.video))


@dataclass(frozen=True)
class Drift:
    """What is known of drift since a reference was taken.

    measure: clips of the videos that strangeness is measured by. strangeness: stream to float64 [R], of each of the
    videos that are compared with. accounts: stream to
    the capital of its three accounts. n_videos: that were compared. seen: videos that are counted already, the last
    ones. recent: sources of the videos since the capital was last below its stake.
    """

    measure: Videos
    strangeness: Mapping[str, np.ndarray]
    accounts: Mapping[str, tuple[float, float, float]]
    n_videos: int = 0
    seen: tuple[str, ...] = ()
    recent: Mapping[str, int] = field(default_factory=dict)

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


def take_reference(clips: Videos) -> Drift:
    """Drift from now on, compared with these clips' videos."""
    ids = sorted(clips.ids, key=order_of)
    half = clips.among(ids[: len(ids) // 2])
    rest = [clips.of(video) for video in ids[len(ids) // 2 :]]
    strangeness: dict[str, np.ndarray] = {}
    for stream in (PLACE, *sorted(clips.controls)) if len(ids) >= LEAST_VIDEOS else ():
        found = np.array([_strange(stream, video, half) for video in rest])
        found = found[np.isfinite(found)]
        if len(found) >= LEAST_VIDEOS // 2 and found.std() > 1e-9:
            strangeness[stream] = found
    third = 1.0 / 3.0
    return Drift(half, strangeness, dict.fromkeys(strangeness, (third, third, third)), seen=tuple(ids)[-_SEEN:])


def watch(drift: Drift, clips: Videos, sources: Mapping[str, str]) -> Drift:
    """Drift with the videos of new clips compared, each once; after an alarm nothing is compared any more.

    Args:
        sources: of each video.
    """
    for video in clips.ids:
        if not drift.is_alarming and drift.strangeness and video not in drift.seen:
            drift = _compared(drift, clips.of(video), sources.get(video, ""))
    return drift


def _compared(drift: Drift, video: Videos, source: str) -> Drift:
    name = video.ids[0]
    accounts, strangeness = dict(drift.accounts), dict(drift.strangeness)
    for stream, known in drift.strangeness.items():
        strange = _strange(stream, video, drift.measure)
        if np.isfinite(strange):
            accounts[stream] = _bet(accounts[stream], _p_value(strange, known, f"{stream} {name}"))
            strangeness[stream] = np.append(known, strange)[-_COMPARED:]
    now = replace(drift, accounts=accounts, strangeness=strangeness, n_videos=drift.n_videos + 1)
    recent = dict(drift.recent) if now.score >= 1.0 else {}
    return replace(now, seen=(*drift.seen, name)[-_SEEN:], recent=recent | {source: recent.get(source, 0) + 1})


def _strange(stream: str, video: Videos, measure: Videos) -> float:
    """How strange a video is; NaN where that cannot be told."""
    if stream == PLACE:
        apart = np.linalg.norm(video.points[:, None] - measure.points[None], axis=2)
        return float(np.median(apart.min(axis=1)))
    values = [_mean(measure.of(one).controls[stream]) for one in measure.ids]
    return abs(_mean(video.controls[stream]) - _median(values))


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _p_value(strange: float, known: np.ndarray, name: str) -> float:
    """Share of the reference that is at least as strange, ties shared out by a number that is as good as random."""
    above, equal = int((known > strange).sum()), int((known == strange).sum())
    return (above + order_of(name) * (equal + 1)) / (len(known) + 1)


def _bet(accounts: Sequence[float], p: float) -> tuple[float, float, float]:
    total = sum(accounts)
    moved = [(1.0 - _JUMP) * capital + _JUMP / 3.0 * total for capital in accounts]
    first, second, third = (capital * (1.0 + slope * (p - 0.5)) for capital, slope in zip(moved, _BETS, strict=True))
    return first, second, third
