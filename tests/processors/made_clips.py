"""Clips that a person can compute with, and loaders for the shared media."""

from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

from processors.base import Curve, DecodedClip

RATE_HZ = 16_000
MEDIA = Path(__file__).parents[3] / "shared" / "media"


def tone(hz: float, seconds: float, level: float = 0.5) -> np.ndarray:
    """Sine, float32 [N]."""
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    """White noise of root mean square `level`, float32 [N], the same each time."""
    return np.random.default_rng(7).normal(0.0, level, round(seconds * RATE_HZ)).astype(np.float32)


def make_clip(
    clip_id: str = "clip",
    frames_rgb: np.ndarray | None = None,
    audio: np.ndarray | None = None,
    duration_s: float = 5.0,
    motion: float | np.ndarray | None = None,
) -> DecodedClip:
    """A clip of grey frames at 4 Hz, without sound, standing still, unless told otherwise.

    motion: frame heights per second, one number or a curve at 10 Hz; None for no curve.
    """
    if frames_rgb is None:
        frames_rgb = np.full((max(1, round(duration_s * 4)), 48, 64, 3), 128, np.uint8)
    curves = {}
    if motion is not None:
        values = np.broadcast_to(np.asarray(motion, np.float32), (round(duration_s * 10),))
        curves["motion_energy"] = Curve(10.0, np.array(values))
    times_s = np.arange(len(frames_rgb)) / 4.0
    return DecodedClip(clip_id, duration_s, frames_rgb, times_s, audio, RATE_HZ, curves)


def face_frames(n_frames: int, left_px: int = 0, step_px: int = 0) -> np.ndarray:
    """The portrait of Eileen Collins (NASA, public domain, in scikit-image) at `left_px`, moving by `step_px`.

    Her face is at x 0.35 to 0.52, y 0.12 to 0.34 of the portrait, which is 216 px wide and high; frames are
    uint8 [n_frames, 216, 384, 3], grey around it.
    """
    portrait = data.astronaut()
    small = portrait[: 216 * 2, : 216 * 2].reshape(216, 2, 216, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    frames = np.full((n_frames, 216, 384, 3), 110, np.uint8)
    for index, frame in enumerate(frames):
        left = left_px + index * step_px
        frame[:, left : left + 216] = small
    return frames


FACE_XYXY_PX = np.array([0.35, 0.12, 0.52, 0.34]) * 216
"""Box of the face of `face_frames` within the portrait."""


def talking(open_mouth: np.ndarray, left_px: int = 0) -> np.ndarray:
    """`face_frames` with a mouth drawn open by 0 to 1 in each frame; uint8 [T, 216, 384, 3]."""
    drawn = face_frames(len(open_mouth), left_px)
    left, top, right, bottom = FACE_XYXY_PX
    at = left_px + round((left + right) / 2), round(top + 0.8 * (bottom - top))
    for index, (frame, width) in enumerate(zip(drawn, open_mouth, strict=True)):
        # Open and shut in turn, as a mouth does within a syllable.
        cv2.ellipse(frame, at, (6, 1 + round(5 * width * (index % 2))), 0, 0, 360, (30, 10, 10), -1)
    return drawn


def heard(path: Path) -> np.ndarray:
    """The sound of a file, float32 [N] mono at 16 kHz."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as container:
        blocks = [block for frame in container.decode(audio=0) for block in resampler.resample(frame)]
    blocks += resampler.resample(None)
    return np.concatenate([block.to_ndarray()[0] for block in blocks]).astype(np.float32)


def seen(path: Path, seconds: float) -> np.ndarray:
    """The first seconds of a file at 4 Hz, uint8 [T, H, W, 3], 384 px at most."""
    frames, due_s = [], 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time >= seconds:
                break
            if frame.time >= due_s:
                due_s += 0.25
                scale = min(1.0, 384 / max(frame.width, frame.height))
                width, height = round(frame.width * scale), round(frame.height * scale)
                frames.append(frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA"))
    return np.stack(frames)
