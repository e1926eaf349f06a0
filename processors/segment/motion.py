"""Curves measured on a clip's pictures: motion energy and mean luma.

Motion energy is the mean length of the optical flow between pictures 1 / CURVE_RATE_HZ apart (DIS, Kroeger,
Timofte, Dai and Van Gool, "Fast optical flow using dense inverse search", ECCV 2016; OpenCV's ultrafast
preset), in frame heights per second, so that it depends on neither size nor rate.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from processors.base import Curve
from processors.decode import CURVE_RATE_HZ
from processors.segment.normalise import planes_of

FLOW_LONGEST_PX = 160
"""Chosen: a quarter of the usual bucket, 4 ms a pair."""


def measure_curves(pictures: Sequence[np.ndarray]) -> dict[str, Curve]:
    """Curves of the pictures that are shown at the ticks of CURVE_RATE_HZ.

    Args:
        pictures: I420, uint8 [h * 3 / 2, w]; the same object twice where nothing new was shown.

    Returns:
        `motion_energy`, whose first sample repeats the second (there is no picture before the first), and `luma`.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    energy: list[float] = []
    luma: list[float] = []
    before: np.ndarray | None = None
    for index, picture in enumerate(pictures):
        if index and picture is pictures[index - 1]:
            energy.append(0.0)
            luma.append(luma[-1])
            continue
        small = _shrink(planes_of(picture)[0])
        luma.append(min(max((float(small.mean()) - 16) / 219, 0.0), 1.0))
        if before is not None:
            x, y = cv2.split(flow.calc(before, small, np.zeros((*small.shape, 2), np.float32)))
            energy.append(float(cv2.magnitude(x, y).mean()) / small.shape[0] * CURVE_RATE_HZ)
        before = small
    energy = [energy[0] if energy else 0.0, *energy]
    return {
        "motion_energy": Curve(CURVE_RATE_HZ, np.array(energy, np.float32)),
        "luma": Curve(CURVE_RATE_HZ, np.array(luma, np.float32)),
    }


def _shrink(luma: np.ndarray) -> np.ndarray:
    factor = max(1, round(max(luma.shape) / FLOW_LONGEST_PX))
    size = (luma.shape[1] // factor, luma.shape[0] // factor)
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
