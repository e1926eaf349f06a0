"""Key points of people, as pose processors give them, and the proportions that are read off them.

COCO's 17 points (Lin et al. 2014). Places are in frame heights, x to the right and y down, so that lengths compare.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

NOSE = 0
EYES, EARS, SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = ((i, i + 1) for i in range(1, 17, 2))
N_POINTS = 17
BONES = (
    *((NOSE, EYES[0]), (NOSE, EYES[1]), (EYES[0], EARS[0]), (EYES[1], EARS[1])),
    *(SHOULDERS, (SHOULDERS[0], ELBOWS[0]), (ELBOWS[0], WRISTS[0]), (SHOULDERS[1], ELBOWS[1]), (ELBOWS[1], WRISTS[1])),
    *((SHOULDERS[0], HIPS[0]), (SHOULDERS[1], HIPS[1]), HIPS),
    *((HIPS[0], KNEES[0]), (KNEES[0], ANKLES[0]), (HIPS[1], KNEES[1]), (KNEES[1], ANKLES[1])),
)
LEAST_SCORE = 0.3
"""Chosen: points that are less sure count as not seen."""
TORSO_OF_SHOULDERS = 1.4
"""Length of the trunk in shoulder widths (Drillis and Contini 1966), where the hips are not seen."""


class Skeleton:
    """One person at one time: places float64 [17, 2] in frame heights, NaN where a point is not seen."""

    def __init__(self, keypoints: Sequence[Sequence[float]], aspect: float) -> None:
        """keypoints: 17 of x, y in 0..1 of the frame and score; aspect: width of the frame by its height."""
        points = np.asarray(keypoints, np.float64)
        self.places = np.where(points[:, 2:] >= LEAST_SCORE, points[:, :2] * (aspect, 1.0), np.nan)

    def middle(self, points: tuple[int, int]) -> np.ndarray | None:
        """Float64 [2]: the middle of a pair, or the one of them that is seen; None where neither is."""
        seen = self.places[list(points)]
        seen = seen[~np.isnan(seen[:, 0])]
        return seen.mean(axis=0) if len(seen) else None

    def width(self, points: tuple[int, int]) -> float | None:
        """Distance of a pair; None where one of them is not seen."""
        distance = float(np.linalg.norm(self.places[points[0]] - self.places[points[1]]))
        return None if np.isnan(distance) else distance

    @property
    def torso(self) -> float | None:
        """Length of the trunk, from the shoulders' middle to the hips'; by the shoulders where the hips are hidden."""
        shoulders, hips = self.middle(SHOULDERS), self.middle(HIPS)
        length = None
        if shoulders is not None and hips is not None:
            length = float(np.linalg.norm(hips - shoulders))
        elif (width := self.width(SHOULDERS)) is not None:
            length = TORSO_OF_SHOULDERS * width
        return length or None

    @property
    def area(self) -> float:
        """Of the box around the points that are seen; 0 without any."""
        seen = self.places[~np.isnan(self.places[:, 0])]
        return float(np.prod(seen.max(axis=0) - seen.min(axis=0))) if len(seen) else 0.0


def skeletons(track: Mapping[str, Any], aspect: float) -> Iterator[tuple[float, Skeleton]]:
    """(time in seconds, skeleton) of each sight in a track of `pose_tracks`."""
    for time_s, keypoints in zip(track["times_s"], track["keypoints"], strict=True):
        yield time_s, Skeleton(keypoints, aspect)


def aspect_of(frames_rgb: np.ndarray) -> float:
    """Width by height of frames [T, H, W, 3], T may be 0."""
    return float(frames_rgb.shape[2] / frames_rgb.shape[1])
