"""Concept pivots: the clips at which a scene, a person's appearances in it, or its clusters become something else.

A video's clips in order of time are a sequence of what was read of them: probabilities of terms, soft affect, control
vector, membership in concepts. It is split where the two sides differ most (the gain in squared error, each feature by
its spread), and each part again, as long as no more than 5 of 100 shuffled sequences split as well: so a sequence in
which the order means nothing has a pivot in 5 cases of 100 (divisive estimation with a permutation test, as by Matteson
and James 2014, but for squared error). The score is the share of the shuffled ones that split worse.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from store.clips import ClipRow
from store.records import Json

_ALPHA = 0.05
_SHUFFLED = 199
_LEAST = 2
"""Clips of a part. Chosen: one clip that differs is an outlier."""
_LONGEST = 1_000
"""Clips of one sequence; longer ones are looked at part by part. Chosen: a part of 60 features is shuffled and
split once in 0.1 s."""
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
    cuts = _split(rows[:, varies] / spread[varies], 0) if varies.any() else []
    edges = [0, *(at for at, _ in cuts), len(rows)]
    told = []
    for (start, middle), (_, end), (_, score) in zip(pairwise(edges), pairwise(edges[1:]), cuts, strict=False):
        before, after = rows[start:middle].mean(axis=0), rows[middle:end].mean(axis=0)
        was, now = _differing(names, before, after)
        told.append((middle, score, was, now))
    return told


def _split(rows: np.ndarray, offset: int) -> list[tuple[int, float]]:
    """(index, score) of the changes in rows float64 [n, d], in order."""
    if len(rows) < 2 * _LEAST:
        return []
    gain, at = _best(rows)
    drawn = np.random.default_rng(len(rows))
    worse = sum(_best(rows[drawn.permutation(len(rows))])[0] < gain - 1e-9 for _ in range(_SHUFFLED))
    score = worse / (_SHUFFLED + 1)
    if score < 1.0 - _ALPHA:
        return []
    return [*_split(rows[:at], offset), (offset + at, score), *_split(rows[at:], offset + at)]


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
