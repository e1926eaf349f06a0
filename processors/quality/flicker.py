"""Light that comes and goes faster than scenes do: mains flicker, strobes, auto-exposure that hunts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0]) / 4.0
"""At 10 Hz it passes what alternates at 5 Hz whole, 2.5 Hz at half, 1 Hz at a tenth; fades (straight lines) not at all.
"""
FLASHES = 0.1
"""Chosen: the strongest tenth is left out, so that one flash or one missed cut is no flicker."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Flicker(Processor):
    """Flicker of the luma curve that decoding measured."""

    version = 1
    reads = Reads()
    Options = Options
    columns = (
        Column(name="flicker", kind="float", low=0.0, high=1.0,
               source="root mean square of the mean luma (0..1) after a second difference at 10 Hz, weakest nine "
               "tenths; 0 is steady, 0.5 black to white; None where decoding measured no luma or under 0.5 s"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [{"flicker": _flicker(clip)} for clip in clips]


def _flicker(clip: DecodedClip) -> float | None:
    luma = clip.curves.get("luma")
    if luma is None or len(luma.values) < 5:
        return None
    swings = np.sort(np.abs(np.convolve(luma.values.astype(np.float64), SECOND_DIFFERENCE, mode="valid")))
    kept = swings[: max(1, round(len(swings) * (1.0 - FLASHES)))]
    return min(1.0, float(np.sqrt(np.mean(kept**2))))
