"""Faces and their tracks: facenet-pytorch's MTCNN on sampled frames, linked by overlap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files

import numpy as np
from facenet_pytorch import MTCNN
from scipy.optimize import linear_sum_assignment

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

SMALLEST_PX = 20
"""Side of the smallest face that is looked for: MTCNN's own default, 5% of a frame that is 384 px wide."""
LINK_IOU = 0.2
LINK_GROWTH = 2.0
"""Chosen: boxes are compared at twice their size, so that a head that moved by its own width is still itself:
people walking towards a camera do so in half a second."""
LINK_GAP_S = 1.6
"""Chosen: a face that is hidden (a hand, a turn) for two samples keeps its track."""


@dataclass(frozen=True)
class Options:
    """min_score: least probability of a face (false faces were seen near 0.77)."""

    min_score: float = 0.9


@dataclass
class Track:
    """One face through a clip: boxes_xyxy normalised to 0..1 by the frame's width and height."""

    times_s: list[float] = field(default_factory=list)
    boxes_xyxy: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, time_s: float, box_xyxy: np.ndarray, score: float) -> None:
        self.times_s.append(time_s)
        self.boxes_xyxy.append(box_xyxy)
        self.scores.append(score)

    @property
    def area(self) -> float:
        """Median share of the frame."""
        boxes = np.stack(self.boxes_xyxy)
        return float(np.median((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))


class Mtcnn(Processor):
    """Face tracks. A clip without a face has 0 of them, not None."""

    version = 2
    # Chosen: of people walking towards the camera, 320 px find 13 faces, 384 px 27, for a sixth more time.
    reads = Reads(frame_rate_hz=2.0, longest_px=384)
    Options = Options
    columns = (
        Column(name="face_count", kind="int", unit="faces", low=0, source="largest number of faces at once; MTCNN"),
        Column(name="face_area", kind="float", low=0.0, high=1.0,
               source="share of the frame of the largest track's median box, among tracks seen more than once where "
               "there are any; None without a face"),
        Column(name="face_tracks", kind="json",
               source="MTCNN, Zhang et al. 2016, by facenet-pytorch; list of {track, times_s, boxes_xyxy in 0..1, "
               "scores, landmarks_xy: eyes, nose and corners of the mouth, left to right, in 0..1}"),
    )  # fmt: skip

    def load(self, device: str) -> None:
        thresholds = [0.6, 0.7, self.options.min_score]
        self._mtcnn = MTCNN(keep_all=True, min_face_size=SMALLEST_PX, thresholds=thresholds, device=device).eval()
        data = files("facenet_pytorch") / "data"
        self._digest = sha256(
            b"".join((data / f"{net}.pt").read_bytes() for net in ("pnet", "rnet", "onet"))
        ).hexdigest()

    def weights(self) -> dict[str, str]:
        return {f"facenet-pytorch {version('facenet-pytorch')} MTCNN": self._digest}

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip) for clip in clips]

    def _measured(self, clip: DecodedClip) -> Row:
        faces, landmarks = self._faces(clip.frames_rgb)
        tracks = linked(clip.frame_times_s, faces)
        points = {
            (float(time_s), *box): marks.tolist()
            for time_s, (boxes, _), of_frame in zip(clip.frame_times_s, faces, landmarks, strict=True)
            for box, marks in zip(boxes, of_frame, strict=True)
        }
        return {
            "face_count": max(len(boxes) for boxes, _ in faces),
            "face_area": largest_area(tracks),
            "face_tracks": [
                {
                    "track": i,
                    "times_s": t.times_s,
                    "boxes_xyxy": [box.tolist() for box in t.boxes_xyxy],
                    "scores": t.scores,
                    "landmarks_xy": [points[s, *box] for s, box in zip(t.times_s, t.boxes_xyxy, strict=True)],
                }
                for i, t in enumerate(tracks)
            ],
        }

    def _faces(self, frames_rgb: np.ndarray) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
        """For each frame: (boxes float64 [N, 4], scores float64 [N]), and landmarks float64 [N, 5, 2].

        Boxes and landmarks are normalised and cut at the frame.
        """
        height, width = frames_rgb.shape[1:3]
        none = np.zeros((0, 4)), np.zeros(0)
        if min(height, width) < SMALLEST_PX:
            return [none for _ in frames_rgb], [np.zeros((0, 5, 2)) for _ in frames_rgb]
        faces, landmarks = [], []
        for boxes, scores, points in zip(*self._mtcnn.detect(frames_rgb, landmarks=True), strict=True):
            if boxes is None:
                faces.append(none)
                landmarks.append(np.zeros((0, 5, 2)))
                continue
            # numpy 2: facenet-pytorch gives arrays of dtype object.
            scaled = boxes.astype(np.float64) / (width, height, width, height)
            faces.append((np.clip(scaled, 0.0, 1.0), scores.astype(np.float64)))
            landmarks.append(np.clip(points.astype(np.float64) / (width, height), 0.0, 1.0))
        return faces, landmarks


def largest_area(tracks: Sequence[Track]) -> float | None:
    """Share of the frame of the largest track, among those seen more than once where there are any.

    Of 21 faces that were seen in one sample only, three were a print on a shirt, larger than the wearer's face:
    such must not set the area. They count as faces, though: what may show a person must not pass for empty.
    """
    seen_again = [track for track in tracks if len(track.times_s) > 1]
    return max((track.area for track in seen_again or tracks), default=None)


def linked(times_s: np.ndarray, faces: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Track]:
    """Tracks over the frames, in order of appearance, then from left to right.

    Each frame's boxes are matched to the last boxes of the tracks that are not older than `LINK_GAP_S`, so
    that the overlap (intersection over union of the grown boxes) is largest in sum (Kuhn 1955); less than
    `LINK_IOU` is no match.
    """
    tracks: list[Track] = []
    for time_s, (boxes, scores) in zip(times_s, faces, strict=True):
        open_tracks = [track for track in tracks if time_s - track.times_s[-1] <= LINK_GAP_S]
        last_boxes = np.array([track.boxes_xyxy[-1] for track in open_tracks]).reshape(-1, 4)
        overlap = _iou(_grown(last_boxes), _grown(boxes))
        owners = {
            box: open_tracks[track]
            for track, box in zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
            if overlap[track, box] >= LINK_IOU
        }
        for box in np.argsort(boxes[:, 0], kind="stable"):
            if box not in owners:
                owners[box] = Track()
                tracks.append(owners[box])
            owners[box].add(float(time_s), boxes[box], float(scores[box]))
    return tracks


def _grown(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Boxes [N, 4] about the same centres, `LINK_GROWTH` times as wide and high."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2.0
    halves = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * LINK_GROWTH / 2.0
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _iou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Intersection over union float64 [M, N] of boxes xyxy [M, 4] and [N, 4]."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (left, right)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-12)
