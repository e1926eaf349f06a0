"""Footage that a person can picture: light discs that move over plain ground, one colour a video."""

from datetime import UTC, datetime

import numpy as np

from store.records import Control, TrainingRequested
from trainer.dataset import TrainingClip
from trainer.smallbase import SmallBaseSettings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TINY = SmallBaseSettings(resolution_px=32, per_clip=3, vae_steps=160, vae_batch=4, unet_steps=80, unet_batch=4)
COLOURS_RGB = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200), "yellow": (210, 190, 20)}


def disc_frames(colour: str, n_frames: int, seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A light disc that moves over a ground of `colour`: uint8 [n_frames, H, W, 3]."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    start = np.random.default_rng(seed).integers(14, width - 14)
    frames = np.empty((n_frames, height, width, 3), np.uint8)
    for index in range(n_frames):
        frames[index] = COLOURS_RGB[colour]
        frames[index][(rows - height // 2) ** 2 + (columns - start - index) ** 2 < 100] = 230
    return frames


def disc_over(level: int, seed: int) -> np.ndarray:
    """One frame of a light disc, anywhere, over a grey ground of this level: uint8 [1, 48, 48, 3]."""
    rows, columns = np.mgrid[:48, :48]
    y, x = np.random.default_rng(seed).integers(10, 38, 2)
    frame = np.full((1, 48, 48, 3), level, np.uint8)
    frame[0][(rows - y) ** 2 + (columns - x) ** 2 < 64] = 240
    return frame


def no_sound(rate_hz: int, channels: int) -> np.ndarray:
    """What a silent clip gives."""
    return np.zeros((channels, 0), np.float32)


def made_clip(number: int, colour: str, held_for: tuple[str, ...] = ()) -> TrainingClip:
    """Clip `number` of the video of its colour, which moves at 8 frames a second for two seconds."""
    return TrainingClip(
        clip_id=f"clip{number:02d}",
        video_id=f"video-{colour}",
        source="studio",
        licence="CC-BY-4.0",
        conditioning=f"wide shot, {colour} ground, low motion",
        control=Control(names=("arousal",), values=(0.0,), present=(False,)),
        load_frames=lambda: disc_frames(colour, 4, number),
        load_video=lambda rate: disc_frames(colour, round(2 * rate), number),
        load_sound=no_sound,
        media=f"{colour} {number}",
        held_for=held_for,
    )


def silent(phase: str, step: int, steps: int, loss: float | None) -> None:
    """Progress that nobody watches."""


def made_request(**changes: object) -> TrainingRequested:
    """A stage A request with default settings, and the given changes."""
    fields = {
        "run_id": "run-1",
        "concept": "red_ground",
        "stage": "A",
        "members_key": "members/abc",
        "members_digest": "d1ge57",
        "parent": None,
        "settings": {},
        "requested_by": "scheduler",
        "reason": "stage A: the first adapter",
        "requested_at": NOW,
    }
    return TrainingRequested.model_validate(fields | changes)
