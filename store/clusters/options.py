"""How clips are clustered."""

from dataclasses import asdict, dataclass
from functools import cached_property

from store.records import digest

_VERSION = 2


@dataclass(frozen=True)
class ClusterOptions:
    """How clips are clustered and flagged.

    min_cluster_size: fewest clips that are a cluster. Chosen: a demo's few dozen clips still have clusters.
    min_cluster_share: ... and the least share of all clips, so that a million do not fall into thousands of clusters.
    dimensions: most dimensions of the joint space. 64 kept the noise recall that HDBSCAN loses in 1,024 (.94).
    capacity: most clips that the sample keeps. Chosen: of 100,000 clips in 60 clusters, 12,000 give the labels of all
        of them (`tests/bench/clustering.py`), and settle in 2 s.
    outlier_score: GLOSH score from which a clip outside every cluster is an outlier.
    boundary_margin: margin below which a clip lies between two clusters. Chosen: distances within a tenth.
    """

    min_cluster_size: int = 5
    min_cluster_share: float = 0.0005
    dimensions: int = 64
    capacity: int = 12_000
    outlier_score: float = 0.9
    boundary_margin: float = 0.1

    @cached_property
    def recipe(self) -> str:
        """Hash of the options and of this package's version."""
        return digest(["clustering", _VERSION, asdict(self)])[:16]

    def smallest(self, n_clips: float) -> int:
        """Fewest clips, of so many, that are a cluster."""
        return max(self.min_cluster_size, round(self.min_cluster_share * n_clips))

    def neighbours(self, n_clips: float) -> int:
        """Neighbours that make a point dense (HDBSCAN's min_samples): more of them, more noise; few where clips are
        few."""
        return min(10, max(3, self.smallest(n_clips) // 5))
