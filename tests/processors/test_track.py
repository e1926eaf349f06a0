"""Faces are found where they are, and linked into the tracks of one face each."""

import numpy as np
import pytest

from processors.base import DecodedClip, Row
from processors.engine import shrunk, thinned
from processors.track.mtcnn import Mtcnn, Options, Track, largest_area, linked
from tests.processors.made_clips import MEDIA, face_frames, make_clip, seen

VIDEO = MEDIA / "video"


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    processor = Mtcnn(Options())
    processor.load("cpu")
    return processor


def faces_of(mtcnn: Mtcnn, clip: DecodedClip) -> Row:
    picked = thinned(clip.frame_times_s, 2.0)
    frames = shrunk(clip.frames_rgb[picked], 384)
    thin = make_clip(frames_rgb=frames, duration_s=clip.duration_s)
    return mtcnn.process([thin], [{}])[0]


def at(left: float, top: float = 0.3, size: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[left, top, left + size, top + size]]), np.array([0.99])


def both(*faces: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([box for box, _ in faces]), np.concatenate([score for _, score in faces])


NOBODY = (np.zeros((0, 4)), np.zeros(0))


def test_a_face_is_found_where_it_is(mtcnn: Mtcnn) -> None:
    row = faces_of(mtcnn, make_clip(frames_rgb=face_frames(1)))
    assert row["face_count"] == 1
    (box,) = row["face_tracks"][0]["boxes_xyxy"]
    # Measured by eye on the portrait: 0.41 to 0.60 of the 216 px that it fills of 384, 0.13 to 0.41 of the height.
    assert box == pytest.approx([0.41 * 216 / 384, 0.15, 0.60 * 216 / 384, 0.41], abs=0.05)
    assert row["face_area"] == pytest.approx((box[2] - box[0]) * (box[3] - box[1]), rel=1e-6)


def test_a_moving_face_is_one_track_that_moves(mtcnn: Mtcnn) -> None:
    row = faces_of(mtcnn, make_clip(frames_rgb=face_frames(12, 0, 12)))
    assert row["face_count"] == 1
    (track,) = row["face_tracks"]
    assert track["times_s"] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    lefts = [box[0] for box in track["boxes_xyxy"]]
    assert np.diff(lefts) == pytest.approx([24 / 384] * 5, abs=0.03)


def test_two_faces_at_once_are_two(mtcnn: Mtcnn) -> None:
    frames = face_frames(4)
    frames[:, :, 216:] = frames[:, :, 40:208]
    row = faces_of(mtcnn, make_clip(frames_rgb=frames))
    assert row["face_count"] == 2
    assert [track["track"] for track in row["face_tracks"]] == [0, 1]


@pytest.mark.parametrize("value", [0, 127, 255])
def test_an_empty_picture_has_no_face_rather_than_none(mtcnn: Mtcnn, value: int) -> None:
    row = faces_of(mtcnn, make_clip(frames_rgb=np.full((4, 108, 192, 3), value, np.uint8)))
    assert row == {"face_count": 0, "face_area": None, "face_tracks": []}


def test_a_picture_smaller_than_a_face_has_none(mtcnn: Mtcnn) -> None:
    assert faces_of(mtcnn, make_clip(frames_rgb=face_frames(2)[:, :12, :16]))["face_count"] == 0


def test_boxes_stay_inside_the_frame(mtcnn: Mtcnn) -> None:
    cut = face_frames(2)[:, 30:, 90:]
    for track in faces_of(mtcnn, make_clip(frames_rgb=cut))["face_tracks"]:
        assert np.min(track["boxes_xyxy"]) >= 0.0
        assert np.max(track["boxes_xyxy"]) <= 1.0


def test_a_face_that_moves_by_its_own_width_keeps_its_track() -> None:
    (track,) = linked(np.array([0.0, 0.5, 1.0]), [at(0.2), at(0.3), at(0.38)])
    assert track.times_s == [0.0, 0.5, 1.0]


def test_a_jump_across_the_frame_is_another_face() -> None:
    assert len(linked(np.array([0.0, 0.5]), [at(0.1), at(0.8)])) == 2


def test_a_face_hidden_for_a_second_keeps_its_track_and_for_two_does_not() -> None:
    assert len(linked(np.arange(4) * 0.5, [at(0.2), NOBODY, NOBODY, at(0.2)])) == 1
    assert len(linked(np.arange(5) * 0.5, [at(0.2), NOBODY, NOBODY, NOBODY, at(0.2)])) == 2


def test_two_faces_are_told_apart_whatever_the_order_they_are_found_in() -> None:
    left, right = at(0.2), at(0.35)
    tracks = linked(np.array([0.0, 0.5]), [both(right, left), both(at(0.21), at(0.36))])
    assert [[round(float(box[0]), 2) for box in track.boxes_xyxy] for track in tracks] == [[0.2, 0.21], [0.35, 0.36]]


def test_a_face_of_another_size_is_another_face() -> None:
    assert len(linked(np.array([0.0, 0.5]), [at(0.4, 0.4, 0.05), at(0.3, 0.3, 0.4)])) == 2


def track_of(size: float, n_times: int) -> Track:
    (track,) = linked(np.arange(n_times) * 0.5, [at(0.2, 0.2, size)] * n_times)
    return track


def test_the_area_is_that_of_the_largest_face_seen_again() -> None:
    assert largest_area([track_of(0.1, 3), track_of(0.2, 3), track_of(0.5, 1)]) == pytest.approx(0.04)
    assert largest_area([track_of(0.5, 1), track_of(0.1, 1)]) == pytest.approx(0.25)
    assert largest_area([]) is None


@pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/media (recorded footage)")
@pytest.mark.parametrize(
    ("name", "faces"),
    [
        ("talk_theresa_may.mp4", 1),
        ("asl_thanks.mkv", 1),
        ("gif_head_pose_female_and_male.gif", 2),
        ("silhouette_green_screen.mp4", 0),
        ("broken_audio.mp4", 0),
    ],
)
def test_faces_of_recorded_footage(mtcnn: Mtcnn, name: str, faces: int) -> None:
    row = faces_of(mtcnn, make_clip(frames_rgb=seen(VIDEO / name, 2.0), duration_s=2.0))
    assert row["face_count"] == faces
    assert len(row["face_tracks"]) == faces
