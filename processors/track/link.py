"""Boxes that a detector found in a clip's frames, linked into tracks: the one way in which this project tracks.

After ByteTrack (Zhang et al. 2022): in each frame sure boxes are matched to the open tracks first, then doubtful ones
to the tracks that are left; only a sure box opens a track. Tracks are expected to go on at a steady pace, which
carries them through crossings and through a panning camera, and to keep their colours.

Chosen on made paths with jitter, misses and occlusion (60 crossings, pans, crowds of five, pairs that follow or turn
back, each), by the switches of identity: boxes compared where they were last seen 1,000, where they are expected 290,
with colours that tell people apart 105 to 160. On recorded footage, with YOLOX-nano's boxes, colours make the 3 tracks
of Chaplin and his fellow, who struggle with each other, 2 that last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from processors.track.boxes import grown, iou

GROWTH = 2.0
"""Chosen: boxes are compared at twice their size, so that what moved by its own width is still itself: people walking
towards a camera move their head so far in half a second."""
LEAST_IOU = 0.2
GAP_S = 1.6
"""Chosen: what is hidden (a hand, a turn, somebody in front) keeps its track for as long."""
AHEAD_S = 1.0
"""Chosen: for longer than this nobody is expected to go on as before; 0.75 to 1.6 are as good."""
PACE_SHARE = 2.0 / 3.0
"""Chosen: share of the newest step in a track's pace; 0.5 to 0.8 are as good, 1.0 follows the jitter of boxes."""
LAST_WEIGHT = 0.1
"""Weight of overlap with where a track was last seen, beside that with where it is expected. Chosen: without it the
face of a juggler, who nods, was 5 tracks at two samples per second instead of 1."""
SEEN_AGAIN = 0.2
"""What a track that was seen more than once is preferred by. Chosen: without it a box too many in one frame takes over
Chaplin's track; 0.5 costs switches among people who come into view in a crowd."""
LOOK_SHARE = 0.2
"""Share of the newest sight in what a track looks like."""
LOOK_WEIGHT = 1.0
"""Weight of equal colours (0 to 1) beside that of overlap (0 to 1)."""


class Found(NamedTuple):
    """Boxes of one frame: boxes_xyxy float64 [N, 4], in 0..1 of its width and height; scores float64 [N], in 0..1."""

    boxes_xyxy: np.ndarray
    scores: np.ndarray


