"""People, measured without a model to download: OpenCV's HOG detector of whole figures, and the bodies below faces.

Histograms of oriented gradients and a linear classifier whose weights are in OpenCV (Dalal and Triggs 2005), for
people who stand or walk, seen whole. On recorded footage that is a small part of all people, so every face that is
tracked counts as a person too.

Measured against YOLOX-nano's sure boxes on 18 videos, two samples per second, at an overlap of 0.35: HOG alone finds
0.2 of 490 people and 0.8 of what it finds is one, faces alone 0.44 and 0.97, both together 0.58 and 0.91. It does not
see people who turn their back and are cut off, sit, or are dark and far away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
from scipy.special import expit

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.crops import frame_at
from processors.decode import SAMPLE_LONGEST_PX
from processors.track.boxes import area, overlap
from processors.track.detector import people_columns, people_row
from processors.track.link import Found, linked

EDGE_PX = 16
"""The detector wants so much around a figure (Dalal and Triggs 2005): the frame's edge is repeated."""
STEP = 1.08
"""Between sizes that are looked at. Frames are not enlarged: at 1.5 times their size 0.34 were found instead of 0.31,
but only 0.37 instead of 0.49 of them were people, for 2.6 times the work."""
MARGIN_MIDDLE, MARGIN_STEEPNESS = 0.4, 3.0
"""Chosen: makes of the classifier's margin the share of people among such boxes that was seen: 0.57 above a margin of
0.5, 0.67 above 0.7, 0.8 above 0.9, 0.92 above 1.2."""
DOUBTFUL = 0.5
SAME_SHARE = 0.5
"""Of the smaller of two boxes that lies in the other, to be one person. Chosen: false figures lie in true ones, about
an arm or the legs."""
BODY_SIDE, BODY_ABOVE, BODY_BELOW = 2.2, 0.4, 8.5
"""Reach of a body to each side of a face's middle, in widths of the face, above its top and below its bottom, in
heights. Medians over 217 faces and YOLOX-nano's boxes: 1.9 to 2.0 (2.2 to 2.4 but for close-ups, which the frame's
edges cut), 0.3 to 0.7, and 8.2 to 8.8 of whole figures."""
HEAD_SIDE, HEAD_BELOW = 0.2, 0.35
"""Where a figure's face may be: shares of its width to each side of its middle, and of its height below its top."""


@dataclass(frozen=True)
class Options:
    """min_score: least score of a figure without a face that opens a track."""

    min_score: float = 0.8


class Hog(Processor):
    """Tracks of people; their boxes are those of figures, or bodies drawn below faces."""

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=SAMPLE_LONGEST_PX, columns=("face_tracks",))
    Options = Options
    columns = people_columns(
        "HOG (Dalal and Triggs 2005) in OpenCV, and bodies drawn below the faces of face_tracks", measured=True
    )

    def load(self, device: str) -> None:
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))

    def weights(self) -> dict[str, str]:
        return {f"OpenCV {version('opencv-contrib-python-headless')} HOG people detector": "in the package"}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._row(clip, row["face_tracks"]) for clip, row in zip(clips, inputs, strict=True)]

    def _row(self, clip: DecodedClip, face_tracks: Sequence[Mapping[str, Any]] | None) -> Row:
        if face_tracks is None:
            return {column.name: None for column in self.columns}
        faces: list[list[tuple[list[float], float]]] = [[] for _ in clip.frames_rgb]
        for track in face_tracks:
            for time_s, box, score in zip(track["times_s"], track["boxes_xyxy"], track["scores"], strict=True):
                if (frame := frame_at(clip, time_s)) is not None:
                    faces[frame].append((box, score))
        found = [
            people(self._figures(frame), _found(of_frame))
            for frame, of_frame in zip(clip.frames_rgb, faces, strict=True)
        ]
        return people_row(linked(clip.frame_times_s, found, self.options.min_score, clip.frames_rgb))

    def _figures(self, frame_rgb: np.ndarray) -> Found:
        """Figures, each once, cut at the frame."""
        edged = cv2.copyMakeBorder(frame_rgb, EDGE_PX, EDGE_PX, EDGE_PX, EDGE_PX, cv2.BORDER_REPLICATE)
        size = np.array(frame_rgb.shape[1::-1], np.float64)
        if (np.array(edged.shape[1::-1]) < self._hog.winSize).any():
            return _found([])
        places, margins = self._hog.detectMultiScale(
            edged, winStride=(8, 8), padding=(8, 8), scale=STEP, groupThreshold=0
        )
        found = [
            (np.array([x, y, x + width, y + height]) - EDGE_PX, expit(MARGIN_STEEPNESS * (margin - MARGIN_MIDDLE)))
            for (x, y, width, height), margin in zip(places, margins, strict=True)
        ]
        likely = sorted(((box / np.tile(size, 2)).clip(0.0, 1.0).tolist(), s) for box, s in found if s >= DOUBTFUL)
        boxes, scores = _found(likely)
        kept: list[int] = []
        for box in np.argsort(-scores, kind="stable").tolist():
            if not (shared(boxes[[box]], boxes[kept]) > SAME_SHARE).any():
                kept.append(box)
        return Found(boxes[kept], scores[kept])


def people(figures: Found, faces: Found) -> Found:
    """The bodies below the faces, and the figures that are none of them."""
    below = bodies(faces.boxes_xyxy)
    centres = (faces.boxes_xyxy[:, :2] + faces.boxes_xyxy[:, 2:]) / 2.0
    left, top, right, bottom = (figures.boxes_xyxy[:, [i]] for i in range(4))
    aside = np.abs(centres[:, 0] - (left + right) / 2.0) < HEAD_SIDE * (right - left)
    at_top = (centres[:, 1] > top) & (centres[:, 1] < top + HEAD_BELOW * (bottom - top))
    is_same = (shared(figures.boxes_xyxy, below) > SAME_SHARE) | (aside & at_top)
    others = ~is_same.any(axis=1)
    return Found(
        np.concatenate([below, figures.boxes_xyxy[others]]), np.concatenate([faces.scores, figures.scores[others]])
    )


def shared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Share of the smaller box that lies in the other, float64 [M, N], of boxes [M, 4] and [N, 4]."""
    return overlap(left, right) / np.maximum(np.minimum(area(left)[:, None], area(right)[None, :]), 1e-12)


def bodies(faces_xyxy: np.ndarray) -> np.ndarray:
    """Boxes of the bodies of faces, float64 [N, 4], cut at the frame."""
    widths, heights = (faces_xyxy[:, 2:] - faces_xyxy[:, :2]).T
    middles = (faces_xyxy[:, 0] + faces_xyxy[:, 2]) / 2.0
    reach = [
        middles - BODY_SIDE * widths,
        faces_xyxy[:, 1] - BODY_ABOVE * heights,
        middles + BODY_SIDE * widths,
        faces_xyxy[:, 3] + BODY_BELOW * heights,
    ]
    return np.stack(reach, axis=1).clip(0.0, 1.0)


def _found(boxes_and_scores: Sequence[tuple[Sequence[float], float]]) -> Found:
    boxes = np.array([box for box, _ in boxes_and_scores], np.float64).reshape(-1, 4)
    return Found(boxes, np.array([score for _, score in boxes_and_scores], np.float64))
