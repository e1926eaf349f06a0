"""From clips to pieces that a base takes: frames of pictures, windows of videos, stretches of sound, in a few sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from store.errors import InputError
from trainer.dataset import TrainingClip
from trainer.families.base import Family, Rules

ASPECT_LIMIT = 2.0
"""Pictures are at most this many times as wide as high, or as high as wide: chosen; what is wider is cropped."""


@dataclass(frozen=True)
class CutSettings:
    """How clips are cut.

    resolution_px: pictures have about the area of a square of this side. crop: `square` crops the middle; `aspect`
    keeps the shape, to the nearest of some sizes. per_clip: frames of pictures, windows of videos, stretches of sound
    from each clip, evenly spaced. frames: of a window, at most. duration_s: of a stretch of sound.
    """

    resolution_px: int
    crop: Literal["square", "aspect"]
    per_clip: int
    frames: int
    duration_s: float


def cut_clip(clip: TrainingClip, family: Family, settings: CutSettings) -> np.ndarray:
    """The pieces of a clip, all of one size: media as `Family` describes them, N >= 1.

    A video's windows have the frame rate that the base was trained at and never reach over a cut, as no clip does. A
    clip that is shorter than a window gives fewer frames, as many as the base takes.

    Raises:
        InputError: what the clip loads is broken, or it has no sound and the family wants some.
    """
    rules = family.rules
    if family.media == "sound":
        return _stretches(clip, rules, settings)
    loaded = clip.load_frames() if family.media == "picture" else clip.load_video(rules.frame_rate or 24.0)
    check_frames(clip, loaded)
    width, height = size_of(loaded.shape[2], loaded.shape[1], rules.side_px, settings)
    if family.media == "picture":
        return some_frames(loaded, width, height, settings.per_clip)
    length = (min(settings.frames, len(loaded)) - 1) // rules.frame_step * rules.frame_step + 1
    starts = spread(len(loaded) - length + 1, settings.per_clip)
    frames = {row: fitted(loaded[row], width, height) for start in starts for row in range(start, start + length)}
    return np.stack([[frames[row] for row in range(start, start + length)] for start in starts])


def cut_one_of_each(clips: Sequence[TrainingClip], family: Family, settings: CutSettings) -> np.ndarray:
    """A piece of each clip, square, to be shown beside samples; videos are as long as the shortest."""
    square = replace(settings, crop="square", per_clip=1)
    pieces = [cut_clip(clip, family, square)[0] for clip in clips]
    if family.media == "video":
        shortest = min(len(piece) for piece in pieces)
        pieces = [piece[:shortest] for piece in pieces]
    return np.stack(pieces)


def redrawn(clip: TrainingClip, draw: Callable[[int, int, float], np.ndarray]) -> TrainingClip:
    """The clip with other frames in place of its own: what is cut of them lies where it lies in those.

    Args:
        draw: a frame uint8 [height, width, 3] of (height, width, seconds from the clip's start).
    """

    def drawn(loaded: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        height, width = loaded.shape[1:3]
        return np.stack([draw(height, width, time_s) for time_s in times_s.tolist()])

    def load_frames() -> np.ndarray:
        return drawn(clip.load_frames(), clip.load_times())

    def load_video(frame_rate: float) -> np.ndarray:
        loaded = clip.load_video(frame_rate)
        return drawn(loaded, np.arange(len(loaded)) / frame_rate)

    return replace(clip, load_frames=load_frames, load_video=load_video)


def check_frames(clip: TrainingClip, loaded: np.ndarray) -> None:
    """Raises InputError: what a clip loaded is no uint8 [T, H, W, 3] with T >= 1."""
    if loaded.ndim != 4 or loaded.shape[0] == 0 or loaded.shape[3] != 3 or loaded.dtype != np.uint8:
        raise InputError(
            f"clip {clip.clip_id}: frames of shape {loaded.shape} and type {loaded.dtype}; expected uint8"
            " [T, H, W, 3] with T >= 1; segment its video again"
        )


def some_frames(frames_rgb: np.ndarray, width: int, height: int, at_most: int) -> np.ndarray:
    """Frames of uint8 [T, H, W, 3], evenly spaced, cut to this size."""
    return np.stack([fitted(frames_rgb[row], width, height) for row in spread(len(frames_rgb), at_most)])


def size_of(width: int, height: int, side_px: int, settings: CutSettings) -> tuple[int, int]:
    """(width, height) that a picture of this shape is cut to: multiples of `side_px`, of about the wanted area.

    Raises:
        InputError: the base cannot take such small pictures.
    """
    side = settings.resolution_px
    if side < side_px or (settings.crop == "square" and side % side_px):
        raise InputError(f"resolution_px is {side}; this base takes multiples of {side_px}")
    if settings.crop == "square":
        return side, side
    aspect = np.clip(width / height, 1 / ASPECT_LIMIT, ASPECT_LIMIT)
    wide = max(side_px, round(side * aspect**0.5 / side_px) * side_px)
    return int(wide), max(side_px, round(side * side / wide / side_px) * side_px)


def fitted(frame_rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle of uint8 [H, W, 3] that has the shape of [height, width, 3], resized to it."""
    had_height, had_width = frame_rgb.shape[:2]
    scale = min(had_width / width, had_height / height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (had_width - wide) // 2, (had_height - high) // 2
    crop = frame_rgb[top : top + high, left : left + wide]
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)


def spread(n: int, wanted: int) -> list[int]:
    """At most `wanted` of 0 to n - 1, evenly spaced; of one the middle."""
    if wanted == 1:
        return [(n - 1) // 2]
    return sorted({round(at) for at in np.linspace(0, n - 1, min(wanted, n)).tolist()})


def _stretches(clip: TrainingClip, rules: Rules, settings: CutSettings) -> np.ndarray:
    sound = clip.load_sound(rules.rate_hz, rules.channels)
    if sound.ndim != 2 or sound.shape[0] != rules.channels or sound.dtype != np.float32:
        raise InputError(
            f"clip {clip.clip_id}: sound of shape {sound.shape} and type {sound.dtype}; expected float32"
            f" [{rules.channels}, S]; segment its video again"
        )
    if sound.shape[1] == 0:
        raise InputError(f"clip {clip.clip_id} has no sound; train this concept on clips that have, or on pictures")
    length = round(settings.duration_s * rules.rate_hz)
    if sound.shape[1] < length:
        sound = np.pad(sound, ((0, 0), (0, length - sound.shape[1])))
    starts = spread(sound.shape[1] - length + 1, settings.per_clip)
    return np.stack([sound[:, start : start + length] for start in starts])
