"""The lives of clusters: a cluster keeps its number through growth; what else becomes of it is an event.

New and old clusters are matched by the clips that they share (MONIC; Spiliopoulou et al. 2006): a pair that is each
other's greatest overlap goes on under the old number. What is left over was born, split off, died, or was merged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

EventKind = Literal["born", "split", "merged", "died"]
_SHARE = 0.5
"""Of an old cluster that must lie in one other for it to have gone there; of a new one, to have come from there."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a cluster.

    kind: born of clips that were in none; split off from `other`; merged into `other`; died: its clips are in no
    cluster now, or in several. mass: clips, as far as the sample tells.
    """

    kind: EventKind
    number: int
    other: int | None
    mass: float


def lives(
    before: np.ndarray,
    after: np.ndarray,
    masses: np.ndarray,
    next_number: int,
    wanted: Mapping[int, Sequence[int]] = MappingProxyType({}),
) -> tuple[Mapping[int, int], list[Event], int]:
    """Numbers for new clusters.

    Args:
        before: int64 [N], number of each clip's cluster until now; -1: none.
        after: int64 [N], its new cluster, from 0; -1: none. Every new cluster has a clip.
        masses: float64 [N].
        next_number: numbers from here on were never used.
        wanted: new cluster to the numbers that it should go on under, the dearest first, whichever was the larger.

    Returns:
        New cluster to number, what happened, and the next number that was never used.
    """
    old = np.unique(before[before >= 0])
    n_new = int(after.max(initial=-1)) + 1
    shared = np.zeros((n_new, len(old)))
    both = (before >= 0) & (after >= 0)
    np.add.at(shared, (after[both], np.searchsorted(old, before[both])), masses[both])
    new_mass = np.bincount(after[after >= 0], masses[after >= 0], minlength=n_new)
    old_mass = np.bincount(np.searchsorted(old, before[before >= 0]), masses[before >= 0], minlength=len(old))
    numbers = _going_on(shared, old, wanted)
    events: list[Event] = []
    for cluster in range(n_new):
        if cluster not in numbers:
            numbers[cluster] = next_number
            source = int(shared[cluster].argmax()) if len(old) else -1
            is_split = source >= 0 and shared[cluster, source] >= _SHARE * new_mass[cluster]
            other = int(old[source]) if is_split else None
            events.append(Event("split" if is_split else "born", next_number, other, float(new_mass[cluster])))
            next_number += 1
    gone = sorted(set(range(len(old))) - {int(np.searchsorted(old, n)) for n in numbers.values() if n in old})
    for at in gone:
        target = int(shared[:, at].argmax()) if n_new else -1
        is_merged = target >= 0 and shared[target, at] >= _SHARE * old_mass[at]
        other = numbers[target] if is_merged else None
        events.append(Event("merged" if is_merged else "died", int(old[at]), other, float(old_mass[at])))
    return numbers, events, next_number


def _going_on(shared: np.ndarray, old: np.ndarray, wanted: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """New clusters that are an old one's greatest overlap, and it theirs or the one that is wanted."""
    if not shared.size:
        return {}
    target = np.where(shared.max(axis=0) > 0, shared.argmax(axis=0), -1)
    numbers: dict[int, int] = {}
    for cluster, row in enumerate(shared):
        own = [number for number in wanted.get(cluster, ()) if number in old[target == cluster]]
        at = int(np.searchsorted(old, own[0])) if own else int(row.argmax())
        if target[at] == cluster:
            numbers[cluster] = int(old[at])
    return numbers
