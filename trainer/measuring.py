"""Generated media measured as footage is: by the processors of a profile."""

from collections.abc import Sequence

import cv2
import numpy as np

from processors.base import DecodedClip
from processors.decode import CURVE_RATE_HZ
from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.engine import Engine
from processors.profile import load_profile
from processors.reason.measures import Measured
from processors.segment.motion import measure_curves
from store.modalities import ALTERNATIVES
from trainer.families.base import Family

_AUDIO_RATE_HZ = 16_000
"""That of sample packs."""


class Meter:
    """The processors of a profile, loaded when they are first asked."""

    def __init__(self, profile: str = "measured", device: str = "cpu") -> None:
        self._engine = Engine(load_profile(profile), device)
        self._vocabulary = load_vocabulary(DEFAULT_VOCABULARY)

    def controls(self, media: np.ndarray, family: Family) -> list[dict[str, float]]:
        """Of each sample, the control channels that can be measured on it, each in its own unit.

        Args:
            media: as `Family` describes them.
        """
        return [
            {name: value for name, (value, _) in Measured(row, clip.duration_s, self._vocabulary).controls.items()}
            for clip, row in self._rows(media, family)
        ]

    def likeness(self, media: np.ndarray, family: Family) -> np.ndarray:
        """float64 [N, D], unit vectors of how samples look, or sound."""
        names = ALTERNATIVES["sound" if family.media == "sound" else "look"]
        rows = [row for _, row in self._rows(media, family)]
        name = next(one for one in names if any(row.get(one) is not None for row in rows))
        size = next(len(row[name]) for row in rows if row.get(name) is not None)
        vectors = np.array([row.get(name) or [0.0] * size for row in rows], np.float64)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _rows(self, media: np.ndarray, family: Family) -> list[tuple[DecodedClip, dict]]:
        self._engine.load()
        clips = [as_clip(str(number), one, family) for number, one in enumerate(media)]
        return [(clip, found.values) for clip, found in zip(clips, self._engine.run(clips), strict=True)]


def as_clip(clip_id: str, sample: np.ndarray, family: Family) -> DecodedClip:
    """A sample as processors see clips."""
    rules = family.rules
    if family.media == "sound":
        length_s = sample.shape[1] / rules.rate_hz
        at_s = np.arange(round(length_s * _AUDIO_RATE_HZ)) / _AUDIO_RATE_HZ
        mono = np.interp(at_s, np.arange(sample.shape[1]) / rules.rate_hz, sample.mean(axis=0)).astype(np.float32)
        dark = np.zeros((1, 32, 32, 3), np.uint8)
        return DecodedClip(clip_id, length_s, dark, np.zeros(1), mono, _AUDIO_RATE_HZ)
    frames = sample[None] if family.media == "picture" else sample
    rate = rules.frame_rate or 1.0
    times_s = np.arange(len(frames)) / rate
    ticks = np.minimum(
        (np.arange(round(len(frames) / rate * CURVE_RATE_HZ) or 1) / CURVE_RATE_HZ * rate), len(frames) - 1
    )
    shown = _planar(frames)
    curves = measure_curves([shown[int(tick)] for tick in ticks])
    return DecodedClip(clip_id, len(frames) / rate, frames, times_s, None, _AUDIO_RATE_HZ, curves)


def _planar(frames_rgb: np.ndarray) -> Sequence[np.ndarray]:
    """Frames as I420, as `measure_curves` reads them."""
    even = frames_rgb[:, : frames_rgb.shape[1] // 2 * 2, : frames_rgb.shape[2] // 2 * 2]
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in even]
