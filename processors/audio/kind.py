"""Speech, wordless voice or other sound, over time, as a soft distribution.

Speech is what silero-vad hears as speech for most of a second; a laugh or a moan it hears so only in places. Of the
rest, a voice is told from music, machines and noise by five cues over a second: its level rises and falls further,
its pitch glides where an instrument's stands, it is harmonic and at times not, and it has little below 150 Hz. This
is a measure of signals and no model: an animal's voice is a voice to it, a breath may be a gust of wind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.special import expit

from processors.audio.bursts import AUDIBLE_DB, levels_db
from processors.audio.harmonicity import harmonicity_db
from processors.audio.prosody import pitch_track
from processors.audio.spectrum import HOP_S, decibels, power_spectra
from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

CURVE_RATE_HZ = 10.0
KINDS = ("speech", "voice", "other")
CONTEXT_FRAMES = 101
"""Chosen: a second; a syllable or a breath is too short to tell by itself."""
HEARD_DB = -60.0
LEAST_S = 0.2
SPEECH_FROM, SPEECH_WIDTH = 0.75, 0.07
"""Chosen: mean probability of speech over a second's audible frames at which speech is as likely as not. Recorded
speech has 0.82 to 0.99; of EmoGator's wordless bursts 18% have more than 0.75, of Deeply's none."""
RHYTHM_DB = 40.0
LOW_HZ = 150.0
GLIDE_SEMITONES = (0.1, 1.0)
"""Chosen: a pitch that moves by so much in 10 ms glides; by less it stands, by more it jumps."""
SURE_VOICED = 0.2
CUE_LIMIT = 1.5


@dataclass(frozen=True)
class Cue:
    """clip((x - middle) / width, +-CUE_LIMIT) times `weight` is added to the log odds of a voice."""

    middle: float
    width: float
    weight: float


CUES = {
    "dynamics_db": Cue(7.0, 4.0, 1.5),
    "gliding": Cue(0.45, 0.15, 1.2),
    "harmonicity_db": Cue(4.0, 5.0, 0.5),
    "low_share": Cue(0.3, 0.2, -0.8),
    "harmonicity_moves_db": Cue(4.0, 2.0, 0.6),
}
"""Chosen between what EmoGator's vocal bursts and 14 recordings of music, machines, a street and a dog have: medians
13.6 and 4.6; 0.64 and 0.29; 5.5 and 2.2; 0.08 and 0.38; 5.6 and 3.5. The weights are the best of five sets on these
(0.98 of the bursts and 12 of the 14 right); Deeply, which had no say, is in tests/bench/sound_kinds.py. A logistic
regression of 13 cues over all of them, leaving one speaker or recording out, is no better: 0.88 and 10 of 14."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Kind(Processor):
    """Probabilities of `KINDS` for the clip and at each tenth of a second; None for silence."""

    version = 1
    reads = Reads(audio_rate_hz=16_000, columns=("speech_curve",))
    Options = Options
    columns = (
        Column(name="sound_shares", kind="json", low=0.0, high=1.0,
               source="probabilities of speech, wordless voice and other sound, mean of the curves where they are; "
               "silero-vad 6.2 and chosen cues of level, pitch, harmonicity and spectrum"),
        *(Column(name=f"sound_{kind}_curve", kind="curve", low=0.0, high=1.0, rate_hz=CURVE_RATE_HZ,
                 source="as sound_shares, over the second around each time; None where nothing is audible")
          for kind in KINDS),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._told(clip, row["speech_curve"]) for clip, row in zip(clips, inputs, strict=True)]

    def _told(self, clip: DecodedClip, speech_curve: list[float] | None) -> Row:
        none: Row = dict.fromkeys(column.name for column in self.columns)
        if clip.audio is None or speech_curve is None or len(clip.audio) < LEAST_S * clip.audio_rate_hz:
            return none
        audible, speech, voice = told(clip.audio, clip.audio_rate_hz, np.array(speech_curve))
        if not audible.any():
            return none
        shares = dict(zip(KINDS, (speech, (1.0 - speech) * voice, (1.0 - speech) * (1.0 - voice)), strict=True))
        curves = {
            f"sound_{kind}_curve": [float(p) if heard else None for p, heard in zip(share, audible, strict=True)]
            for kind, share in shares.items()
        }
        return curves | {"sound_shares": {kind: float(share[audible].mean()) for kind, share in shares.items()}}


