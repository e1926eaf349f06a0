"""The frames that a run trains on: gathered once from clips, at one size, split for good, drawn evenly over videos."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import torch

from store.errors import Conflict, InputError
from store.records import Control

HELD_OUT_ONE_IN = 8
"""Share of clips kept out of training: chosen, 12 of 100 clips."""


@dataclass(frozen=True)
class TrainingClip:
    """A clip as the trainer takes it.

    load_frames: gives uint8 [T, H, W, 3] RGB, T >= 1 (`processors.decode.read_samples(...).frames_rgb`); called once.
    held_for: rules that keep the clip out; only a clip with none may be trained on.
    control: carried for the families that are steered by it.
    caption: sentences for the families that read such; None where nobody wrote any.
    """

    clip_id: str
    video_id: str
    source: str
    licence: str | None
    conditioning: str
    control: Control
    load_frames: Callable[[], np.ndarray] = field(repr=False, compare=False)
    held_for: tuple[str, ...] = ()
    caption: str | None = None


@dataclass(frozen=True)
class FrameSet:
    """Frames of clips at one size.

    frames_rgb: uint8 [N, R, R, 3]. clip_of, video_of: int64 [N], the clip and video of each frame, counted from 0.
    texts: what each clip is described by.
    """

    frames_rgb: np.ndarray
    clip_of: np.ndarray
    video_of: np.ndarray
    texts: tuple[str, ...]
    held_out: np.ndarray
    """bool [N]: the frame belongs to a clip that is measured on, never trained on."""

    def draw_weights(self) -> torch.Tensor:
        """float64 [N]: chance of each frame; every video counts the same, held-out frames never come."""
        trained = ~self.held_out
        per_video = np.bincount(self.video_of[trained], minlength=self.video_of.max() + 1)
        weights = np.where(trained, 1.0 / np.maximum(per_video, 1)[self.video_of], 0.0)
        return torch.from_numpy(weights / weights.sum())


def gather_frames(clips: Sequence[TrainingClip], resolution_px: int, frames_per_clip: int) -> FrameSet:
    """Read the clips' frames, evenly spaced in each clip, cropped to the centre square.

    Raises:
        Conflict: a clip is held.
        InputError: fewer than two clips, a clip twice, or a clip without frames.
    """
    refuse_held(clips)
    twice = [clip_id for clip_id, n in Counter(clip.clip_id for clip in clips).items() if n > 1]
    if len(clips) < 2 or twice:
        found = f"clip {twice[0]} comes twice" if twice else f"{len(clips)} clips"
        raise InputError(f"{found}; training takes at least 2 different clips: one to train on and one to measure on")
    videos = sorted({clip.video_id for clip in clips})
    held = held_out_ids([clip.clip_id for clip in clips])
    frames, clip_of = [], []
    for index, clip in enumerate(clips):
        sampled = clip.load_frames()
        if sampled.ndim != 4 or sampled.shape[0] == 0 or sampled.shape[3] != 3 or sampled.dtype != np.uint8:
            raise InputError(
                f"clip {clip.clip_id}: frames of shape {sampled.shape} and type {sampled.dtype}; expected uint8"
                " [T, H, W, 3] with T >= 1; segment its video again"
            )
        rows = np.unique(np.linspace(0, len(sampled) - 1, min(frames_per_clip, len(sampled))).round().astype(int))
        frames += [square(sampled[row], resolution_px) for row in rows]
        clip_of += [index] * len(rows)
    return FrameSet(
        frames_rgb=np.stack(frames),
        clip_of=np.array(clip_of),
        video_of=np.array([videos.index(clips[index].video_id) for index in clip_of]),
        texts=tuple(clip.conditioning for clip in clips),
        held_out=np.array([clips[index].clip_id in held for index in clip_of]),
    )


def run_texts(clips: Sequence[TrainingClip], reads: Literal["conditioning", "caption"], token: str | None) -> list[str]:
    """What each clip is described by in a run: its conditioning string or, for a family that reads captions, its
    caption where it has one; behind the run's trigger token, if it has one."""
    described = [clip.caption or clip.conditioning if reads == "caption" else clip.conditioning for clip in clips]
    return [", ".join(part for part in (token, text) if part) for text in described]


def refuse_held(clips: Sequence[TrainingClip]) -> None:
    """Refuse clips that wait for an answer or were dropped.

    Raises:
        Conflict: at least one is held.
    """
    held = [clip for clip in clips if clip.held_for]
    if held:
        raise Conflict(
            f"{len(held)} of {len(clips)} clips may not be trained on: clip {held[0].clip_id} of source"
            f" {held[0].source!r} is held for {', '.join(held[0].held_for)}; release it on record or leave it out"
        )


def held_out_ids(clip_ids: Sequence[str]) -> frozenset[str]:
    """Clips to measure on: one in `HELD_OUT_ONE_IN`, by the hash of the id alone.

    A clip so stays on its side of the split while the set grows, in the base as in every adapter. A set in which
    none falls out gives the clip with the lowest hash; one in which all do gives all but the highest.
    """
    ranks = {clip_id: int(hashlib.sha256(clip_id.encode()).hexdigest(), 16) for clip_id in clip_ids}
    ordered = sorted(clip_ids, key=ranks.__getitem__)
    chosen = [clip_id for clip_id in ordered if ranks[clip_id] % HELD_OUT_ONE_IN == 0] or ordered[:1]
    return frozenset(chosen if len(chosen) < len(ordered) else chosen[:-1])


def square(frame_rgb: np.ndarray, side_px: int) -> np.ndarray:
    """The centre square of uint8 [H, W, 3], resized to [side_px, side_px, 3]; the aspect ratio is kept."""
    height, width = frame_rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = frame_rgb[top : top + side, left : left + side]
    return cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA if side > side_px else cv2.INTER_CUBIC)
