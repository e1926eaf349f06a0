"""Camera motion told apart from the subject's: curves, a soft summary, and the motion of each track."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.motion.steady import LEAST_SIDE_PX, Camera, camera_between, own_motion
from store.records import Column

CURVE_RATE_HZ = 4.0
LONGEST_PX = 192
STATIC_SPEED = 0.02
"""Heights per second that a camera at rest is counted as. Chosen: cameras on a stand measure 0.001 to 0.005, held in
the hand 0.02 to 0.1."""
EDGE = 0.7
"""Heights from the middle to where turns and zooms are felt: turns them into speeds."""
SMOOTH_S = 1.0
"""Chosen: what comes and goes within a second is shake, what stays is meant."""
KINDS = ("static", "pan", "tilt", "zoom", "shake")
BODY_WIDTHS = 3.0
"""A face is taken to have a body below it that is so many faces wide."""
TRACKED = ("face_tracks", "people_tracks")

_Boxes = list[tuple[str, Mapping[str, Any]]]
"""Column and track."""


@dataclass(frozen=True)
class Options:
    """None."""


@dataclass(frozen=True)
class _Step:
    """Between two pictures `step_s` apart, the later at `time_s`; camera and own motion None where untold."""

    time_s: float
    step_s: float
    camera: Camera | None
    motion: np.ndarray | None


class CameraMotion(Processor):
    """Camera and subject motion; None of a single picture, of tiny ones and of those without structure."""

    version = 1
    reads = Reads(frame_rate_hz=CURVE_RATE_HZ, longest_px=LONGEST_PX, optional=TRACKED)
    Options = Options
    columns = (
        Column(name="camera_pan_curve", kind="curve", unit="frame heights/s", rate_hz=CURVE_RATE_HZ,
               source="speed at which the picture's content goes left, so that a turn to the right is positive: "
               "similarity that most followed corners agree with (Lucas-Kanade, consensus; Fischler and Bolles 1981)"),
        Column(name="camera_tilt_curve", kind="curve", unit="frame heights/s", rate_hz=CURVE_RATE_HZ,
               source="as camera_pan_curve: speed at which the content goes down, positive when the camera looks up"),
        Column(name="camera_zoom_curve", kind="curve", unit="1/s", rate_hz=CURVE_RATE_HZ,
               source="as camera_pan_curve: share by which the content grows per second, also when the camera nears"),
        Column(name="camera_roll_curve", kind="curve", unit="deg/s", rate_hz=CURVE_RATE_HZ,
               source="as camera_pan_curve: the camera's turn about its axis, clockwise positive"),
        Column(name="camera_motion", kind="json", low=0.0, high=1.0,
               source="shares of static, pan, tilt, zoom and shake: mean squares of the speeds that last a second, and "
               "of what is left of them (shake), with a static camera at 0.02 heights/s; nearer to equal shares the "
               "lower camera_confidence is"),
        Column(name="camera_confidence", kind="float", low=0.0, high=1.0,
               source="mean weighted share of the corners that moved as the camera's motion says; None where the "
               "pictures have too few corners"),
        Column(name="subject_motion_mean", kind="float", unit="frame heights/s", low=0.0,
               source="mean of subject_motion_curve"),
        Column(name="subject_motion_curve", kind="curve", unit="frame heights/s", low=0.0, rate_hz=CURVE_RATE_HZ,
               source="mean magnitude of dense optical flow (DIS, Kroeger et al. 2016) after the camera's motion was "
               "taken out of the earlier picture"),
        Column(name="motion_tracks", kind="json", unit="frame heights/s", low=0.0,
               source="as subject_motion_curve within each box of face_tracks and people_tracks: list of {of, track, "
               "times_s, energy: mean own motion, inner: mean difference from the box's median motion}"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip, row) for clip, row in zip(clips, inputs, strict=True)]

    def _measured(self, clip: DecodedClip, row: Row) -> Row:
        if len(clip.frames_rgb) < 2 or min(clip.frames_rgb.shape[1:3]) < LEAST_SIDE_PX:
            return dict.fromkeys(column.name for column in self.columns)
        tracks = [(name, track) for name in TRACKED for track in row.get(name) or ()]
        steps = _steps(clip, tracks)
        speeds = np.array([_speed(step) for step in steps])
        known = ~np.isnan(speeds).any(axis=1)
        confidence = float(np.mean([step.camera.agreement for step in steps if step.camera])) if known.any() else None
        energy = np.array([_mean_speed(step.motion, step.step_s) for step in steps])
        seen = energy[~np.isnan(energy)]
        return {
            **{f"camera_{name}_curve": _curve(speeds[:, i]) for i, name in enumerate(("pan", "tilt", "zoom", "roll"))},
            "camera_motion": None if confidence is None else camera_kinds(speeds[known], confidence),
            "camera_confidence": confidence,
            "subject_motion_mean": float(seen.mean()) if len(seen) else None,
            "subject_motion_curve": _curve(energy),
            "motion_tracks": [_track_motion(name, track, steps) for name, track in tracks],
        }


def camera_kinds(speeds: np.ndarray, confidence: float) -> dict[str, float]:
    """Shares of KINDS; see the column `camera_motion`.

    Args:
        speeds: float64 [N, 4], N >= 1: pan and tilt in heights/s, zoom in 1/s, roll in deg/s.
    """
    felt = speeds * (1.0, 1.0, EDGE, np.radians(1.0) * EDGE)
    width = min(len(felt), round(SMOOTH_S * CURVE_RATE_HZ) | 1)
    width -= 1 - width % 2
    padded = np.pad(felt, ((width // 2, width // 2), (0, 0)), mode="reflect" if len(felt) > width // 2 else "edge")
    lasting = np.stack([np.convolve(column, np.ones(width) / width, mode="valid") for column in padded.T], axis=1)
    meant = (lasting**2).mean(axis=0)
    shake = ((felt - lasting) ** 2).sum(axis=1).mean()
    squares = np.array([STATIC_SPEED**2, *meant[:3], shake + meant[3]])
    shares = confidence * squares / squares.sum() + (1.0 - confidence) / len(KINDS)
    return dict(zip(KINDS, shares.tolist(), strict=True))


def box_at(track: Mapping[str, Any], time_s: float) -> np.ndarray | None:
    """The track's box at a time, float64 [4] in 0..1 of the frame, between its sights linear; None beyond them."""
    times_s = track["times_s"]
    if not times_s or not times_s[0] <= time_s <= times_s[-1]:
        return None
    boxes = np.asarray(track["boxes_xyxy"], np.float64)
    return np.array([np.interp(time_s, times_s, side) for side in boxes.T])


