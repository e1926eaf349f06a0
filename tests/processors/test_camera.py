"""Camera motion told apart from subject motion, on pictures whose camera is known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from processors.base import Row, create_processor
from processors.motion.camera import KINDS, camera_kinds
from tests.processors.made_clips import make_clip

HEIGHT, WIDTH = 108, 192
SCENE = np.asarray(cv2.resize(data.coffee(), (900, 600)), np.uint8)
CURVES = ("pan", "tilt", "zoom", "roll")


def filmed(camera: tuple[float, float, float, float], person_px: float = 0.0, n_frames: int = 9) -> np.ndarray:
    """Frames at 4 Hz of a camera that pans and tilts (heights/s), zooms (1/s) and rolls (deg/s).

    A textured square of 36 px stands in the middle of the frame and moves by `person_px` from frame to frame, to and
    fro; 0 for none.
    """
    pan, tilt, zoom, roll = camera
    frames = np.empty((n_frames, HEIGHT, WIDTH, 3), np.uint8)
    for i, frame in enumerate(frames):
        time_s = i / 4
        angle = np.radians(roll * time_s)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / np.exp(zoom * time_s)
        seen_at = np.array([350.0 + pan * time_s * HEIGHT, 300.0 - tilt * time_s * HEIGHT])
        matrix = np.hstack([turn, (seen_at - turn @ (WIDTH / 2, HEIGHT / 2))[:, None]])
        cv2.warpAffine(SCENE, matrix, (WIDTH, HEIGHT), dst=frame, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if person_px:
            left = round(78 + person_px * (i % 2))
            frame[40:76, left : left + 36] = cv2.resize(data.astronaut()[:300, 100:400], (36, 36))
    return frames


def measured(frames: np.ndarray, **tracks: object) -> Row:
    row = {"face_tracks": None, "people_tracks": None} | tracks
    result = create_processor("motion.camera", {}).process([make_clip(frames_rgb=frames)], [row])[0]
    assert isinstance(result, dict)
    return result


def track(box_xyxy: list[float], times_s: list[float]) -> dict[str, object]:
    return {"track": 7, "times_s": times_s, "boxes_xyxy": [box_xyxy] * len(times_s), "scores": [1.0] * len(times_s)}


@pytest.mark.parametrize(
    "camera",
    [(0.2, 0.0, 0.0, 0.0), (-0.6, 0.0, 0.0, 0.0), (0.0, 0.15, 0.0, 0.0), (0.0, 0.0, 0.15, 0.0), (0.0, 0.0, 0.0, 12.0)],
)
def test_the_cameras_speed_is_recovered_with_its_sign(camera: tuple[float, float, float, float]) -> None:
    row = measured(filmed(camera))
    for name, speed, most in zip(CURVES, camera, (0.01, 0.01, 0.02, 0.7), strict=True):
        assert np.median(row[f"camera_{name}_curve"]) == pytest.approx(speed, abs=most), name
    assert row["camera_confidence"] > 0.6


def test_a_moving_camera_leaves_the_subject_at_rest() -> None:
    panned = measured(filmed((0.4, 0.0, 0.0, 0.0)))
    assert panned["subject_motion_mean"] < 0.04 * 0.4


def test_the_subjects_motion_is_the_same_before_a_camera_that_moves() -> None:
    still, panned = (measured(filmed((pan, 0.0, 0.0, 0.0), person_px=6)) for pan in (0.0, 0.3))
    assert still["subject_motion_mean"] > 0.005
    assert panned["subject_motion_mean"] == pytest.approx(still["subject_motion_mean"], abs=0.1 * 0.3)


def test_someone_who_fills_the_picture_is_not_taken_for_the_camera() -> None:
    plain = np.full((8, HEIGHT, WIDTH, 3), 120, np.uint8)
    plain[:, :10] = SCENE[:10, :WIDTH]
    for i, frame in enumerate(plain):
        frame[20:, 20 + 4 * i : 140 + 4 * i] = SCENE[100 : 100 + HEIGHT - 20, 300:420]
    boxes = [[(20 + 4 * i) / WIDTH, 0.17, (140 + 4 * i) / WIDTH, 1.0] for i in range(8)]
    person = track(boxes[0], [i / 4 for i in range(8)]) | {"boxes_xyxy": boxes}
    blind, told = measured(plain), measured(plain, people_tracks=[person])
    assert abs(np.median(blind["camera_pan_curve"])) > 0.1
    assert abs(np.median(told["camera_pan_curve"])) < 0.01


def test_motion_is_told_for_each_track_while_it_is_seen() -> None:
    frames = filmed((0.2, 0.0, 0.0, 0.0), person_px=6)
    moving, resting = track([0.4, 0.35, 0.6, 0.72], [0.0, 1.0, 2.0]), track([0.0, 0.0, 0.2, 0.3], [0.5, 1.0])
    tracks = measured(frames, people_tracks=[moving], face_tracks=[resting])["motion_tracks"]
    assert [(entry["of"], entry["track"]) for entry in tracks] == [("face_tracks", 7), ("people_tracks", 7)]
    assert tracks[0]["times_s"] == [0.5, 0.75, 1.0]
    assert tracks[1]["times_s"] == [i / 4 for i in range(1, 9)]
    assert np.mean(tracks[1]["energy"]) > 5 * np.mean(tracks[0]["energy"])


def test_inner_motion_leaves_out_what_the_box_does_as_a_whole() -> None:
    frames = filmed((0.0, 0.0, 0.0, 0.0), person_px=6)
    (entry,) = measured(frames, people_tracks=[track([0.45, 0.45, 0.55, 0.65], [0.0, 2.0])])["motion_tracks"]
    assert np.mean(entry["inner"]) < 0.5 * np.mean(entry["energy"])


def test_pictures_without_structure_tell_no_camera() -> None:
    row = measured(np.full((8, HEIGHT, WIDTH, 3), 90, np.uint8))
    assert row["camera_motion"] is None
    assert row["camera_confidence"] is None
    assert row["camera_pan_curve"] is None
    assert row["subject_motion_mean"] is None


def test_a_stretch_without_structure_is_a_gap_in_the_curves() -> None:
    frames = filmed((0.2, 0.0, 0.0, 0.0))
    frames[4:6] = 0
    curve = measured(frames)["camera_pan_curve"]
    assert curve[5:7] == [None, None]
    assert [value is None for value in curve].count(True) == 3
    assert len(curve) == len(frames)


@pytest.mark.parametrize(
    ("kind", "speeds"),
    [
        ("static", np.zeros((12, 4))),
        ("pan", np.tile([0.2, 0.0, 0.0, 0.0], (12, 1))),
        ("tilt", np.tile([0.0, -0.2, 0.0, 0.0], (12, 1))),
        ("zoom", np.tile([0.0, 0.0, 0.3, 0.0], (12, 1))),
        ("shake", np.outer([1, -1] * 6, [0.2, 0.1, 0.0, 0.0])),
    ],
)
def test_the_summary_names_what_the_camera_does(kind: str, speeds: np.ndarray) -> None:
    shares = camera_kinds(speeds, 1.0)
    assert max(shares, key=shares.__getitem__) == kind
    assert shares[kind] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0)


def test_the_less_sure_the_nearer_to_equal_shares() -> None:
    speeds = np.tile([0.2, 0.0, 0.0, 0.0], (12, 1))
    assert camera_kinds(speeds, 0.0) == pytest.approx(dict.fromkeys(KINDS, 0.2))
    assert camera_kinds(speeds, 0.5)["pan"] == pytest.approx((camera_kinds(speeds, 1.0)["pan"] + 0.2) / 2)


def test_uneven_times_change_no_speed() -> None:
    clip = make_clip(frames_rgb=filmed((0.2, 0.0, 0.0, 0.0)))
    picked = np.array([0, 1, 2, 4, 5, 8])
    uneven = replace(clip, frames_rgb=clip.frames_rgb[picked], frame_times_s=clip.frame_times_s[picked])
    row = create_processor("motion.camera", {}).process([uneven], [{"face_tracks": None, "people_tracks": None}])[0]
    assert isinstance(row, dict)
    assert np.array(row["camera_pan_curve"]) == pytest.approx(0.2, abs=0.02)
