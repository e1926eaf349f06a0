"""A clip's own media, whole, for those who train on it: every frame at a wanted rate, and its sound."""

from pathlib import Path

import av
import numpy as np

from processors.decode import open_source
from store.errors import InputError


def read_video(path: Path, frame_rate: float | None = None) -> np.ndarray:
    """The frames of a clip's MP4: uint8 [T, H, W, 3] RGB.

    Args:
        frame_rate: frames a second, each the one that is shown at its time; None: all frames.

    Raises:
        InputError: the file is no video, or is cut off.
    """
    frames, times = [], []
    with open_source(path) as source:
        for picture in source.pictures():
            frames.append(picture.frame.to_ndarray(format="rgb24"))
            times.append(float(picture.pts * source.time_base))
    shown_s = np.array(times) - times[0]
    if frame_rate is None:
        return np.stack(frames)
    length_s = shown_s[-1] + (shown_s[-1] / (len(frames) - 1) if len(frames) > 1 else 0.0)
    wanted_s = np.arange(max(1, round(length_s * frame_rate))) / frame_rate
    # A hair later, so that a frame that begins at the wanted time is the one that is shown.
    chosen = np.searchsorted(shown_s, wanted_s + 1e-4, side="right") - 1
    return np.stack([frames[i] for i in chosen])


def read_sound(path: Path, rate_hz: int, channels: int) -> np.ndarray:
    """The sound of a clip's MP4: float32 [channels, S] in [-1, 1] at `rate_hz`; S is 0 where it has none.

    Args:
        channels: 1 or 2; mono is given to both, stereo is averaged into one.

    Raises:
        InputError: the file is no video, or another number of channels is asked for.
    """
    if channels not in (1, 2):
        raise InputError(f"{path.name}: sound of {channels} channels is asked for; expected 1 or 2")
    resampler = av.AudioResampler(format="fltp", layout="mono" if channels == 1 else "stereo", rate=rate_hz)
    parts = []
    with open_source(path) as source:
        for sound in source.sounds():
            parts += [frame.to_ndarray() for frame in resampler.resample(sound.frame)]
        if parts:
            parts += [frame.to_ndarray() for frame in resampler.resample(None)]
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((channels, 0))
    return np.clip(joined, -1.0, 1.0).astype(np.float32)
