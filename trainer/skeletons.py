"""People as skeletons of coloured limbs on black, as models that follow poses are shown them.

This file stands alone: it needs numpy and Pillow, and is copied next to every adapter that was trained with poses, as
`cliploom_skeletons.py`.
"""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

NOSE, NECK = 0, 17
EYES, EARS, SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = ((i, i + 1) for i in range(1, 17, 2))
"""(left, right) of COCO's 17 key points (Lin et al. 2014); the person's own. The neck is the shoulders' middle."""
LIMBS = (
    *((NECK, SHOULDERS[1]), (SHOULDERS[1], ELBOWS[1]), (ELBOWS[1], WRISTS[1])),
    *((NECK, SHOULDERS[0]), (SHOULDERS[0], ELBOWS[0]), (ELBOWS[0], WRISTS[0])),
    *((NECK, HIPS[1]), (HIPS[1], KNEES[1]), (KNEES[1], ANKLES[1])),
    *((NECK, HIPS[0]), (HIPS[0], KNEES[0]), (KNEES[0], ANKLES[0])),
    *((NECK, NOSE), (NOSE, EYES[1]), (EYES[1], EARS[1]), (NOSE, EYES[0]), (EYES[0], EARS[0])),
)
"""The limbs of OpenPose (Cao et al., arXiv 1812.08008), in its order."""
COLOURS_RGB = tuple(
    tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number / len(LIMBS), 1.0, 1.0))
    for number in range(len(LIMBS))
)
"""A hue for each limb, so that left and right, arm and leg can be told apart."""
LEAST_SCORE = 0.3
"""Points that are less sure are not drawn; as everywhere in Cliploom (`processors.skeleton`)."""
WIDTH = 0.016
"""Of a limb, of the frame's shorter side: OpenPose's, of 8 px at 512."""


def draw_people(people: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame uint8 [height, width, 3] RGB of people [P, 17, 3]: x and y in 0..1 of the frame (beyond it where a joint
    is outside), and a score, in COCO's order. P may be 0: black."""
    frame = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(frame)
    thick = max(1, round(WIDTH * min(height, width)))
    for person in np.asarray(people, np.float64).reshape(-1, 17, 3):
        neck = person[list(SHOULDERS)]
        points = np.vstack([person, [*neck[:, :2].mean(axis=0), neck[:, 2].min()]])
        places = points[:, :2] * (width, height) - 0.5  # From the edges' count to that of pixels' middles.
        for (one, other), colour in zip(LIMBS, COLOURS_RGB, strict=True):
            if points[[one, other], 2].min() >= LEAST_SCORE:
                draw.line([*places[one], *places[other]], fill=colour, width=thick)
    return np.array(frame)
