"""How aroused a clip seems, as a distribution, from loudness, pitch, spectrum, onsets and motion.

Louder, higher, brighter and faster voices are judged more aroused (Banse and Scherer 1996; Juslin and Laukka
2003), and sound energy and motion together make the arousal curve of a film (Hanjalic and Xu 2005). Which way
each cue points comes from those papers; the midpoints and widths below are chosen, see `EVIDENCE`. This is a
measure of signals and no model of emotion: valence is not measured at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

CURVE_RATE_HZ = 10.0
SMOOTHING_POINTS = 9
"""Chosen: arousal does not jump within half a second; a Hann window of 0.9 s, as wide as 0.45 s of rectangle."""
HEARD_DB = -55.0
"""Chosen: a sound track that is quieter than this says nothing; "silent" tracks were found at -96 and -56."""
LOW_HIGH = (0.4, 0.6)
"""Chosen: the level at which low gives way to mid, and mid to high."""
SHARPNESS = 12.0
"""Chosen: 0.2 beyond a border the next class has a tenth of the odds."""


@dataclass(frozen=True)
class Cue:
    """logistic((x - middle) / width) is the cue's level in 0..1; `weight` its say among the cues."""

    middle: float
    width: float
    weight: float


EVIDENCE = {
    "loudness_curve": Cue(-28.0, 6.0, 2.0),
    "pitch_curve": Cue(0.0, 4.0, 1.0),
    "spectral_tilt_db_per_octave": Cue(-3.5, 2.5, 1.0),
    "onset_rate_hz": Cue(2.0, 1.0, 1.0),
    "motion_curve": Cue(-1.6, 0.5, 2.0),
}
"""Chosen so that calm speech lies near the middle of each cue, sighs below and screams above. Loudness in dBFS;
pitch in semitones over `PITCH_MIDDLE_HZ`; motion in powers of ten of frame heights per second."""
PITCH_MIDDLE_HZ = 250.0


@dataclass(frozen=True)
class Options:
    """None."""


class Arousal(Processor):
    """Soft arousal from whatever evidence there is: little evidence makes a flatter distribution, none makes None."""

    version = 1
    reads = Reads(columns=(*EVIDENCE, "loudness_db", "black_share"))
    Options = Options
    columns = (
        Column(name="arousal", kind="json", low=0.0, high=1.0,
               source="probabilities of low, mid and high; logistic mapping with chosen constants of loudness, pitch, "
               "tilt, onsets and motion, after Banse and Scherer 1996 and Hanjalic and Xu 2005"),
        Column(name="arousal_curve", kind="curve", low=0.0, high=1.0, rate_hz=CURVE_RATE_HZ, source="as arousal"),
        Column(name="arousal_evidence", kind="json", source="names of the columns that arousal rests on"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_judged(clip.duration_s, row) for clip, row in zip(clips, inputs, strict=True)]


def _judged(duration_s: float, row: Row) -> Row:
    n_points = max(1, round(duration_s * CURVE_RATE_HZ))
    levels = {name: level for name in EVIDENCE if (level := _level(name, row, n_points)) is not None}
    if not levels:
        return {"arousal": None, "arousal_curve": None, "arousal_evidence": []}
    weights = np.array([EVIDENCE[name].weight for name in levels])
    curve = _smoothed(np.average(list(levels.values()), axis=0, weights=weights))
    coverage = float(weights.sum()) / sum(cue.weight for cue in EVIDENCE.values())
    return {
        "arousal": distribution(float(curve.mean()), coverage),
        "arousal_curve": curve,
        "arousal_evidence": list(levels),
    }


def _level(name: str, row: Row, n_points: int) -> np.ndarray | None:
    """A cue's level in 0..1 at each point of the curve, float64 [n_points]; None where it says nothing."""
    value = row[name]
    if name == "motion_curve":
        if value is None or row["black_share"] == 1.0:
            return None
        measured = np.log10(np.maximum(_of_length(value, n_points), 1e-4))
    elif value is None or row["loudness_db"] is None or row["loudness_db"] < HEARD_DB:
        return None
    elif name == "pitch_curve":
        voiced = np.array([np.nan if hz is None else hz for hz in value])
        if np.isnan(voiced).all():
            return None
        # Between voiced stretches the last pitch holds: silence is loudness's business.
        points = np.flatnonzero(~np.isnan(voiced))
        held = np.interp(np.arange(len(voiced)), points, voiced[points])
        measured = 12.0 * np.log2(_of_length(held, n_points) / PITCH_MIDDLE_HZ)
    else:
        measured = _of_length(np.atleast_1d(value), n_points)
    cue = EVIDENCE[name]
    return expit((measured - cue.middle) / cue.width)


def _of_length(values: Sequence[float] | np.ndarray, n_points: int) -> np.ndarray:
    """`values` cut to `n_points`, or its last value repeated: curves of one clip may differ by a point."""
    known = np.asarray(values, dtype=np.float64)[:n_points]
    return np.pad(known, (0, n_points - len(known)), mode="edge")


def _smoothed(curve: np.ndarray) -> np.ndarray:
    window = np.hanning(SMOOTHING_POINTS + 2)[1:-1]
    padded = np.pad(curve, SMOOTHING_POINTS // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def distribution(level: float, coverage: float) -> dict[str, float]:
    """Probabilities of low, mid and high (ordered logistic), mixed with equal ones for evidence that is missing.

    Args:
        level: arousal in 0..1.
        coverage: share of the evidence, by weight, that there was.
    """
    above_low, above_mid = (float(expit(SHARPNESS * (level - border))) for border in LOW_HIGH)
    sharp = {"low": 1.0 - above_low, "mid": above_low - above_mid, "high": above_mid}
    return {name: coverage * share + (1.0 - coverage) / 3.0 for name, share in sharp.items()}
