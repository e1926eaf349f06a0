"""The clustering as it goes on: clips come and go, clusters keep their numbers, and memory stays as it is.

A clip that comes is placed by what the sample showed last, and joins the sample or not. Once the sample has changed
enough it is clustered anew (`settle`), which costs the same however many clips there are. The space is fitted anew
whenever the clips have doubled; the caller gives the vectors of the sample then (`found`).

The state is what the sample, the space and a few numbers are: saved in one file, and the same again after a kill.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from store.clusters.lineage import Event, lives
from store.clusters.model import Model, Near, Places
from store.clusters.options import ClusterOptions
from store.clusters.sample import Sample, admitted, thinned
from store.clusters.space import Column, Space, Vectors, fit_space
from store.records import digest

_UNSETTLED = 0.05
"""Share of the sample that may be new before it is clustered anew. Chosen: a full sample is clustered again after 600
clips, which takes 2 s; of 10,000 clips that come by the thousand the labels are the same with 0.01."""
_FEW, _GROWN_FEW, _GROWN = 1000, 1.25, 2.0
"""When the space is fitted anew: by a quarter more of few clips, by twice as many of many. Chosen: fitting it as they
double costs the same for each, however many there are."""


@dataclass(frozen=True)
class PeopleSay:
    """What people decided about clusters, in order of time. joined: those that are one, which goes on under the first
    number; split: those that are several things, once for each time that it was said."""

    joined: tuple[tuple[int, ...], ...] = ()
    split: tuple[int, ...] = ()


Apart = tuple[int, int, int]
"""Number of a cluster that a person split, and of the two that it became; of points, where it says so."""


@dataclass
class Clusters:
    """The state; `options` never change.

    space: None until it was founded. n_founded: clips that were known then. n_clips: clips that came so far.
    next_number: of the next cluster that is born. settled: times that the sample was clustered. unsettled: clips that
    joined or left it since. thresholds: by stratum, for clips that come. apart: clusters that are to stay apart because
    people split one. obeyed: numbers that were split, once for each time; what was undone since is in neither. model:
    None while there are too few clips. numbers: of the model's clusters. model_ids: of its points.
    """

    options: ClusterOptions = field(default_factory=ClusterOptions)
    space: Space | None = None
    n_founded: int = 0
    n_clips: int = 0
    next_number: int = 0
    settled: int = 0
    unsettled: int = 0
    sample: Sample = field(default_factory=lambda: Sample.empty(0))
    thresholds: Mapping[int, float] = field(default_factory=dict)
    apart: tuple[Apart, ...] = ()
    obeyed: tuple[int, ...] = ()
    model: Model | None = None
    numbers: tuple[int, ...] = ()
    model_ids: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        """Hash of the options and of the space: what makes places comparable."""
        return digest([self.options.recipe, self.space and self.space.digest])[:16]

    @property
    def wants_founding(self) -> bool:
        """Whether the space should be fitted anew, for clips that come: there are a quarter more of few clips, or
        twice as many of many."""
        return self.n_clips >= (_GROWN_FEW if self.is_young else _GROWN) * self.n_founded

    @property
    def is_young(self) -> bool:
        """Whether there are so few clips that fitting the space costs next to nothing."""
        return self.n_founded < _FEW

    def is_outgrown(self, counts: Mapping[Column, int]) -> bool:
        """Whether twice as many clips of the sample have a column as the space was fitted to: the first few clips tell
        little of its spread, and one nothing."""
        assert self.space is not None
        return any(n >= _GROWN * self.space.counts.get(column, 0) for column, n in counts.items())

    def found(self, vectors: Vectors) -> None:
        """Fit the space to the clips of the sample, `vectors` in their order, and place them in it."""
        self.space = fit_space(vectors, self.sample.masses, self.options.dimensions)
        self.n_founded = self.n_clips
        points = self.space.project(vectors)
        self.sample = replace(self.sample, points=points).taken(np.isfinite(points).all(axis=1))
        self.model, self.numbers, self.model_ids = None, (), ()
        self.unsettled = max(1, len(self.sample))

    def begin(self, clip_ids: Sequence[str], vectors: Vectors) -> None:
        """Found the space on the first clips, which are not in the sample yet; they are added as others are."""
        self.space = fit_space(vectors, np.ones(len(clip_ids)), self.options.dimensions)
        self.sample = Sample.empty(self.space.size)
        self.n_founded = len(clip_ids)

    def add(self, clip_ids: Sequence[str], points: np.ndarray) -> None:
        """Take in clips that were never seen before: float32 [N, D], in the space, finite."""
        at = self.place(points)
        kept = admitted(clip_ids, points, _strata(at), self.thresholds)
        self.sample = self.sample.joined(kept)
        self.n_clips += len(clip_ids)
        self.unsettled += len(kept)

    def remove(self, clip_ids: Collection[str]) -> None:
        """Forget clips of the sample; the next `settle` forgets what they showed."""
        left = self.sample.without(clip_ids)
        self.unsettled += len(self.sample) - len(left)
        self.sample = left

    def move(self, clip_ids: Sequence[str], points: np.ndarray) -> None:
        """Let the sample's clips among these lie elsewhere, float32 [N, D]; one whose row is NaN leaves it."""
        at = {clip_id: row for row, clip_id in enumerate(self.sample.ids)}
        moved = self.sample.points.copy()
        for clip_id, point in zip(clip_ids, points, strict=True):
            if clip_id in at and not np.allclose(moved[at[clip_id]], point, atol=1e-4):
                moved[at[clip_id]] = point
                self.unsettled += 1
        self.sample = replace(self.sample, points=moved).taken(np.isfinite(moved).all(axis=1))

    @property
    def is_due(self) -> bool:
        """Whether so much has changed that the sample should be clustered anew, while more clips come."""
        return self.unsettled > _UNSETTLED * len(self.sample)

    def place(self, points: np.ndarray) -> Places:
        """Where clips lie, float32 [N, D] in the space; clusters by number."""
        if self.model is None:
            return _nowhere(len(points))
        return self._numbered(self.model.place(points))

    def own(self) -> Places:
        """Where the clips of the sample lie; those that are not in the model as `place` says."""
        if self.model is None:
            return _nowhere(len(self.sample))
        return self._numbered(self._of_sample(self.model, self.model_ids))

    def _of_sample(self, model: Model, model_ids: Sequence[str]) -> Places:
        """Where the clips of the sample lie in a model, whose clusters are numbered from 0."""
        at = {clip_id: row for row, clip_id in enumerate(model_ids)}
        row = np.array([at.get(clip_id, -1) for clip_id in self.sample.ids], np.int64)
        return model.own().taken(row).mended(model.place(self.sample.points[row < 0]), row < 0)

    def near(self, point: np.ndarray, n: int) -> list[tuple[str, Near]]:
        """The clips of the model nearest to a clip, float32 [D]."""
        found = self.model.near(point, n) if self.model is not None else []
        return [(self.model_ids[one.index], one) for one in found]

    def settle(self, people: PeopleSay = PeopleSay()) -> list[Event]:
        """Cluster the sample; what happened to clusters by that."""
        model, ids = self._fitted()
        self._take_back(Counter(people.split))
        apart, wanted = self._obey(model, ids, people) if model is not None else ([], {})
        n = len(self.sample)
        after = self._of_sample(model, ids).cluster if model is not None else np.full(n, -1)
        masses = self.sample.masses
        numbers, events, self.next_number = lives(self.sample.cluster, after, masses, self.next_number, wanted)
        self.model, self.model_ids = model, ids
        self.numbers = tuple(numbers[i] for i in range(model.n_clusters)) if model is not None else ()
        self.apart = self._still_apart(apart)
        at = self.own()
        self.sample = replace(self.sample, cluster=at.cluster, stratum=_strata(at))
        self.sample, self.thresholds = thinned(self.sample, self.options.capacity)
        self.settled += 1
        self.unsettled = 0
        return events

    def _fitted(self) -> tuple[Model | None, tuple[str, ...]]:
        """The model of the sample's clips, of which the same one twice is one; and their ids."""
        points = self.sample.points
        total = float(self.sample.masses.sum())
        least = self.options.smallest(total)
        # Copies of a clip are one point: their distance is no density, and ten copies are no cluster.
        _, first = np.unique(points.round(5), axis=0, return_index=True)
        first.sort()
        if len(first) < 2 * self.options.min_cluster_size:
            return None, ()
        model = Model.fit(points[first], self.sample.masses[first], least, self.options.neighbours(total))
        return model, tuple(self.sample.ids[i] for i in first)

    def _take_back(self, said: Counter[int]) -> None:
        """Forget the splits that people undid: of each number only so many are left as are said."""
        self.obeyed = tuple(sorted((Counter(self.obeyed) & said).elements()))
        kept: list[Apart] = []
        for pair in self.apart:
            if sum(one[0] == pair[0] for one in kept) < said[pair[0]]:
                kept.append(pair)
        self.apart = tuple(kept)

    def _obey(
        self, model: Model, ids: Sequence[str], people: PeopleSay
    ) -> tuple[list[Apart], dict[int, tuple[int, ...]]]:
        """Join and split the model's clusters as people said; pairs of points that are to stay apart, and the numbers
        that its clusters should have."""
        apart = [pair for one in self.apart if (pair := self._points_of(model, ids, one)) is not None]
        model.keep_apart([(a, b) for _, a, b in apart])
        for number in sorted((Counter(people.split) - Counter(self.obeyed)).elements()):
            found = (model.halves(int(cluster)) for cluster in self._mostly(model, ids, [number]))
            for a, b in [halves for halves in found if halves is not None][:1]:
                apart.append((number, a, b))
                # What was two once is not halved again where one of them is gone: what is left is whole.
                self.obeyed = tuple(sorted((*self.obeyed, number)))
                model.keep_apart([(a, b) for _, a, b in apart])
        groups = [(group, self._mostly(model, ids, group)) for group in people.joined]
        one_of = [(group, int(model.exemplars(int(clusters[0]))[0])) for group, clusters in groups if len(clusters)]
        model.join([clusters for _, clusters in groups])
        return apart, {int(model.labels[point]): group for group, point in one_of}

    def _points_of(self, model: Model, ids: Sequence[str], pair: Apart) -> Apart | None:
        """The densest point of the model in each of two clusters, as they were; None where one has none left."""
        was = dict(zip(self.sample.ids, self.sample.cluster.tolist(), strict=True))
        before = np.array([was[clip_id] for clip_id in ids])
        found = [model.densest(np.flatnonzero(before == number)) for number in pair[1:] if number in before]
        return (pair[0], found[0], found[1]) if len(found) == 2 else None

    def _mostly(self, model: Model, ids: Sequence[str], numbers: Sequence[int]) -> np.ndarray:
        """The model's clusters whose clips were mostly in clusters of these numbers, int64."""
        after = self._of_sample(model, ids).cluster
        inside = after >= 0
        theirs = np.where(np.isin(self.sample.cluster, numbers), self.sample.masses, 0.0)
        mass = np.bincount(after[inside], self.sample.masses[inside], minlength=model.n_clusters)
        return np.flatnonzero(np.bincount(after[inside], theirs[inside], minlength=model.n_clusters) > 0.5 * mass)

    def _still_apart(self, pairs: Sequence[Apart]) -> tuple[Apart, ...]:
        """The pairs of points, as pairs of cluster numbers; of a pair that people joined, the split is to be obeyed
        again once they undo that."""
        if self.model is None:
            return ()
        table = np.array([*self.numbers, -1])[self.model.labels]
        told = [(said, int(min(table[a], table[b])), int(max(table[a], table[b]))) for said, a, b in pairs]
        joined = Counter(said for said, a, b in told if a == b and a >= 0)
        self.obeyed = tuple(sorted((Counter(self.obeyed) - joined).elements()))
        return tuple(pair for pair in told if pair[1] >= 0 and pair[1] != pair[2])

    def _numbered(self, at: Places) -> Places:
        table = np.array([*self.numbers, -1])
        return replace(at, cluster=table[at.cluster], nearest=table[at.nearest], next_cluster=table[at.next_cluster])


def _strata(at: Places) -> np.ndarray:
    """Stratum of each clip, int64: 2 n for the cluster of number n, 2 n + 1 for what fits nowhere nearest to it."""
    return np.where(at.cluster >= 0, 2 * at.cluster, 2 * at.nearest + 1)


def _nowhere(n: int) -> Places:
    none = np.full(n, -1)
    return Places(none, np.zeros(n), np.zeros(n), np.full(n, np.nan), none, none)
