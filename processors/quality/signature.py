"""A signature of a clip's pictures and of how they move, by which copies of one piece of footage are found."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.fft import dct, dctn

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.quality.letterbox import picture_inside
from store.records import Column

GRID = 32
"""Side to which pictures are shrunk, as perceptual hashes do (pHash, Zauner 2010)."""
STILL, MOVING = 8, 6
"""Lowest frequencies kept along each side, of the mean picture and of its changes."""
POINTS, TEMPORAL = 16, 5
"""Times that a clip is read at, whatever its length, and lowest temporal frequencies kept of them."""
SIZE = STILL**2 - 1 + (TEMPORAL - 1) * (MOVING**2 - 1)
"""203: mean brightness, of the clip and of each change, is left out, so that exposure does not count."""
FLOOR_LUMA = 2.0
"""Chosen: root mean square in luma steps (of 255) below which a part is not scaled up. Half of 59 recorded clips move
by more than 4.3, the stillest by 0.4."""


@dataclass(frozen=True)
class Options:
    """None: signatures compare only where they were made alike."""


class Signature(Processor):
    """The vector `signature`. Both parts, what is seen and how it moves, have the same say: pictures alone cannot
    tell two moments before one fixed camera apart, and a hash of their signs no crop from another clip.

    Seen with the cosine distance, 59 recorded clips, nine of ten copies: re-encoded, blurred, brightened, grey or
    letterboxed up to 0.02, cropped by 5% all round 0.09, half the samples 0.19, half a second cut off the front 0.19,
    with a large logo and subtitles 0.25. Clips of other footage: from 0.44. Other moments of one take: from 0.15, but
    for one pair of two all but equal gestures of one person (0.04). Mirrored copies are not found.
    """

    version = 1
    reads = Reads(frame_rate_hz=4.0, longest_px=384, columns=("letterbox_xyxy",))
    Options = Options
    columns = (
        Column(name="signature", kind="vector", low=-1.0, high=1.0, size=SIZE,
               source="lowest cosine coefficients of the mean picture (8 x 8) and of its changes (4 x 6 x 6), luma "
               "without bars and without mean brightness, unit length; after pHash (Zauner 2010); None: nothing seen"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"signature": _signature(clip, row["letterbox_xyxy"])} for clip, row in zip(clips, inputs, strict=True)]


def _signature(clip: DecodedClip, letterbox_xyxy: list[float] | None) -> np.ndarray | None:
    """float64 [SIZE] of unit length, or None."""
    pictures = np.stack([_shrunk(frame) for frame in picture_inside(clip.frames_rgb, letterbox_xyxy)])
    spatial = dctn(pictures, axes=(1, 2), norm="ortho")[:, :STILL, :STILL] / GRID
    at_s = (np.arange(POINTS) + 0.5) / POINTS * clip.duration_s
    spread = np.apply_along_axis(lambda values: np.interp(at_s, clip.frame_times_s, values), 0, spatial)
    temporal = dct(spread, axis=0, norm="ortho")[:TEMPORAL] / np.sqrt(POINTS)
    still = temporal[0].ravel()[1:]
    moving = temporal[1:, :MOVING, :MOVING].reshape(TEMPORAL - 1, -1)[:, 1:].ravel()
    both = np.concatenate([part / max(float(np.linalg.norm(part)), FLOOR_LUMA) for part in (still, moving)])
    length = float(np.linalg.norm(both))
    return both / length if length > 1e-6 else None


def _shrunk(frame_rgb: np.ndarray) -> np.ndarray:
    """Luma float64 [GRID, GRID], 0 to 255."""
    luma = cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(luma, (0, 0), max(luma.shape) / GRID / 3.0)
    return cv2.resize(smooth, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float64)
