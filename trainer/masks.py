"""Where people are in a clip, as weights of its latents: a run may learn more from them than from what is around.

The boxes are those of the clip's tracks, of everybody who is seen: a concept does not say which of them it is about.
They are drawn as frames and cut as the clip's own frames are, so that they stay where the people are.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainer.control import by_latent
from trainer.cutting import CutSettings, cut_clip, redrawn
from trainer.dataset import PersonTrack, TrainingClip
from trainer.families.base import Family

VERSION = 2
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
        small = small.view(*frames.shape[:2], *latents.shape[-2:])
        shown = by_latent(small, family.rules.latent_frames, n_frames)
    weights = OUTSIDE + (1.0 - OUTSIDE) * shown
    weights = weights / weights.mean(dim=(1, 2, 3), keepdim=True)
    return weights if axis is None else weights.unsqueeze(2 if axis == 1 else 1)


def people_shown(clip: TrainingClip) -> TrainingClip:
    """The clip with frames in which people are white and all else is black."""

    def draw(height: int, width: int, time_s: float) -> np.ndarray:
        frame = np.zeros((height, width, 3), np.uint8)
        for box in (box_at(track, time_s) for track in clip.people):
            if box is not None:
                left, top, right, bottom = (box * (width, height, width, height)).round().astype(int).clip(0)
                frame[top:bottom, left:right] = 255
        return frame

    return redrawn(clip, draw)


def box_at(track: PersonTrack, time_s: float) -> np.ndarray | None:
    """float64 [4]: the box at a time, between those that were seen; None where the track has none."""
    if not track.times_s[0] - HELD_S <= time_s <= track.times_s[-1] + HELD_S:
        return None
    boxes = np.array(track.boxes_xyxy)
    return np.array([np.interp(time_s, track.times_s, boxes[:, side]) for side in range(4)])
