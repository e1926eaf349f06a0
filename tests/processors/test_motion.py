"""Motion passes on what decoding measured, in one rate and in numbers."""

import numpy as np
import pytest

from processors.base import Curve, DecodedClip, Row
from processors.motion.flow import Flow, Options
from tests.processors.made_clips import make_clip


def motion_of(clip: DecodedClip) -> Row:
    return Flow(Options()).process([clip], [{}])[0]


def test_a_still_clip_does_not_move() -> None:
    row = motion_of(make_clip(motion=0.0))
    assert row["motion_mean"] == row["motion_peak"] == 0.0
    assert np.array_equal(row["motion_curve"], np.zeros(50))


def test_mean_and_peak_are_those_of_the_curve() -> None:
    row = motion_of(make_clip(motion=np.repeat([0.1, 0.5], 25)))
    assert row["motion_mean"] == pytest.approx(0.3)
    assert row["motion_peak"] == pytest.approx(0.5)


def test_one_noisy_sample_is_no_peak() -> None:
    curve = np.full(50, 0.1)
    curve[20] = 9.0
    assert motion_of(make_clip(motion=curve))["motion_peak"] == pytest.approx(0.1)


def test_a_curve_of_another_rate_is_brought_to_ten_hertz() -> None:
    clip = DecodedClip(
        "clip", 2.0, np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1), None, 16_000,
        {"motion_energy": Curve(5.0, np.arange(10, dtype=np.float32))},
    )  # fmt: skip
    assert motion_of(clip)["motion_curve"][:5].tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    assert len(motion_of(clip)["motion_curve"]) == 20


def test_without_a_measurement_nothing_is_said() -> None:
    assert set(motion_of(make_clip()).values()) == {None}
    empty = DecodedClip("clip", 1.0, np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1), None, 16_000,
                        {"motion_energy": Curve(10.0, np.zeros(0, np.float32))})  # fmt: skip
    assert set(motion_of(empty).values()) == {None}
