"""How far distributions over the same labels differ."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import rel_entr


def divergence(shares: Sequence[Mapping[str, float]]) -> float:
    """Jensen-Shannon divergence (Lin 1991) of distributions over the same labels, as a share of its largest,
    log(their number); of two it is in bits.
    """
    stacked = np.array([[one[label] for label in shares[0]] for one in shares])
    middle = stacked.mean(axis=0)
    return float(np.clip(rel_entr(stacked, middle).sum(axis=1).mean() / np.log(len(shares)), 0.0, 1.0))
