"""The measures that an adapter is judged by, on numbers that a person can check."""

import numpy as np
import pytest

from trainer.evaluation import Gain, drift, fidelity, flicker, gain, judge, likeness_gap, most_varied

NAN = float("nan")


@pytest.mark.parametrize(
    ("requested", "measured", "wanted"),
    [
        ((1, 2, 3, 4), (10, 20, 21, 99), 1.0),
        ((1, 2, 3, 4), (4, 3, 2, 1), -1.0),
        ((1, 2, 3, 4), (1, NAN, 2, 3), 1.0),
        ((1, 2, 3, 4), (NAN, NAN, NAN, 3), None),
        ((1, 2, 3, 4), (5, 5, 5, 5), 0.0),
    ],
)
def test_fidelity_is_a_rank_correlation_of_what_could_be_measured(requested, measured, wanted):
    assert fidelity(requested, measured) == (wanted if wanted is None else pytest.approx(wanted))


def test_a_gain_and_its_error_count_clips_not_their_pieces():
    before = np.ones((6, 2))
    after = np.array([[0.9], [0.9], [0.9], [0.9], [0.7], [0.7]]) * np.ones((1, 2))
    found = gain(before, after, [0, 0, 0, 0, 1, 1])
    assert found.mean == pytest.approx(0.2)
    assert found.error == pytest.approx(0.1)
    assert found.is_sure
    assert not gain(before[:4], after[:4], [0, 0, 0, 0]).is_sure, "one clip says nothing of others"


def test_the_channels_that_vary_most_come_first_and_absent_ones_never():
    values = np.array([[0.0, 1.0, 0.2], [0.0, -1.0, 0.4]])
    present = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    assert most_varied(values, present, ("a", "b", "c"), 2) == ["b", "c"]
    assert most_varied(values, present, ("a", "b", "c"), 1) == ["b"]


def test_samples_that_are_like_the_concept_have_a_gap_above_zero():
    own, others = np.eye(2)[[0, 0]], np.eye(2)[[1, 1]]
    assert likeness_gap(own, own, others) == pytest.approx(1.0)
    assert likeness_gap(others, own, others) == pytest.approx(-1.0)
    assert likeness_gap(own, own, np.zeros((0, 2))) is None


def test_drift_is_in_units_of_another_seed():
    base = np.array([0, 10, 0, 10], np.uint8)
    assert drift(base, base) == 0.0
    assert drift(base, base + 5) == pytest.approx(0.5)


def test_steady_motion_does_not_flicker_and_what_jumps_to_and_fro_does():
    ramp = np.arange(0, 80, 10, dtype=np.uint8)[None, :, None, None, None] * np.ones((1, 1, 2, 2, 3), np.uint8)
    jumps = np.where(np.arange(8) % 2, 255, 0).astype(np.uint8)[None, :, None, None, None] * np.ones_like(ramp[:, :1])
    assert flicker(ramp) == pytest.approx(0.0, abs=1e-6)
    assert flicker(jumps) == pytest.approx(2.0)
    assert flicker(ramp[:, :2]) == 0.0


@pytest.mark.parametrize(
    ("improved", "now", "before", "moved", "promoted", "said"),
    [
        (Gain(0.02, 0.01), {}, {}, 0.2, True, "held-out loss is lower than that of its parent: by 0.0200"),
        (Gain(0.005, 0.01), {}, {}, 0.2, False, "by 0.0050 with an error of 0.0100"),
        (Gain(-0.01, 0.001), {}, {}, 0.2, False, "is not lower"),
        (Gain(0.02, 0.01), {"a": 0.95}, {"a": 0.99}, 0.2, True, "lower"),
        (Gain(0.02, 0.01), {"a": 0.5}, {"a": 0.9}, 0.2, False, "control of a fell from 0.90 to 0.50"),
        (Gain(0.02, 0.01), {}, {"a": 0.9}, 0.2, True, "lower"),
        (Gain(0.02, 0.01), {}, {}, 1.3, False, "neutral prompts moved by 1.30"),
    ],
)
def test_an_adapter_goes_into_use_only_where_it_beats_what_it_came_from(improved, now, before, moved, promoted, said):
    verdict = judge(improved, "its parent", now, before, moved)
    assert verdict.is_promoted is promoted
    assert any(said in reason for reason in verdict.reasons)
