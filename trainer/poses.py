"""How people hold themselves in a clip, as skeletons drawn on black: what a run with `pose` steers a model by.

They are drawn as frames of the clip and cut as its own are, so that they lie where the people lie.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainer.control import by_latent
from trainer.cutting import CutSettings, cut_clip, redrawn
from trainer.dataset import PoseTrack, TrainingClip
from trainer.families.base import Family
from trainer.masks import HELD_S
from trainer.skeletons import LEAST_SCORE, draw_people

VERSION = 1
"""Of how poses are made; a bump makes them again."""


def pose_rows(clip: TrainingClip, latents: Tensor, family: Family, settings: CutSettings) -> Tensor:
    """Poses uint8 [N, 3, T, 2h, 2w] of each piece's T latents of h x w, which is all that a projector sees of them.
    Black where nobody is, and where nobody looked.

    Args:
        latents: of `cut_clip` with these settings.
    """
    n_latents = latents.shape[family.frame_axis] if family.media == "video" else 1
    size = [2 * side for side in latents.shape[-2:]]
    if not clip.poses:
        return torch.zeros((), dtype=torch.uint8).expand(len(latents), 3, n_latents, *size)
    frames = torch.from_numpy(cut_clip(poses_shown(clip), family, settings))
    frames = frames if family.media == "video" else frames[:, None]
    # One piece at a time: all frames of all windows as numbers are a lot.
    small = [interpolate(piece.movedim(-1, 1).float(), size=size, mode="area") for piece in frames]
    rows = by_latent(torch.stack(small), family.rules.latent_frames, n_latents)
    return rows.transpose(1, 2).round().to(torch.uint8)


def poses_shown(clip: TrainingClip) -> TrainingClip:
    """The clip with skeletons on black in place of its frames."""

    def draw(height: int, width: int, time_s: float) -> np.ndarray:
        seen = [points_at(track, time_s) for track in clip.poses or ()]
        return draw_people(np.array([points for points in seen if points is not None]), height, width)

    return redrawn(clip, draw)


def points_at(track: PoseTrack, time_s: float) -> np.ndarray | None:
    """float64 [17, 3]: the key points at a time, between those that were seen; None where the track has none.

    A point that is seen on one side only stays there for the half of the time that is nearer.
    """
    if not track.times_s[0] - HELD_S <= time_s <= track.times_s[-1] + HELD_S:
        return None
    at = np.interp(time_s, track.times_s, np.arange(len(track.times_s)))
    share = at % 1.0
    before, after = (np.array(track.keypoints[int(row)]) for row in (np.floor(at), np.ceil(at)))
    is_seen = np.minimum(before[:, 2:], after[:, 2:]) >= LEAST_SCORE
    nearer = before if share < 0.5 else after
    return np.where(is_seen, (1.0 - share) * before + share * after, nearer)
