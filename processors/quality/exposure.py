"""How much of the picture is lost in black or in white, and how much of the scale it uses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.quality.letterbox import picture_inside
from store.records import Column

DARK, BRIGHT = 20, 250
"""Of 255: a pixel is lost in black where none of its channels reaches DARK (0.6% of white's light in sRGB, one step of
ten below middle grey's), and lost in white where each of them is above BRIGHT."""
DARKEST, BRIGHTEST = 0.05, 0.95
"""Quantiles between which the range is taken, so that a lamp or a speck does not make it."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Exposure(Processor):
    """Shares of the picture, without its bars, over all frames."""

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384, columns=("letterbox_xyxy",))
    Options = Options
    columns = (
        Column(name="underexposed", kind="float", low=0.0, high=1.0,
               source=f"share of the picture with every channel under {DARK} of 255; 1 is lost in black"),
        Column(name="overexposed", kind="float", low=0.0, high=1.0,
               source=f"share of the picture with every channel over {BRIGHT} of 255; 1 is lost in white"),
        Column(name="tonal_range", kind="float", low=0.0, high=1.0,
               source="95th less 5th percentile of the brightest channel in 0..1; 0 is flat, mean over frames"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_measured(clip.frames_rgb, row["letterbox_xyxy"]) for clip, row in zip(clips, inputs, strict=True)]


def _measured(frames_rgb: np.ndarray, letterbox_xyxy: list[float] | None) -> Row:
    picture = picture_inside(frames_rgb, letterbox_xyxy)
    brightest = picture.max(axis=3)
    darkest, lightest = np.quantile(brightest.reshape(len(brightest), -1), (DARKEST, BRIGHTEST), axis=1)
    return {
        "underexposed": float(np.mean(brightest < DARK)),
        "overexposed": float(np.mean(picture.min(axis=3) > BRIGHT)),
        "tonal_range": float(np.mean(lightest - darkest)) / 255.0,
    }
