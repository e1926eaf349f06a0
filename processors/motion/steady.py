"""What the camera did between two pictures, and what moves besides it.

Corners are followed from picture to picture (Lucas and Kanade 1981; pyramids after Bouguet 2000) and a similarity
(shift, zoom, roll) is found that most of them agree with (consensus of random pairs, Fischler and Bolles 1981, then
Tukey's weights). Corners near the edges count more and corners on people less: that is where the background is. The
first picture is then moved as the camera moved it, and what dense flow (DIS, Kroeger et al. 2016) still sees is the
subject's own motion. A plain surface has no flow either way, so it leaks no camera motion into the subject's.

Places are complex numbers z = x + iy in picture heights from the picture's middle, x to the right and y down; the
camera's motion moves the content at z by `shift + turn * z`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

CELL_PX = 8
"""The best corner of each such cell is followed: about 250 on a picture of 192 x 108."""
LEAST_CORNER = 2e-5
"""Smaller eigenvalue of the gradients' products (OpenCV's scale) that makes a corner. Chosen: noise stays below."""
WINDOW_PX = 11
LEVELS = 3
LEAST_CORNERS = 12
"""Fewer cannot tell a camera from a subject."""
EDGE_SHARE, EDGE_WEIGHT = 0.2, 4.0
"""Corners within this share of the picture of its left, right or upper edge count so much more."""
PERSON_WEIGHT = 0.05
"""How much corners on people count: enough to go by where there are no others."""
N_PAIRS = 100
"""Chosen: with 4 corners of 10 on the background, all hypotheses are wrong in less than one case of 10 million."""
LEAST_APART = 0.1
"""Heights between the two corners of a hypothesis: nearer ones tell no turn."""
TOLERANCE_PX, TOLERANCE_SHARE = 0.3, 0.04
"""A corner agrees if it is so near, and so much more for every pixel that it moved. Chosen: the errors of LEVELS."""
REFINEMENTS = 3
LEAST_SIDE_PX = 32
"""Smaller pictures hold too little to measure."""


@dataclass(frozen=True)
class Camera:
    """The content's motion from one picture to the next.

    shift: heights, x + iy. turn: zoom (share of growth) + i * roll (radians, clockwise). agreement: weighted share of
    the corners that moved so, 0..1.
    """

    shift: complex
    turn: complex
    agreement: float


def places(height: int, width: int) -> np.ndarray:
    """Complex [height, width]: the place of every pixel's middle."""
    y, x = np.mgrid[:height, :width]
    return np.asarray(((x - (width - 1) / 2) + 1j * (y - (height - 1) / 2)) / height)


def camera_between(before: np.ndarray, after: np.ndarray, people: np.ndarray) -> Camera | None:
    """The camera's motion, or None where the pictures hold too few corners to tell.

    Args:
        before, after: grey, uint8 [h, w].
        people: bool [h, w], where in `before` someone is.
    """
    corners = _corners(before)
    if len(corners) < LEAST_CORNERS:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, corners, np.zeros_like(corners), winSize=(WINDOW_PX, WINDOW_PX), maxLevel=LEVELS
    )
    height, width = before.shape
    inside = ((moved >= 1) & (moved < (width - 1, height - 1))).all(axis=1) & (found.ravel() == 1)
    if inside.sum() < LEAST_CORNERS:
        return None
    corners, moved = corners[inside].astype(np.float64), moved[inside].astype(np.float64)
    x, y = corners.T
    edge = np.minimum.reduce([x / width, 1 - x / width, y / height]) < EDGE_SHARE
    weights = np.where(edge, EDGE_WEIGHT, 1.0)
    weights[people[y.astype(int), x.astype(int)]] *= PERSON_WEIGHT
    place = ((x - (width - 1) / 2) + 1j * (y - (height - 1) / 2)) / height
    motion = (moved - corners) @ np.array([1, 1j]) / height
    tolerance = TOLERANCE_PX / height + TOLERANCE_SHARE * np.abs(motion)
    return _agreed(place, motion, weights / weights.sum(), tolerance)


def _corners(grey: np.ndarray) -> np.ndarray:
    """float32 [N, 2] x, y: the best corner of each cell, where it is one."""
    strength = cv2.cornerMinEigenVal(grey, 5)
    rows, columns = grey.shape[0] // CELL_PX, grey.shape[1] // CELL_PX
    whole = strength[: rows * CELL_PX, : columns * CELL_PX].reshape(rows, CELL_PX, columns, CELL_PX)
    cells = whole.transpose(0, 2, 1, 3).reshape(rows * columns, CELL_PX * CELL_PX)
    best = cells.argmax(axis=1)
    row, column = np.divmod(np.arange(rows * columns), columns)
    corners = np.stack([column * CELL_PX + best % CELL_PX, row * CELL_PX + best // CELL_PX], axis=1)
    return np.asarray(corners[cells.max(axis=1) > LEAST_CORNER], np.float32)


def _agreed(place: np.ndarray, motion: np.ndarray, weights: np.ndarray, tolerance: np.ndarray) -> Camera:
    """The similarity that most weight agrees with; a camera at rest is among the hypotheses."""
    random = np.random.default_rng(0)
    first, second = random.choice(len(place), (2, N_PAIRS), p=weights)
    apart = place[first] - place[second]
    told = np.abs(apart) > LEAST_APART
    turns = np.where(told, (motion[first] - motion[second]) / np.where(told, apart, 1), 0)
    turns = np.append(turns, 0)
    shifts = np.append(motion[first] - turns[:-1] * place[first], 0)
    misses = np.abs(motion - shifts[:, None] - turns[:, None] * place) / tolerance
    best = int((weights * np.maximum(0, 1 - misses**2)).sum(axis=1).argmax())
    shift, turn = shifts[best], turns[best]
    for _ in range(REFINEMENTS):
        miss = np.abs(motion - shift - turn * place) / tolerance
        share = weights * np.maximum(0, 1 - (miss / 1.5) ** 2) ** 2
        if not share.any():  # nothing agrees closely: the hypothesis stays as it is
            break
        share /= share.sum()
        middle, mean = (share * place).sum(), (share * motion).sum()
        spread = (share * np.abs(place - middle) ** 2).sum()
        turn = (share * (place - middle).conj() * (motion - mean)).sum() / spread if spread > LEAST_APART**2 else 0
        shift = mean - turn * middle
    agreement = weights[np.abs(motion - shift - turn * place) < tolerance].sum()
    return Camera(complex(shift), complex(turn), float(agreement))


def own_motion(before: np.ndarray, after: np.ndarray, camera: Camera) -> np.ndarray:
    """Motion that is not the camera's, complex64 [h, w] in heights; NaN where the camera brought in something new."""
    height, width = before.shape
    scale, roll = 1 + camera.turn.real, camera.turn.imag
    matrix = np.array([[scale, -roll, 0.0], [roll, scale, 0.0]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([camera.shift.real, camera.shift.imag]) * height
    matrix[:, 2] = middle + shift - matrix[:, :2] @ middle
    moved = np.asarray(cv2.warpAffine(before, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    known = cv2.warpAffine(np.ones_like(before), matrix, (width, height), flags=cv2.INTER_NEAREST)
    known = cv2.erode(known, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    field = flow.calc(moved, after, np.zeros((height, width, 2), np.float32))
    motion = np.asarray((field[:, :, 0] + 1j * field[:, :, 1]) / height, np.complex64)
    motion[known == 0] = np.nan
    return motion
