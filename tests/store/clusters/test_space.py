"""The joint space: every modality weighs the same, one may be missing, and what was fitted stays."""

import numpy as np
import pytest

from store.clusters.space import Space, fit_space
from store.errors import InputError


def vectors(n=60, seed=0):
    drawn = np.random.default_rng(seed)
    return {"look": drawn.normal(3, 2, (n, 40)), "sound": drawn.normal(0, 0.01, (n, 5))}


def squared_distances(points):
    return ((points[:, None] - points[None]) ** 2).sum(axis=2)


def test_modalities_of_other_sizes_and_scales_weigh_the_same():
    rows = vectors()
    space = fit_space(rows, np.ones(60), 64)
    whole = squared_distances(space.project(rows))
    halves = [squared_distances(fit_space({name: rows[name]}, np.ones(60), 64).project(rows)) for name in rows]
    np.testing.assert_allclose(whole, halves[0] + halves[1], rtol=1e-3, atol=1e-4)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), rel=1e-3)


def test_a_missing_modality_is_made_up_for_by_the_others_and_a_clip_without_any_lies_nowhere():
    rows = vectors()
    gaps = {"look": rows["look"], "sound": rows["sound"].copy()}
    gaps["sound"][:2] = np.nan
    space = fit_space(rows, np.ones(60), 64)
    points = space.project(gaps)
    assert np.isfinite(points).all()
    alone = fit_space({"look": rows["look"]}, np.ones(60), 64).project(rows)
    assert squared_distances(points)[0, 1] == pytest.approx(2.0 * squared_distances(alone)[0, 1], rel=1e-2)
    gaps["look"] = gaps["look"].copy()
    gaps["look"][0] = np.nan
    assert np.isnan(space.project(gaps)[0]).all()


def test_a_row_lies_where_it_lies_whatever_comes_with_it():
    rows = vectors()
    space = fit_space(rows, np.ones(60), 64)
    one = space.project({name: part[7:8] for name, part in rows.items()})
    np.testing.assert_allclose(one[0], space.project(rows)[7], rtol=1e-5)


def test_weights_count_as_repetitions():
    rows = vectors(30)
    weights = np.random.default_rng(1).integers(1, 4, 30)
    repeated = {name: np.repeat(part, weights, axis=0) for name, part in rows.items()}
    weighted = fit_space(rows, weights.astype(float), 8).project(rows)
    plain = fit_space(repeated, np.ones(weights.sum()), 8).project(rows)
    np.testing.assert_allclose(np.abs(weighted), np.abs(plain), atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_it_is_the_same_after_bytes(n):
    rows = vectors(n)
    space = fit_space(rows, np.ones(n), 16)
    again = Space.from_bytes(space.to_bytes())
    assert again.digest == space.digest
    np.testing.assert_array_equal(again.project(rows), space.project(rows))
    assert space.size == min(16, n, 45)


def test_a_modality_that_no_clip_has_is_asked_for_and_left_out():
    rows = vectors() | {"voice": np.full((60, 4), np.nan)}
    space = fit_space(rows, np.ones(60), 64)
    assert space.asked == ("look", "sound", "voice")
    assert space.modalities == ("look", "sound")


def test_a_modality_of_another_size_is_refused_and_none_at_all_too():
    space = fit_space(vectors(), np.ones(60), 64)
    with pytest.raises(InputError, match=r"'look' have shape \(3, 7\); the clusters were founded on \[3, 40\]"):
        space.project({"look": np.zeros((3, 7)), "sound": np.zeros((3, 5))})
    with pytest.raises(InputError, match="no clip has a vector"):
        fit_space({"look": np.full((3, 2), np.nan)}, np.ones(3), 64)


def controls(**said):
    rows = np.empty(len(next(iter(said.values()))), [(name, np.float32) for name in said])
    for name, values in said.items():
        rows[name] = values
    return rows


def test_columns_with_names_are_told_apart_by_them_and_not_by_their_places():
    drawn = np.random.default_rng(3)
    motion, tension = drawn.normal(0, 0.5, 30), drawn.normal(0, 0.2, 30)
    space = fit_space({"control": controls(motion=motion, tension=tension)}, np.ones(30), 64)
    assert Space.from_bytes(space.to_bytes()).blocks[0].names == ("motion", "tension")
    assert space.counts == {("control", "motion"): 30, ("control", "tension"): 30}
    straight = space.project({"control": controls(motion=motion, tension=tension)})
    turned = space.project({"control": controls(pitch=motion, tension=tension, motion=motion)})
    np.testing.assert_array_equal(straight, turned)


def test_a_column_that_a_clip_lacks_adds_nothing_and_a_clip_with_none_of_them_lacks_the_modality():
    drawn = np.random.default_rng(4)
    motion, tension = drawn.normal(0.3, 0.5, 30), drawn.normal(0.1, 0.2, 30)
    tension[10:] = np.nan
    space = fit_space({"control": controls(motion=motion, tension=tension)}, np.ones(30), 64)
    assert space.counts == {("control", "motion"): 30, ("control", "tension"): 10}
    at_mean = np.where(np.isnan(tension), np.nanmean(tension), tension)
    lacking = space.project({"control": controls(motion=motion, tension=tension)})
    np.testing.assert_allclose(lacking, space.project({"control": controls(motion=motion, tension=at_mean)}), atol=1e-5)
    assert np.isnan(space.project({"control": controls(pitch=motion)})).all()


def test_columns_that_had_no_names_are_no_others_that_have_some():
    space = fit_space({"control": np.random.default_rng(5).normal(0, 1, (30, 1))}, np.ones(30), 64)
    with pytest.raises(InputError, match="found them anew"):
        space.project({"control": controls(motion=np.zeros(30))})
