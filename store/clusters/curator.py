"""Clustering the clips of a store: what `state` does, on rows.

Reads the tables; what changed comes back as records, for the one writer of the tables to store. The state lies in a
file beside the tables and is written before its records are given out; what the tables do not show yet is given out
again, so that a kill at any moment loses nothing and repeats nothing. Where the file is lost, the state is what the
tables say: which clips are in the sample, in which clusters, in which space.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from store.clip_columns import ClipRow
from store.clusters.copies import Copy, copies_of
from store.clusters.explain import living
from store.clusters.facets import Facets, Labels
from store.clusters.file import load_state, save_state
from store.clusters.lineage import Event
from store.clusters.options import ClusterOptions
from store.clusters.rebuilding import rebuilt, rebuilt_facets
from store.clusters.rows import (
    ANNOTATED,
    AT_ONCE,
    CONTROL,
    PLACE,
    copy_in,
    counts_of,
    is_same,
    is_shown,
    place_of,
    vectors_of,
)
from store.clusters.space import Vectors
from store.clusters.state import PeopleSay, Places
from store.modalities import chosen_columns
from store.records import ClipCurated, ClusterChanged, ClustersFounded, Record, digest
from store.store import Store
from store.tables import in_parts

_SWEPT = 2000
"""Clips whose cluster changed, or which lie in an older space, that are placed anew at a time."""


class Curator:
    """Follows a store, from where its last process came to."""

    def __init__(self, store: Store, options: ClusterOptions = ClusterOptions()) -> None:
        self._store = store
        self._in_flight: dict[str, ClipCurated] = {}
        self._entries: list[Record] = []
        self._stale: dict[str, int] = {}
        """Condition on the clips to be placed anew to the clustering since which they are."""
        self._obeyed = PeopleSay()
        self._has_more = False
        self._is_news = True
        """Whether clips came or changed since it was last asked whether the space is outgrown, as far as known."""
        known = load_state(store.folder, options)
        self._is_rebuilt = known is None
        if known is None:
            self.clusters = rebuilt(store, options)
            self.facets = Facets(rebuilt_facets(store, self.clusters))
        else:
            self.clusters, self.facets, notes = known.clusters, Facets(known.facets), known.notes
            self._in_flight = {body["clip_id"]: ClipCurated(**body) for body in notes["in_flight"]}
            self._entries = [ClustersFounded(**body) for body in notes["founded"]]
            self._entries += [ClusterChanged(**body) for body in notes["changed"]]
            self._stale = notes["stale"]
            self._obeyed = PeopleSay(tuple(map(tuple, notes["joined"])), tuple(notes["split"]))

    def follow(
        self, again: Collection[str] = (), people: PeopleSay = PeopleSay(), settle: bool = False
    ) -> list[Record]:
        """Take in what is new in the store, forget what is gone, and place again what lies elsewhere now.

        Args:
            again: ids of clips whose vectors may have changed.
            settle: also cluster the sample anew if it changed at all, or people decided something.

        Returns:
            What the tables do not show yet: records of places, of clusters, and of the space.
        """
        shown = self._shown()
        is_gone = self._forget(shown)
        columns = self._columns()
        if self.clusters.space is None and columns:
            self._found(columns)
        unseen = self._unseen()
        self._is_news |= bool(unseen) or bool(again)
        for clip_ids in in_parts(unseen, AT_ONCE):
            self._take_in(clip_ids, columns, people)
        self._look_again(sorted(set(again)), columns)
        if self._is_outgrown(columns, settle):
            self._found(columns)
        self._is_news &= not settle
        # Without a model, as after a founding, every clip would be told to be in no cluster.
        is_blank = self.clusters.model is None and self.clusters.unsettled > 0
        if is_gone or is_blank or (settle and (self.clusters.unsettled or people != self._obeyed)):
            self._settle(people)
        if is_gone or self._is_rebuilt:
            self._end_lost()
            self._is_rebuilt = False
        if settle:
            self._mend_copies()
        self._tell_sample(shown)
        self._sweep()
        self._save()
        return [*self._entries, *self._in_flight.values()]

    @property
    def in_flight(self) -> Mapping[str, ClipCurated]:
        """Places that were told and that the tables do not show yet."""
        return self._in_flight

    @property
    def is_behind(self) -> bool:
        """Whether more clips wait to be placed anew than were at the last time."""
        return self._has_more or bool(self._stale)

    # --- what the tables show ----------------------------------------------------------------------------

    def _shown(self) -> dict[str, ClipCurated]:
        """Places, as the tables show them, of the clips of the sample; drops what is in flight no longer."""
        rows = self._store.clips.select(where="sample_threshold IS NOT NULL", columns=PLACE)
        rows += self._rows(self._in_flight, PLACE)
        shown = {row["clip_id"]: place_of(row) for row in rows if row["settled"] is not None}
        there = {row["clip_id"] for row in rows}
        self._in_flight = {
            clip_id: record
            for clip_id, record in self._in_flight.items()
            if clip_id in there and not is_shown(shown.get(clip_id), record)
        }
        tables = {ClustersFounded: self._store.foundations, ClusterChanged: self._store.cluster_events}
        self._entries = [one for one in self._entries if tables[type(one)].get(one.key) is None]
        return {**shown, **self._in_flight}

    def _forget(self, shown: Mapping[str, ClipCurated]) -> bool:
        """Forget clips that the store no longer has; whether the sample or its model knew one."""
        held = {*self.clusters.sample.ids, *self.clusters.model_ids} | self.facets.clip_ids
        known = [one for one in held if one not in shown]
        there = {row["clip_id"] for row in self._rows(known, ())}
        gone = set(known) - there
        self.clusters.remove(gone)
        return bool(gone)

    def _unseen(self) -> list[str]:
        """Ids of the annotated clips that were never placed."""
        rows = self._store.clips.select(where=f"{ANNOTATED} AND settled IS NULL", columns=[])
        return [row["clip_id"] for row in rows if row["clip_id"] not in self._in_flight]

    def _columns(self) -> list[str]:
        """Vector columns that clips are compared by; none while there are none."""
        clips = self._store.clips
        counts = {name: clips.count(f"{ANNOTATED} AND {name} IS NOT NULL") for name in clips.vector_columns}
        chosen = chosen_columns(counts)
        return [*chosen, CONTROL] if chosen or clips.count(ANNOTATED) else []

    def _rows(self, clip_ids: Iterable[str], columns: Sequence[str]) -> list[ClipRow]:
        return list(self._store.clips.get_many(clip_ids, columns).values())

    # --- what becomes of clips ---------------------------------------------------------------------------

    def _take_in(self, clip_ids: Sequence[str], columns: Sequence[str], people: PeopleSay) -> None:
        """Place clips that come, and let some of them join the sample."""
        ids, vectors = vectors_of(self._store.clips, clip_ids, columns)
        if not ids:
            return
        if self.clusters.space is None:
            self.clusters.begin(ids, vectors)
            self._tell_founded()
        elif self.clusters.wants_founding:
            self._found(columns)
        points = self._project(vectors)
        known = np.isfinite(points).all(axis=1)
        self.clusters.add([one for one, has in zip(ids, known, strict=True) if has], points[known])
        if self.clusters.is_due:
            self._settle(people)
        self._tell(ids, points, vectors)

    def _look_again(self, clip_ids: Sequence[str], columns: Sequence[str]) -> None:
        """Place clips again that were placed before, by the vectors that they have now."""
        if self.clusters.space is None:
            return
        for part in in_parts(clip_ids, AT_ONCE):
            rows = [row for row in self._rows(part, PLACE) if row["settled"] is not None]
            shown = {row["clip_id"]: self._in_flight.get(row["clip_id"]) or place_of(row) for row in rows}
            ids, vectors = vectors_of(self._store.clips, list(shown), columns)
            points = self._project(vectors)
            self.clusters.move(ids, points)
            told = self._places(ids, points, vectors, {one: copy_in(shown[one]) for one in ids})
            self._in_flight.update((one.clip_id, one) for one in told if not is_same(shown[one.clip_id], one))

    def _is_outgrown(self, columns: Sequence[str], settle: bool) -> bool:
        """Whether the space is of other modalities or of few of the clips that have one, or now is the time to fit it
        to all of few clips."""
        clusters = self.clusters
        if not columns or clusters.space is None:
            return False
        if set(clusters.space.asked) != set(columns):
            return True
        if not settle or not self._is_news:
            return False
        is_grown = clusters.is_young and clusters.n_clips > clusters.n_founded
        return is_grown or clusters.is_outgrown(counts_of(self._store.clips, clusters.sample.ids, columns))

    def _project(self, vectors: Vectors) -> np.ndarray:
        assert self.clusters.space is not None
        return self.clusters.space.project(vectors)

    def _found(self, columns: Sequence[str]) -> None:
        """Fit the space anew, to the clips of the sample."""
        ids, vectors = vectors_of(self._store.clips, self.clusters.sample.ids, columns)
        if not ids:
            return
        at = {one: row for row, one in enumerate(self.clusters.sample.ids)}
        self.clusters.sample = self.clusters.sample.taken(np.array([at[one] for one in ids]))
        self.clusters.found(vectors)
        self._tell_founded()

    def _settle(self, people: PeopleSay) -> None:
        """Cluster the sample anew; clips of clusters that changed are to be placed anew."""
        apart, obeyed = self.clusters.apart, Counter(self.clusters.obeyed)
        events = self.clusters.settle(people)
        self._obeyed = people
        split = {*(Counter(self.clusters.obeyed) - obeyed)}
        joined = {n for group in people.joined for n in group}
        joined |= {n for pair in apart if pair[0] not in people.split for n in pair}
        for event in events:
            is_asked = event.other in split if event.kind == "split" else bool({event.number, event.other} & joined)
            self._entries.append(self._entry("joint", event, is_asked))
            self._place_anew("joint", event.number, event.other)
        for name, event in self.facets.settle(self._store.clips, self.clusters):
            self._entries.append(self._entry(name, event, False))
            self._place_anew(name, event.number, event.other)

    def _place_anew(self, modality: str, *numbers: int | None) -> None:
        """Have the clips of clusters of a modality placed anew; None: those that are in none."""
        self._stale |= dict.fromkeys((_lies_in(modality, number) for number in numbers), self.clusters.settled)

    def _end_lost(self) -> None:
        """Tell the end of clusters of which the sample holds no clip any more, since they were removed: no clustering
        sees it."""
        told = [one.model_dump(mode="json") for one in self._entries if isinstance(one, ClusterChanged)]
        events = self._store.cluster_events.all() | {body["event_id"]: body for body in told}
        states = {"joint": self.clusters, **self.facets.states}
        for name in sorted({body["modality"] for body in events.values()}):
            known = states[name].numbers if name in states else ()
            for number in sorted(living(events, name).keys() - set(known)):
                self._entries.append(self._entry(name, Event("died", number, None, 0.0), False))
                self._place_anew(name, number)

    def _sweep(self) -> None:
        """Place anew some of the clips outside the sample that lie in an older space or a changed cluster."""
        if self.clusters.space is None:
            return
        self._has_more = False
        room = _SWEPT
        old_space = f"settled IS NOT NULL AND curation_recipe <> '{self.clusters.recipe}'"
        moved = [(f"{where} AND settled < {settled}", where) for where, settled in sorted(self._stale.items())]
        for condition, key in ((old_space, None), *moved):
            rows = self._store.clips.some(f"{ANNOTATED} AND sample_threshold IS NULL AND {condition}", room)
            ids = sorted(set(rows) - self._in_flight.keys())
            is_full = len(rows) == room
            if not rows and key is not None:
                del self._stale[key]
            for part in in_parts(ids, AT_ONCE):
                found, vectors = vectors_of(self._store.clips, part, self.clusters.space.modalities)
                self._tell(found, self._project(vectors), vectors)
            room -= len(ids)
            # Rows in flight count too: they may be all that was read, and hide others that wait.
            if is_full:
                self._has_more = True
                return

    # --- what is told ------------------------------------------------------------------------------------

    def _tell(self, clip_ids: Sequence[str], points: np.ndarray, vectors: Vectors) -> None:
        """Tell where clips lie, float32 [N, D]; a row of NaN lies nowhere."""
        copies = copies_of(self._store.clips, clip_ids)
        self._in_flight.update((one.clip_id, one) for one in self._places(clip_ids, points, vectors, copies))
        self._tell_copies(copies, set(clip_ids))

    def _places(
        self,
        clip_ids: Sequence[str],
        points: np.ndarray,
        vectors: Vectors,
        copies: Mapping[str, Copy] | Mapping[str, Copy | None],
    ) -> list[ClipCurated]:
        """Where clips lie, float32 [N, D]."""
        assert self.clusters.space is not None
        at = self.clusters.place(np.nan_to_num(points))
        labels = self.facets.place(self.clusters.space, vectors)
        known = np.isfinite(points).all(axis=1)
        sampled = dict(zip(self.clusters.sample.ids, self.clusters.sample.threshold.tolist(), strict=True))
        return [
            self._record(one, at if known[row] else None, row, labels[row], sampled.get(one), copies.get(one))
            for row, one in enumerate(clip_ids)
        ]

    def _tell_copies(self, copies: Mapping[str, Copy], told: set[str]) -> None:
        """Tell the other clips of a group that there are more of them."""
        rows = self._rows(set(copies) - told, PLACE)
        for row in rows:
            if row["settled"] is not None:
                known = self._in_flight.get(row["clip_id"]) or place_of(row)
                copy = copies[row["clip_id"]]
                record = known.model_copy(update={"copies": copy.group, "is_keeper": copy.is_keeper})
                if not is_same(known, record):
                    self._in_flight[row["clip_id"]] = record

    def _mend_copies(self) -> None:
        """Judge groups of copies again that lost their keeper, or all but one, with removed footage."""
        groups: dict[str, list[ClipCurated]] = {}
        for row in self._store.clips.select("copies IS NOT NULL", columns=PLACE):
            place = self._in_flight.get(row["clip_id"]) or place_of(row)
            if place.copies is not None:
                groups.setdefault(place.copies, []).append(place)
        broken = [
            one for group in groups.values() if len(group) < 2 or not any(p.is_keeper for p in group) for one in group
        ]
        copies = copies_of(self._store.clips, [one.clip_id for one in broken])
        for one in broken:
            copy = copies.get(one.clip_id)
            told = {"copies": copy and copy.group, "is_keeper": copy and copy.is_keeper}
            self._in_flight[one.clip_id] = one.model_copy(update=told)

    def _tell_sample(self, shown: Mapping[str, ClipCurated]) -> None:
        """Tell of the clips of the sample that lie elsewhere than the tables show, and of those that left it."""
        sample = self.clusters.sample
        at, labels = self.clusters.own(), self.facets.own()
        there = {**shown, **self._in_flight}
        for row, clip_id in enumerate(sample.ids):
            before = there.get(clip_id)
            by_modality = labels.get(clip_id, before.by_modality if before is not None else {})
            record = self._record(clip_id, at, row, by_modality, float(sample.threshold[row]), copy_in(before))
            if before is None or not is_same(before, record):
                self._in_flight[clip_id] = record
        for clip_id in sorted(there.keys() - set(sample.ids)):
            if there[clip_id].sample_threshold is not None:
                self._in_flight[clip_id] = there[clip_id].model_copy(update={"sample_threshold": None})

    def _record(
        self,
        clip_id: str,
        at: Places | None,
        row: int,
        by_modality: Labels,
        threshold: float | None,
        copy: Copy | None,
    ) -> ClipCurated:
        """A clip's place: row `row` of `at`; without it the clip has no vector, and nothing is known of it."""
        options = self.clusters.options
        cluster = None if at is None or at.cluster[row] < 0 else int(at.cluster[row])
        score = 0.0 if at is None else float(at.outlier_score[row])
        margin = None if at is None or np.isnan(at.margin[row]) else float(at.margin[row])
        is_outlier = (
            bool(self.clusters.numbers) and at is not None and cluster is None and score >= options.outlier_score
        )
        return ClipCurated(
            clip_id=clip_id,
            cluster=cluster,
            cluster_probability=0.0 if at is None else float(at.probability[row]),
            outlier_score=score,
            is_outlier=is_outlier,
            margin=margin,
            is_boundary=margin is not None and margin < options.boundary_margin and not is_outlier,
            next_cluster=None if at is None or at.next_cluster[row] < 0 else int(at.next_cluster[row]),
            by_modality=dict(by_modality),
            sample_threshold=threshold,
            settled=self.clusters.settled,
            copies=None if copy is None else copy.group,
            is_keeper=None if copy is None else copy.is_keeper,
            recipe=self.clusters.recipe,
        )

    def _tell_founded(self) -> None:
        space = self.clusters.space
        assert space is not None
        self._entries.append(
            ClustersFounded(
                foundation_id=space.digest,
                n_clips=self.clusters.n_founded,
                space_key=self._store.media.put_bytes(space.to_bytes(), "npz"),
                modalities=space.modalities,
                recipe=self.clusters.recipe,
            )
        )

    def _entry(self, modality: str, event: Event, is_asked: bool) -> ClusterChanged:
        told = {
            "modality": modality,
            "kind": event.kind,
            "cluster": event.number,
            "other": event.other,
            "n_clips": round(event.mass),
            "settled": self.clusters.settled,
            "by": "people" if is_asked else "clustering",
            "recipe": self.clusters.recipe,
        }
        return ClusterChanged.model_validate({"event_id": digest(told)[:32]} | told)

    def _save(self) -> None:
        def bodies(kind: type[Record]) -> list[object]:
            return [one.model_dump(mode="json") for one in self._entries if isinstance(one, kind)]

        notes = {
            "in_flight": [record.model_dump(mode="json") for _, record in sorted(self._in_flight.items())],
            "founded": bodies(ClustersFounded),
            "changed": bodies(ClusterChanged),
            "stale": dict(sorted(self._stale.items())),
            "joined": self._obeyed.joined,
            "split": self._obeyed.split,
        }
        save_state(self._store.folder, self.clusters, notes, self.facets.states)


def _lies_in(modality: str, number: int | None) -> str:
    """Condition on the clips that a cluster holds; None: on those that none does."""
    if modality == "joint":
        return "cluster IS NULL" if number is None else f"cluster = {number}"
    # A number may be the beginning of another, which finds too much and never too little.
    return f"by_modality LIKE '%\"{modality}\": {'null' if number is None else number}%'"
