"""What a person wears, as colours and texture of the torso below the face: for telling the same clothes again within
one video, minutes apart. It says nothing of who somebody is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.crops import SAME_TIME_S
from store.records import Column

REACH = (1.1, 0.35, 2.6)
"""Of the face's width and height: how far the torso reaches to either side of the face's middle, where below the chin
it begins, and where it ends. Chosen: shoulders are about two heads wide; what begins higher shows hair and hands."""
LEAST_VISIBLE = 0.4
"""Chosen: share of the torso that must lie inside the frame; in close-ups it does not."""
MOST_SIGHTS = 4
"""Of a track, evenly over it."""
SIDE_PX = 32
CHROMA_BINS, LUMA_BINS, TURN_BINS = 6, 8, 8
HALVES = 2
"""Upper and lower half apart: a shirt and trousers are not trousers and a shirt."""


@dataclass(frozen=True)
class Options:
    """None."""


class Body(Processor):
    """One vector per face track whose torso is seen."""

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384, columns=("face_tracks",))
    Options = Options
    columns = (
        Column(name="identity_bodies", kind="json",
               source="colour (CIE Lab) and gradient histograms of the torso below each face, square roots "
               "(Hellinger), unit norm; list of {track: index in face_tracks, vector, n_sights}; tracks without a "
               "torso in view are left out"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_measured(clip, row["face_tracks"]) for clip, row in zip(clips, inputs, strict=True)]


def _measured(clip: DecodedClip, tracks: Sequence[Mapping[str, Any]] | None) -> Row:
    if tracks is None:
        return {"identity_bodies": None}
    bodies = []
    for track in tracks:
        vectors = [describe(torso) for torso in _torsos(clip, track)]
        if vectors:
            mean = np.mean(vectors, axis=0)
            vector = (mean / np.linalg.norm(mean)).round(4).tolist()
            bodies.append({"track": int(track["track"]), "vector": vector, "n_sights": len(vectors)})
    return {"identity_bodies": bodies}


def _torsos(clip: DecodedClip, track: Mapping[str, Any]) -> list[np.ndarray]:
    """Pictures uint8 [H, W, 3] of a track's torso, where enough of it is in view."""
    n = len(track["times_s"])
    found = []
    for i in np.unique(np.linspace(0, n - 1, min(n, MOST_SIGHTS)).round().astype(int)):
        frame = int(np.abs(clip.frame_times_s - track["times_s"][i]).argmin())
        if abs(clip.frame_times_s[frame] - track["times_s"][i]) <= SAME_TIME_S:
            torso = torso_of(clip.frames_rgb[frame], np.asarray(track["boxes_xyxy"][i], np.float64))
            if torso is not None:
                found.append(torso)
    return found


def torso_of(frame_rgb: np.ndarray, face_xyxy: np.ndarray) -> np.ndarray | None:
    """The picture uint8 [H, W, 3] of the torso below a face (box in 0..1), or None where too little is in view."""
    height, width = frame_rgb.shape[:2]
    left, top, right, bottom = face_xyxy * (width, height, width, height)
    aside, begins, ends = REACH
    middle, face_width, face_height = (left + right) / 2.0, right - left, bottom - top
    x0, x1 = middle - aside * face_width, middle + aside * face_width
    y0, y1 = bottom + begins * face_height, bottom + ends * face_height
    seen_x0, seen_x1 = round(max(x0, 0.0)), round(min(x1, float(width)))
    seen_y0, seen_y1 = round(max(y0, 0.0)), round(min(y1, float(height)))
    if min(seen_x1 - seen_x0, seen_y1 - seen_y0) < 4:
        return None
    if (seen_x1 - seen_x0) * (seen_y1 - seen_y0) < LEAST_VISIBLE * (x1 - x0) * (y1 - y0):
        return None
    return frame_rgb[seen_y0:seen_y1, seen_x0:seen_x1]


def describe(torso_rgb: np.ndarray) -> np.ndarray:
    """Float64 [104], unit norm, not negative: the dot product of two is their Bhattacharyya coefficient, in 0..1."""
    small = cv2.resize(torso_rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    luma, a, b = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2LAB))
    across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    strength, turn = np.hypot(across, down), np.mod(np.arctan2(down, across), np.pi)
    parts = []
    for rows in np.split(np.arange(SIDE_PX), HALVES):
        chroma, _, _ = np.histogram2d(a[rows].ravel(), b[rows].ravel(), bins=CHROMA_BINS, range=[[-60, 60], [-60, 60]])
        lumas, _ = np.histogram(luma[rows], bins=LUMA_BINS, range=(0, 100))
        turns, _ = np.histogram(turn[rows], bins=TURN_BINS, range=(0, np.pi), weights=strength[rows])
        # A plain cloth has no texture: where gradients are faint the noise of the camera must not speak.
        turns = turns + strength[rows].size * 4.0 / TURN_BINS
        parts += [histogram.ravel() / max(histogram.sum(), 1e-9) for histogram in (chroma, lumas, turns)]
    whole = np.sqrt(np.concatenate(parts))
    return whole / max(float(np.linalg.norm(whole)), 1e-9)
