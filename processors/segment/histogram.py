"""Shot boundaries by signal processing: colour histograms, a small picture, a flash check, a mixture test.

Cuts: the distance of neighbouring pictures stands out of its surroundings (an adaptive ratio, after Yeo and
Liu, "Rapid scene analysis on compressed video", IEEE TCSVT 1995), and the pictures on either side stay unlike
(a flash returns to what was before it). Dissolves: pictures some way apart differ though no step between them
is a cut (the two thresholds of Zhang, Kankanhalli and Smoliar, "Automatic partitioning of full-motion video",
Multimedia Systems 1993), and, other than with motion, the picture between is the mixture of both. Fades:
pictures of one flat colour, with the ramps that lead to them and away.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from processors.color import Planes
from processors.segment.checkpoint import State
from processors.segment.shots import BoundaryDetector, BoundaryStream, Transition

WIDTH, HEIGHT = 32, 18
NEIGHBOURS = 8
"""Pictures on either side that a cut must stand out of."""
FLASH_PICTURES = 5
"""Longest flash."""
REACHES = (4, 8, 13, 20)
"""Half lengths of dissolves, in pictures: up to 1.6 s at 25 Hz."""
RAMP_PICTURES = 40
"""Longest fade that is followed back or on."""
HOLD_PICTURES = 25
"""A flat picture that stays longer than this between two fades is a shot of its own."""
LAG = NEIGHBOURS + max(REACHES) * 3 // 2
KEPT_LOOKS = 2 * LAG + max(REACHES) + RAMP_PICTURES
"""Nothing looks further back: a ramp ends HOLD_PICTURES and two RAMP_PICTURES back, a dissolve LAG and half of it."""
_RECENT_CUTS = 8

# Thresholds, chosen on compositions of one half of the real footage tried (see tests/bench/segment_ratio.py for
# what they reach on the other half). Scores are scaled so that 0.5 is sure enough alone.
CUT_DISTANCE = 0.28
CUT_RATIO = 6.5
FLASH_SHARE = 0.5
"""Of the cut's distance: pictures across a flash are nearer than this."""
LEAST_SCORE = 0.35
DISSOLVE_CHANGE = 0.08
DISSOLVE_RESIDUAL = 0.6
"""Residual of the mixture at which the score is 0."""
PURE_SHARE = 0.06
"""Of the other shot's picture: what a picture may hold of it and still end the dissolve's span."""
MOVES_ON = 0.15
"""Beyond the mixture's ends, per half of its half length."""
DISSOLVE_ALIKE = 0.7
"""Correlation of the two ends' luma above which light changed, not the shot."""
FLAT_SPREAD = 5.0
PICTURE_SPREAD = 12.0
"""Standard deviation of luma: below FLAT_SPREAD a flat colour, above PICTURE_SPREAD a picture for certain."""
BLACK, WHITE, NEUTRAL = 40, 211, 8
"""A fade leads to black or white (24 levels from either end, chroma within 8): someone may walk into a green screen."""


@dataclass(frozen=True)
class Look:
    """What is kept of a picture.

    histogram: float32 [128], Y' in 64 bins, Cb and Cr in 32 each; each part sums to 1.
    picture: float32 [3, 18, 32], Y', Cb and Cr in 0..1.
    spread: standard deviation of the small luma picture, 0..255.
    blank: black or white, and nothing else.
    luma: uint8 [h, w], the luma plane as it was pushed.
    """

    histogram: np.ndarray
    picture: np.ndarray
    spread: float
    blank: bool
    luma: np.ndarray


