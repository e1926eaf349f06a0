"""The curator: what is in the tables, what goes, what a kill leaves, and what is left when the file is lost."""

import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from store.clips import ClipTable
from store.clusters.copies import copies_of
from store.clusters.curator import Curator
from store.clusters.explain import living
from store.clusters.facets import Facets
from store.clusters.file import load_state, state_digest
from store.clusters.folder import forget_all, kept
from store.clusters.options import ClusterOptions
from store.clusters.rebuilding import rebuilt, rebuilt_facets
from store.clusters.space import fit_space
from store.clusters.state import PeopleSay
from store.errors import NotFound
from store.records import (
    ClipCurated,
    ClipDensified,
    ClipEmbedded,
    ClipSegmented,
    ClusterChanged,
    ClustersFounded,
    Column,
    Control,
    RemovalRequested,
)
from store.removal import remove
from store.store import Store
from store.tables import connect
from store.view import View
from tests.store.clusters.road import OPTIONS, PER_BATCH, batch, digests, end_of, follow_to_the_end, run
from tests.store.made_footage import COLUMNS, NOON, Video, all_records


@pytest.fixture
def filled(store: Store) -> tuple[Store, Curator]:
    """A store of ten batches and the curator that followed it."""
    curator = Curator(store, OPTIONS)
    for number in range(10):
        View(store).apply(batch(number))
        follow_to_the_end(store, curator)
    return store, curator


def test_every_clip_is_placed_and_the_clusters_are_the_looks(filled):
    store, _ = filled
    rows = store.clips.select(columns=["cluster", "visual", "settled", "sample_threshold", "margin"])
    assert all(row["settled"] is not None for row in rows)
    looks = [int(np.argmax(row["visual"])) for row in rows if row["cluster"] is not None]
    assert adjusted_rand_score(looks, [row["cluster"] for row in rows if row["cluster"] is not None]) > 0.9
    assert sum(row["cluster"] is not None for row in rows) > 0.8 * len(rows)
    assert 0 < sum(row["sample_threshold"] is not None for row in rows) <= OPTIONS.capacity
    events = store.cluster_events.all().values()
    assert {body["kind"] for body in events} >= {"born"}
    assert store.foundations.all()


def test_nothing_new_is_nothing_to_tell(filled):
    store, curator = filled
    assert curator.follow(settle=True) == []
    assert not curator.is_behind
    assert Curator(store, OPTIONS).follow(settle=True) == []


def test_what_the_tables_do_not_show_is_told_until_they_do(store):
    View(store).apply(batch(0))
    curator = Curator(store, OPTIONS)
    first = curator.follow(settle=True)
    assert {record.key for record in first if isinstance(record, ClipCurated)} == {
        row["clip_id"] for row in store.clips.select(columns=[])
    }
    assert any(isinstance(record, ClustersFounded) for record in first)
    assert curator.follow() == first
    assert Curator(store, OPTIONS).follow() == first, "a process that starts anew tells it too"
    View(store).apply(first)
    assert curator.follow() == []


def test_a_state_whose_file_is_lost_is_what_the_tables_say(filled):
    store, curator = filled
    curator.clusters.settle()
    curator.facets.settle(store.clips, curator.clusters)
    found = rebuilt(store, OPTIONS)
    facets = Facets(rebuilt_facets(store, found))
    found.settle()
    facets.settle(store.clips, found)
    assert state_digest(found) == state_digest(curator.clusters)
    assert digests(facets.states) == digests(curator.facets.states)
    assert set(facets.states) == {"visual", "face_embedding"}


def test_each_modality_has_clusters_of_its_own(filled):
    store, _ = filled
    rows = store.clips.select(columns=["by_modality", "visual", "cluster"])
    labels = [row["by_modality"]["visual"] for row in rows]
    looks = [int(np.argmax(row["visual"])) for row in rows]
    inside = [i for i, label in enumerate(labels) if label is not None]
    assert len(inside) > 0.8 * len(rows)
    assert adjusted_rand_score([looks[i] for i in inside], [labels[i] for i in inside]) > 0.9
    # All faces are the same in this footage: there is nothing to tell apart.
    assert {row["by_modality"]["face_embedding"] for row in rows} == {None}
    events = [body for body in store.cluster_events.all().values() if body["modality"] == "visual"]
    assert {body["kind"] for body in events} >= {"born"}


