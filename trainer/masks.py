"""Where people are in a clip, as weights of its latents: a run may learn more from them than from what is around.

The boxes are those of the clip's tracks, of everybody who is seen: a concept does not say which of them it is about.
They are drawn as frames and cut as the clip's own frames are, so that they stay where the people are.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainer.cutting import CutSettings, cut_clip
from trainer.dataset import PersonTrack, TrainingClip
from trainer.families.base import Family

VERSION = 1
"""Of how weights are made; a bump makes them again."""
OUTSIDE = 0.2
"""Weight where nobody is, of 1 where somebody is; not tuned. What is around is still learned, so that people stay in a
place, and boxes miss hands and hair."""
HELD_S = 0.5
"""A box holds so long before its track begins and after it ends: tracks see two frames a second or more."""


def latent_weights(clip: TrainingClip, latents: Tensor, family: Family, settings: CutSettings) -> Tensor:
    """Weights of mean 1 for the squared error of each piece's latents, float32 [N, 1, h, w] of pictures and, of videos,
    [N, 1, T, h, w] or [N, T, 1, h, w] as the family has it. The same everywhere where nobody is tracked.

    Args:
        latents: of `cut_clip` with these settings.
    """
    axis = family.frame_axis if family.media == "video" else None
    n_frames = 1 if axis is None else latents.shape[axis]
    if not clip.people:
        shown = torch.zeros(len(latents), n_frames, *latents.shape[-2:])
    else:
        frames = torch.from_numpy(cut_clip(people_shown(clip), family, settings)[..., 0]).float() / 255.0
        if axis is None:
            frames = frames[:, None]
        # Shares of each latent's square; the borders of boxes so are soft.
        small = interpolate(frames.flatten(0, 1)[:, None], size=latents.shape[-2:], mode="area")
        shown = _by_latent(small.view(*frames.shape[:2], *latents.shape[-2:]), n_frames, family.rules.frame_step)
    weights = OUTSIDE + (1.0 - OUTSIDE) * shown
    weights = weights / weights.mean(dim=(1, 2, 3), keepdim=True)
    return weights if axis is None else weights.unsqueeze(2 if axis == 1 else 1)


def people_shown(clip: TrainingClip) -> TrainingClip:
    """The clip with frames in which people are white and all else is black."""

    def load_frames() -> np.ndarray:
        return _drawn(clip.people, clip.load_frames().shape, clip.load_times())

    def load_video(frame_rate: float) -> np.ndarray:
        shape = clip.load_video(frame_rate).shape
        return _drawn(clip.people, shape, np.arange(shape[0]) / frame_rate)

    return replace(clip, load_frames=load_frames, load_video=load_video)


def box_at(track: PersonTrack, time_s: float) -> np.ndarray | None:
    """float64 [4]: the box at a time, between those that were seen; None where the track has none."""
    if not track.times_s[0] - HELD_S <= time_s <= track.times_s[-1] + HELD_S:
        return None
    boxes = np.array(track.boxes_xyxy)
    return np.array([np.interp(time_s, track.times_s, boxes[:, side]) for side in range(4)])


def _drawn(people: Sequence[PersonTrack], shape: Sequence[int], times_s: np.ndarray) -> np.ndarray:
    """uint8 of this shape, [T, H, W, 3]: 255 in the boxes of each frame's time, 0 elsewhere."""
    frames = np.zeros(shape, np.uint8)
    width_height = np.tile([shape[2], shape[1]], 2)
    for frame, time_s in zip(frames, times_s.tolist(), strict=True):
        for box in (box_at(track, time_s) for track in people):
            if box is not None:
                left, top, right, bottom = (box * width_height).round().astype(int).clip(0)
                frame[top:bottom, left:right] = 255
    return frames


def _by_latent(shown: Tensor, n_frames: int, frame_step: int) -> Tensor:
    """[N, n_frames, h, w] of [N, T, h, w]: video autoencoders give a latent of the first frame, then one of each
    `frame_step` frames; more latents than that are the first, again."""
    rest = shown[:, 1:]
    each = rest.unflatten(1, (-1, frame_step)).mean(2) if rest.shape[1] else rest
    found = torch.cat([shown[:, :1], each], dim=1)
    return torch.cat([found[:, :1].expand(-1, n_frames - found.shape[1], -1, -1), found], dim=1)
