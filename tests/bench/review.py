"""How many decisions it takes to make a concept's subset pure, in the queue's order and in random order.

`python -m tests.bench.review [--plot PNG] [--seeds N]` prints one JSON line for each setting.

A subset of 600 clips of 60 videos, made in the plane of its embedding: the concept and its contrast are normal clouds
of 4-D, four deviations apart. `wrong` of the subset are clips of something else: half lie between both clouds, a fifth
are far out, and of the rest `silent` look like the concept in every feature (nothing but luck finds these), the others
lie in the midst of the contrast. A reviewer looks at 30 clips a day and errs in 5 of 100 answers; what is answered "no"
leaves the subset. The queue is `store.reviewing.ranking.rank` with the models of `store.reviewing.proposals`, fitted
again to all answers every day. Counted are the decisions until the true purity is 0.95.

Seen with 20 seeds, as the ratio of the queue's decisions to those of random order (mean, worst), and of the best order
that there is, by the densities that the subset was drawn from (mean):

    wrong  silent  ratio          best   calibration error of proposals, learnt from 120 answers in random order
    0.10   0.1     0.127  0.173   0.114  0.053
    0.15   0.0     0.187  0.217   0.171  0.051
    0.15   0.1     0.232  0.283   0.210  0.054
    0.15   0.2     0.375  0.584   0.317  0.058
    0.20   0.1     0.425  0.657   0.376  0.063

The last two miss a third, and no order takes much less: so many clips must go that silent ones are among them, or every
last one that can be told.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from store.reviewing.proposals import Example, fitted
from store.reviewing.ranking import Candidate, rank

N_CLIPS, N_CONTRAST, N_DIMENSIONS, N_VIDEOS = 600, 600, 4, 60
BUDGET, ERRORS, WANTED = 30, 0.05, 0.95
SHARES = (0.5, 0.2)
"""Of the wrong clips: those between the clouds, and those far out."""


@dataclass(frozen=True)
class Subset:
    """A concept's clips, with what the queue sees of them.

    is_right: bool [N]. suspicion: float64 [N], the density of wrong clips where each lies over that of right ones,
    which only who made the subset knows.
    """

    candidates: tuple[Candidate, ...]
    is_right: np.ndarray
    suspicion: np.ndarray


def subset(wrong: float, silent: float, seed: int) -> Subset:
    """A subset of which the share `wrong` is wrong, and `silent` of these cannot be told."""
    random = np.random.default_rng(seed)
    n_wrong = round(wrong * N_CLIPS)
    n_between, n_far, n_silent = (round(share * n_wrong) for share in (*SHARES, silent))
    n_deep = n_wrong - n_between - n_far - n_silent
    apart = np.zeros(N_DIMENSIONS)
    apart[0] = 4.0
    noise = random.standard_normal((N_CLIPS, N_DIMENSIONS))
    places = np.zeros((N_CLIPS, N_DIMENSIONS))
    places[:n_between] = apart * random.uniform(0.4, 0.8, (n_between, 1))
    places[n_between : n_between + n_deep] = apart
    points = places + noise
    far = slice(n_between + n_deep, n_between + n_deep + n_far)
    points[far] *= 3.0
    contrast = apart + random.standard_normal((N_CONTRAST, N_DIMENSIONS))
    is_right = np.arange(N_CLIPS) >= n_wrong
    order = random.permutation(N_CLIPS)
    videos = random.integers(0, N_VIDEOS, N_CLIPS)
    features = _features(points[order], contrast, apart)
    candidates = tuple(
        Candidate(
            item_id=f"member:{i:04d}:calm",
            kind="member",
            because="uncertain",
            gains="purity",
            why="",
            concept="calm",
            features=features[i],
            cluster=0,
            video_id=str(videos[i]),
        )
        for i in range(N_CLIPS)
    )
    normal = multivariate_normal(cov=np.eye(N_DIMENSIONS))
    between = np.mean([normal.pdf(points - apart * at) for at in np.linspace(0.4, 0.8, 41)], axis=0)
    far_out = normal.pdf(points / 3.0) / 3.0**N_DIMENSIONS
    inside = normal.pdf(points)
    of_wrong = n_between * between + n_deep * normal.pdf(points - apart) + n_far * far_out + n_silent * inside
    return Subset(candidates, is_right[order], (of_wrong / inside)[order])


def _features(points: np.ndarray, contrast: np.ndarray, apart: np.ndarray) -> list[dict[str, float]]:
    """membership: the subset's share of the density, by the tenth neighbours. margin and outlier score: from the
    distances to both centres."""
    near = np.sort(cdist(points, points), axis=1)[:, 10]
    against = np.sort(cdist(points, contrast), axis=1)[:, 9]
    density, other = near**-N_DIMENSIONS, against**-N_DIMENSIONS
    own, next_one = np.linalg.norm(points, axis=1), np.linalg.norm(points - apart, axis=1)
    rows = zip(
        density / (density + other),
        np.clip((next_one - own) / np.maximum(own, next_one), 0.0, 1.0),
        1.0 - np.median(near) / np.maximum(near, np.median(near)),
        strict=True,
    )
    return [
        {"membership": float(membership), "margin": float(margin), "outlier_score": float(outlier)}
        for membership, margin, outlier in rows
    ]


Order = Callable[[Sequence[int], Sequence[Example]], list[int]]
"""Which of the clips that are left to ask of the next day, given the answers so far."""


def queued(made: Subset) -> Order:
    """The product's order."""

    def order(left: Sequence[int], answers: Sequence[Example]) -> list[int]:
        models = {"member": fitted("member", answers), "hold": fitted("hold", ())}
        ranked = rank([made.candidates[i] for i in left], models, BUDGET)
        return [int(one.candidate.item_id.split(":")[1]) for one in ranked]

    return order


