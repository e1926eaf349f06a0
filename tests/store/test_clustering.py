"""Clustering: separated blobs, strays, clips in between, missing modalities, order and numbering."""

import numpy as np
import pytest

from store.clustering import Clustering, ClusterOptions, cluster, joint_space
from store.errors import InputError

OPTIONS = ClusterOptions(min_cluster_size=5, min_samples=3)


def ids(n):
    return [f"clip{i:04d}" for i in range(n)]


def blob(rng, centre, n, spread=0.1):
    return rng.normal(centre, spread, (n, 3))


def two_blobs(seed=0, n=20):
    rng = np.random.default_rng(seed)
    return np.vstack([blob(rng, 0.0, n), blob(rng, 5.0, n)])


def n_clusters(found: Clustering) -> int:
    return len({record.cluster for record in found.curated} - {None})


def test_two_separated_blobs_are_two_clusters_numbered_by_smallest_clip_id():
    found = cluster(ids(40), {"look": two_blobs()}, OPTIONS)
    labels = [record.cluster for record in found.curated]
    assert labels == [0] * 20 + [1] * 20
    assert n_clusters(found) == 2
    assert not any(record.is_outlier or record.is_boundary for record in found.curated)
    assert all(record.margin > 0.8 for record in found.curated)
    assert all(0.0 < record.cluster_probability <= 1.0 for record in found.curated)


def test_a_stray_far_from_every_cluster_is_an_outlier_and_no_boundary():
    points = np.vstack([two_blobs(), [[40.0, -40.0, 0.0]]])
    stray = cluster(ids(41), {"look": points}, OPTIONS).curated[-1]
    assert stray.cluster is None
    assert stray.outlier_score > 0.9
    assert stray.is_outlier
    assert not stray.is_boundary


def test_a_clip_half_way_between_two_clusters_is_a_boundary():
    rng = np.random.default_rng(1)
    points = np.vstack([blob(rng, 0.0, 20, spread=0.8), blob(rng, 5.0, 20, spread=0.8), [[2.5, 2.5, 2.5]]])
    between = cluster(ids(41), {"look": points}, OPTIONS).curated[-1]
    assert between.is_boundary
    assert between.margin < 0.1
    assert not between.is_outlier


def test_flags_follow_the_scores_and_the_thresholds_that_were_given():
    points = np.vstack([two_blobs(), [[40.0, -40.0, 0.0]]])
    lenient = cluster(ids(41), {"look": points}, ClusterOptions(outlier_score=1.0))
    strict = cluster(ids(41), {"look": points}, ClusterOptions(boundary_margin=1.0))
    assert not any(record.is_outlier for record in lenient.curated)
    assert all(record.is_boundary or record.is_outlier or record.margin == 1.0 for record in strict.curated)
    assert lenient.curated[0].recipe != strict.curated[0].recipe


@pytest.mark.parametrize("n", [0, 1, 2, 4, 9])
def test_too_few_clips_make_no_cluster_and_no_flag(n):
    rng = np.random.default_rng(2)
    found = cluster(ids(n), {"look": rng.normal(0, 1, (n, 3))}, OPTIONS)
    assert [record.clip_id for record in found.curated] == ids(n)
    assert all(record.cluster is None and record.margin is None for record in found.curated)
    assert not any(record.is_outlier or record.is_boundary for record in found.curated)


def test_one_even_cloud_has_no_clusters_and_flags_nothing():
    found = cluster(ids(60), {"look": np.random.default_rng(3).normal(0, 1, (60, 8))}, OPTIONS)
    assert n_clusters(found) == 0
    assert not any(record.is_outlier or record.is_boundary for record in found.curated)


@pytest.mark.filterwarnings("error")
def test_clips_that_are_all_alike_make_no_cluster():
    found = cluster(ids(30), {"look": np.ones((30, 4))}, OPTIONS)
    assert n_clusters(found) == 0


def test_copies_of_one_clip_share_its_place_and_keep_every_score_finite():
    points = np.vstack([two_blobs(), np.tile([[0.0, 0.1, 0.0]], (12, 1))])
    found = cluster(ids(52), {"look": points}, OPTIONS)
    assert {record.cluster for record in found.curated[40:]} == {0}
    assert all(np.isfinite(record.outlier_score) for record in found.curated)
    assert n_clusters(found) == 2


def test_near_copies_make_no_other_clip_an_outlier():
    rng = np.random.default_rng(0)
    loose = np.vstack([rng.normal(0, 1, (40, 8)), rng.normal(6, 1, (40, 8)), rng.normal(3, 2.5, (10, 8))])
    copies = np.full((7, 8), 9.0) + rng.normal(0, 1e-4, (7, 8))
    found = cluster(ids(97), {"look": np.vstack([loose, copies])}, OPTIONS)
    noise = [record for record in found.curated if record.cluster is None]
    assert any(not record.is_outlier for record in noise)
    assert not any(record.is_outlier for record in found.curated[:80])


