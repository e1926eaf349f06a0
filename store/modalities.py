"""Which vector columns say how clips resemble each other: data for clustering, and for "more like this"."""

from collections.abc import Mapping, Sequence

ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "look": ("visual_dino", "visual_text", "visual"),
    "sound": ("wordless", "sound"),
}
"""Modality to the columns that tell it, the best first. One of them is used, so that three embeddings of the pictures
do not weigh three times as much as one of the sound. DINOv2 learned from pictures alone, and its authors retrieve alike
pictures with it; SigLIP 2 tells what texts tell; colours and textures need no model. `wordless` holds all that `sound`
does, and of other speakers' wordless sounds it finds the like more often: 0.74 to 0.61 (tests/bench/sound_kinds.py)."""
TEXT_COLUMN = "visual_text"
"""Vector column that lies in one space with texts."""
NOT_RESEMBLANCE = ("signature",)
"""Vectors of another use: `store.duplicates`."""
PRIVATE_PREFIX = "identity"
"""Vectors that tell people apart."""
ENOUGH = 0.9
"""Chosen: a better column is used once it is there for so many of the clips that the best filled one is there for, so
that after a change of profile clips are placed by one measure, and not half of them by none."""


def chosen_columns(counts: Mapping[str, int]) -> list[str]:
    """The columns to compare clips by, in name order: one of each modality, and every one that belongs to none.

    Args:
        counts: vector column to the number of clips that have it.
    """
    filled = {name: n for name, n in counts.items() if n and not name.startswith(PRIVATE_PREFIX)}
    apart = {*NOT_RESEMBLANCE, *(name for names in ALTERNATIVES.values() for name in names)}
    chosen = [name for name in filled if name not in apart]
    for names in ALTERNATIVES.values():
        there = [name for name in names if name in filled]
        if there:
            most = max(filled[name] for name in there)
            chosen.append(next(name for name in there if filled[name] >= ENOUGH * most))
    return sorted(chosen)


def by_likeness(names: Sequence[str]) -> list[str]:
    """Columns in the order in which they tell how a clip looks, then the others by name."""
    looks = ALTERNATIVES["look"]
    order = {name: place for place, name in enumerate(looks)}
    return sorted(
        (name for name in names if name not in NOT_RESEMBLANCE),
        key=lambda name: (order.get(name, len(looks)), not name.startswith("visual"), name),
    )