def shuffled(seed: int) -> Order:
    """Random order."""
    random = np.random.default_rng([seed, 1])
    return lambda left, answers: [int(i) for i in random.permutation(left)[:BUDGET]]


def best(made: Subset) -> Order:
    """No order that goes by where clips lie does better."""
    return lambda left, answers: sorted(left, key=lambda i: -made.suspicion[i])[:BUDGET]


def purities(made: Subset, order: Order, seed: int) -> list[float]:
    """The subset's true purity before and after every decision, until all clips were asked about."""
    random = np.random.default_rng([seed, 2])
    stays = np.ones(N_CLIPS, bool)
    answers: list[Example] = []
    left = list(range(N_CLIPS))
    curve = [float(made.is_right.mean())]
    while left:
        today = order(left, answers)
        for i in today:
            said = bool(made.is_right[i]) != bool(random.random() < ERRORS)
            answers.append(Example(made.candidates[i].features, said))
            stays[i] = said
            curve.append(float(made.is_right[stays].mean()))
        left = sorted(set(left) - set(today))
    return curve


def needed(curve: Sequence[float]) -> int | None:
    """Decisions until the purity that is wanted; None: never."""
    return next((n for n, purity in enumerate(curve) if purity >= WANTED), None)


def calibration(made: Subset, seed: int, n_learnt: int = 120, n_bins: int = 10) -> float:
    """Expected calibration error of the proposals on the clips that were not learnt from, against simulated answers:
    the mean distance of share of yes and mean probability, in ten bins of equal count."""
    random = np.random.default_rng([seed, 3])
    order = random.permutation(N_CLIPS)
    said = made.is_right != (random.random(N_CLIPS) < ERRORS)
    features = [candidate.features for candidate in made.candidates]
    model = fitted("member", [Example(features[i], bool(said[i])) for i in order[:n_learnt]])
    rest = order[n_learnt:]
    p = model.predict([features[i] for i in rest])[:, 0]
    bins = np.array_split(np.argsort(p, kind="stable"), n_bins)
    return float(np.mean([abs(p[one].mean() - said[rest][one].mean()) for one in bins]))


def main() -> None:
    """Print the figures; plot the curves of the last setting that `--plot` is given for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    matplotlib.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 5), dpi=120)
    for number, (wrong, silent) in enumerate([(0.15, 0.1), (0.15, 0.0), (0.1, 0.1), (0.2, 0.1), (0.15, 0.2)]):
        told, errors = [], []
        for seed in range(given.seeds):
            made = subset(wrong, silent, seed)
            queue, chance = purities(made, queued(made), seed), purities(made, shuffled(seed), seed)
            told.append((needed(queue), needed(chance), needed(purities(made, best(made), seed))))
            errors.append(calibration(made, seed))
            if number == 0:
                axes.plot(queue, color="tab:blue", alpha=0.5, label="queue" if seed == 0 else None)
                axes.plot(chance, color="tab:grey", alpha=0.5, label="random order" if seed == 0 else None)
        ratios = [q / c for q, c, _ in told if q is not None and c is not None]
        best_ratios = [b / c for _, c, b in told if b is not None and c is not None]
        print(
            json.dumps(
                {
                    "wrong": wrong,
                    "silent": silent,
                    "queue": [q for q, *_ in told],
                    "random": [c for _, c, _ in told],
                    "best": [b for *_, b in told],
                    "mean_ratio": round(float(np.mean(ratios)), 3) if ratios else None,
                    "worst_ratio": round(max(ratios), 3) if ratios else None,
                    "best_ratio": round(float(np.mean(best_ratios)), 3) if best_ratios else None,
                    "calibration_error": round(float(np.mean(errors)), 3),
                }
            ),
            flush=True,
        )
    axes.axhline(WANTED, color="black", linewidth=0.8, linestyle=":")
    axes.set(xlabel="decisions", ylabel="true purity of the subset", title="15% wrong, reviewers err in 5 of 100")
    axes.legend(loc="lower right")
    if given.plot is not None:
        figure.savefig(given.plot)


if __name__ == "__main__":
    main()