def told(audio: np.ndarray, rate_hz: int, speech_curve: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At each point of the curve: bool, whether anything is audible; probability of speech; of a voice if no speech.

    Args:
        audio: float32 [N] mono, `LEAST_S` at least.
        speech_curve: float64, probability of speech at `CURVE_RATE_HZ`.
    """
    spectra = power_spectra(audio, rate_hz)
    audible = (levels_db(spectra) > -AUDIBLE_DB) & (decibels(spectra.sum(axis=1)) > HEARD_DB)
    per_point = round(1.0 / (HOP_S * CURVE_RATE_HZ))
    points = np.minimum(np.arange(len(speech_curve)) * per_point, len(audible) - 1)
    frame_point = np.minimum(np.arange(len(audible)) // per_point, len(speech_curve) - 1)
    spoken = expit((_mean(speech_curve[frame_point], audible) - SPEECH_FROM) / SPEECH_WIDTH)
    log_odds = np.zeros(len(audible))
    for name, values in _cues(audio, rate_hz, spectra, audible).items():
        cue = CUES[name]
        log_odds += cue.weight * np.clip((values - cue.middle) / cue.width, -CUE_LIMIT, CUE_LIMIT)
    heard = _mean(audible, np.ones(len(audible), bool), per_point)[points] > 0.0
    return heard, spoken[points], expit(log_odds)[points]


def _cues(audio: np.ndarray, rate_hz: int, spectra: np.ndarray, audible: np.ndarray) -> dict[str, np.ndarray]:
    """The value of each of `CUES` over the second around each 10 ms frame, float64 [T]."""
    semitones = 12.0 * np.log2(pitch_track(audio, rate_hz))
    voiced = ~np.isnan(semitones)
    steps = np.abs(np.diff(semitones, append=np.nan))
    followed = ~np.isnan(steps)
    gliding = followed & (steps > GLIDE_SEMITONES[0]) & (steps < GLIDE_SEMITONES[1])
    glide_share = _mean(gliding, followed, empty=CUES["gliding"].middle)
    # With little voice, gliding says little: it is drawn to the middle.
    sure = np.minimum(1.0, _mean(voiced, audible) / SURE_VOICED)
    harmonicity = harmonicity_db(audio, rate_hz)
    bins_hz = np.linspace(0.0, rate_hz / 2, spectra.shape[1])
    power = spectra.astype(np.float64)
    low_share = power[:, bins_hz < LOW_HZ].sum(axis=1) / (power.sum(axis=1) + 1e-14)
    return {
        "dynamics_db": _deviation(np.maximum(levels_db(spectra), -RHYTHM_DB)),
        "gliding": CUES["gliding"].middle + sure * (glide_share - CUES["gliding"].middle),
        "harmonicity_db": _mean(harmonicity, audible),
        "low_share": _mean(low_share, audible),
        "harmonicity_moves_db": _deviation(harmonicity),
    }


def _mean(values: np.ndarray, where: np.ndarray, frames: int = CONTEXT_FRAMES, empty: float = 0.0) -> np.ndarray:
    """Mean of `values` over those of the `frames` around each frame that `where` marks; `empty` where none is."""
    marked = uniform_filter1d(where.astype(np.float64), frames, mode="nearest")
    summed = uniform_filter1d(np.where(where, values, 0.0), frames, mode="nearest")
    # The running sums leave rounding errors behind, so none is less than half of one.
    any_marked = marked > 0.5 / frames
    return np.where(any_marked, summed / np.maximum(marked, 0.5 / frames), empty)


def _deviation(values: np.ndarray) -> np.ndarray:
    mean = uniform_filter1d(values, CONTEXT_FRAMES, mode="nearest")
    square = uniform_filter1d(values**2, CONTEXT_FRAMES, mode="nearest")
    return np.sqrt(np.maximum(square - mean**2, 0.0))
