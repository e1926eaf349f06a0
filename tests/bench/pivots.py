"""How often a pivot is seen where there is none, and found where there is one.

    python -m tests.bench.pivots --seeds 60

Sequences of clips whose features follow from the clip before to a share (0: order means nothing; 0.9: a slow drift).
`false`: share of sequences without any change that have a pivot. `one`, `four`: share of changes of 2.5 and 3
deviations (half as much again over 8 features) that are found within a clip of their place.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from store.pivots import changes

PERSISTENCES = (0.0, 0.3, 0.6, 0.9)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parsed = parser.parse_args(arguments)
    print("clips features persistence false   one  four")
    for n_clips, n_features in ((18, 1), (18, 8), (60, 1), (60, 8)):
        more = 1.0 if n_features == 1 else 1.5
        for persistence in PERSISTENCES:
            false = one = four = 0
            for seed in range(parsed.seeds):
                drawn = np.random.default_rng(seed)
                plain = autoregression(n_clips, n_features, persistence, drawn)
                way = drawn.normal(size=n_features)
                way *= more / np.linalg.norm(way)
                false += bool(found(plain))
                one += near(found(changed(plain, [n_clips // 2], 2.5 * way)), [n_clips // 2])
                fifths = [n_clips * k // 5 for k in range(1, 5)]
                four += near(found(changed(plain, fifths, 3.0 * way)), fifths)
            shares = (false / parsed.seeds, one / parsed.seeds, four / parsed.seeds / 4)
            told = " ".join(f"{share:5.2f}" for share in shares)
            print(f"{n_clips:5} {n_features:8} {persistence:11} {told}", flush=True)


def autoregression(n: int, d: int, persistence: float, drawn: np.random.Generator) -> np.ndarray:
    """float64 [n, d] of deviation 1."""
    rows = drawn.normal(size=(n, d))
    for i in range(1, n):
        rows[i] = persistence * rows[i - 1] + (1 - persistence**2) ** 0.5 * rows[i]
    return rows


def changed(rows: np.ndarray, at: Sequence[int], by: np.ndarray) -> np.ndarray:
    """The rows, moved to and fro at these places."""
    moved = np.zeros(len(rows), bool)
    for place in at:
        moved[place:] ^= True
    return rows + moved[:, None] * by


def found(rows: np.ndarray) -> list[int]:
    """Where pivots are seen."""
    return [at for at, *_ in changes([{f"f{i}": float(x) for i, x in enumerate(row)} for row in rows])]


def near(seen: Sequence[int], wanted: Sequence[int]) -> int:
    """How many of the wanted are seen."""
    return sum(any(abs(one - place) <= 1 for one in seen) for place in wanted)


if __name__ == "__main__":
    main()