def test_clusters_of_unequal_density_are_all_found():
    rng = np.random.default_rng(7)
    points = np.vstack([blob(rng, centre, 30, spread) for centre, spread in ((0, 0.05), (10, 0.5), (30, 2.0))])
    labels = [record.cluster for record in cluster(ids(90), {"look": points}, OPTIONS).curated]
    groups = [set(labels[i : i + 30]) - {None} for i in (0, 30, 60)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    assert labels.count(None) <= 9


def test_the_order_of_the_clips_changes_nothing():
    rng = np.random.default_rng(4)
    points = np.vstack([two_blobs(), rng.normal(2.5, 2.0, (10, 3))])
    shuffled = rng.permutation(50)
    names = ids(50)
    straight = cluster(names, {"look": points}, OPTIONS)
    mixed = cluster([names[i] for i in shuffled], {"look": points[shuffled]}, OPTIONS)
    assert mixed.curated == straight.curated
    assert np.array_equal(mixed.points, straight.points)


def test_clusters_keep_the_numbers_that_most_of_their_clips_had():
    points = two_blobs()
    names = ids(40)
    previous = dict.fromkeys(names[:18], 7) | dict.fromkeys(names[18:], 3)
    labels = [record.cluster for record in cluster(names, {"look": points}, OPTIONS, previous).curated]
    assert labels == [7] * 20 + [3] * 20


def test_a_new_cluster_gets_a_number_that_no_earlier_one_had():
    names = ids(40)
    labels = [record.cluster for record in cluster(names, {"look": two_blobs()}, OPTIONS, {names[0]: 4}).curated]
    assert labels == [4] * 20 + [5] * 20


def test_a_clip_without_any_vector_is_in_no_cluster_and_not_flagged():
    points = np.vstack([two_blobs(), np.full((1, 3), np.nan)])
    found = cluster(ids(41), {"look": points}, OPTIONS)
    blank = found.curated[-1]
    assert (blank.cluster, blank.cluster_probability, blank.is_outlier, blank.margin) == (None, 0.0, False, None)
    assert np.isnan(found.points[-1]).all()
    assert n_clusters(found) == 2


def test_no_vectors_at_all_place_no_clip():
    assert [record.cluster for record in cluster(["b", "a"], {}, OPTIONS).curated] == [None, None]


def test_clips_that_lack_a_modality_are_clustered_by_what_they_have():
    sound = two_blobs(seed=5)
    sound[::2] = np.nan
    labels = [record.cluster for record in cluster(ids(40), {"look": two_blobs(), "sound": sound}, OPTIONS).curated]
    first, second = set(labels[:20]) - {None}, set(labels[20:]) - {None}
    assert first
    assert second
    assert not first & second
    assert labels.count(None) <= 2


def test_modalities_weigh_the_same_whatever_their_size_and_unit():
    look = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    sound = np.array([[900.0] * 50, [900.0] * 50, [-900.0] * 50, [-900.0] * 50])
    points = joint_space({"look": look, "sound": sound}, dimensions=64)
    by_look = np.linalg.norm(points[0] - points[1])
    by_sound = np.linalg.norm(points[0] - points[2])
    assert by_look == pytest.approx(2.0)
    assert by_sound == pytest.approx(2.0)


def test_a_missing_modality_scales_up_the_others():
    look = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    sound = np.array([[5.0], [-5.0], [np.nan], [np.nan]])
    points = joint_space({"look": look, "sound": sound}, dimensions=64)
    assert np.linalg.norm(points[2] - points[3]) == pytest.approx(2.0 * np.sqrt(2.0))


def test_the_joint_space_keeps_at_most_the_dimensions_asked_for():
    rows = np.random.default_rng(6).normal(0, 1, (30, 20))
    assert joint_space({"look": rows}, dimensions=4).shape == (30, 4)


def test_the_recipe_covers_the_options_and_the_modalities():
    points = two_blobs()
    recipes = {
        cluster(ids(40), {"look": points}, OPTIONS).recipe,
        cluster(ids(40), {"look": points}, ClusterOptions(min_cluster_size=6)).recipe,
        cluster(ids(40), {"look": points, "sound": points}, OPTIONS).recipe,
    }
    assert len(recipes) == 3
    found = cluster(ids(40), {"look": points}, OPTIONS)
    assert {record.recipe for record in found.curated} == {found.recipe}


def test_ids_that_repeat_are_refused():
    with pytest.raises(InputError, match="give every clip once"):
        cluster(["a", "a"], {}, OPTIONS)


def test_vectors_that_are_not_a_row_per_clip_are_refused():
    with pytest.raises(InputError, match=r"vectors 'look' have shape \(3, 2\); expected \[2, D\]"):
        cluster(["a", "b"], {"look": np.zeros((3, 2))}, OPTIONS)
