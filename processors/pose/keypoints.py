"""What all sources of body poses share: the key points' names and the column `pose_tracks`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from store.errors import SettingsError
from store.records import Column

KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""In the order of COCO (Lin et al. 2014); left and right are the person's own."""


def pose_column(source: str) -> Column:
    """The column of poses, by the model that `source` names."""
    return Column(name="pose_tracks", kind="json", measured=False,
                  source=f"{source}; list of {{track: in people_tracks, times_s, keypoints: at each time 17 times "
                  "[x, y, score], x and y in widths and heights of the frame (beyond 0..1 where a joint is outside of "
                  "it), in COCO's order}")  # fmt: skip


def check_keypoints(model: str, found: int) -> None:
    """Raises SettingsError where a model's poses are not of COCO's key points."""
    if found != len(KEYPOINTS):
        raise SettingsError(f"model {model!r} finds {found} key points, not COCO's {len(KEYPOINTS)}; choose another")


def pose_row(track: int, times_s: Sequence[float], keypoints: Sequence[np.ndarray]) -> dict[str, Any]:
    """One track's poses as the column holds them.

    Args:
        track: index in `people_tracks`. keypoints: at each time float64 [17, 3], see `pose_column`.
    """
    return {"track": track, "times_s": list(times_s), "keypoints": [points.tolist() for points in keypoints]}
