"""Pictures of tracked boxes show what the boxes hold."""

import numpy as np

from processors.crops import crops, square
from tests.processors.made_clips import make_clip


def _frame(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = box
    frame[top:bottom, left:right] = (200, 100, 50)
    return frame


def _box(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(box) / (width, height, width, height)


def test_a_square_box_fills_the_picture() -> None:
    box = (40, 20, 72, 52)
    picture = square(_frame(90, 160, box), _box(90, 160, box), 32)
    np.testing.assert_array_equal(picture[1:-1, 1:-1], np.broadcast_to((200, 100, 50), (30, 30, 3)))


def test_it_is_as_full_whether_it_is_shrunk_or_grown() -> None:
    box = (100, 60, 356, 316)
    for size in (16, 64, 512):
        picture = square(_frame(400, 600, box), _box(400, 600, box), size)
        edge = max(1, size // 16)
        assert (picture[edge:-edge, edge:-edge] == (200, 100, 50)).all(), size


def test_a_margin_shows_what_is_around_and_beyond_the_frame_is_black() -> None:
    frame = np.full((64, 64, 3), 255, np.uint8)
    picture = square(frame, np.array([0.0, 0.0, 0.5, 0.5]), 64, margin=0.5)
    assert (picture[:14, :14] == 0).all()
    assert (picture[18:, 18:] == 255).all()


def test_crops_name_their_tracks_and_are_spread_over_them() -> None:
    frames = np.stack([np.full((48, 64, 3), 10 * i, np.uint8) for i in range(20)])
    clip = make_clip("a", frames, None, 5.0)
    times = clip.frame_times_s
    tracks = [
        {
            "track": 3,
            "times_s": times.tolist(),
            "boxes_xyxy": [[0.2, 0.2, 0.8, 0.8]] * 20,
            "scores": np.linspace(0, 1, 20).tolist(),
        },
        {"track": 5, "times_s": [0.1234], "boxes_xyxy": [[0, 0, 1, 1]], "scores": [1.0]},
    ]
    found = crops(clip, tracks, 16, most=3)
    assert [crop.track for crop in found] == [3, 3, 3], "no frame was sampled at 0.1234 s"
    assert [crop.time_s for crop in found] == [times[0], times[10], times[19]]
    assert [int(crop.image_rgb[8, 8, 0]) for crop in found] == [0, 100, 190]