def test_a_modality_that_a_clip_lacks_has_no_cluster_of_it(store):
    records = batch(0)
    without = next(record for record in records if isinstance(record, ClipEmbedded)).clip_id
    View(store).apply(
        [
            record.model_copy(update={"values": record.values | {"visual": None}})
            if isinstance(record, ClipEmbedded) and record.clip_id == without
            else record
            for record in records
        ]
    )
    follow_to_the_end(store, Curator(store, OPTIONS))
    assert "visual" not in store.clips.get(without)["by_modality"]


def test_removed_footage_is_in_nothing_that_curation_keeps(filled, tmp_path):
    store, curator = filled
    gone = Video("batch-3", n_clips=PER_BATCH)
    request = RemovalRequested(
        removal_id="r1", subject="video", subject_id=gone.video_id, by="Ada", reason="asked for", requested_at=NOON
    )
    proof = remove(store, request, tmp_path / "snapshots", NOON)
    assert set(proof.clip_ids) == set(gone.clip_ids)
    assert not kept(store.folder, "state.npz").parent.exists()
    View(store).apply([proof])
    follow_to_the_end(store, curator)
    known = load_state(store.folder, OPTIONS)
    assert known is not None
    assert set(gone.clip_ids).isdisjoint({*known.clusters.sample.ids, *known.clusters.model_ids})
    content = kept(store.folder, "state.npz").read_bytes()
    assert not any(clip_id.encode() in content for clip_id in gone.clip_ids)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_cluster_whose_clips_were_all_removed_has_died(filled, is_lost):
    store, curator = filled
    before = living(store.cluster_events.all())
    gone = store.clips.select("cluster = 0", columns=[])
    assert len(before) > 1
    assert gone
    store.clips.delete([row["clip_id"] for row in gone])
    if is_lost:
        forget_all(store.folder)
        curator = Curator(store, OPTIONS)
    follow_to_the_end(store, curator)
    after = living(store.cluster_events.all())
    assert before.keys() - after.keys() == {0}
    events = [body for body in store.cluster_events.all().values() if body["modality"] == "joint"]
    (end,) = [body for body in events if (body["kind"], body["cluster"]) == ("died", 0)]
    assert (end["n_clips"], end["other"], end["by"]) == (0, None, "clustering")
    follow_to_the_end(store, curator)
    assert living(store.cluster_events.all()) == after


def test_where_everything_was_removed_and_the_file_is_lost_no_cluster_lives(filled):
    store, _ = filled
    store.clips.delete([row["clip_id"] for row in store.clips.select(columns=[])])
    forget_all(store.folder)
    follow_to_the_end(store, Curator(store, OPTIONS))
    events = store.cluster_events.all()
    assert {modality: living(events, modality) for modality in ("joint", "visual")} == {"joint": {}, "visual": {}}


def test_clips_that_are_measured_anew_lie_elsewhere(filled):
    store, curator = filled
    records = [record for record in batch(2) if hasattr(record, "values")]
    moved = [
        record.model_copy(update={"values": record.values | {"visual": [0.0, 0.0, 0.0, 3.0]}}) for record in records
    ]
    View(store).apply(moved)
    ids = [record.clip_id for record in moved]
    View(store).apply(curator.follow(ids, settle=True))
    follow_to_the_end(store, curator)
    now = store.clips.get_many(ids).values()
    like = store.clips.select(where="sample_threshold IS NOT NULL", columns=["cluster", "visual"])
    fourth = {row["cluster"] for row in like if np.argmax(row["visual"]) == 3 and row["cluster"] is not None}
    assert len({row["cluster"] for row in now}) == 1
    assert {row["cluster"] for row in now} <= fourth


def test_a_merge_by_people_reaches_every_row_and_its_event_says_who(filled):
    store, curator = filled
    alive = sorted(curator.clusters.numbers)[:2]
    told = follow_to_the_end(store, curator, PeopleSay(joined=(tuple(alive),)))
    merged = [one for one in told if isinstance(one, ClusterChanged) and one.kind == "merged"]
    assert [(one.by, {one.cluster, one.other}) for one in merged[:1]] == [("people", set(alive))]
    assert store.clips.count(f"cluster = {merged[0].cluster}") == 0


