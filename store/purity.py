"""Purity: how sure we are that a subset is its concept.

Impure members are taken to look and sound like the clips that the concept is told apart from. Then the members are a
mixture (1 - k) concept + k contrast, and no set S of places can hold fewer than k P(contrast in S) of them:

    k <= P(member in S) / P(contrast in S)   for every S,

the bound of mixture proportion estimation (Blanchard, Lee and Scott 2010). Where concept and contrast overlap, it says
too much of k, never too little, and so it does where the contrast holds clips of the concept. The sets are "scores at
most t"; a clip's score is the share that members have of the density around it, its neighbourhood agreement, taken in
every modality apart and averaged, each by how well it tells both sides apart. A clip's own video never counts. From the
upper end of the numerator's interval and the lower end of the denominator's (Clopper and Pearson 1934, at the size that
is left of clips of few videos, Korn and Graubard 1998) follows the bound that `k` keeps to in 95 of 100 subsets.

People's answers are subtracted from it, or tell more than it, or refute it (`store.asked`). The better of both bounds
holds.

Members that are like neither side look pure: while they are a fifth of the impure ones the bound holds. At half of them
it does in 83 of 100 subsets, in 97 after 50 of 96 clips were asked about at random, in all after 30 that are doubtful;
where all are, in 6, 88 and all (`UNLIKE` in `tests/bench/purity.py`). What fits nowhere is an outlier, which the gate
holds back; contrasts that hold all that a concept is mistaken for do the rest.

The label's own probability (a reading that a model holds for likely at .8) bounds the estimate: purity is no more than
its mean over the members.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from store.asked import Asked, by_answers, is_refuted, lower_end, what_stays

_RISK = 0.05
"""Of each interval. Chosen: with it the bound holds in at least 95 of 100 subsets under each condition of
`tests/bench/purity.py`, though the best of three levels is taken."""
_MOST_NEIGHBOURS = 10
"""Chosen: with more than a hundred clips on the smaller side the neighbourhood stays local."""
_LEVELS = (0.5, 0.75, 1.0)
"""Shares of the contrast that the sets hold. Chosen: where both sides overlap the half tells most, else the whole."""


@dataclass(frozen=True)
class Side:
    """Clips of one side. videos: int64 [N]. vectors: modality to float [N, D]; a row with a NaN is missing."""

    videos: np.ndarray
    vectors: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True)
class Purity:
    """What is known of a subset.

    value, low: the estimate and the lower end of its one-sided 95% interval; None where nothing can be told.
    by_modality: the estimate by each modality alone, of all that were found. agreement: float64 [N], the score of each;
    NaN: unknown. agreements: by modality, likewise.
    """

    value: float | None
    low: float | None
    by_modality: Mapping[str, float]
    agreement: np.ndarray
    agreements: Mapping[str, np.ndarray]


def purity(members: Side, contrast: Side, labels: np.ndarray, asked: Asked) -> Purity:
    """The purity of a subset.

    Args:
        members: all the clips that were found, or as many drawn at random; those that people took out count as well.
        labels: float64 [L], probabilities by the label, of those of them that stay and that nobody was asked about.
    """
    scores = {name: _scores(members, contrast, name) for name in sorted(members.vectors)}
    told = {name: pair for name, pair in scores.items() if np.isfinite(pair[0]).any() and np.isfinite(pair[1]).any()}
    by_modality = {name: 1.0 - _mixed(*pair)[0] for name, pair in told.items()}
    ours, theirs = _averaged(list(told.values()), len(members), len(contrast))
    agreements = {name: pair[0] for name, pair in told.items()}
    bounds = []
    if np.isfinite(ours).sum() >= 2 and np.isfinite(theirs).any():
        sizes = _effective(ours, members.videos), _effective(theirs, contrast.videos)
        share, most = _mixed(ours, theirs, *sizes)
        if not is_refuted(ours, theirs, most, asked):
            bounds.append(what_stays(share, most, asked))
    if asked.n:
        bounds.append(by_answers(asked, ours))
    stay = asked.found - asked.no
    if not bounds or not len(members) or stay < 1:
        return Purity(None, None, by_modality, ours, agreements)
    most = (asked.yes + (stay - asked.yes) * float(labels.mean() if len(labels) else 1.0)) / stay
    low = min(most, max(low for _, low in bounds))
    return Purity(max(low, min(most, bounds[0][0])), low, by_modality, ours, agreements)


def _scores(members: Side, contrast: Side, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Neighbourhood agreement in one modality, of the members and of the contrast: float64 [N] and [M]."""
    left, right = (np.asarray(side.vectors[name], np.float64) for side in (members, contrast))
    known = [np.isfinite(rows).all(axis=1) for rows in (left, right)]
    found = [np.full(len(rows), np.nan) for rows in (left, right)]
    if known[0].sum() < 2 or not known[1].any():
        return found[0], found[1]
    rows = np.vstack([left[known[0]], right[known[1]]])
    video = np.concatenate([members.videos[known[0]], contrast.videos[known[1]]])
    is_member = np.arange(len(rows)) < known[0].sum()
    share = _density_share(_standardised(rows), video, is_member)
    found[0][known[0]], found[1][known[1]] = share[is_member], share[~is_member]
    return found[0], found[1]


