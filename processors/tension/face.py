"""How tense faces seem: tense arousal, by what models of facial affect see.

Tense arousal runs from calm and pleased to activated and displeased (Thayer 1989); it is arousal and displeasure in
equal parts (Schimmack and Grob 2000). No landmarks of brow, lids or jaw are measured here: this is the opinion of the
models whose valence and arousal are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

CURVE_RATE_HZ = 2.0
"""As of `valence_curve` and `face_arousal_curve`."""


@dataclass(frozen=True)
class Options:
    """None."""


class FaceTension(Processor):
    """None where the profile has no model of facial affect, or no face is seen."""

    version = 1
    reads = Reads(optional=("valence_curve", "face_arousal_curve"))
    Options = Options
    columns = (
        Column(name="face_tension", kind="float", low=0.0, high=1.0, measured=False,
               source="mean of face_tension_curve"),
        Column(name="face_tension_curve", kind="curve", low=0.0, high=1.0, rate_hz=CURVE_RATE_HZ, measured=False,
               source="tense arousal (Thayer 1989; Schimmack and Grob 2000): (face arousal - valence) / 2, from -1..1 "
               "to 0..1; None while no face is seen"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_judged(row) for row in inputs]


def _judged(row: Row) -> Row:
    pairs = zip(row.get("face_arousal_curve") or (), row.get("valence_curve") or (), strict=False)
    curve = [None if None in pair else 0.5 + (pair[0] - pair[1]) / 4.0 for pair in pairs]
    known = [value for value in curve if value is not None]
    if not known:
        return {"face_tension": None, "face_tension_curve": None}
    return {"face_tension": sum(known) / len(known), "face_tension_curve": curve}
