"""Alarms of drift: how often there is one for nothing, and after how many videos there is one that should be.

    python -m tests.bench.drift                     # both
    python -m tests.bench.drift --runs 2000         # more references for the false alarms

A video is some clips around a place of its own in 16 dimensions, and has twelve controls, each the mean of its clips'.
False alarms: the share of references with an alarm within so many videos that are like theirs; the bound is 0.001.
Delay: videos until the alarm once their places (or one control) are so many spreads away; the median of 40 runs.
"""

import argparse
from collections.abc import Sequence
from statistics import median

import numpy as np

from store.drift import Video, take_reference, watch

_PLACES, _CONTROLS = 16, 12


def videos(rng: np.random.Generator, n: int, prefix: str, place: float = 0.0, control: float = 0.0) -> list[Video]:
    """Videos of one to twelve clips; all their places, or their first control, are so many spreads away."""
    made = []
    for number in range(n):
        clips = int(rng.integers(1, 13))
        away = np.full(_PLACES, place / np.sqrt(_PLACES))
        points = away + rng.normal(0, 1, _PLACES) + rng.normal(0, 0.7, (clips, _PLACES))
        means = rng.normal(0, 0.3, _CONTROLS) + rng.normal(0, 0.3, (clips, _CONTROLS)).mean(axis=0)
        means[0] += control * 0.3
        controls = {f"control {i}": float(mean) for i, mean in enumerate(means)}
        made.append(Video(f"{prefix}{number:05d}", {"place": points}, controls, ""))
    return made


def false_alarms(runs: int, reference: int, n: int) -> float:
    """Share of references with an alarm within n videos of the same kind."""
    alarms = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        known = take_reference(videos(rng, reference, f"r{seed}-"))
        alarms += watch(known, videos(rng, n, f"n{seed}-")).is_alarming
    return alarms / runs


def delays(reference: int, place: float, control: float, runs: int = 40, most: int = 400) -> Sequence[float]:
    """Videos until the alarm after twenty usual ones, infinite where there is none within `most`."""
    found = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        drift = watch(take_reference(videos(rng, reference, f"r{seed}-")), videos(rng, 20, f"n{seed}-"))
        drift = watch(drift, videos(rng, most, f"s{seed}-", place, control))
        found.append(drift.n_videos - 20 if drift.is_alarming else float("inf"))
    return found


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    for reference, n in ((40, 200), (400, 200)):
        share = false_alarms(runs, reference, n)
        print(f"reference of {reference:5}: false alarms within {n} videos {share:.4f} of {runs}", flush=True)
    for place, control in ((0.5, 0), (1, 0), (2, 0), (4, 0), (0, 1), (0, 2), (0, 4)):
        told = {reference: median(delays(reference, place, control)) for reference in (100, 400, 1600)}
        shift = f"places {place:g}" if place else f"one control {control:g}"
        by_size = ", ".join(f"{n:g} after a reference of {reference}" for reference, n in told.items())
        print(f"{shift} spreads away: alarm after {by_size}", flush=True)


if __name__ == "__main__":
    main()
