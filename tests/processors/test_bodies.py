"""Posture, expansion, tension and interaction, on people of sticks."""

from typing import Any

import numpy as np
import pytest

from processors.base import Row, create_processor
from tests.processors.made_clips import make_clip
from tests.processors.made_people import (
    HEAD_AND_ARMS,
    KNEELING,
    LYING,
    SITTING,
    STANDING,
    keypoints,
    person_track,
    pose_track,
)

CLIP = make_clip(frames_rgb=np.zeros((8, 54, 96, 3), np.uint8), duration_s=2.0)


def measured(processor_id: str, **inputs: Any) -> Row:
    processor = create_processor(processor_id, {})
    row = dict.fromkeys(processor.reads.inputs) | inputs
    result = processor.process([CLIP], [row])[0]
    assert isinstance(result, dict)
    return result


def posture(*tracks: dict[str, Any]) -> Row:
    return measured("posture.keypoints", pose_tracks=list(tracks))


def tension(person: dict[int, tuple[float, float]], **inputs: Any) -> float:
    return measured("tension.body", pose_tracks=[pose_track(keypoints(person))], **inputs)["body_tension"]


# --- posture ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "expected"), [(STANDING, "standing"), (SITTING, "sitting"), (KNEELING, "kneeling"), (LYING, "lying")]
)
def test_the_posture_is_read_off_the_limbs(person: dict[int, tuple[float, float]], expected: str) -> None:
    row = posture(pose_track(*[keypoints(person)] * 3))
    assert row["posture"] == expected
    assert row["pose_class"][expected] > 0.9
    assert sum(row["pose_class"].values()) == pytest.approx(1.0)


def test_someone_whose_legs_are_not_seen_has_no_known_posture() -> None:
    row = posture(pose_track(keypoints(HEAD_AND_ARMS)))
    assert row["posture"] is None
    assert row["pose_class"]["unknown"] == 1.0
    assert row["body_expansion"] == pytest.approx(0.53, abs=0.1)


def test_upright_thighs_without_feet_may_be_kneeling() -> None:
    legs_cut = {number: place for number, place in STANDING.items() if number < 15}
    chances = posture(pose_track(keypoints(legs_cut)))["pose_class"]
    assert chances["sitting"] < 0.05
    assert chances["standing"] == pytest.approx(0.5, abs=0.03)
    assert chances["unknown"] == pytest.approx(0.5, abs=0.03)


def test_the_largest_person_is_the_main_one() -> None:
    far = pose_track(keypoints(LYING, x=0.2, torso=0.05), track=0)
    near = pose_track(keypoints(SITTING, torso=0.2), track=1)
    assert posture(far, near)["posture"] == "sitting"


def test_a_change_of_posture_spreads_the_probabilities() -> None:
    chances = posture(pose_track(keypoints(SITTING), keypoints(STANDING)))["pose_class"]
    assert chances["sitting"] == pytest.approx(0.5, abs=0.05)
    assert chances["standing"] == pytest.approx(0.5, abs=0.05)


def test_spread_arms_expand_the_body_whatever_its_size() -> None:
    spread = STANDING | {7: (0.9, 0.0), 8: (-0.9, 0.0), 9: (1.5, 0.0), 10: (-1.5, 0.0)}
    hanging, wide, small = (
        posture(pose_track(keypoints(person, torso=size)))["body_expansion"]
        for person, size in ((STANDING, 0.2), (spread, 0.2), (spread, 0.1))
    )
    assert wide > hanging + 0.2
    assert wide == pytest.approx(small)


def test_nobody_has_no_posture() -> None:
    assert set(posture().values()) == {None}
    assert set(measured("posture.keypoints").values()) == {None}
    assert posture(pose_track([[0.0, 0.0, 0.0]] * 17))["pose_class"]["unknown"] == 1.0


def test_the_curve_is_empty_where_nobody_is_seen() -> None:
    curve = posture(pose_track(*[keypoints(STANDING)] * 2))["body_expansion_curve"]
    assert [value is None for value in curve] == [False] * 4 + [True] * 4


# --- tension ---------------------------------------------------------------------------------------------------


def test_raised_shoulders_and_arms_held_in_are_tenser() -> None:
    raised = STANDING | {number: (x, y + 0.22) for number, (x, y) in STANDING.items() if number < 5}
    held = STANDING | {7: (0.3, 0.45), 8: (-0.3, 0.45), 9: (0.05, 0.4), 10: (-0.05, 0.4)}
    assert tension(raised) > tension(STANDING) + 0.1
    assert tension(held) > tension(STANDING)


def test_hands_that_shake_are_tenser_than_hands_that_sweep() -> None:
    def moved(offsets: list[float]) -> dict[str, Any]:
        return pose_track(
            *(keypoints(STANDING | {9: (0.4 + o, 0.95), 10: (-0.4 + o, 0.95)}) for o in offsets)
        )  # fmt: skip

    sweep, shake = moved([0.05 * i for i in range(8)]), moved([0.1 * (i % 2) for i in range(8)])
    swept, shaken = (measured("tension.body", pose_tracks=[track])["body_tension"] for track in (sweep, shake))
    assert shaken > swept + 0.1


