"""How much moves in a clip: the optical-flow energy that the decode pass measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

CURVE_RATE_HZ = 10.0
PEAK_PERCENTILE = 95.0
"""Chosen: the peak is what is reached for a twentieth of the clip, not one noisy sample."""


@dataclass(frozen=True)
class Options:
    """None."""


class Flow(Processor):
    """Mean, peak and curve of the motion energy; None where decoding measured none."""

    version = 1
    reads = Reads()
    Options = Options
    columns = (
        Column(name="motion_mean", kind="float", unit="frame heights/s", low=0.0,
               source="mean magnitude of dense optical flow, averaged over the clip"),
        Column(name="motion_peak", kind="float", unit="frame heights/s", low=0.0,
               source="95th percentile of motion_curve"),
        Column(name="motion_curve", kind="curve", unit="frame heights/s", low=0.0, rate_hz=CURVE_RATE_HZ,
               source="mean magnitude of dense optical flow (DIS, Kroeger et al. 2016), measured while decoding"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip) for clip in clips]

    def _measured(self, clip: DecodedClip) -> Row:
        energy = clip.curves.get("motion_energy")
        if energy is None or not len(energy.values):
            return {column.name: None for column in self.columns}
        n_points = max(1, round(clip.duration_s * CURVE_RATE_HZ))
        times_s = np.arange(n_points) / CURVE_RATE_HZ
        curve = np.interp(times_s, np.arange(len(energy.values)) / energy.rate_hz, energy.values)
        return {
            "motion_mean": float(curve.mean()),
            "motion_peak": float(np.percentile(curve, PEAK_PERCENTILE)),
            "motion_curve": curve,
        }
