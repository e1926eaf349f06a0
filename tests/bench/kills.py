"""Curation that is killed again and again, against one that is left alone: the same clusters, the same rows.

    python -m tests.bench.kills --kills 50

Each process is killed up to 1.5 s after it began, at a random moment, until so many were; the last goes to the end.
"""

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.store.clusters.road import PER_BATCH, end_of, run


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--batches", type=int, default=150)
    parsed = parser.parse_args(arguments)
    drawn = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, disturbed = Path(folder, "undisturbed"), Path(folder, "disturbed")
        ends = [run(disturbed, parsed.batches, drawn.uniform(0.0, 1.5)) for _ in range(parsed.kills)]
        run(disturbed, parsed.batches)
        run(undisturbed, parsed.batches)
        same = end_of(disturbed) == end_of(undisturbed)
    print(
        f"{parsed.batches * PER_BATCH} clips, killed {ends.count('killed')} times: {'equal' if same else 'DIFFERENT'}"
    )


if __name__ == "__main__":
    main()