@dataclass
class Track:
    """One face, person or object through a clip; see `Found` for the values."""

    times_s: list[float] = field(default_factory=list)
    boxes_xyxy: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    pace: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """Movement of the box's centre, frame widths and heights per second."""
    look: np.ndarray | None = None
    """See `looks`."""

    def add(self, time_s: float, box_xyxy: np.ndarray, score: float, look: np.ndarray | None = None) -> None:
        if self.times_s:
            moved = (box_xyxy[:2] + box_xyxy[2:] - self.boxes_xyxy[-1][:2] - self.boxes_xyxy[-1][2:]) / 2.0
            self.pace = self.pace + PACE_SHARE * (moved / (time_s - self.times_s[-1]) - self.pace)
        if look is not None:
            self.look = look if self.look is None else self.look + LOOK_SHARE * (look - self.look)
        self.times_s.append(time_s)
        self.boxes_xyxy.append(box_xyxy)
        self.scores.append(score)

    def expected_at(self, time_s: float) -> np.ndarray:
        """The box where it is expected at a later time."""
        return self.boxes_xyxy[-1] + np.tile(self.pace * min(time_s - self.times_s[-1], AHEAD_S), 2)

    @property
    def area(self) -> float:
        """Median share of the frame."""
        boxes = np.stack(self.boxes_xyxy)
        return float(np.median((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))


def linked(
    times_s: np.ndarray, found: Sequence[Found], sure: float = 0.0, frames_rgb: np.ndarray | None = None
) -> list[Track]:
    """Tracks over the frames, in order of appearance, then from left to right.

    Args:
        times_s: float64 [T], ascending.
        found: for each frame, the boxes that may carry a track on.
        sure: least score of a box that may open a track.
        frames_rgb: uint8 [T, H, W, 3]; with them boxes are compared by their colours too.
    """
    tracks: list[Track] = []
    for i, (time_s, (boxes, scores)) in enumerate(zip(times_s, found, strict=True)):
        seen = None if frames_rgb is None else looks(frames_rgb[i], boxes)
        is_sure = scores >= sure
        owners: dict[int, Track] = {}
        for is_wanted in (is_sure, ~is_sure):
            waiting = [
                track
                for track in tracks
                if time_s - track.times_s[-1] <= GAP_S and not any(track is owner for owner in owners.values())
            ]
            boxes_left = [box for box in np.flatnonzero(is_wanted).tolist() if box not in owners]
            pairs = _matched(waiting, boxes[boxes_left], None if seen is None else seen[boxes_left], time_s)
            owners |= {boxes_left[box]: waiting[track] for track, box in pairs}
        paces = [track.pace for track in owners.values() if len(track.times_s) > 1]
        for box in np.argsort(boxes[:, 0], kind="stable").tolist():
            if box not in owners and is_sure[box]:
                # What comes into view of a camera that pans moves as all else does.
                owners[box] = Track(pace=np.median(paces, axis=0) if paces else np.zeros(2))
                tracks.append(owners[box])
            if box in owners:
                owners[box].add(float(time_s), boxes[box], float(scores[box]), None if seen is None else seen[box])
    return tracks


def _matched(
    tracks: Sequence[Track], boxes: np.ndarray, seen: np.ndarray | None, time_s: float
) -> list[tuple[int, int]]:
    """Pairs of track and box that overlap by `LEAST_IOU` at least, whose likeness is largest in sum (Kuhn 1955)."""
    if not tracks or not len(boxes):
        return []
    expected, last = (
        iou(grown(np.stack(places), GROWTH), grown(boxes, GROWTH))
        for places in ([track.expected_at(time_s) for track in tracks], [track.boxes_xyxy[-1] for track in tracks])
    )
    overlaps = np.maximum(expected, last)
    likeness = expected + LAST_WEIGHT * last
    likeness += SEEN_AGAIN * np.array([[len(track.times_s) > 1] for track in tracks])
    if seen is not None:
        likeness += LOOK_WEIGHT * np.stack([track.look for track in tracks if track.look is not None]) @ seen.T
    likeness[overlaps < LEAST_IOU] = 0.0
    pairs = zip(*linear_sum_assignment(likeness, maximize=True), strict=True)
    return [(int(track), int(box)) for track, box in pairs if overlaps[track, box] >= LEAST_IOU]


def looks(frame_rgb: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """Colours of boxes, float64 [N, 128], of unit length: the dot product of two is 1 for equal and 0 for unlike ones.

    Roots of the shares of 64 colours (4 levels of each channel) in the upper and the lower half of the box without its
    margins (a fifth of the width on each side, a tenth of the height), where the background is: Bhattacharyya's
    coefficient, as in Comaniciu et al. 2003.
    """
    height, width = frame_rgb.shape[:2]
    found = np.zeros((len(boxes_xyxy), 2, 64))
    for i, box in enumerate(boxes_xyxy):
        margin = (box[2:] - box[:2]) * (0.2, 0.1)
        left, top = ((box[:2] + margin) * (width, height)).astype(int).clip(0, (width - 1, height - 1))
        right, bottom = np.ceil((box[2:] - margin) * (width, height)).astype(int)
        inner = frame_rgb[top : max(bottom, top + 1), left : max(right, left + 1)].astype(np.int64) // 64
        colours = inner[..., 0] * 16 + inner[..., 1] * 4 + inner[..., 2]
        middle = len(colours) // 2
        for j, half in enumerate((colours[: max(middle, 1)], colours[middle:])):
            found[i, j] = np.bincount(half.ravel(), minlength=64) / half.size
    return np.sqrt(found.reshape(len(boxes_xyxy), 128) / 2.0)


def track_rows(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """Tracks as a column holds them."""
    return [
        {"track": i, "times_s": t.times_s, "boxes_xyxy": [box.tolist() for box in t.boxes_xyxy], "scores": t.scores}
        for i, t in enumerate(tracks)
    ]