def test_splits_by_people_are_known_where_the_file_is_lost_and_forgotten_where_they_are_undone(store):
    drawn = np.random.default_rng(5)
    looks = iter(
        np.vstack([drawn.normal([x, y, 0, 0], [1, 1, 0, 0], (100, 4)) for x, y in ((0, 0), (2.2, 0), (40, 40))])
    )
    records = [
        one.model_copy(update={"values": one.values | {"visual": next(looks).tolist()}})
        if isinstance(one, ClipEmbedded)
        else one
        for one in all_records([Video("row", n_clips=300)])
    ]
    View(store).apply(records)
    options = ClusterOptions(min_cluster_size=30)
    curator = Curator(store, options)
    follow_to_the_end(store, curator)
    said = PeopleSay(split=curator.clusters.numbers)
    told = follow_to_the_end(store, curator, said)
    asked = [one.other for one in told if isinstance(one, ClusterChanged) and one.by == "people"]
    assert asked
    assert sorted(asked) == list(curator.clusters.obeyed)
    known = rebuilt(store, options)
    assert (known.apart, known.obeyed) == (curator.clusters.apart, curator.clusters.obeyed)
    forget_all(store.folder)
    again = Curator(store, options)
    assert not [one for one in follow_to_the_end(store, again, said) if isinstance(one, ClusterChanged)]
    forget_all(store.folder)
    again = Curator(store, options)
    told = follow_to_the_end(store, again)
    assert (again.clusters.apart, again.clusters.obeyed) == ((), ())
    merged = [one for one in told if isinstance(one, ClusterChanged) and one.modality == "joint"]
    assert {(one.kind, one.by) for one in merged} == {("merged", "people")}


def annotated(number: int, values: dict[str, float]) -> list[ClipDensified]:
    """The clips of a batch, annotated by a vocabulary of these controls; each clip has other values."""
    told = []
    for i, record in enumerate(one for one in batch(number) if isinstance(one, ClipDensified)):
        turned = tuple(value if i % 2 else -value for value in values.values())
        control = Control(names=tuple(values), values=turned, present=(True,) * len(values))
        told.append(record.model_copy(update={"annotation": record.annotation.model_copy(update={"control": control})}))
    return told


@pytest.mark.parametrize(
    ("vocabulary", "is_lost"),
    [
        ({"motion": 1 / 3, "tension": 0.5}, False),
        ({}, False),
        ({"tension": 0.5, "motion": 1 / 3}, False),
        ({"tension": 0.5}, True),
    ],
    ids=["gains", "loses", "reorders", "another and the file lost"],
)
def test_a_vocabulary_that_changes_is_followed_and_every_clip_is_compared_by_its_names(filled, vocabulary, is_lost):
    store, curator = filled
    before = {row["clip_id"]: row["cluster"] for row in store.clips.select(columns=["cluster"])}
    anew = annotated(2, vocabulary)
    View(store).apply(anew)
    if is_lost:
        forget_all(store.folder)
        curator = Curator(store, OPTIONS)
    View(store).apply(curator.follow([record.clip_id for record in anew], settle=True))
    follow_to_the_end(store, curator)
    # Clips that come with both vocabularies at once.
    View(store).apply([*batch(10), *annotated(10, vocabulary)[::2]])
    follow_to_the_end(store, curator)
    rows = store.clips.select(columns=["cluster", "curation_recipe"])
    assert len(rows) == 11 * PER_BATCH
    assert {row["curation_recipe"] for row in rows} == {curator.clusters.recipe}
    pairs = [(before[row["clip_id"]], row["cluster"]) for row in rows if before.get(row["clip_id"]) is not None]
    assert np.mean([was == now for was, now in pairs]) > 0.9
    names = {name for modality, name in curator.clusters.space.counts if modality == "control"}
    assert names == {"motion", *vocabulary}