def _steps(clip: DecodedClip, tracks: _Boxes) -> list[_Step]:
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames_rgb]
    steps = []
    for i in range(1, len(greys)):
        before, after, time_s = greys[i - 1], greys[i], float(clip.frame_times_s[i])
        step_s = time_s - float(clip.frame_times_s[i - 1])
        people = _people(before.shape, tracks, float(clip.frame_times_s[i - 1]))
        camera = camera_between(before, after, people)
        motion = None if camera is None else own_motion(before, after, camera)
        steps.append(_Step(time_s, step_s, camera, motion))
    return steps


def _people(shape: tuple[int, ...], tracks: _Boxes, time_s: float) -> np.ndarray:
    """bool [h, w]: inside the boxes of people, and of faces with the bodies below them."""
    mask = np.zeros(shape, bool)
    for name, track in tracks:
        box = box_at(track, time_s)
        if box is None:
            continue
        if name == "face_tracks":
            middle, half = (box[0] + box[2]) / 2, (box[2] - box[0]) / 2 * BODY_WIDTHS
            mask[_window(np.array([middle - half, box[3], middle + half, 1.0]), shape)] = True
        mask[_window(box, shape)] = True
    return mask


def _window(box_xyxy: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a box, at least one pixel where it lies inside."""
    height, width = shape
    left, top, right, bottom = np.clip(box_xyxy, 0.0, 1.0) * (width, height, width, height)
    return slice(int(top), max(int(np.ceil(bottom)), int(top) + 1)), slice(
        int(left), max(int(np.ceil(right)), int(left) + 1)
    )


def _speed(step: _Step) -> np.ndarray:
    """float64 [4]: pan, tilt, zoom, roll per second; NaN where untold."""
    if step.camera is None:
        return np.full(4, np.nan)
    shift, turn = step.camera.shift, step.camera.turn
    return np.array([-shift.real, shift.imag, turn.real, -np.degrees(turn.imag)]) / step.step_s


def _mean_speed(motion: np.ndarray | None, step_s: float) -> float:
    """Mean magnitude per second; NaN where nothing is told."""
    if motion is None or np.isnan(motion).all():
        return float("nan")
    return float(np.nanmean(np.abs(motion))) / step_s


def _curve(values: np.ndarray) -> list[float | None] | None:
    """A value for every picture from one for every step: nothing is before the first, which repeats the second."""
    if np.isnan(values).all():
        return None
    return [None if np.isnan(value) else float(value) for value in (values[0], *values)]


def _track_motion(name: str, track: Mapping[str, Any], steps: Sequence[_Step]) -> dict[str, Any]:
    times_s, energy, inner = [], [], []
    for step in steps:
        box = box_at(track, step.time_s)
        if box is None or step.motion is None:
            continue
        inside = step.motion[_window(box, step.motion.shape)]
        inside = inside[~np.isnan(inside)]
        if inside.size:
            own = complex(np.median(inside.real), np.median(inside.imag))
            times_s.append(step.time_s)
            energy.append(float(np.abs(inside).mean()) / step.step_s)
            inner.append(float(np.abs(inside - own).mean()) / step.step_s)
    return {"of": name, "track": track["track"], "times_s": times_s, "energy": energy, "inner": inner}
