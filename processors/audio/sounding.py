"""Which visible face the voice comes from, as far as mouths tell at four pictures a second.

Two cues for each face track. Synchrony: the correlation r of how much the mouth moves between two pictures with the
level of the voice then and in the next quarter of a second (mouths open ahead of the sound; Chandrasekaran et al.
2009), whose Fisher transform is normal with variance 1 / (n - 3); the cue is its likelihood under `SPEAKER_R` over
that under none. And motion: by how much the mouth moves more than the eyes and nose do, once these lie on top of each
other. The voice comes from one of the tracks or from none: a soft distribution, near the prior where little is seen.
A turned head, a hand or a second mouth at the same pace misleads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from processors.audio.kind import CURVE_RATE_HZ
from processors.audio.spectrum import HOP_S, power_spectra
from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.crops import square
from store.records import Column

SIZE_PX = 64
MOUTH = (slice(40, 62), slice(16, 48))
UPPER = (slice(10, 36), slice(8, 56))
FIXED = (slice(8, 42), slice(8, 56))
"""Rows and columns of a face's picture: mouth and chin; eyes and nose; and what pictures are laid on top of each
other by. MTCNN's boxes reach from the forehead to the chin."""
STILL = 0.03
"""Chosen: of a face's contrast, what noise and coding move between two pictures of a still face."""
LEAST_CONTRAST = 15.0
VOICE_BAND_HZ = (150.0, 4000.0)
DEPTH_DB = 40.0
AHEAD_S = 0.25
"""Chosen: with the sound of the next quarter of a second the two talkers of the development media reach r = 0.37 and
0.40, with that of the same interval only 0.19 and 0.05."""
SPEAKER_R = 0.38
"""Chosen: between those two. Their faces with another's voice have -0.45, 0.10 and 0.12."""
MOTION_MIDDLE, MOTION_WIDTH = float(np.log(1.25)), 0.15
"""Chosen: talkers' mouths move 1.4 to 1.8 times as much as their eyes, those of nine silent signers 0.6 to 1.1."""
MOTION_LIMIT, SYNCHRONY_LIMIT = 1.0, 2.0
"""Chosen: so few talkers allow no more than 0.95 for one and 0.05 for another's voice."""
UNSEEN_PRIOR = 0.5
"""Chosen: before looking, a voice is as likely off the picture as on it."""
LEAST_INTERVALS = 8
"""Chosen: two seconds; r has a deviation of 0.45 then."""
LEAST_VOICE_S = 1.0


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Sounding(Processor):
    """Probabilities that the voice comes from each face track, and from none of them.

    None where it cannot be told: less than a second of voice, or no face seen for two seconds.
    """

    version = 1
    reads = Reads(
        frame_rate_hz=4.0,
        longest_px=384,
        audio_rate_hz=16_000,
        columns=("face_tracks", "sound_speech_curve", "sound_voice_curve"),
    )
    Options = Options
    columns = (
        Column(name="sounding_tracks", kind="json",
               source="list of {track of face_tracks, probability that the voice is its}; synchrony of mouth motion "
               "and voice level, and motion of the mouth over that of the eyes, with chosen constants"),
        Column(name="sounding_unseen", kind="float", low=0.0, high=1.0,
               source="probability that the voice comes from none of sounding_tracks"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_judged(clip, row) for clip, row in zip(clips, inputs, strict=True)]


def _judged(clip: DecodedClip, row: Row) -> Row:
    none: Row = {"sounding_tracks": None, "sounding_unseen": None}
    if clip.audio is None or _voiced_s(row) < LEAST_VOICE_S:
        return none
    level_db = voice_level_db(clip.audio, clip.audio_rate_hz)
    evidence = {track["track"]: log_odds(clip, track, level_db) for track in row["face_tracks"] or ()}
    told = {track: odds for track, odds in evidence.items() if odds is not None}
    if not told:
        return none
    odds = (1.0 - UNSEEN_PRIOR) / len(told) * np.exp(list(told.values()))
    total = UNSEEN_PRIOR + odds.sum()
    return {
        "sounding_tracks": [
            {"track": track, "probability": float(o / total)} for track, o in zip(told, odds, strict=True)
        ],
        "sounding_unseen": float(UNSEEN_PRIOR / total),
    }


def _voiced_s(row: Row) -> float:
    curves = [row["sound_speech_curve"], row["sound_voice_curve"]]
    if None in curves:
        return 0.0
    return sum(s is not None and s + v > 0.5 for s, v in zip(*curves, strict=True)) / CURVE_RATE_HZ


def log_odds(clip: DecodedClip, track: Mapping[str, Any], level_db: np.ndarray) -> float | None:
    """Of the voice being this track's over its being another's; None where the track is too short.

    Args:
        track: as in the column `face_tracks`.
        level_db: float64 [T], as `voice_level_db` gives.
    """
    times_s, pictures = face_pictures(clip, track)
    ends_s = times_s[1:] + AHEAD_S
    heard = np.array([_mean_level(level_db, a, b) for a, b in zip(times_s[:-1], ends_s, strict=True)])
    if np.count_nonzero(np.isfinite(heard)) < LEAST_INTERVALS:
        return None
    mouth, upper = np.log(mouth_motion(pictures) + STILL)[np.isfinite(heard)].T
    motion = np.clip((np.median(mouth - upper) - MOTION_MIDDLE) / MOTION_WIDTH, -MOTION_LIMIT, MOTION_LIMIT)
    return float(motion + synchrony(mouth, heard[np.isfinite(heard)]))


def synchrony(mouth: np.ndarray, level_db: np.ndarray) -> float:
    """Log likelihood ratio of a correlation of `SPEAKER_R` over none, from two series float64 [N], N > 3."""
    if min(mouth.std(), level_db.std()) < 1e-6:
        return 0.0
    r = np.clip(np.corrcoef(mouth, level_db)[0, 1], -0.99, 0.99)
    expected = np.arctanh(SPEAKER_R)
    ratio = (len(mouth) - 3) * (np.arctanh(r) * expected - expected**2 / 2.0)
    return float(np.clip(ratio, -SYNCHRONY_LIMIT, SYNCHRONY_LIMIT))


def voice_level_db(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Level in the band of voices of each 10 ms frame, float64 [T], at most `DEPTH_DB` below the loudest."""
    spectra = power_spectra(audio, rate_hz)
    bins_hz = np.linspace(0.0, rate_hz / 2, spectra.shape[1])
    band = (bins_hz > VOICE_BAND_HZ[0]) & (bins_hz < VOICE_BAND_HZ[1])
    level_db = 10.0 * np.log10(spectra[:, band].sum(axis=1, dtype=np.float64) + 1e-10)
    return np.maximum(level_db, level_db.max() - DEPTH_DB)


def _mean_level(level_db: np.ndarray, start_s: float, end_s: float) -> float:
    """Mean over a span; NaN where the sound does not reach to its end."""
    start, end = round(start_s / HOP_S), round(end_s / HOP_S)
    return float(level_db[start:end].mean()) if start < end <= len(level_db) else np.nan


def face_pictures(clip: DecodedClip, track: Mapping[str, Any]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Times, and grey pictures float32 [SIZE_PX, SIZE_PX], at all frames from the track's first to its last sight.

    Boxes are of the track's median size, about centres that go straight from sight to sight.
    """
    seen_s, boxes = np.array(track["times_s"]), np.array(track["boxes_xyxy"])
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2.0, np.median(boxes[:, 2:] - boxes[:, :2], axis=0) / 2.0
    times_s = clip.frame_times_s
    frames = np.flatnonzero((times_s > seen_s[0] - HOP_S) & (times_s < seen_s[-1] + HOP_S))
    pictures = []
    for frame in frames:
        centre = np.array([np.interp(times_s[frame], seen_s, centres[:, axis]) for axis in (0, 1)])
        picture = square(clip.frames_rgb[frame], np.concatenate([centre - half, centre + half]), SIZE_PX)
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        pictures.append(np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), np.float32))
    return times_s[frames], pictures


def mouth_motion(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Mean change of the mouth and of the upper face from each picture to the next, float64 [N - 1, 2].

    In units of the face's contrast; the upper faces are laid on top of each other first.
    """
    changes = []
    for before, after in pairwise(pictures):
        change = np.abs(before - aligned(before, after)) / max(LEAST_CONTRAST, float(before.std()))
        changes.append((change[MOUTH].mean(), change[UPPER].mean()))
    return np.array(changes, np.float64).reshape(-1, 2)


def aligned(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`after`, moved so that its upper face lies on that of `before` (ECC, Evangelidis and Psarakis 2008)."""
    move = np.eye(2, 3, dtype=np.float32)
    where = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    where[FIXED] = 255
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-3)
    try:
        cv2.findTransformECC(before, after, move, cv2.MOTION_TRANSLATION, until, where, 3)
    except cv2.error:
        return after  # nothing to hold on to, such as a plain surface
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(after, move, (SIZE_PX, SIZE_PX), flags=how, borderMode=cv2.BORDER_REPLICATE))
