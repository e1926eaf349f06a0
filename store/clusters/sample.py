"""The clips that stand for all of them: few enough to be clustered at any time, chosen so that nothing small is lost.

Each clip has a number `order` in [0, 1), a hash of its id. A clip is in the sample while its order is below every
threshold that it met, and then stands for 1 / (the least of them) clips (Horvitz and Thompson 1952; thresholds that
follow the data, as in Ting's adaptive threshold sampling, 2022). Thresholds are set by stratum, a cluster or what lies
around it, so that all strata keep as many clips as there is room for: of large clusters few clips are kept, of small
ones and of what fits nowhere all. Nothing that was decided depends on a generator or a clock.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

_FILLED = 0.75
"""Share of the capacity that is left after the sample was thinned. Chosen: it is thinned once per third of growth."""


def order_of(clip_id: str) -> float:
    """The clip's place in the order in which clips are kept: as good as random, and always the same."""
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=7).digest()) / 2.0**56


@dataclass(frozen=True)
class Sample:
    """Clips that stand for others.

    ids: of M clips, ascending. order, threshold: float64 [M]. points: float32 [M, D]. cluster: int64 [M], number of the
    cluster that each was in when the sample was clustered last; -1: none. stratum: int64 [M].
    """

    ids: tuple[str, ...]
    order: np.ndarray
    threshold: np.ndarray
    points: np.ndarray
    cluster: np.ndarray
    stratum: np.ndarray

    @classmethod
    def empty(cls, size: int) -> "Sample":
        """Of no clips, in a space of so many dimensions."""
        none = np.empty(0)
        return cls((), none, none, np.empty((0, size), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def masses(self) -> np.ndarray:
        """Clips that each stands for, float64 [M]."""
        return 1.0 / self.threshold

    def taken(self, rows: np.ndarray) -> "Sample":
        """Of these rows (a mask, or indices)."""
        chosen = np.flatnonzero(rows) if rows.dtype == bool else rows
        arrays = {name: getattr(self, name)[chosen] for name in ("order", "threshold", "points", "cluster", "stratum")}
        return Sample(ids=tuple(self.ids[i] for i in chosen), **arrays)

    def without(self, clip_ids: Collection[str]) -> "Sample":
        """Without these clips."""
        gone = set(clip_ids)
        return self.taken(np.array([one not in gone for one in self.ids], bool))

    def joined(self, other: "Sample") -> "Sample":
        """With other clips, in order of the ids."""
        arrays = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("order", "threshold", "points", "cluster", "stratum")
        }
        both = Sample(ids=self.ids + other.ids, **arrays)
        return both.taken(np.array(sorted(range(len(both)), key=both.ids.__getitem__), np.int64))


def admitted(
    clip_ids: Sequence[str],
    points: np.ndarray,
    stratum: np.ndarray,
    thresholds: Mapping[int, float],
) -> Sample:
    """Those of new clips that are kept, in no cluster yet: `points` float32 [N, D], `stratum` int64 [N].

    Args:
        thresholds: by stratum; of one that is not there every clip is kept.
    """
    order = np.array([order_of(one) for one in clip_ids])
    limits = np.array([thresholds.get(int(one), 1.0) for one in stratum])
    everyone = Sample(tuple(clip_ids), order, limits, points, np.full(len(order), -1), stratum)
    return everyone.taken(order < limits)


def thinned(sample: Sample, capacity: int) -> tuple[Sample, dict[int, float]]:
    """The sample, of which a quarter is left out once it exceeds `capacity`, and the thresholds for clips that come."""
    thresholds = _thresholds(sample, capacity)
    if len(sample) <= capacity:
        return sample, thresholds
    limits = np.minimum(sample.threshold, [thresholds.get(int(one), 1.0) for one in sample.stratum])
    return replace(sample, threshold=limits).taken(sample.order < limits), thresholds


def _thresholds(sample: Sample, capacity: int) -> dict[int, float]:
    """Threshold by stratum, so that strata with more clips than there is room for keep equally many."""
    strata, at = np.unique(sample.stratum, return_inverse=True)
    masses = np.bincount(at.ravel(), sample.masses, minlength=len(strata))
    if masses.sum() <= capacity:
        return {}
    room = _FILLED * capacity
    rising = np.sort(masses)
    # With the i smallest strata whole, each of the others has this much room.
    shares = (room - np.concatenate([[0.0], np.cumsum(rising)[:-1]])) / np.arange(len(rising), 0, -1)
    quota = shares[np.argmax(rising >= shares)]
    return {int(one): float(min(1.0, quota / mass)) for one, mass in zip(strata, masses, strict=True)}
