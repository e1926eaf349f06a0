"""Footage of one person each, who stands somewhere with an arm somewhere: coloured blocks around known key points."""

from dataclasses import replace

import numpy as np

from tests.trainer.made_discs import made_clip
from trainer.dataset import PoseTrack, TrainingClip
from trainer.poses import points_at

BODY_RGB, GROUND_RGB = (40, 180, 60), (200, 40, 40)
_STANDING = (
    *((0.0, -0.9), (0.1, -1.0), (-0.1, -1.0), (0.2, -0.9), (-0.2, -0.9)),
    *((0.5, -0.5), (-0.5, -0.5), (0.6, 0.0), (-0.6, 0.0), (0.6, 0.4), (-0.6, 0.4)),
    *((0.3, 0.3), (-0.3, 0.3), (0.3, 0.7), (-0.3, 0.7), (0.3, 1.0), (-0.3, 1.0)),
)
"""COCO's points from the person's middle: half a person is 1 high and 0.6 wide."""
HALF_WIDTH = 0.6


def person_at(x: float, y: float, tall: float, wide: float) -> tuple[tuple[float, float, float], ...]:
    """17 key points of someone whose middle is at x, y; half of them is `tall` high, `HALF_WIDTH` of `wide` wide."""
    return tuple((x + across * wide, y + down * tall, 0.9) for across, down in _STANDING)


def box_of(points: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) around key points [17, 3]."""
    return (*points[:, :2].min(axis=0).tolist(), *points[:, :2].max(axis=0).tolist())


def posed_clip(number: int, track: PoseTrack, size: tuple[int, int] = (48, 64), n_frames: int = 4) -> TrainingClip:
    """A clip of two seconds in which a green block fills the box around a person's key points, on red."""
    height, width = size

    def frames(times_s: np.ndarray) -> np.ndarray:
        drawn = np.full((len(times_s), height, width, 3), GROUND_RGB, np.uint8)
        for frame, time_s in zip(drawn, times_s.tolist(), strict=True):
            points = points_at(track, time_s)
            if points is not None:
                left, top, right, bottom = (
                    (np.array(box_of(points)) * (width, height, width, height)).round().astype(int)
                )
                frame[max(0, top) : bottom, max(0, left) : right] = BODY_RGB
        return drawn

    times_s = np.arange(n_frames) * 2.0 / n_frames
    return replace(
        made_clip(number, "red"),
        conditioning="a person",
        load_frames=lambda: frames(times_s),
        load_times=lambda: times_s,
        load_video=lambda rate: frames(np.arange(round(2 * rate)) / rate),
        poses=(track,),
        media=f"person {number} {size}",
    )
