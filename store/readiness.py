"""Readiness: whether a concept's subset is enough to be trained on, and why not.

A concept that was ready stays so until it falls clearly below its thresholds, so that one clip more or less does not
start and stop training.
"""

from dataclasses import dataclass

from store.concepts import Concept

_SLACK = 0.03
"""How far below its threshold the purity of a ready concept may fall. Chosen."""
_KEPT = 0.9
"""Share of the numbers asked for that a ready concept must keep. Chosen."""


@dataclass(frozen=True)
class Standing:
    """What counts. n_distinct: clips that are open to use, of which near copies count once."""

    n_distinct: int
    n_videos: int
    n_sources: int
    purity: float | None
    purity_low: float | None


def shortcomings(concept: Concept, standing: Standing, was_ready: bool) -> tuple[str, ...]:
    """Why the concept is not ready, for a person; empty where it is."""
    reasons = []
    asked = (
        ("clips, near copies counted once", standing.n_distinct, concept.min_clips),
        ("source videos", standing.n_videos, concept.min_videos),
        ("sources", standing.n_sources, concept.min_sources),
    )
    for what, found, least in asked:
        if found < (_KEPT * least if was_ready else least):
            reasons.append(f"too few {what}: {found} of {least}")
    threshold = concept.purity - (_SLACK if was_ready else 0.0)
    if standing.purity is None or standing.purity_low is None:
        reasons.append("purity unknown: it takes two clips of the concept and one to tell them from, with vectors")
    elif standing.purity_low < threshold:
        stays = f" ({threshold:.2f} to stay ready)" if was_ready else ""
        reasons.append(f"purity bound {standing.purity_low:.2f} < {concept.purity:.2f}{stays}")
    return tuple(reasons)
