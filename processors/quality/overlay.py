"""Logos and watermarks: edges that stay where they are while the picture under them moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.quality.letterbox import picture_inside
from store.records import Column

FEWEST_FRAMES = 5
"""Chosen: in fewer samples chance keeps edges in their places."""
EDGE = 12.0
"""Chosen: length of the median luma gradient (of 255, per pixel) that is an edge."""
UNSTEADY, OFTEN = 0.35, 0.9
"""Chosen: an edge stands still where its gradient strays by less than this share of its length, nine times in ten. In
40 recorded clips a real logo keeps all of its edges by this measure; slow pans lose most of those that stand still by
the median deviation."""
MOST_STILL = 0.10
"""Chosen: where more than this share of a usual frame's edges stands still the camera does, and what is burned in
cannot be told from what is filmed: 0.3 to 0.9 with a fixed camera, 0.04 to 0.09 in moving shots with a logo."""
JOIN_SHARE = 0.03
"""Of the frame's longer side: edges nearer than this are one overlay (the letters of a word)."""
SMALLEST_SHARE, LARGEST_SHARE = 0.0005, 0.15
"""Of the picture's area: smaller is a speck, larger no logo."""
DENSEST_EDGE = 0.08
"""Chosen: share of an overlay's box that must be still edges; less is a loose collection of specks."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Overlay(Processor):
    """Overlays of one clip, after the median gradient of Dekel et al. 2017 (On the effectiveness of visible
    watermarks), which looks at many pictures of one collection; here they are the frames of one moving shot.
    """

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384, columns=("letterbox_xyxy",))
    Options = Options
    columns = (
        Column(name="overlay_share", kind="float", low=0.0, high=1.0,
               source="share of the picture under boxes round edges that stand still while others move; 0 none; None "
               "where too little moves to tell, or there are fewer than 5 frames"),
        Column(name="overlay_boxes", kind="json",
               source="boxes of overlay_share, list of [left, top, right, bottom] in 0..1 of the frame"),
        Column(name="still_edges", kind="float", low=0.0, high=1.0,
               source="share of a frame's edges that stand still through the clip; near 1: a fixed camera"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip.frames_rgb, row["letterbox_xyxy"]) for clip, row in zip(clips, inputs, strict=True)]

    def _measured(self, frames_rgb: np.ndarray, letterbox_xyxy: list[float] | None) -> Row:
        nothing: Row = {column.name: None for column in self.columns}
        picture = picture_inside(frames_rgb, letterbox_xyxy)
        if len(picture) < FEWEST_FRAMES or min(picture.shape[1:3]) < 16:
            return nothing
        steady, share = still_edges(picture)
        if share is None or share > MOST_STILL:
            return nothing | {"still_edges": share}
        boxes = _boxes(steady)
        height, width = steady.shape
        area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) / (width * height)
        left, top, right, bottom = letterbox_xyxy or (0.0, 0.0, 1.0, 1.0)
        scale, shift = np.array([right - left, bottom - top] * 2), np.array([left, top] * 2)
        placed = [np.array(box) / (width, height, width, height) * scale + shift for box in boxes]
        return {
            "overlay_share": min(1.0, area),
            "overlay_boxes": [box.tolist() for box in placed],
            "still_edges": share,
        }


def still_edges(frames_rgb: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Where edges stand still, bool [H, W], and which share of a usual frame's edges that is; None without edges."""
    luma = [cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (3, 3), 0) for frame in frames_rgb]
    # Sobel's kernel adds up four times the difference over two pixels.
    across = np.stack([cv2.Sobel(picture, cv2.CV_32F, 1, 0) for picture in luma]) / 8.0
    down = np.stack([cv2.Sobel(picture, cv2.CV_32F, 0, 1) for picture in luma]) / 8.0
    middle_x, middle_y = np.median(across, axis=0), np.median(down, axis=0)
    length = np.hypot(middle_x, middle_y)
    deviation = np.quantile(np.hypot(across - middle_x, down - middle_y), OFTEN, axis=0)
    still = (length >= EDGE) & (deviation <= UNSTEADY * length)
    usual = float(np.median(np.count_nonzero(np.hypot(across, down) >= EDGE, axis=(1, 2))))
    return still, min(1.0, float(np.count_nonzero(still)) / usual) if usual else None


def _boxes(still: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) in pixels round groups of still edges that could be a logo."""
    height, width = still.shape
    reach = max(3, round(JOIN_SHARE * max(height, width)) | 1)
    joined = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined)
    found = []
    for left, top, across, down in stats[1:, :4].tolist():
        edges = np.count_nonzero(still[top : top + down, left : left + across])
        share = across * down / (width * height)
        if SMALLEST_SHARE <= share <= LARGEST_SHARE and edges >= DENSEST_EDGE * across * down:
            found.append((left, top, left + across, top + down))
    return found