def _standardised(rows: np.ndarray) -> np.ndarray:
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)


def _density_share(points: np.ndarray, video: np.ndarray, is_member: np.ndarray) -> np.ndarray:
    """Share that members have of the density around each clip, were both sides equally frequent: float64 [N].

    Density is estimated by a Gaussian kernel as wide as the k-th nearest clip of another video is away (Breiman,
    Meisel and Purcell 1977); k grows with the root of the smaller side. A count of the k nearest would do as well, but
    for its steps, which fall elsewhere on the two sides.
    """
    squares = np.einsum("nd,nd->n", points, points)
    distance = np.maximum(squares[:, None] + squares - 2.0 * points @ points.T, 0.0)
    counts = video[:, None] != video
    # While there is no other video on both sides, clips of the own one count.
    alone = ~(counts[:, is_member].any(axis=1) & counts[:, ~is_member].any(axis=1))
    counts[alone] = True
    np.fill_diagonal(counts, False)
    n_member, n_other = counts[:, is_member].sum(axis=1), counts[:, ~is_member].sum(axis=1)
    smaller = np.maximum(1, np.minimum(n_member, n_other))
    k = np.minimum(_MOST_NEIGHBOURS, np.sqrt(smaller).astype(int)) * (n_member + n_other) // (2 * smaller)
    k = np.clip(k, 1, np.maximum(1, n_member + n_other))
    away = np.where(counts, distance, np.inf)
    width = np.take_along_axis(np.sort(away, axis=1), k[:, None] - 1, axis=1)
    nearest = away.min(axis=1, keepdims=True)  # the densities' common factor, so that none is lost as too small
    kernel = np.exp(-(away - nearest) / np.maximum(2.0 * width, 1e-12), where=counts, out=np.zeros_like(away))
    ours = kernel[:, is_member].sum(axis=1) / np.maximum(1, n_member)
    theirs = kernel[:, ~is_member].sum(axis=1) / np.maximum(1, n_other)
    known = (n_member > 0) & (n_other > 0)
    return np.where(known, ours / np.where(known, ours + theirs, 1.0), np.nan)


def _averaged(pairs: Sequence[tuple[np.ndarray, np.ndarray]], n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all modalities, each weighing by how well it tells both sides apart (squared Gini of its ranks)."""
    weights = [_apart(*pair) ** 2 for pair in pairs]
    if not sum(weights):
        weights = [1.0] * len(pairs)
    sides = []
    for side, size in ((0, n), (1, m)):
        total, mass = np.zeros(size), np.zeros(size)
        for pair, weight in zip(pairs, weights, strict=True):
            known = np.isfinite(pair[side])
            total[known] += weight * pair[side][known]
            mass[known] += weight
        sides.append(np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), np.nan))
    return sides[0], sides[1]


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """2 AUC - 1 of two sets of scores, at least 0."""
    a, b = ours[np.isfinite(ours)], np.sort(theirs[np.isfinite(theirs)])
    below = (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")) / 2.0
    return max(0.0, 2.0 * float(below.mean()) / len(b) - 1.0)


def _mixed(
    ours: np.ndarray, theirs: np.ndarray, n_ours: float | None = None, n_theirs: float | None = None
) -> tuple[float, float]:
    """Estimate and upper bound of the contrast's share in the members.

    Args:
        ours, theirs: scores; NaN where unknown. n_ours, n_theirs: how many independent clips they are worth.
    """
    a, b = ours[np.isfinite(ours)], np.sort(theirs[np.isfinite(theirs)])
    n, m = n_ours or len(a), n_theirs or len(b)
    risk = _RISK
    share, most = 1.0, 1.0
    for level in _LEVELS:
        limit = b[max(0, int(np.ceil(level * len(b))) - 1)]
        inside, held = float((a <= limit).mean()), float((b <= limit).mean())
        share = min(share, inside / held)
        most = min(most, _upper(inside, n, risk) / max(1e-9, lower_end(held, m, risk)))
    return share, most


def _upper(share: float, n: float, risk: float) -> float:
    return 1.0 if share >= 1.0 else float(beta.ppf(1.0 - risk, share * n + 1.0, n - share * n))


def _effective(scores: np.ndarray, videos: np.ndarray) -> float:
    """How many independent clips a side is worth: n / (1 + (n' - 1) r), r the correlation of scores within a video."""
    known = np.isfinite(scores)
    values, groups = scores[known], np.unique(videos[known], return_inverse=True)[1].ravel()
    n = len(values)
    sizes = np.bincount(groups)
    if n < 2 or len(sizes) < 2 or sizes.max() < 2 or values.std() < 1e-9:
        return float(n if len(sizes) > 1 or n < 2 else 1.0)
    means = np.bincount(groups, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (len(sizes) - 1)
    within = float(((values - means[groups]) ** 2).sum()) / max(1, n - len(sizes))
    usual = (n - float((sizes**2).sum()) / n) / (len(sizes) - 1)
    correlation = np.clip((between - within) / (between + (usual - 1.0) * within), 0.0, 1.0)
    return float(n / (1.0 + (float((sizes**2).sum()) / n - 1.0) * correlation))
