"""Black bars round the picture: letterbox, pillarbox, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

BAR_LUMA = 0.10
"""A pixel is black under this luma: the level of ffmpeg's blackdetect, above the ringing that coding leaves in bars."""
BAR_PIXELS = 0.98
"""Share of a line's pixels, over all frames, that must be black for the line to belong to a bar. Chosen: a logo in the
bar may light up a fiftieth of it."""
THINNEST = 0.015
"""Of the side. Chosen: sensors and tape leave up to 8 black lines of 1080 at an edge, which are no bars."""
UNEQUAL = 2.0
"""Chosen: players centre the picture; where one bar is more than twice as thick as the opposite one, it is a dark floor
or sky."""
BRIGHTER = 0.6
"""Chosen: share of black pixels at most, one line inside the bar. The picture begins at once: 0 to 0.05 in the three
recorded clips with bars, 0.85 to 1 in the four with a dark vignette or floor, which are no bars."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Letterbox(Processor):
    """How much of the frame is bars, and where the picture is. Bars of another colour or of blurred picture, and bars
    in which subtitles stand, count as picture.
    """

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384)
    Options = Options
    columns = (
        Column(name="letterbox_share", kind="float", low=0.0, high=1.0,
               source="share of the frame that is black bars on opposite sides in every frame; 0 none; None where "
               "everything is black"),
        Column(name="letterbox_xyxy", kind="json",
               source="picture inside the bars, [left, top, right, bottom] in 0..1; None where everything is black"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_measured(clip.frames_rgb) for clip in clips]


def _measured(frames_rgb: np.ndarray) -> Row:
    black = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_rgb]) < BAR_LUMA * 255
    rows, columns = black.mean(axis=(0, 2)), black.mean(axis=(0, 1))
    if min(rows.min(), columns.min()) >= BAR_PIXELS:
        return {"letterbox_share": None, "letterbox_xyxy": None}
    top, bottom = _bars(rows)
    left, right = _bars(columns)
    return {
        "letterbox_share": 1.0 - (1.0 - top - bottom) * (1.0 - left - right),
        "letterbox_xyxy": [left, top, 1.0 - right, 1.0 - bottom],
    }


def _bars(black: np.ndarray) -> tuple[float, float]:
    """Thickness of the first and the last bar as shares of the side; 0 where there are no two that match.

    Args:
        black: share of black pixels, float [N], line by line; not all of them belong to a bar.
    """
    first, last = (int(np.argmax(lines < BAR_PIXELS)) for lines in (black, black[::-1]))
    thinner, thicker = sorted((first, last))
    if thinner < max(2.0, THINNEST * len(black)) or thicker > UNEQUAL * thinner:
        return 0.0, 0.0
    inside = black[first : len(black) - last]
    if max(inside[1:2].max(initial=0.0), inside[-2:-1].max(initial=0.0)) > BRIGHTER:
        return 0.0, 0.0
    return first / len(black), last / len(black)


def picture_inside(frames: np.ndarray, letterbox_xyxy: Sequence[Any] | None) -> np.ndarray:
    """Frames [T, H, W, ...] without their bars and the line next to these, which coding blends with them.

    Args:
        letterbox_xyxy: the column; None: the frames as they are.
    """
    if letterbox_xyxy is None:
        return frames
    height, width = frames.shape[1:3]
    left, top, right, bottom = (
        round(edge * side) for edge, side in zip(letterbox_xyxy, (width, height) * 2, strict=True)
    )
    left, top = left + (left > 0), top + (top > 0)
    right, bottom = right - (right < width), bottom - (bottom < height)
    if right - left < 1 or bottom - top < 1:
        return frames
    return frames[:, top:bottom, left:right]
