"""Faces are found where they are, and each is one track."""

import numpy as np
import pytest

from processors.base import DecodedClip, Row
from processors.engine import shrunk, thinned
from processors.track.mtcnn import Mtcnn, Options
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
