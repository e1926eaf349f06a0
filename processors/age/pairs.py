"""Which face belongs to which body, and the pictures of both that an age model looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from processors.base import DecodedClip
from processors.crops import SAME_TIME_S

Tracked = Mapping[str, Any]
"""A track as in `face_tracks` or `people_tracks`."""

LEAST_CONTAINED = 0.5
"""Chosen: half of a face lies in the box of its body; detectors cut off chin or hair, hardly more."""
SMALLEST_FACE_PX = 24
"""Chosen: MTCNN finds faces from 20 px; below 24 they are 8 px between the eyes, which say nothing of an age."""
SMALLEST_BODY_PX = 50
"""MiVOLO's own code leaves out bodies of which a side is shorter."""
LEAST_BODY_LEFT = 0.4
"""MiVOLO's own code leaves out bodies of which others hide more."""
ROUNDED = 0.3
"""Of a side: what lies between another body and the edge, if narrower, is blotted out too, and edges of which less is
left are cut off, as by MiVOLO's own code."""


@dataclass(frozen=True)
class Person:
    """Someone who is seen: by a face, by a body, or both."""

    face: Tracked | None
    body: Tracked | None


@dataclass(frozen=True)
class Sight:
    """One look at one person: face_rgb and body_rgb uint8 [H, W, 3], not both None."""

    face_rgb: np.ndarray | None
    body_rgb: np.ndarray | None


def paired(faces: Sequence[Tracked], bodies: Sequence[Tracked]) -> list[Person]:
    """Everyone seen, each face with at most one body, so that faces fit their bodies best in sum (Kuhn 1955)."""
    fits = np.array([[_fit(face, body) for body in bodies] for face in faces]).reshape(len(faces), len(bodies))
    owners = {
        face: body
        for face, body in zip(*linear_sum_assignment(fits, maximize=True), strict=True)
        if fits[face, body] > 0.0
    }
    people = [Person(face, bodies[owners[i]] if i in owners else None) for i, face in enumerate(faces)]
    return people + [Person(None, body) for i, body in enumerate(bodies) if i not in owners.values()]


def _fit(face: Tracked, body: Tracked) -> float:
    """How well a face fits a body, over the times at which both are seen; 0 where it does not lie in it.

    The share of the face that lies in the body, the overlap (intersection over union) and how far it is from the body's
    middle (1 at its edge), weighted 2 : 1 : 1. The overlap tells the smaller of two bodies that hold a face. A head is
    at an end: by overlap alone, as in MiVOLO's own code, a face printed on a shirt was taken for its wearer's.
    """
    found = []
    for time_s, box in zip(face["times_s"], face["boxes_xyxy"], strict=True):
        if (other := box_at(body, time_s)) is not None:
            inner, outer = np.asarray(box), np.asarray(other)
            shared = _area(np.concatenate([np.maximum(inner[:2], outer[:2]), np.minimum(inner[2:], outer[2:])]))
            union = _area(inner) + _area(outer) - shared
            away = np.abs(inner[:2] + inner[2:] - outer[:2] - outer[2:]) / np.maximum(outer[2:] - outer[:2], 1e-12)
            found.append((shared / max(_area(inner), 1e-12), shared / max(union, 1e-12), min(1.0, float(away.max()))))
    if not found:
        return 0.0
    contained, overlap, away_from_middle = np.mean(found, axis=0)
    return float(2.0 * contained + overlap + away_from_middle) / 4.0 if contained >= LEAST_CONTAINED else 0.0


def box_at(track: Tracked | None, time_s: float) -> Sequence[float] | None:
    """The track's box at a time, xyxy in 0..1; None where it has none."""
    if track is None:
        return None
    boxes = zip(track["times_s"], track["boxes_xyxy"], strict=True)
    return next((box for at_s, box in boxes if abs(at_s - time_s) <= SAME_TIME_S), None)


