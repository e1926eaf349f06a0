"""How a wordless voice sounds: what tells a moan from a groan, a laugh from a sob, a sigh from panting.

The vector holds, in this order, the statistics of `audio.logmel`; the power of the envelope's modulation at 16 to
150 Hz in four bands (roughness, Arnal et al. 2015); quantiles of the level's slopes (attacks and decays); the
harmonics to noise ratio (Boersma 1993: breath against voice); pitch; and the autocorrelation of the level (how often
and how evenly bursts come). It is signal processing: nothing was trained, and no label was used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from processors.audio import bursts, logmel
from processors.audio.harmonicity import LIMIT_DB, harmonicity_db
from processors.audio.logmel_scale import CENTRE, SCALE
from processors.audio.prosody import CURVE_RATE_HZ, PITCHED_MIN_FRAMES, pitch_track
from processors.audio.roughness import BAND_EDGES_HZ, RATE_EDGES_HZ, modulation
from processors.audio.roughness import HOP_S as ROUGHNESS_HOP_S
from processors.audio.spectrum import HOP_S, power_spectra
from processors.audio.wordless_scale import WORDLESS_CENTRE, WORDLESS_SCALE
from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

SLOPE_PERCENTILES = (2, 10, 25, 75, 90, 98)
RHYTHM_LAGS_S = tuple(float(lag_s) for lag_s in np.geomspace(0.06, 1.5, 16))
PITCH_MIDDLE_HZ = 200.0
SURE_FRAMES = 20
"""Chosen: with less than 0.2 s of voice, pitch statistics are drawn towards those of a level voice at
`PITCH_MIDDLE_HZ`."""
PITCH_JUMP_SEMITONES = 3.0
"""Chosen: more than this in 10 ms is an octave error."""
ROUGH_RATE = 1
"""Index in `RATE_EDGES_HZ` of 30 to 70 Hz, which no pitch is taken for."""
N_ROUGH = (len(BAND_EDGES_HZ) - 1) * (len(RATE_EDGES_HZ) - 1)
KIND_SIZES = (*logmel.KIND_SIZES, N_ROUGH, len(SLOPE_PERCENTILES), 4, 4, len(RHYTHM_LAGS_S))
KIND_SHARES = np.array((1.0, 1.0, 1.0, 3.0, 1.0, 0.3, 0.3, 0.3, 0.3)) / 8.2
"""Chosen: the say of logmel's four kinds as there; of roughness; of slopes, harmonicity, pitch and rhythm. By nearest
neighbour of another speaker 0.74 of Deeply's 12 kinds are right (logmel: 0.61) and 0.11 of EmoGator's 30 emotions
(0.08). Of 18 mixes this was the best on EmoGator; 1 to 2 for roughness with 0.2 to 0.4 for the last four give 0.71 to
0.76 on Deeply, and 0.09 to 0.11."""
SIZE = sum(KIND_SIZES)


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Wordless(Processor):
    """The vector `wordless`, of unit length, and the readable part of it; None for silence."""

    version = 1
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    columns = (
        Column(name="wordless", kind="vector", low=-1.0, high=1.0, size=SIZE,
               source="statistics of mel cepstra, modulation spectra, roughness, level slopes, harmonicity, pitch and "
               "rhythm, standardised by processors/audio/{logmel,wordless}_scale.py, unit length"),
        Column(name="roughness_db", kind="float", unit="dB",
               source="power of the envelope's modulation at 30 to 70 Hz over its squared mean, mean over four bands; "
               "after Arnal et al. 2015, below the pitch of voices"),
        Column(name="roughness_curve", kind="curve", unit="dB", rate_hz=CURVE_RATE_HZ,
               source="as roughness_db; None where no band is loud"),
        Column(name="harmonicity_db", kind="float", unit="dB", low=-LIMIT_DB, high=LIMIT_DB,
               source="mean harmonics to noise ratio of audible 10 ms frames, Boersma 1993; breath lowers it"),
        Column(name="burst_rate_hz", kind="float", unit="Hz", low=0.0, high=10.0,
               source="highest peak of the level's autocorrelation; None where bursts are not regular"),
        Column(name="burst_regularity", kind="float", low=0.0, high=1.0, source="height of that peak"),
        Column(name="attack_db_per_s", kind="float", unit="dB/s",
               source="98th percentile of the level's slopes over 50 ms"),
        Column(name="decay_db_per_s", kind="float", unit="dB/s",
               source="2nd percentile of the level's slopes over 50 ms"),
        Column(name="pitch_slope_semitones_per_s", kind="float", unit="semitones/s",
               source="least squares over the pitch of voiced frames (YIN), from the clip's first to its last"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip) for clip in clips]

    def _measured(self, clip: DecodedClip) -> Row:
        described = None if clip.audio is None else logmel.statistics(clip.audio, clip.audio_rate_hz)
        if clip.audio is None or described is None:
            return {column.name: None for column in self.columns}
        heard = Heard.of(clip.audio, clip.audio_rate_hz)
        rate_hz, regularity = bursts.rhythm(heard.rhythm)
        return {
            "wordless": embedding(described, heard),
            "roughness_db": _decibels(heard.roughness[:, ROUGH_RATE].mean()),
            "roughness_curve": _roughness_curve(heard.modulation, heard.loud),
            "harmonicity_db": float(heard.harmonicity.mean()),
            "burst_rate_hz": rate_hz,
            "burst_regularity": regularity,
            "attack_db_per_s": float(np.percentile(heard.slopes, SLOPE_PERCENTILES[-1])),
            "decay_db_per_s": float(np.percentile(heard.slopes, SLOPE_PERCENTILES[0])),
            "pitch_slope_semitones_per_s": _pitch_slope(heard.pitch_semitones),
        }


@dataclass(frozen=True)
class Heard:
    """What the vector and the columns are made of.

    modulation: float64 [T, bands, rates]; loud: bool [T, bands]; see `roughness.modulation`.
    roughness: float64 [bands, rates], the mean of `modulation` where it is loud.
    slopes: float64, dB/s; harmonicity: float64, dB, of audible frames.
    pitch_semitones: float64 [T], over `PITCH_MIDDLE_HZ`, NaN where unvoiced; audible: bool [T], frames of 10 ms.
    rhythm: float64 [T], autocorrelation of the level.
    """

    modulation: np.ndarray
    loud: np.ndarray
    roughness: np.ndarray
    slopes: np.ndarray
    harmonicity: np.ndarray
    pitch_semitones: np.ndarray
    audible: np.ndarray
    rhythm: np.ndarray

    @classmethod
    def of(cls, audio: np.ndarray, rate_hz: int) -> "Heard":
        """Of sound float32 [N] mono that is not silent."""
        levels = bursts.levels_db(power_spectra(audio, rate_hz))
        audible = levels > -bursts.AUDIBLE_DB
        powers, loud = modulation(audio, rate_hz)
        return cls(
            modulation=powers,
            loud=loud,
            roughness=(powers * loud[:, :, None]).sum(axis=0) / loud.sum(axis=0)[:, None],
            slopes=bursts.slopes_db_per_s(levels),
            harmonicity=harmonicity_db(audio, rate_hz)[audible],
            pitch_semitones=12.0 * np.log2(pitch_track(audio, rate_hz) / PITCH_MIDDLE_HZ),
            audible=audible,
            rhythm=bursts.autocorrelation(levels),
        )


def embedding(described: np.ndarray, heard: Heard) -> np.ndarray:
    """Standardised statistics float64 [SIZE] of unit length.

    Args:
        described: float64 [logmel.SIZE], as `logmel.statistics` gives.
    """
    centre, scale = np.array(CENTRE + WORDLESS_CENTRE), np.array(SCALE + WORDLESS_SCALE)
    standardised = (np.concatenate([described, statistics(heard)]) - centre) / scale
    weighted = standardised * np.sqrt(np.repeat(KIND_SHARES / KIND_SIZES, KIND_SIZES))
    return weighted / np.linalg.norm(weighted)


def statistics(heard: Heard) -> np.ndarray:
    """Roughness (dB), slopes (dB/s), harmonicity (dB), pitch and rhythm: float64 [SIZE - logmel.SIZE]."""
    lags = np.round(np.divide(RHYTHM_LAGS_S, HOP_S)).astype(int)
    rhythm = np.where(lags < len(heard.rhythm), heard.rhythm[np.minimum(lags, len(heard.rhythm) - 1)], 0.0)
    harmonicity = heard.harmonicity
    return np.concatenate(
        [
            10.0 * np.log10(heard.roughness).ravel(),
            np.percentile(heard.slopes, SLOPE_PERCENTILES),
            [harmonicity.mean(), harmonicity.std(), *np.percentile(harmonicity, [10, 90])],
            _pitch_statistics(heard.pitch_semitones, heard.audible),
            rhythm,
        ]
    )


def _pitch_statistics(semitones: np.ndarray, audible: np.ndarray) -> np.ndarray:
    """Voiced share of audible frames; median, range and unsteadiness of the pitch in semitones."""
    voiced = semitones[~np.isnan(semitones)]
    share = float(np.mean(~np.isnan(semitones[audible])))
    steps = np.diff(semitones)
    steps = steps[~np.isnan(steps)]
    if not len(steps):
        return np.array([share, 0.0, 0.0, 0.0])
    low, middle, high = np.percentile(voiced, [10, 50, 90])
    unsteady = np.abs(np.clip(steps, -PITCH_JUMP_SEMITONES, PITCH_JUMP_SEMITONES)).mean()
    sure = min(1.0, len(voiced) / SURE_FRAMES)
    return np.array([share, sure * middle, sure * (high - low), sure * unsteady])


def _pitch_slope(semitones: np.ndarray) -> float | None:
    voiced = np.flatnonzero(~np.isnan(semitones))
    if len(voiced) < PITCHED_MIN_FRAMES:
        return None
    return float(np.polyfit(voiced * HOP_S, semitones[voiced], 1)[0])


def _roughness_curve(powers: np.ndarray, loud: np.ndarray) -> list[float | None]:
    step = round(1.0 / (CURVE_RATE_HZ * ROUGHNESS_HOP_S))
    rough, loud = powers[::step, :, ROUGH_RATE], loud[::step]
    return [_decibels(bands[heard].mean()) if heard.any() else None for bands, heard in zip(rough, loud, strict=True)]


def _decibels(power: float) -> float:
    return float(10.0 * np.log10(power))
