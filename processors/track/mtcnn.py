"""Faces and their tracks: facenet-pytorch's MTCNN on sampled frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files

import numpy as np
from facenet_pytorch import MTCNN

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.track.link import Found, Track, linked, track_rows
from store.records import Column

SMALLEST_PX = 20
"""Side of the smallest face that is looked for: MTCNN's own default, 5% of a frame that is 384 px wide."""


@dataclass(frozen=True)
class Options:
    """min_score: least probability of a face (false faces were seen near 0.77)."""

    min_score: float = 0.9


class Mtcnn(Processor):
    """Face tracks. A clip without a face has 0 of them, not None."""

    version = 3
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
                row | {"landmarks_xy": [points[s, *box] for s, box in zip(t.times_s, t.boxes_xyxy, strict=True)]}
                for row, t in zip(track_rows(tracks), tracks, strict=True)
            ],
        }

    def _faces(self, frames_rgb: np.ndarray) -> tuple[list[Found], list[np.ndarray]]:
        """The faces of each frame, cut at the frame, and their landmarks float64 [N, 5, 2], normalised as boxes are."""
        height, width = frames_rgb.shape[1:3]
        none = Found(np.zeros((0, 4)), np.zeros(0))
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
            faces.append(Found(np.clip(scaled, 0.0, 1.0), scores.astype(np.float64)))
            landmarks.append(np.clip(points.astype(np.float64) / (width, height), 0.0, 1.0))
        return faces, landmarks


def largest_area(tracks: Sequence[Track]) -> float | None:
    """Share of the frame of the largest track, among those seen more than once where there are any.

    Of 21 faces that were seen in one sample only, three were a print on a shirt, larger than the wearer's face:
    such must not set the area. They count as faces, though: what may show a person must not pass for empty.
    """
    seen_again = [track for track in tracks if len(track.times_s) > 1]
    return max((track.area for track in seen_again or tracks), default=None)
