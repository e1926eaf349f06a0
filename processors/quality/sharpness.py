"""How blurred the sharpest parts of the picture are."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.quality.letterbox import picture_inside
from store.records import Column

REBLUR_PX = 9
"""Width of the box filter of Crete et al. 2007."""
TILES = 4
"""Chosen: 4 x 4 tiles, so that a face in focus before a soft background fills one or more of them."""
SHARPEST = 0.25
"""Chosen: the blur of a frame is that of the fourth of 16 tiles, from the sharpest: three tiles of logo or subtitles
over blurred footage do not make it sharp."""
FLAT_STEP = 1.0
"""Mean luma step (of 255) between neighbours under which a tile shows nothing that could be sharp. Chosen: all of 59
recorded clips have tiles above it, and 56 still do after a Gaussian blur of 6 px."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Sharpness(Processor):
    """Blur by the perceptual metric of Crete et al. 2007, tile by tile. Grain and noise pass for sharpness."""

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384, columns=("letterbox_xyxy",))
    Options = Options
    columns = (
        Column(name="blur", kind="float", low=0.0, high=1.0,
               source="Crete et al. 2007 on luma at 384 px: 0 sharp, 1 blurred; lower quartile of 16 tiles that have "
               "detail, median over frames; None where there is no detail"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_measured(clip.frames_rgb, row["letterbox_xyxy"]) for clip, row in zip(clips, inputs, strict=True)]


def _measured(frames_rgb: np.ndarray, letterbox_xyxy: list[float] | None) -> Row:
    each = []
    for frame in picture_inside(frames_rgb, letterbox_xyxy):
        tiles = tile_blur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32))
        if len(tiles):
            each.append(float(np.quantile(tiles, SHARPEST)))
    return {"blur": float(np.median(each)) if each else None}


def tile_blur(luma: np.ndarray) -> np.ndarray:
    """Blur float64 [N] of the tiles that have detail, N <= TILES ** 2.

    What a blur takes away from the steps between neighbours is much where they were sharp, and little where they were
    blurred already: 1 - sum(steps lost) / sum(steps), the greater of both directions.

    Args:
        luma: float32 [H, W], 0 to 255.
    """
    found = []
    for transposed in (False, True):
        picture = np.ascontiguousarray(luma.T) if transposed else luma
        steps = np.abs(np.diff(picture, axis=1))
        reblurred = np.abs(np.diff(cv2.blur(picture, (REBLUR_PX, 1)), axis=1))
        lost = np.maximum(0.0, steps - reblurred)
        sums = _tile_sums(steps), _tile_sums(lost), _tile_sums(np.ones_like(steps))
        found.append([block.T if transposed else block for block in sums])
    (steps_x, lost_x, n_x), (steps_y, lost_y, n_y) = found
    blur = 1.0 - np.minimum(lost_x / np.maximum(steps_x, 1e-6), lost_y / np.maximum(steps_y, 1e-6))
    has_detail = np.maximum(steps_x / np.maximum(n_x, 1), steps_y / np.maximum(n_y, 1)) >= FLAT_STEP
    return np.clip(blur[has_detail], 0.0, 1.0)


def _tile_sums(values: np.ndarray) -> np.ndarray:
    """Sums float64 [TILES, TILES] over a grid of tiles."""
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in values.shape)
    total = np.pad(values.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    at = total[np.ix_(rows, columns)]
    return at[1:, 1:] - at[:-1, 1:] - at[1:, :-1] + at[:-1, :-1]
