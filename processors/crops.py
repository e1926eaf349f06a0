"""Pictures of what was tracked, cut out of a clip's frames for the processors that look closer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from processors.base import DecodedClip

SAME_TIME_S = 1e-3
"""Container time stamps are rounded to milliseconds."""


@dataclass(frozen=True)
class Crop:
    """One sight of one track: image_rgb uint8 [S, S, 3]; box_xyxy float64 [4], as tracked, in 0..1 of the frame."""

    track: int
    time_s: float
    box_xyxy: np.ndarray
    score: float
    image_rgb: np.ndarray


def crops(
    clip: DecodedClip, tracks: Sequence[Mapping[str, Any]], size_px: int, margin: float = 0.0, most: int | None = None
) -> list[Crop]:
    """Square pictures of the tracks' boxes, by track and then by time.

    Args:
        tracks: as in a column such as `face_tracks`: mappings of `track`, `times_s`, `boxes_xyxy`, `scores`.
        size_px: side of the pictures; what lies beyond the frame is black.
        margin: of the box's longer side, added on each side of it.
        most: of each track at most so many, evenly over its sights.

    Sights at times of which the clip holds no frame are passed over: ask in `reads` for frames at no lower rate than
    the processor that tracked did.
    """
    found = []
    for track in tracks:
        sights = np.arange(len(track["times_s"]))
        if most is not None and len(sights) > most:
            sights = np.unique(np.linspace(0, len(sights) - 1, most).round().astype(int))
        for i in sights:
            time_s, box_xyxy = float(track["times_s"][i]), np.asarray(track["boxes_xyxy"][i], np.float64)
            frame = frame_at(clip, time_s)
            if frame is None:
                continue
            image = square(clip.frames_rgb[frame], box_xyxy, size_px, margin)
            found.append(Crop(int(track["track"]), time_s, box_xyxy, float(track["scores"][i]), image))
    return found


def frame_at(clip: DecodedClip, time_s: float) -> int | None:
    """Index of the frame of that time; None where the clip holds none."""
    nearest = int(np.abs(clip.frame_times_s - time_s).argmin())
    return nearest if abs(clip.frame_times_s[nearest] - time_s) <= SAME_TIME_S else None


def square(frame_rgb: np.ndarray, box_xyxy: np.ndarray, size_px: int, margin: float = 0.0) -> np.ndarray:
    """The square about a box, uint8 [size_px, size_px, 3]; see `crops`."""
    height, width = frame_rgb.shape[:2]
    left, top, right, bottom = box_xyxy * (width, height, width, height)
    side = max(right - left, bottom - top, 1.0) * (1.0 + 2.0 * margin)
    scale = size_px / side
    centre_x, centre_y = (left + right) / 2.0, (top + bottom) / 2.0
    # Pixel centres lie at .5: the middle of the box becomes the middle of the picture.
    move_x, move_y = (size_px - 1) / 2.0 - scale * (centre_x - 0.5), (size_px - 1) / 2.0 - scale * (centre_y - 0.5)
    matrix = np.array([[scale, 0.0, move_x], [0.0, scale, move_y]])
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    if scale < 0.5:  # warpAffine samples points: shrink first, so that nothing is skipped
        shrunk_to = max(1, round(width * scale)), max(1, round(height * scale))
        frame_rgb = np.asarray(cv2.resize(frame_rgb, shrunk_to, interpolation=cv2.INTER_AREA), np.uint8)
        return square(frame_rgb, box_xyxy, size_px, margin)
    return np.asarray(cv2.warpAffine(frame_rgb, matrix, (size_px, size_px), flags=how), np.uint8)