def look_at(small: Planes) -> Look:
    """Histograms and 32x18 picture of Y'CbCr planes (uint8)."""
    bins = zip(small, (64, 32, 32), strict=True)
    parts = [cv2.calcHist([plane], [0], None, [n], [0, 256])[:, 0] / plane.size for plane, n in bins]
    picture = np.stack([cv2.resize(plane, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for plane in small])
    spread, (luma, *chroma) = float(picture[0].std()), picture.mean(axis=(1, 2))
    neutral = all(abs(mean - 128) < NEUTRAL for mean in chroma)
    blank = spread < FLAT_SPREAD and neutral and not BLACK < luma < WHITE
    return Look(np.concatenate(parts), picture.astype(np.float32) / 255, spread, blank, small[0])


def distance(a: Look, b: Look) -> float:
    """How unlike two pictures are: 0 for the same, about 0.3 to 0.8 across a cut."""
    histogram = float(np.abs(a.histogram - b.histogram).sum()) / 6
    return histogram / 2 + float(np.abs(a.picture - b.picture).mean()) * 3


class HistogramDetector(BoundaryDetector):
    """Needs no model."""

    id = "histogram"

    def open(self) -> BoundaryStream:
        return HistogramStream()


class HistogramStream(BoundaryStream):
    """Looks are kept for KEPT_LOOKS pictures."""

    def __init__(self) -> None:
        self._looks: dict[int, Look] = {}
        self._steps: dict[int, float] = {}
        self._count = 0
        self._oldest = 0
        self._cuts: list[int] = []
        self._dissolve: tuple[float, Transition] | None = None
        """The best so far of the findings that are one dissolve."""
        self._dissolve_from = 0
        """The earliest picture of any of them."""
        self._last_middle = -1
        self._flat_start: int | None = None
        self._held = False
        """Whether the flat pictures since `_flat_start` are a shot of their own, and the fade to them was given."""
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    @property
    def settled(self) -> int:
        open_spans = [] if self._dissolve is None else [self._dissolve_from]
        if self._flat_start is not None and not self._held:
            open_spans.append(self._flat_start - RAMP_PICTURES)
        return max(0, min([self._count - LAG - max(REACHES) - RAMP_PICTURES, *open_spans]))

    def state(self) -> State:
        looks = list(self._looks.values())
        return {
            "count": self._count,
            "oldest": self._oldest,
            "cuts": self._cuts,
            "dissolve": None if self._dissolve is None else [self._dissolve[0], self._dissolve[1].listed()],
            "dissolve_from": self._dissolve_from,
            "last_middle": self._last_middle,
            "flat_start": self._flat_start,
            "held": self._held,
            "steps": np.array(list(self._steps.values()), np.float64),
            "histograms": np.stack([look.histogram for look in looks]),
            "pictures": np.stack([look.picture for look in looks]),
            "spreads": np.array([look.spread for look in looks], np.float64),
            "blanks": np.array([look.blank for look in looks], np.bool_),
            "lumas": np.stack([look.luma for look in looks]),
        }

    def take_up(self, state: State) -> None:
        self._count, self._oldest, self._cuts = state["count"], state["oldest"], state["cuts"]
        dissolve = state["dissolve"]
        self._dissolve = None if dissolve is None else (dissolve[0], Transition(*dissolve[1]))
        self._dissolve_from, self._last_middle = state["dissolve_from"], state["last_middle"]
        self._flat_start, self._held = state["flat_start"], state["held"]
        parts = (state[name] for name in ("histograms", "pictures", "spreads", "blanks", "lumas"))
        looks = (Look(h, p, float(spread), bool(blank), y) for h, p, spread, blank, y in zip(*parts, strict=True))
        self._looks = dict(enumerate(looks, self._oldest))
        self._steps = dict(enumerate(state["steps"].tolist(), max(1, self._oldest)))

    def push(self, small: Planes) -> list[Transition]:
        index = self._count
        self._looks[index] = look_at(small)
        if index:
            self._steps[index] = distance(self._looks[index - 1], self._looks[index])
        self._count += 1
        found = list(self._cut_at(index - NEIGHBOURS))
        found += self._dissolve_around(index - LAG)
        found += self._fade_at(index - RAMP_PICTURES)
        while self._oldest < self._count - KEPT_LOOKS:
            del self._looks[self._oldest]
            self._steps.pop(self._oldest, None)
            self._oldest += 1
        return found

    def finish(self) -> list[Transition]:
        found = [t for i in range(max(1, self._count - NEIGHBOURS), self._count) for t in self._cut_at(i)]
        found += [t for i in range(max(0, self._count - LAG), self._count) for t in self._dissolve_around(i)]
        found += self._close_dissolve()
        found += [t for i in range(max(0, self._count - RAMP_PICTURES), self._count) for t in self._fade_at(i)]
        if self._flat_start is not None:
            found += self._fades(self._flat_start, self._count)
        return sorted(found)

    # --- cuts

    def _cut_at(self, index: int) -> Iterator[Transition]:
        step = self._steps.get(index, 0.0)
        near = range(index - NEIGHBOURS, index + NEIGHBOURS + 1)
        around = [self._steps[i] for i in near if i in self._steps and i != index]
        if not around:
            return
        # 0.004: a step of one grey level, so that still pictures do not divide by nothing.
        ratio = step / (sum(around) / len(around) + 0.004)
        score = min(step / CUT_DISTANCE, ratio / CUT_RATIO, 1.0)
        if score < LEAST_SCORE or self._is_flash(index, step):
            return
        self._cuts = [*self._cuts[1 - _RECENT_CUTS :], index]
        yield Transition(index, index, score, HistogramDetector.id)

    def _is_flash(self, index: int, step: float) -> bool:
        """Whether the pictures some way across `index` are alike."""
        before, after = self._looks[index - 1], self._looks[index]
        later = (self._looks[i] for i in range(index + 1, index + 1 + FLASH_PICTURES) if i in self._looks)
        earlier = (self._looks[i] for i in range(index - 1 - FLASH_PICTURES, index - 1) if i in self._looks)
        return any(distance(before, look) < FLASH_SHARE * step for look in later) or any(
            distance(after, look) < FLASH_SHARE * step for look in earlier
        )

    # --- dissolves

    def _dissolve_around(self, middle: int) -> Iterator[Transition]:
        for reach in REACHES:
            first, last = middle - reach, middle + reach
            known = first in self._looks and last in self._looks
            rated = self._mixture(first, middle, last) if known and not self._has_cut(first, last) else None
            if rated is not None:
                earliest = rated[1].first if self._dissolve is None else min(self._dissolve_from, rated[1].first)
                if self._dissolve is None or rated[0] > self._dissolve[0]:
                    self._dissolve = rated
                self._dissolve_from = earliest
                self._last_middle = middle
        if self._dissolve is not None and middle - self._last_middle > NEIGHBOURS:
            yield from self._close_dissolve()

    def _has_cut(self, first: int, last: int) -> bool:
        return any(first < cut <= last for cut in self._cuts)

    def _close_dissolve(self) -> list[Transition]:
        if self._dissolve is None:
            return []
        best = self._dissolve[1]
        self._dissolve = None
        return [best]

    def _mixture(self, first: int, middle: int, last: int) -> tuple[float, Transition] | None:
        """Rank and span of a dissolve between two pictures, None if the middle is no mixture of them."""
        a, b = self._looks[first].picture, self._looks[last].picture
        change = float(np.abs(b - a).mean()) * 3
        if change < DISSOLVE_CHANGE:
            return None
        direction = (b - a).ravel()
        power = float(direction @ direction)
        offset = (self._looks[middle].picture - a).ravel()
        share = float(offset @ direction) / power
        residual = float(np.linalg.norm(offset - share * direction)) / power**0.5
        score = 1 - residual / DISSOLVE_RESIDUAL
        if not 0.25 <= share <= 0.75 or score < LEAST_SCORE or _correlation(a[0], b[0]) > DISSOLVE_ALIKE:
            return None
        rest = max(3, (last - first) // 4)
        shares = {
            i: float((self._looks[i].picture - a).ravel() @ direction) / power
            for i in range(first - rest, last + rest + 1)
            if i in self._looks
        }
        if self._goes_on(shares, first, last, rest) or self._moved(first, middle, last, share):
            return None
        begin = max(i for i in range(first, middle + 1) if shares[i] < PURE_SHARE or i == first)
        end = min(i for i in range(middle, last + 1) if shares[i] > 1 - PURE_SHARE or i == last)
        return score * change, Transition(begin, end + 1, score, HistogramDetector.id)

    def _goes_on(self, shares: dict[int, float], first: int, last: int, rest: int) -> bool:
        """Whether the pictures move on along the same line before or after: a pan over soft shapes, no dissolve."""
        before = shares.get(first - rest, 0.0) if not self._has_cut(first - rest, first) else 0.0
        after = shares.get(last + rest, 1.0) if not self._has_cut(last, last + rest) else 1.0
        return before < -MOVES_ON or after > 1 + MOVES_ON

    def _moved(self, first: int, middle: int, last: int, share: float) -> bool:
        """Whether the middle is the first picture with its parts moved, more nearly than a mixture."""
        a, m, b = (self._looks[i].luma for i in (first, middle, last))
        flow = self._flow.calc(m, a, np.zeros((*m.shape, 2), np.float32))
        places = np.indices(m.shape).astype(np.float32)
        columns, rows = places[1] + flow[..., 0], places[0] + flow[..., 1]
        moved = cv2.remap(a, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mixture = cv2.addWeighted(a, 1 - share, b, share, 0)
        return float(cv2.norm(m, moved, cv2.NORM_L1)) < float(cv2.norm(m, mixture, cv2.NORM_L1))

    # --- fades

    def _fade_at(self, index: int) -> Iterator[Transition]:
        look = self._looks.get(index)
        if look is None:
            return
        if self._flat_start is None and look.blank:
            self._flat_start = index
        elif self._flat_start is not None and look.spread > 2 * FLAT_SPREAD:
            yield from self._fades(self._flat_start, index)
            self._flat_start, self._held = None, False
        elif self._flat_start is not None and not self._held and index - self._flat_start >= HOLD_PICTURES:
            # Given now, so that nothing has to be kept for as long as a dark screen may last.
            yield from self._fade_out(self._flat_start, self._ramp(self._flat_start, -1), index + 1)
            self._held = True

    def _fades(self, flat: int, end: int) -> Iterator[Transition]:
        """The fades into and out of the flat pictures `flat` to `end - 1`; without the first where it was given."""
        last = self._ramp(end - 1, +1)
        fades_in = last - (end - 1) >= 3
        if not self._held:
            first = self._ramp(flat, -1)
            if flat - first >= 3 and fades_in and end - flat <= HOLD_PICTURES:
                yield Transition(first + 1, last, 0.9, HistogramDetector.id)
                return
            yield from self._fade_out(flat, first, end)
        if fades_in:
            yield Transition(max(end - 1, flat), last, 0.9, HistogramDetector.id)

    def _fade_out(self, flat: int, first: int, end: int) -> Iterator[Transition]:
        if flat - first >= 3:
            yield Transition(first + 1, min(flat + 1, end), 0.9, HistogramDetector.id)

    def _ramp(self, flat: int, way: int) -> int:
        """The picture at which the fade from (-1) or to (+1) a full picture begins or is complete."""
        at = flat
        while abs(at - flat) < RAMP_PICTURES and at + way in self._looks:
            ahead = next(i for i in (at + 3 * way, at + 2 * way, at + way) if i in self._looks)
            if self._looks[at].spread > FLAT_SPREAD and self._looks[ahead].spread < self._looks[at].spread + 0.3:
                break
            at += way
        return at if self._looks[at].spread > PICTURE_SPREAD else flat


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum() + 1e-4))