def test_restlessness_is_told_without_key_points() -> None:
    people = [person_track([0.4, 0.1, 0.6, 0.9], [0.4, 0.1, 0.6, 0.9])]
    calm, restless = (
        measured(
            "tension.body",
            people_tracks=people,
            motion_tracks=[{"of": "people_tracks", "track": 0, "times_s": [0.25], "energy": [1.0], "inner": [inner]}],
        )
        for inner in (0.005, 0.4)
    )
    assert restless["body_tension"] > 0.5 > calm["body_tension"]
    assert restless["body_tension_evidence"] == ["restlessness"]


def test_little_evidence_stays_near_the_middle() -> None:
    shoulders_only = {number: place for number, place in STANDING.items() if number < 7}
    raised = shoulders_only | {3: (0.09, -0.1), 4: (-0.09, -0.1)}
    row = measured("tension.body", pose_tracks=[pose_track(keypoints(raised))])
    assert row["body_tension_evidence"] == ["shoulders"]
    assert 0.6 < row["body_tension"] < 0.75


def test_nobody_is_neither_tense_nor_calm() -> None:
    row = measured("tension.body", motion_tracks=[])
    assert row == {"body_tension": None, "body_tension_curve": None, "body_tension_evidence": []}


def test_faces_are_tense_by_arousal_and_displeasure() -> None:
    row = measured("tension.face", face_arousal_curve=[1.0, -1.0, None, 0.0], valence_curve=[-1.0, 1.0, 0.5, 0.0])
    assert row["face_tension_curve"] == [1.0, 0.0, None, 0.5]
    assert row["face_tension"] == pytest.approx(0.5)
    assert measured("tension.face") == {"face_tension": None, "face_tension_curve": None}


# --- interaction -----------------------------------------------------------------------------------------------


def together(*tracks: dict[str, Any], **inputs: Any) -> Row:
    return measured("interaction.people", people_tracks=list(tracks), **inputs)


def test_distance_is_the_gap_in_body_heights() -> None:
    row = together(person_track([0.1, 0.2, 0.2, 0.7]), person_track([0.5, 0.2, 0.6, 0.7], track=1))
    assert row["people_distance"] == pytest.approx(0.3 * (96 / 54) / 0.5)
    assert row["people_overlap"] == 0.0


def test_the_nearest_two_are_told() -> None:
    row = together(
        person_track([0.0, 0.2, 0.1, 0.7]),
        person_track([0.5, 0.2, 0.6, 0.7], track=1),
        person_track([0.55, 0.2, 0.65, 0.7], track=2),
    )
    assert row["people_distance"] == 0.0
    assert row["people_overlap"] == pytest.approx(0.5)


def test_people_who_are_not_seen_at_once_are_not_together() -> None:
    late = person_track([0.1, 0.2, 0.2, 0.7], track=1) | {"times_s": [1.5]}
    assert set(together(person_track([0.1, 0.2, 0.2, 0.7]), late).values()) == {None}
    assert set(measured("interaction.people").values()) == {None}


def test_faces_turned_to_each_other_face_each_other() -> None:
    right = STANDING | {0: (0.09, -0.55)}
    left = STANDING | {0: (-0.09, -0.55)}
    boxes = person_track([0.2, 0.1, 0.4, 0.9]), person_track([0.6, 0.1, 0.8, 0.9], track=1)

    def facing(first: dict[int, tuple[float, float]], second: dict[int, tuple[float, float]]) -> float:
        poses = [pose_track(keypoints(first, x=0.3)), pose_track(keypoints(second, x=0.7), track=1)]
        return together(*boxes, pose_tracks=poses)["people_facing"]

    assert facing(right, left) == pytest.approx(1.0)
    assert facing(left, right) == pytest.approx(-1.0)
    assert facing(right, right) == pytest.approx(0.0)
    assert together(*boxes)["people_facing"] is None


# --- batches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processor_id", ["posture.keypoints", "tension.body", "tension.face", "interaction.people"])
def test_every_row_stays_with_its_clip(processor_id: str) -> None:
    """These read columns only, which the crowd of the permutation test does not give."""
    processor = create_processor(processor_id, {})
    rows = []
    for number, person in enumerate((STANDING, SITTING, KNEELING, LYING)):
        right = 0.4 + 0.1 * number
        inputs = {
            "pose_tracks": [pose_track(keypoints(person), keypoints(person, x=0.45 + 0.02 * number))],
            "people_tracks": [
                person_track([0.1, 0.1, 0.3, 0.9]),
                person_track([right, 0.1, right + 0.2, 0.9], track=1),
            ],
            "valence_curve": [0.1 * number],
            "face_arousal_curve": [0.0],
        }
        rows.append({name: inputs.get(name) for name in processor.reads.inputs})
    alone = [processor.process([CLIP], [row])[0] for row in rows]
    assert all(alone.count(result) == 1 for result in alone)
    order = [2, 0, 3, 1, 0]
    assert processor.process([CLIP] * 5, [rows[i] for i in order]) == [alone[i] for i in order]
