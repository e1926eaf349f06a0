"""Whether the stated lower bound of purity holds, over many synthetic subsets of known truth.

    python -m tests.bench.purity [--subsets 200]

Concept and contrast are Gaussians in each of three modalities, `gap` standard deviations apart in those that tell them
apart; impure members are clips of the contrast. Clips come from videos; `together` is the share of errors that strikes
whole videos. People answer about members and err in 1 of 20; what they take out is no member any more.
"""

import argparse
import itertools
from dataclasses import dataclass

import numpy as np

from store.asked import Asked
from store.purity import Purity, Side, purity


@dataclass(frozen=True)
class Condition:
    """How subsets are drawn."""

    true_purity: float = 0.9
    n_videos: int = 12
    per_video: int = 8
    gap: float = 4.0
    telling: int = 3
    together: float = 0.0
    n_asked: int = 0
    doubtful: bool = False
    """Whether those of the least agreement are asked about, as a queue does, and not any."""
    spoilt: float = 0.0
    """Share of the contrast that is of the concept."""
    strange: float = 0.0
    """Share of the impure members that are like neither side, which the bound takes to be none."""


def drawn(condition: Condition, seed: int) -> tuple[Purity, float]:
    """What is stated of a subset, and its true purity."""
    rng = np.random.default_rng(seed)
    n = condition.n_videos * condition.per_video
    video = np.repeat(np.arange(condition.n_videos), condition.per_video)
    rate = 1.0 - condition.true_purity
    whole = rng.random(condition.n_videos) < rate * condition.together
    single = rng.random(n) < rate * (1.0 - condition.together)
    is_true = ~(whole[video] | single)
    of_contrast = rng.random(n) < condition.spoilt
    vectors = _vectors(rng, condition, is_true), _vectors(rng, condition, of_contrast)
    is_strange = ~is_true & (rng.random(n) < condition.strange)
    for rows in vectors[0].values():
        rows[is_strange, 1] += condition.gap
    members = Side(video, vectors[0])
    contrast = Side(video + condition.n_videos, vectors[1])
    nobody = Asked(n, 0, 0, np.full(n, np.nan))
    asked = rng.permutation(n)
    if condition.doubtful and condition.n_asked:
        asked = np.argsort(purity(members, contrast, np.ones(n), nobody).agreement)
    asked = asked[: condition.n_asked]
    yes = is_true[asked] ^ (rng.random(len(asked)) < 0.05)
    stays = np.ones(n, bool)
    stays[asked[~yes]] = False
    said = np.full(n, np.nan)
    said[asked] = yes
    told = purity(members, contrast, np.ones(n), Asked(n, int(yes.sum()), int((~yes).sum()), said))
    return told, float(is_true[stays].mean())


def _vectors(rng: np.random.Generator, condition: Condition, is_concept: np.ndarray) -> dict[str, np.ndarray]:
    modalities = {}
    for number in range(3):
        rows = rng.normal(0, 1, (len(is_concept), 8))
        if number < condition.telling:
            rows[:, 0] += condition.gap * is_concept
        modalities[f"m{number}"] = rows
    return modalities


def coverage(condition: Condition, n_subsets: int, first: int = 0) -> tuple[float, float, float]:
    """Share of the subsets whose bound holds, mean of truth less bound, and mean error of the estimate."""
    found = [drawn(condition, first + seed) for seed in range(n_subsets)]
    told = [(one.low, one.value, truth) for one, truth in found if one.low is not None and one.value is not None]
    holds = np.mean([low <= truth for low, _, truth in told])
    gap = np.mean([truth - low for low, _, truth in told])
    error = np.mean([value - truth for _, value, truth in told])
    return float(holds), float(gap), float(error)


CONDITIONS = [
    *(Condition(true_purity=one) for one in (0.5, 0.7, 0.8, 0.95, 0.99, 1.0)),
    *(Condition(gap=one, true_purity=p) for one, p in itertools.product((1.5, 2.5), (0.8, 0.95))),
    *(Condition(telling=one, true_purity=p) for one, p in itertools.product((0, 1), (0.8, 0.95))),
    *(Condition(n_videos=v, per_video=c) for v, c in ((3, 4), (5, 3), (40, 2), (6, 40), (60, 10))),
    *(Condition(together=one, true_purity=p) for one, p in itertools.product((0.5, 1.0), (0.8, 0.95))),
    *(Condition(n_asked=one, true_purity=p) for one, p in itertools.product((10, 50), (0.7, 0.95))),
    *(Condition(n_asked=one, telling=0, true_purity=p) for one, p in itertools.product((10, 50), (0.7, 0.95))),
    *(Condition(n_asked=90, true_purity=p) for p in (0.5, 0.7, 0.9)),
    *(Condition(n_asked=n, true_purity=p, doubtful=True) for n, p in itertools.product((10, 30, 50, 90), (0.7, 0.9))),
    *(Condition(n_asked=30, telling=0, true_purity=p, doubtful=True) for p in (0.7, 0.95)),
    *(Condition(spoilt=one) for one in (0.1, 0.3)),
]


UNLIKE = [
    Condition(strange=one, n_asked=n, doubtful=doubtful)
    for one, (n, doubtful) in itertools.product((0.2, 0.5, 1.0), ((0, False), (50, False), (30, True)))
]
"""What the bound does not hold for while nobody is asked."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subsets", type=int, default=200, help="per condition")
    n_subsets = parser.parse_args().subsets
    print(
        "truth videos clips gap telling together asked doubtful spoilt | bound holds  truth - bound  estimate - truth"
    )
    holds = [_told(condition, n_subsets) for condition in CONDITIONS]
    print(f"all conditions: {np.mean(holds):.3f}; the worst: {min(holds):.3f}")
    print("Where 20, 50 and 100 of 100 impure members are like neither side; nobody, 50, or 30 doubtful asked about:")
    for condition in UNLIKE:
        _told(condition, n_subsets)


def _told(c: Condition, n_subsets: int) -> float:
    holds, gap, error = coverage(c, n_subsets)
    print(
        f"{c.true_purity:<5} {c.n_videos:<6} {c.per_video:<5} {c.gap:<3} {c.telling:<7} {c.together:<8}"
        f" {c.n_asked:<5} {c.doubtful!s:<8} {c.spoilt:<6} | {holds:<12.3f} {gap:<14.3f} {error:+.3f}",
        flush=True,
    )
    return holds


if __name__ == "__main__":
    main()