def sights(
    person: Person, clip: DecodedClip, faces: Sequence[Tracked], bodies: Sequence[Tracked], most: int
) -> list[Sight]:
    """At most `most` looks at a person, evenly over the time at which the face is large enough, else the body.

    Args:
        faces, bodies: all that are seen; who stands before the person is blotted out of the body's picture, and so is
            every face, the person's own too, as MiVOLO was trained to see bodies.
    """
    times = _times(person.face, clip, SMALLEST_FACE_PX) or _times(person.body, clip, SMALLEST_BODY_PX)
    if len(times) > most:
        times = [times[i] for i in np.unique(np.linspace(0, len(times) - 1, most).round().astype(int))]
    found = []
    for frame, time_s in times:
        picture = clip.frames_rgb[frame]
        face_box = _pixels(box_at(person.face, time_s), picture, SMALLEST_FACE_PX)
        body_box = _pixels(box_at(person.body, time_s), picture, SMALLEST_BODY_PX)
        face_rgb = None if face_box is None else _cut(picture, face_box)
        body_rgb = None
        if body_box is not None:
            of_faces = [_pixels(box_at(face, time_s), picture) for face in faces]
            of_others = [_pixels(box_at(body, time_s), picture) for body in bodies if body is not person.body]
            body_rgb = _unhidden(picture, body_box, of_faces, of_others)
        if face_rgb is not None or body_rgb is not None:
            found.append(Sight(face_rgb, body_rgb))
    return found


Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the frame; right and bottom exclusive."""


def _times(track: Tracked | None, clip: DecodedClip, smallest_px: int) -> list[tuple[int, float]]:
    """(frame, time) at which a track's box is large enough and the clip has a frame."""
    found = []
    for time_s in () if track is None else track["times_s"]:
        frame = int(np.abs(clip.frame_times_s - time_s).argmin())
        large = _pixels(box_at(track, time_s), clip.frames_rgb[frame], smallest_px) is not None
        if large and abs(clip.frame_times_s[frame] - time_s) <= SAME_TIME_S:
            found.append((frame, time_s))
    return found


def _pixels(box_xyxy: Sequence[float] | None, picture: np.ndarray, smallest_px: int = 1) -> Box | None:
    """A box of 0..1 within a picture; None where there is none, or a side is shorter than `smallest_px`."""
    if box_xyxy is None:
        return None
    height, width = picture.shape[:2]
    edges = np.round(np.clip(box_xyxy, 0.0, 1.0) * (width, height, width, height)).astype(int)
    left, top, right, bottom = (int(edge) for edge in edges)
    return (left, top, right, bottom) if min(right - left, bottom - top) >= smallest_px else None


def _cut(picture: np.ndarray, box: Box) -> np.ndarray:
    left, top, right, bottom = box
    return picture[top:bottom, left:right]


def _unhidden(
    picture: np.ndarray, body: Box, faces: Sequence[Box | None], others: Sequence[Box | None]
) -> np.ndarray | None:
    """A body's picture with faces and other bodies blotted out, and edges of which little is left cut off; None where
    too little is left of it.
    """
    body_rgb = _cut(picture, body).copy()
    seen = np.ones(body_rgb.shape[:2], bool)
    for box in faces:
        if box is not None:
            _cut(seen, _within(box, body))[:] = False
    for box in others:
        if box is not None:
            _cut(seen, _to_the_edge(_within(box, body), seen.shape))[:] = False
    body_rgb[~seen] = 0
    rows, columns = (np.flatnonzero(seen.mean(axis=axis) > ROUNDED) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return None
    left = body_rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return left if left.size >= LEAST_BODY_LEFT * body_rgb.size else None


def _within(box: Box, outer: Box) -> Box:
    """A box in the pixels of the picture that was cut out at `outer`; without area where they do not meet."""
    wide, high = outer[2] - outer[0], outer[3] - outer[1]
    across = np.clip([box[0] - outer[0], box[2] - outer[0]], 0, wide)
    down = np.clip([box[1] - outer[1], box[3] - outer[1]], 0, high)
    return int(across[0]), int(down[0]), int(across[1]), int(down[1])


def _to_the_edge(box: Box, shape: tuple[int, ...]) -> Box:
    """A box widened to those edges of a picture of this shape that it nearly reaches; one without area stays so."""
    (left, top, right, bottom), (high, wide) = box, shape
    if left == right or top == bottom:
        return box
    left, right = 0 if left < ROUNDED * wide else left, wide if wide - right < ROUNDED * wide else right
    top, bottom = 0 if top < ROUNDED * high else top, high if high - bottom < ROUNDED * high else bottom
    return left, top, right, bottom


def _area(box_xyxy: np.ndarray) -> float:
    return float(np.prod(np.maximum(box_xyxy[2:] - box_xyxy[:2], 0.0)))
