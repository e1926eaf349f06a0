"""Concept pivots: the clips at which a scene, a person's appearances in it, or its clusters become something else.

A video's clips in order of time are a sequence of what was read of them: probabilities of terms, soft affect, control
vector, membership in concepts. It is split where the two sides differ most (the gain in squared error, each feature by
its spread), and each part again, as long as no more than 5 of 100 shuffled sequences split as well (divisive estimation
with a permutation test, as by Matteson and James 2014, but for squared error). The score is the share of the shuffled
ones that split worse. Clips that follow each other are alike, which alone makes parts that differ: so it is done again
with what of each clip does not follow from the one before it, and what stands then is a pivot (`_persistence`).

Measured (`tests.bench.pivots`, 60 clips of 8 features): of sequences without a change 3, 7, 33 and 97 of 100 have a
pivot where 0, 30, 60 and 90% of a clip follow from the one before (done once: 5, 62, 98 and 100); of single changes of
3.75 deviations 100, 95, 88 and 92 of 100 are found (100, 95, 97 and 98).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from store.clip_columns import ClipRow
from store.records import Json

_ALPHA = 0.05
_SHUFFLED = 199
_LEAST = 2
"""Clips of a part. Chosen: one clip that differs is an outlier."""
_LONGEST = 1_000
"""Clips of one sequence; longer ones are looked at part by part. Chosen: a part of 60 features is shuffled and
split once in 0.1 s."""
_MOST_PERSISTENCE = 0.95
_MOVED = 0.4
COLUMNS = ("video_id", "start_s", "readings", "affect", "control", "cluster", "cluster_probability", "identity_ids")
"""What is read of a clip."""

Memberships = Mapping[str, Mapping[str, float]]
"""Concept to clip id to probability."""


def pivots_of(rows: Sequence[ClipRow], memberships: Memberships) -> dict[str, list[Json]]:
    """The pivots of one video, by the id of the clip that each begins with; a clip without any has an empty list.

    A pivot has `kind` (scene, track, cluster), `at_s` (where its clip starts, in seconds of the video), `from` and `to`
    (what most clips before and after it are, of all that changed), `score` in [0, 1], and `identity` for a track.

    Args:
        rows: all annotated clips of the video, with `COLUMNS`.
    """
    ordered = sorted(rows, key=lambda row: (row["start_s"], row["clip_id"]))
    found: dict[str, list[Json]] = {row["clip_id"]: [] for row in ordered}
    read = [_readings(row, memberships) for row in ordered]
    sequences: list[tuple[str, str | None, list[ClipRow], list[dict[str, float]]]]
    sequences = [("scene", None, ordered, read), ("cluster", None, ordered, [_cluster(row) for row in ordered])]
    for identity in sorted({one for row in ordered for one in _identities(row)}):
        chosen = [i for i, row in enumerate(ordered) if identity in _identities(row)]
        if len(chosen) < len(ordered):
            sequences.append(("track", identity, [ordered[i] for i in chosen], [read[i] for i in chosen]))
    for kind, who, clips, features in sequences:
        for first in range(0, len(clips), _LONGEST):
            part = features[first : first + _LONGEST]
            for at, score, before, after in changes(part):
                told: Json = {"kind": kind, "at_s": clips[first + at]["start_s"], "score": score}
                told |= {"from": before, "to": after} | ({"identity": who} if who else {})
                found[clips[first + at]["clip_id"]].append(told)
    return found


def changes(features: Sequence[Mapping[str, float]]) -> list[tuple[int, float, dict[str, str], dict[str, str]]]:
    """Where a sequence changes: index of the first after it, score, and what most were before and after.

    Args:
        features: of each clip, `name=value` or `name` to a number; what is not there is 0.
    """
    names = sorted({name for one in features for name in one})
    if not names:
        return []
    rows = np.array([[one.get(name, 0.0) for name in names] for one in features], np.float64)
    spread = rows.std(axis=0)
    varies = spread > 1e-9
    cuts = _changes(rows[:, varies] / spread[varies]) if varies.any() else []
    edges = [0, *(at for at, _ in cuts), len(rows)]
    told = []
    for (start, middle), (_, end), (_, score) in zip(pairwise(edges), pairwise(edges[1:]), cuts, strict=False):
        before, after = rows[start:middle].mean(axis=0), rows[middle:end].mean(axis=0)
        was, now = _differing(names, before, after)
        told.append((middle, score, was, now))
    return told


def _changes(rows: np.ndarray) -> list[tuple[int, float]]:
    """(index, score) of the changes in rows float64 [n, d], in order."""
    cuts = _split(rows, 0, 0.0)
    persistence = _persistence(rows, [at for at, _ in cuts]) if cuts else 0.0
    return _split(rows, 0, persistence) if persistence else cuts


def _split(rows: np.ndarray, offset: int, persistence: float) -> list[tuple[int, float]]:
    # The first row has none before it, of which it could be freed.
    new, skipped = (rows[1:] - persistence * rows[:-1], 1) if persistence else (rows, 0)
    if len(new) < 2 * _LEAST:
        return []
    gain, at = _best(new)
    drawn = np.random.default_rng(len(rows))
    worse = sum(_best(new[drawn.permutation(len(new))])[0] < gain - 1e-9 for _ in range(_SHUFFLED))
    score = worse / (_SHUFFLED + 1)
    if score < 1.0 - _ALPHA:
        return []
    at += skipped
    first, second = (
        _split(part, start, persistence) for part, start in ((rows[:at], offset), (rows[at:], offset + at))
    )
    return [*first, (offset + at, score), *second]


def _persistence(rows: np.ndarray, cuts: Sequence[int]) -> float:
    """How much of a row follows from the one before it, in [0, 1): the coefficient of a first-order autoregression.

    It is the correlation of neighbours once each part between cuts is brought to mean 0, corrected for the bias that
    this brings (Kendall 1954, Biometrika 41: (1 + 3 r) / n for a part of n).
    """
    n, parts = len(rows), np.split(rows, cuts)
    if n <= 2 * len(parts):
        return 0.0
    rest = [part - part.mean(axis=0) for part in parts]
    total = sum(float((part**2).sum()) for part in rest)
    if total < 1e-9:
        return 0.0
    together = sum(float((part[1:] * part[:-1]).sum()) for part in rest)
    correlation = together / total * n / (n - len(parts))
    return min(max(correlation + (1 + 3 * correlation) * len(parts) / n, 0.0), _MOST_PERSISTENCE)


def _best(rows: np.ndarray) -> tuple[float, int]:
    """The greatest gain in squared error of a split of rows, and where its second part begins."""
    n = len(rows)
    sums = np.cumsum(rows, axis=0)
    sizes = np.arange(1, n)[:, None]
    left, right = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / (n - sizes)
    gains = ((left - right) ** 2).sum(axis=1) * (sizes * (n - sizes) / n)[:, 0]
    allowed = gains[_LEAST - 1 : n - _LEAST]
    best = int(allowed.argmax())
    return float(allowed[best]), best + _LEAST


def _differing(names: Sequence[str], before: np.ndarray, after: np.ndarray) -> tuple[dict[str, str], dict[str, str]]:
    """What changes, as it was and as it is then: the likeliest term of an attribute, or a number that moves by a fifth
    of its range from -1 to 1."""
    was: dict[str, str] = {}
    now: dict[str, str] = {}
    for attribute in sorted({name.partition("=")[0] for name in names}):
        columns = [i for i, name in enumerate(names) if name.partition("=")[0] == attribute]
        terms = [names[i].partition("=")[2] for i in columns]
        first, second = before[columns], after[columns]
        if terms == [""]:
            if abs(first[0] - second[0]) >= _MOVED:
                was[attribute], now[attribute] = f"{first[0]:+.2f}", f"{second[0]:+.2f}"
        elif terms[int(first.argmax())] != terms[int(second.argmax())]:
            was[attribute], now[attribute] = terms[int(first.argmax())], terms[int(second.argmax())]
    return was, now


def _readings(row: ClipRow, memberships: Memberships) -> dict[str, float]:
    told = {f"{name}={term}": p for name, terms in (row["readings"] or {}).items() for term, p in terms.items()}
    for name in ("arousal", "valence"):
        told |= {f"{name}={level}": p for level, p in ((row["affect"] or {}).get(name) or {}).items()}
    control = row["control"] or {"names": (), "values": ()}
    told |= dict(zip(control["names"], control["values"], strict=True))
    for concept, members in memberships.items():
        p = members.get(row["clip_id"], 0.0)
        told |= {f"concept {concept}=yes": p, f"concept {concept}=no": 1.0 - p}
    return told


def _cluster(row: ClipRow) -> dict[str, float]:
    inside = row["cluster_probability"] or 0.0
    number = "none" if row["cluster"] is None else str(row["cluster"])
    return {f"cluster={number}": 1.0 if row["cluster"] is None else inside}


def _identities(row: ClipRow) -> set[str]:
    return {entry["identity"] for entry in row["identity_ids"] or ()} - {None}