def test_clips_stay_in_their_clusters_at_a_look_that_founds_the_space_anew_without_settling(filled):
    store, curator = filled
    before = {row["clip_id"]: row["cluster"] for row in store.clips.select(columns=["cluster"])}
    anew = [
        record.model_copy(update={"values": {"visual": record.values["visual"], "face_embedding": None}})
        for number in range(10)
        for record in batch(number)
        if isinstance(record, ClipEmbedded)
    ]
    View(store).apply(anew)
    told = {one.clip_id: one.cluster for one in curator.follow() if isinstance(one, ClipCurated)}
    assert curator.clusters.space.modalities == ("control", "visual")
    assert set(told) >= set(curator.clusters.sample.ids)
    assert np.mean([before[clip_id] == cluster for clip_id, cluster in told.items()]) > 0.9
    assert set(store.clips.get(next(iter(told)))["by_modality"]) == {"visual", "face_embedding"}
    View(store).apply(curator.follow())
    follow_to_the_end(store, curator)
    assert {tuple(row["by_modality"]) for row in store.clips.select(columns=["by_modality"])} == {("visual",)}


def test_more_is_to_be_placed_anew_while_what_was_read_is_still_in_flight(store):
    video = Video("long", n_clips=2500)
    drawn = np.random.default_rng(0)
    embedded = [
        one.model_copy(update={"values": one.values | {"visual": drawn.normal(0, 1, 4).tolist()}})
        for one in video.embedded
    ]
    View(store).apply([*(one for one in video.road if not isinstance(one, ClipEmbedded)), *embedded])
    # So few clips are no cluster: nothing but the older space says which clips wait.
    curator = Curator(store, ClusterOptions(capacity=60, min_cluster_size=1500))
    follow_to_the_end(store, curator)
    View(store).apply([one.model_copy(update={"values": one.values | {"face_embedding": None}}) for one in embedded])
    for _ in range(2):
        told = curator.follow()
        assert curator.is_behind, "the tables show nothing of the first two thousand yet"
    View(store).apply(told)
    follow_to_the_end(store, curator)
    rows = store.clips.select(columns=["curation_recipe"])
    assert {row["curation_recipe"] for row in rows} == {curator.clusters.recipe}


def test_a_space_of_an_older_program_is_fitted_anew_and_clusters_keep_their_numbers(filled):
    store, curator = filled
    numbers = set(curator.clusters.numbers)
    old = fit_space({"control": np.random.default_rng(0).normal(0, 1, (20, 1))}, np.ones(20), 64)
    founded = ClustersFounded(
        foundation_id="older",
        n_clips=curator.clusters.n_clips,
        space_key=store.media.put_bytes(old.to_bytes(), "npz"),
        modalities=old.modalities,
        recipe=curator.clusters.recipe,
    )
    View(store).apply([founded])
    forget_all(store.folder)
    again = Curator(store, OPTIONS)
    follow_to_the_end(store, again)
    assert set(again.clusters.space.modalities) == {"control", "face_embedding", "visual"}
    assert len(numbers & set(again.clusters.numbers)) > 1


def test_a_modality_that_is_new_to_many_clips_is_scaled_by_more_than_the_first_that_has_it(store):
    embedded = {one.clip_id: one for one in all_records([Video("long", n_clips=1000)]) if isinstance(one, ClipEmbedded)}
    drawn = np.random.default_rng(0)
    looks = {one: {"visual": drawn.normal(0, 1, 4).tolist()} for one in embedded}
    sounds = {one: {"visual": None, "face_embedding": drawn.normal(0, 1, 4).tolist()} for one in embedded}
    View(store).apply([one for one in all_records([Video("long", n_clips=1000)]) if not isinstance(one, ClipEmbedded)])
    View(store).apply([one.model_copy(update={"values": one.values | sounds[id_]}) for id_, one in embedded.items()])
    curator = Curator(store, OPTIONS)
    follow_to_the_end(store, curator)
    assert not curator.clusters.is_young
    first = curator.clusters.sample.ids[0]
    for ids in ([first], sorted(embedded)):
        anew = [
            embedded[one].model_copy(update={"values": embedded[one].values | sounds[one] | looks[one]}) for one in ids
        ]
        View(store).apply(anew)
        View(store).apply(curator.follow(ids, settle=True))
        follow_to_the_end(store, curator)
    (block,) = (one for one in curator.clusters.space.blocks if one.name == "visual")
    np.testing.assert_allclose(block.scale, 0.5, rtol=0.3)
    again = Curator(store, OPTIONS)
    assert not [one for one in again.follow(sorted(embedded), settle=True) if isinstance(one, ClustersFounded)]


