"""Cutting shots into clips: where content changes most, within the shortest and longest length.

Content change is novelty in the sense of Foote, "Automatic audio segmentation using a measure of audio
novelty" (ICME 2000), on small pictures: the mean picture of the time after a moment against that of the time
before it. Motion that goes on is no change; someone who comes in, a light that goes on, a turn of the camera is.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from processors.color import Planes
from processors.segment.checkpoint import State
from processors.segment.recipe import SegmentRecipe
from processors.segment.shots import Transition
from store.records import DroppedSpan

WIDTH, HEIGHT = 16, 9
STRONG_CHANGE = 0.12
"""Novelty at which a shot is split though it is short enough."""
WEAK_CHANGE = 0.03
"""Novelty below which nothing changed: a shot that is too long is then split evenly."""


class ChangeCurve:
    """Novelty at every picture, known `window_s` after it.

    The sums of the small pictures (float64 [3 * 9 * 16], 0..1 per value) are kept, so a mean over any stretch
    costs one subtraction; those that no window to come looks back to are forgotten.
    """

    def __init__(self, window_ticks: int) -> None:
        self._window = window_ticks
        self._pts: list[int] = []
        self._sums: list[np.ndarray] = [np.zeros(3 * WIDTH * HEIGHT)]
        self._values: list[float] = []
        self._window_from = 0
        """First picture of the last window, relative like all indices here to what is still kept."""

    def state(self) -> State:
        """All that `take_up` needs."""
        return {
            "pts": np.array(self._pts, np.int64),
            "sums": np.stack(self._sums[self._window_from :]),
            "values": np.array(self._values, np.float64),
            "window_from": self._window_from,
        }

    def take_up(self, state: State) -> None:
        """Go on as the curve that this state was taken of."""
        self._pts, self._values = state["pts"].tolist(), state["values"].tolist()
        self._window_from = state["window_from"]
        self._sums = [_NOTHING] * self._window_from + list(state["sums"])

    def forget_before(self, pts: int) -> None:
        """`peak` will not be asked for what lies before `pts`."""
        gone = min(bisect_left(self._pts, pts), self._window_from)
        del self._pts[:gone], self._sums[:gone], self._values[:gone]
        self._window_from -= gone

    def push(self, pts: int, small: Planes) -> None:
        """Take the next picture."""
        thumbs = [cv2.resize(plane, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).ravel() for plane in small]
        self._sums.append(self._sums[-1] + np.concatenate(thumbs) / 255)
        self._pts.append(pts)
        while len(self._values) < len(self._pts) and self._pts[len(self._values)] + self._window <= pts:
            self._values.append(self._novelty(len(self._values)))

    def peak(self, start_pts: int, end_pts: int) -> tuple[int, float] | None:
        """pts and value of the greatest novelty in [start_pts, end_pts]; None if no picture begins there."""
        first = bisect_left(self._pts, start_pts)
        last = min(bisect_right(self._pts, end_pts), len(self._values))
        if first >= last:
            return None
        best = max(range(first, last), key=lambda i: self._values[i])
        return self._pts[best], self._values[best]

    def _novelty(self, index: int) -> float:
        pts = self._pts[index]
        first = bisect_left(self._pts, pts - self._window)
        last = bisect_left(self._pts, pts + self._window)
        self._forget_sums(first)
        if first == index:
            return 0.0
        before = (self._sums[index] - self._sums[first]) / (index - first)
        after = (self._sums[last] - self._sums[index]) / (last - index)
        return float(np.abs(after - before).mean()) * 3

    def _forget_sums(self, first: int) -> None:
        """No window to come begins before picture `first`."""
        for old in range(self._window_from, first):
            self._sums[old] = _NOTHING
        self._window_from = first


_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class CutClip:
    """A clip to be: [start_pts, end_pts) of shot number `shot`."""

    shot: int
    start_pts: int
    end_pts: int


@dataclass
class Cutter:
    """Turns transitions into shots, and shots into clips as early as they are certain."""

    recipe: SegmentRecipe
    time_base: Fraction
    shots: list[tuple[int, int]] = field(default_factory=list)
    """[start_pts, end_pts) of the closed shots."""
    dropped: list[DroppedSpan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._least = math.ceil(Fraction(self.recipe.min_clip_s) / self.time_base)
        self._most = math.floor(Fraction(self.recipe.max_clip_s) / self.time_base)
        self._change = ChangeCurve(self._least)
        self._pts: list[int] = []
        self._first = 0
        """Number of the picture that `_pts` begins with."""
        self._shot_start: int | None = None
        self._clip_start = 0
        self._fading = False

    @property
    def needed_from(self) -> int:
        """Pictures shown only before this pts will be in no clip."""
        return self._clip_start

    def state(self) -> State:
        """All that `take_up` needs; it grows with the number of shots only."""
        return {
            "shots": self.shots,
            "dropped": [span.model_dump() for span in self.dropped],
            "pts": np.array(self._pts, np.int64),
            "first": self._first,
            "shot_start": self._shot_start,
            "clip_start": self._clip_start,
            "fading": self._fading,
            "change": self._change.state(),
        }

    def take_up(self, state: State) -> None:
        """Go on as the cutter that this state was taken of."""
        self.shots = [(start, end) for start, end in state["shots"]]
        self.dropped = [DroppedSpan(**span) for span in state["dropped"]]
        self._pts, self._first = state["pts"].tolist(), state["first"]
        self._shot_start, self._clip_start = state["shot_start"], state["clip_start"]
        self._fading = state["fading"]
        self._change.take_up(state["change"])

    def push(self, pts: int, small: Planes) -> None:
        """Take the next picture."""
        if self._shot_start is None:
            self._shot_start = self._clip_start = pts
        self._pts.append(pts)
        self._change.push(pts, small)

    def advance(self, transitions: list[Transition], settled: int) -> list[CutClip]:
        """The clips that are certain now that these transitions are known and none begins before `settled`."""
        clips = []
        for transition in transitions:
            clips += self._close(self._pts_of(transition.first))
            self._open(transition)
        if self._first < settled < self._count:
            clips += self._split(self._pts_of(settled), closed=False)
        self._forget()
        return clips

    @property
    def _count(self) -> int:
        """Pictures pushed."""
        return self._first + len(self._pts)

    def _pts_of(self, picture: int) -> int:
        assert picture >= self._first, "a boundary lies before what was settled"
        return self._pts[picture - self._first]

    def _forget(self) -> None:
        """No boundary or clip to come lies before the clip that is open; the picture shown at its start is kept."""
        gone = bisect_right(self._pts, self._clip_start) - 1
        if gone > 0:
            del self._pts[:gone]
            self._first += gone
            self._change.forget_before(self._clip_start)

    def _open(self, transition: Transition) -> None:
        """Begin the shot after a transition; one that reaches the video's end is dropped by `finish`."""
        first = self._pts_of(transition.first)
        self._fading = transition.end >= self._count
        start = first if self._fading else self._pts_of(transition.end)
        if not self._fading:
            self._drop(first, start, "dissolve or fade between two shots")
        self._shot_start = self._clip_start = start

    def finish(self, end_pts: int) -> list[CutClip]:
        """The video ends at `end_pts`: the last shot's clips."""
        if self._fading:
            self._drop(self._clip_start, end_pts, "fade at the end")
            return []
        return self._close(end_pts)

    def _close(self, end_pts: int) -> list[CutClip]:
        assert self._shot_start is not None
        if end_pts <= self._shot_start:
            return []
        clips = self._split(end_pts, closed=True)
        self.shots.append((self._shot_start, end_pts))
        return clips

    def _split(self, end_pts: int, closed: bool) -> list[CutClip]:
        """Clips of the open shot up to `end_pts`; where it is not closed, only while the choice cannot change."""
        clips = []
        shot = len(self.shots)
        while closed or end_pts - self._clip_start >= self._most + 2 * self._least:
            length = end_pts - self._clip_start
            if length < self._least:
                self._drop(self._clip_start, end_pts, self._too_short(length))
                break
            at = self._where(end_pts, closed)
            clips.append(CutClip(shot, self._clip_start, at))
            self._clip_start = at
            if at == end_pts:
                break
        return clips

    def _where(self, end_pts: int, closed: bool) -> int:
        """End of the clip that begins at the present start: `end_pts`, or a split before it."""
        start, length = self._clip_start, end_pts - self._clip_start
        last = min(start + self._most, end_pts - self._least)
        peak = self._change.peak(start + self._least, last)
        if peak is not None and peak[1] >= STRONG_CHANGE:
            return peak[0]
        if closed and length <= self._most:
            return end_pts
        late = self._change.peak(start + self._most // 2, last)
        if late is not None and late[1] >= WEAK_CHANGE:
            return late[0]
        decided = length >= self._most + 2 * self._least
        even = start + (self._most if decided else length // 2)
        return self._picture_before(min(even, last), start + self._least)

    def _picture_before(self, pts: int, least: int) -> int:
        """The start of the picture shown at `pts`, or `pts` itself where that picture began before `least`."""
        shown = self._pts[bisect_right(self._pts, pts) - 1]
        return shown if shown >= least else pts

    def _drop(self, start_pts: int, end_pts: int, reason: str) -> None:
        if end_pts > start_pts:
            self.dropped.append(DroppedSpan(start_pts=start_pts, end_pts=end_pts, reason=reason))

    def _too_short(self, length: int) -> str:
        length_s = float(length * self.time_base)
        return f"shot of {length_s:.2f} s is shorter than the shortest clip ({self.recipe.min_clip_s:g} s)"
