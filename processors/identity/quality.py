"""How well a face shows who someone is: blur, size, turn of the head, and how much of it is hidden.

Each is 0..1, and their geometric mean is the face's quality: one bad property makes a bad picture, whatever the
others are. It weights the face in its track's vector and, in `store.identities`, what the vector is evidence of.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from processors.crops import square

PATCH_PX = 64
"""Side of the picture that blur is measured on, so that the measure does not grow with the face."""
SHARP_VARIANCE = (8.0, 120.0)
"""Chosen: variance of the Laplacian from which a face is not wholly blurred, and from which it is sharp. Of the
press photographs in shared/media, 384 px at most, nine in ten lie above 250; shrunk to 24 px and grown again, below
20."""
SIZE_PX = (16.0, 56.0)
"""Chosen: shorter side of the box. MTCNN finds faces from 20 px; nets that tell people apart see 112 or 160 px, and
what they are shown smaller than half of that is mostly interpolation."""
NOSE_DEPTH = 0.5
"""Chosen: how far the tip of the nose stands out before the line of the eyes, in distances between the eyes."""
YAW_DEGREES = 75.0
"""Chosen: a head that is turned further shows one eye, and the landmarks of the other are guessed."""
SURE_SCORE = (0.90, 0.995)
"""Chosen: MTCNN gives unhindered faces 0.999 and more; hands, cups and hair before a face take it down to 0.9."""


@dataclass(frozen=True)
class FaceQuality:
    """Each 0 (tells nothing) to 1; `yaw_degrees` is signed, positive where the face looks to the picture's right."""

    sharp: float
    large: float
    frontal: float
    visible: float
    yaw_degrees: float

    @property
    def value(self) -> float:
        """Geometric mean."""
        return float((self.sharp * self.large * self.frontal * self.visible) ** 0.25)


def face_quality(frame_rgb: np.ndarray, box_xyxy: np.ndarray, landmarks_xy: np.ndarray, score: float) -> FaceQuality:
    """Quality of one face.

    Args:
        frame_rgb: uint8 [H, W, 3].
        box_xyxy: float64 [4] in 0..1.
        landmarks_xy: float64 [5, 2] in 0..1: eyes, nose, corners of the mouth.
        score: of the detector.
    """
    height, width = frame_rgb.shape[:2]
    side = float(min((box_xyxy[2] - box_xyxy[0]) * width, (box_xyxy[3] - box_xyxy[1]) * height))
    yaw = yaw_degrees(landmarks_xy * (width, height))
    edge = np.cos(np.radians(YAW_DEGREES))
    return FaceQuality(
        sharp=_ramp(np.log(sharpness(frame_rgb, box_xyxy) + 1e-6), *np.log(SHARP_VARIANCE)),
        large=_ramp(side, *SIZE_PX),
        frontal=_ramp(np.cos(np.radians(yaw)), edge, 1.0),
        visible=_ramp(score, *SURE_SCORE) * _inside(landmarks_xy),
        yaw_degrees=yaw,
    )


def sharpness(frame_rgb: np.ndarray, box_xyxy: np.ndarray) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of the face's luma at `PATCH_PX`, in squared grey levels."""
    patch = cv2.cvtColor(square(frame_rgb, box_xyxy, PATCH_PX), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(patch, cv2.CV_64F).var())


def yaw_degrees(landmarks_px: np.ndarray) -> float:
    """Turn of the head about the vertical, from the landmarks in pixels (float64 [5, 2]).

    The tip of the nose stands `NOSE_DEPTH` before the eyes' line: turned by t it lies `NOSE_DEPTH tan t` eye
    distances, as they are seen, off the middle between the eyes, measured along that line.
    """
    left, right, nose = landmarks_px[:3]
    along = right - left
    apart = float(np.hypot(*along))
    if apart < 1e-6:
        return 90.0
    offset = float(np.dot(nose - (left + right) / 2.0, along)) / apart**2
    return float(np.degrees(np.arctan2(offset, NOSE_DEPTH)))


def _inside(landmarks_xy: np.ndarray) -> float:
    """Share of the landmarks that lie inside the frame: those of a face that it cuts lie on its edge."""
    return float(((landmarks_xy > 0.0) & (landmarks_xy < 1.0)).all(axis=1).mean())


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))