def test_a_clip_of_an_older_program_is_placed_as_if_it_were_new(store):
    View(store).apply(batch(0))
    ids = [row["clip_id"] for row in store.clips.select(columns=[])]
    curator = Curator(store, OPTIONS)
    assert {one.key for one in curator.follow() if isinstance(one, ClipCurated)} == set(ids)
    with pytest.raises(NotFound):
        store.clips.get("no such clip")


def test_a_state_that_was_killed_at_random_moments_is_that_of_an_undisturbed_run(tmp_path: Path):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    n = 12
    assert run(undisturbed, n) == "done"
    drawn = random.Random(7)
    assert "killed" in [run(disturbed, n, kill_after_s=drawn.uniform(0.0, 1.5)) for _ in range(3)]
    assert run(disturbed, n) == "done"
    assert end_of(undisturbed) == end_of(disturbed)


def test_options_that_change_make_a_new_state_of_the_same_clips(filled):
    store, _ = filled
    other = Curator(store, ClusterOptions(capacity=60, min_cluster_size=6))
    follow_to_the_end(store, other)
    rows = store.clips.select(columns=["curation_recipe"])
    assert {row["curation_recipe"] for row in rows} == {other.clusters.recipe}


def test_copies_are_a_group_with_the_best_as_its_keeper_and_another_takes_its_place_when_that_goes(tmp_path):
    column = Column(name="signature", kind="vector", size=4)
    store = Store.open(tmp_path / "data", (*COLUMNS, column))
    small, large, third = (Video(name, n_clips=1) for name in ("small", "large", "third"))
    records = []
    for video, width in ((small, 320), (large, 1920), (third, 640), (Video("else", n_clips=1), 640)):
        signature = [0.0, 1.0, 0.0, 0.0] if video.name == "else" else [1.0, 0.01 * width / 320, 0.0, 0.0]
        for record in all_records([video]):
            if isinstance(record, ClipSegmented):
                record = record.model_copy(update={"clip": record.clip.model_copy(update={"width": width})})
            elif isinstance(record, ClipEmbedded):
                record = record.model_copy(update={"values": record.values | {"signature": signature}})
            records.append(record)
    View(store).apply(records)
    curator = Curator(store, OPTIONS)
    follow_to_the_end(store, curator)

    def told() -> dict[str, tuple[bool, bool | None]]:
        return {row["video_id"]: (row["copies"] is not None, row["is_keeper"]) for row in store.clips.select()}

    other = Video("else").video_id
    assert told() == {
        small.video_id: (True, False),
        large.video_id: (True, True),
        third.video_id: (True, False),
        other: (False, None),
    }
    for number, gone in enumerate((large, third)):
        request = RemovalRequested(
            removal_id=f"r{number}",
            subject="video",
            subject_id=gone.video_id,
            by="Ada",
            reason="asked for",
            requested_at=NOON,
        )
        View(store).apply([remove(store, request, tmp_path / "snapshots", NOON)])
        follow_to_the_end(store, curator)
        kept = (
            {small.video_id: (True, False), third.video_id: (True, True)}
            if gone is large
            else {small.video_id: (False, None)}
        )
        assert told() == kept | {other: (False, None)}


def test_a_clip_that_is_removed_while_its_copies_are_looked_for_has_none(tmp_path):
    store = Store.open(tmp_path / "data", (*COLUMNS, Column(name="signature", kind="vector", size=4)))
    videos = [Video(name, n_clips=1) for name in ("one", "two", "three")]
    for video in videos:
        signed = [one.model_copy(update={"values": {"signature": [1.0, 0.0, 0.0, 0.0]}}) for one in video.embedded]
        View(store).apply([*(one for one in video.road if not isinstance(one, ClipEmbedded)), *signed])
    ids = sorted(video.clip_ids[0] for video in videos)

    class Leaving(ClipTable):
        """Its first clip goes as soon as it was read."""

        def select(self, *asked, **also):
            rows = super().select(*asked, **also)
            self.delete(ids[:1])
            return rows

    found = copies_of(Leaving(connect(f"{store.folder}/lance")), ids)
    assert set(found) == set(ids[1:])
