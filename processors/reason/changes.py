"""How a clip changes: stretches of equal level on its curves, and onset, escalation and resolution among them."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from processors.distill.vocabulary import Vocabulary
from store.records import Span


def intensity(values: Mapping[str, Any], vocabulary: Vocabulary) -> np.ndarray:
    """The mean level of the clip's curves: float64 [N] in [-1, 1] at the vocabulary's rate, empty without a curve.

    Each curve is read through the table of its control. A point that a curve lacks is left to the others; where
    all lack it, the last level goes on.
    """
    levels = []
    for column, control in vocabulary.changes.curves.items():
        curve = values.get(column)
        if curve:
            table = vocabulary.control(control)
            levels.append([math.nan if point is None else table.level(point) for point in curve])
    if not levels:
        return np.empty(0)
    length = min(len(curve) for curve in levels)
    stacked = np.array([curve[:length] for curve in levels])
    known = np.isfinite(stacked)
    counts = known.sum(axis=0)
    if not counts.any():
        return np.empty(0)
    mean = np.where(known, stacked, 0.0).sum(axis=0) / np.maximum(counts, 1)
    last = np.maximum.accumulate(np.where(counts > 0, np.arange(length), 0))
    return mean[np.maximum(last, np.flatnonzero(counts)[0])]


def stretches(curve: np.ndarray, least_step: float, least_points: int) -> list[tuple[int, int, float]]:
    """The curve as stretches of equal level: (first point, end point, mean level), in order.

    The partition with the least squared error plus a penalty per stretch, found exactly by dynamic programming
    (optimal partitioning, Jackson et al. 2005). The penalty is what a step of `least_step` saves when one side
    of it is `least_points` long and the other as long: least_step^2 * least_points / 2. Neighbours that still
    differ by less than `least_step` are joined.

    Args:
        curve: float64 [N], no NaN.
    """
    n = len(curve)
    if n < 2 * least_points:
        return [(0, n, float(curve.mean()))] if n else []
    sums = np.concatenate([[0.0], np.cumsum(curve)])
    squares = np.concatenate([[0.0], np.cumsum(curve**2)])
    penalty = least_step**2 * least_points / 2.0
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    came_from = np.zeros(n + 1, dtype=int)
    for end in range(least_points, n + 1):
        starts = np.arange(0, end - least_points + 1)
        error = squares[end] - squares[starts] - (sums[end] - sums[starts]) ** 2 / (end - starts)
        total = best[starts] + error + penalty
        came_from[end] = int(total.argmin())
        best[end] = total[came_from[end]]
    edges = [n]
    while edges[-1] > 0:
        edges.append(int(came_from[edges[-1]]))
    return _joined(curve, edges[::-1], least_step)


def _joined(curve: np.ndarray, edges: list[int], least_step: float) -> list[tuple[int, int, float]]:
    """Stretches between the edges, the least different neighbours joined until all differ by `least_step`."""
    while True:
        means = [float(curve[first:end].mean()) for first, end in pairwise(edges)]
        steps = [abs(after - before) for before, after in pairwise(means)]
        if not steps or min(steps) >= least_step:
            return [(first, end, mean) for (first, end), mean in zip(pairwise(edges), means, strict=True)]
        edges = edges[: steps.index(min(steps)) + 1] + edges[steps.index(min(steps)) + 2 :]


def spans(found: Sequence[tuple[int, int, float]], rate_hz: float, duration_s: float) -> tuple[Span, ...]:
    """Onset, escalation and resolution among the stretches; none where nothing changes.

    onset: the first stretch above the one before it. escalation: from there on, through further rises, to the
    end of the highest stretch. resolution: from the first fall after the highest stretch to the clip's end, if
    it ends below that stretch.
    """
    levels = [level for _, _, level in found]
    edges_s = [first / rate_hz for first, _, _ in found] + [duration_s]
    onset = next((i for i in range(1, len(levels)) if levels[i] > levels[i - 1]), None)
    first = 0 if onset is None else onset
    peak = max(range(first, len(levels)), key=levels.__getitem__, default=0)
    result = []
    if onset is not None:
        result.append(Span(kind="onset", start_s=edges_s[onset], end_s=edges_s[onset + 1]))
        if peak > onset:
            result.append(Span(kind="escalation", start_s=edges_s[onset + 1], end_s=edges_s[peak + 1]))
    if peak + 1 < len(levels):
        result.append(Span(kind="resolution", start_s=edges_s[peak + 1], end_s=duration_s))
    return tuple(result)
