"""What people's answers tell of a subset's purity, beside what it looks and sounds like.

Answers err in 1 of 20. Those who are asked about are rarely drawn at random: a queue asks about the doubtful first.
So a share `k` of the contrast is always that of all the clips that were found, those that a person took out among
them, and what they took out is subtracted: of N found, of which `no` are members no more, at most k N - (no - f) of
the N - no that stay do not belong, f the most answers that are likely to be wrong.

Where k tells little, answers tell more: a share y of yes means that (y - e) / (1 - 2 e) of those asked about belong,
and no smaller share of the rest, which are less doubtful; or of each half of the rest, by its scores, no smaller share
than of those asked about among it.

Answers may refute k: impure members that do not look like the contrast are none of its share. Where people took out
more of the members that score above nine tenths of the contrast than mistakes and all of its members that may be there
account for, only the answers count.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom

PEOPLE_ERR = 0.05
"""Share of people's answers that are wrong; assumed."""
_RISK = 0.025
"""Of each interval: less than of those without people, whose errors are only assumed."""
_SLIP = 0.2
"""Risk of the number of wrong answers, once their rate is bounded. Chosen: with 0.05 the bound holds in all subsets and
is lower by .03 to .07; with 0.2 it holds in at least 96 of 100, whoever is asked about."""
_UNLIKE = 0.9
"""A clip does not look like the contrast where so much of that has a lower score."""
_DOUBT = 0.2
"""Risk that answers which only err refute that impure members look like the contrast: then the bound is lower than it
need be."""
_LEAST_HALF = 5
"""Answers that are enough to tell of a half."""


@dataclass(frozen=True)
class Asked:
    """What people said: of the clips that were found, how many belong, and how many they took out.

    found: how many were found, these among them. said: float64 [N], of each member that is compared: 1 belongs, 0 does
    not, NaN: nobody was asked.
    """

    found: int
    yes: int
    no: int
    said: np.ndarray

    @property
    def n(self) -> int:
        """How many were asked about."""
        return self.yes + self.no


def what_stays(share: float, most: float, asked: Asked) -> tuple[float, float]:
    """Purity of what stays of the clips that were found, of which a share, at most `most`, are of the contrast."""
    stay = max(1, asked.found - asked.no)
    belong, _ = _of_asked(asked.yes, asked.n)
    right = belong * asked.n
    mistaken = PEOPLE_ERR * right, float(binom.ppf(1.0 - _SLIP, np.ceil(right), PEOPLE_ERR))
    left = [
        max(0.0, of * asked.found - max(0.0, asked.no - wrong))
        for of, wrong in zip((share, most), mistaken, strict=True)
    ]
    return 1.0 - min(1.0, left[0] / stay), 1.0 - min(1.0, left[1] / stay)


def is_refuted(ours: np.ndarray, theirs: np.ndarray, most: float, asked: Asked) -> bool:
    """Whether people took out more of the members that do not look like the contrast than they would by mistake, were
    at most a share `most` of all members of the contrast.

    Args:
        ours, theirs: float64 [N] and [M], scores of members and contrast; NaN: unknown.
    """
    known = theirs[np.isfinite(theirs)]
    limit = np.quantile(known, _UNLIKE)
    n_unlike = int((np.isfinite(asked.said) & (ours > limit)).sum())
    if not n_unlike:
        return False
    # Whoever is asked about first may be all of them.
    of_contrast = most * len(ours) * float((known > limit).mean()) / n_unlike
    no = int(((asked.said == 0.0) & (ours > limit)).sum())
    return float(binom.sf(no - 1, n_unlike, min(1.0, PEOPLE_ERR + of_contrast))) < _DOUBT


def by_answers(asked: Asked, scores: np.ndarray) -> tuple[float, float]:
    """Purity of what stays, by the answers alone: estimate and lower bound.

    A clip that is said to belong does so with the probability of Bayes' rule. Of the clips that nobody was asked about
    at least a lower quantile of the binomial belong: as surely as those that were asked about, or each half of them as
    surely as the asked ones among it.
    """
    stay, rest = asked.found - asked.no, asked.found - asked.n
    if stay < 1:
        return 0.0, 0.0
    value, low = _of_asked(asked.yes, asked.n)
    right = [(1.0 - PEOPLE_ERR) * one / ((1.0 - PEOPLE_ERR) * one + PEOPLE_ERR * (1.0 - one)) for one in (value, low)]
    halves = _halves(scores, asked.said)
    if halves:
        by_half = [(share, *_of_asked(yes, n)) for share, yes, n in halves]
        value = sum(share * estimate for share, estimate, _ in by_half)
        low = max(low, sum(share * least for share, _, least in by_half))
    sure = float(binom.ppf(_SLIP, asked.yes, right[1]) + binom.ppf(_SLIP, rest, low))
    return (asked.yes * right[0] + rest * value) / stay, sure / stay


def _halves(scores: np.ndarray, said: np.ndarray) -> list[tuple[float, int, int]]:
    """The asked members of lower and of higher scores: the share of those not asked about that scores alike, how many
    of them are said to belong, and how many there are. Empty where too few were asked, or all."""
    known, scores = np.isfinite(said), np.nan_to_num(scores, nan=-np.inf)
    if not known.any() or known.all():
        return []
    is_higher = scores >= np.median(scores[known])
    # Where many scores are the same, one half may hold none that was asked about.
    if min((known & is_higher).sum(), (known & ~is_higher).sum()) < _LEAST_HALF:
        return []
    return [
        (float(half[~known].mean()), int((said[known & half] == 1.0).sum()), int((known & half).sum()))
        for half in (~is_higher, is_higher)
    ]


def _of_asked(yes: int, n: int) -> tuple[float, float]:
    """Share of clips that were asked about that are of the concept: estimate and lower bound."""
    told = yes / max(1, n)
    value, low = (
        float(np.clip((one - PEOPLE_ERR) / (1.0 - 2.0 * PEOPLE_ERR), 0.0, 1.0))
        for one in (told, lower_end(told, n, _RISK))
    )
    return value, low


def lower_end(share: float, n: float, risk: float) -> float:
    """Lower end of the interval of a share that was seen of n (Clopper and Pearson 1934)."""
    return 0.0 if share <= 0.0 else float(beta.ppf(risk, share * n, n - share * n + 1.0))
