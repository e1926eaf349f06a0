"""Diversity: how much a subset really holds. A pure subset of one video, or of copies, teaches little."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from store.clip_columns import ClipRow
from store.duplicates import NEAR


@dataclass(frozen=True)
class Diversity:
    """Of some clips. n_distinct: clips, of which near copies count once. effective_videos: videos that would give the
    same spread if each gave as many clips: exp of the entropy of their shares (Hill number of order 1; Hill 1973)."""

    n_videos: int
    n_sources: int
    n_identities: int
    n_distinct: int
    effective_videos: float


def diversity(rows: Sequence[ClipRow], signatures: Collection[Sequence[float] | None]) -> Diversity:
    """Of rows with `video_id`, `source` and `identity_ids`.

    Args:
        signatures: of the rows' clips, None for a clip without one; of as many as can be compared, drawn at random.
            Then `n_distinct` counts among these alone, and there are hardly ever fewer in all: only where copies of
            copies are joined by a clip that was not drawn.
    """
    identities = {entry["identity"] for row in rows for entry in row.get("identity_ids") or ()} - {None}
    videos, counts = np.unique([row["video_id"] for row in rows], return_counts=True)
    shares = counts / max(1, counts.sum())
    return Diversity(
        n_videos=len(videos),
        n_sources=len({row["source"] for row in rows}),
        n_identities=len(identities),
        n_distinct=n_distinct(signatures),
        effective_videos=float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0,
    )


def n_distinct(signatures: Collection[Sequence[float] | None]) -> int:
    """Number of clips, of which near copies, and copies of copies, count once; one without a signature is no copy."""
    known = [one for one in signatures if one is not None]
    if not known:
        return len(signatures)
    rows = np.asarray(known, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1.0)
    near = csr_matrix(1.0 - unit @ unit.T < NEAR)
    return len(signatures) - len(known) + int(connected_components(near, directed=False)[0])
