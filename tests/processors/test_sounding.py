"""Whose voice it is: a portrait whose mouth is drawn to move with a sound, or not."""

import numpy as np
import pytest

from processors.audio import sounding
from processors.base import DecodedClip, Row
from tests.processors.made_clips import FACE_XYXY_PX, RATE_HZ, make_clip, noise, talking

RATE_PER_S, N_FRAMES = 4, 32
SYLLABLES = np.random.default_rng(5).random(N_FRAMES) ** 2
"""How loud each quarter of a second is."""


def speaking(loudness: np.ndarray) -> np.ndarray:
    return noise(N_FRAMES / RATE_PER_S) * np.repeat(loudness + 0.02, RATE_HZ // RATE_PER_S).astype(np.float32)


def track(number: int = 0, left_px: int = 0, n_sights: int = N_FRAMES // 2) -> Row:
    box = ((FACE_XYXY_PX + np.array([left_px, 0, left_px, 0])) / [384, 216, 384, 216]).tolist()
    times_s = [0.5 * i for i in range(n_sights)]
    return {"track": number, "times_s": times_s, "boxes_xyxy": [box] * n_sights, "scores": [1.0] * n_sights}


def judged(frames: np.ndarray, audio: np.ndarray | None, tracks: list[Row] | None, voice: float = 0.9) -> Row:
    clip: DecodedClip = make_clip(frames_rgb=frames, audio=audio, duration_s=N_FRAMES / RATE_PER_S)
    curve = [voice / 2] * (10 * N_FRAMES // RATE_PER_S)
    row = {"face_tracks": tracks, "sound_speech_curve": curve, "sound_voice_curve": curve}
    (result,) = sounding.Sounding(sounding.Options()).process([clip], [row])
    assert isinstance(result, dict)
    return result


def probability(row: Row, number: int = 0) -> float:
    return next(t["probability"] for t in row["sounding_tracks"] if t["track"] == number)


def test_a_mouth_that_moves_with_the_sound_is_its_source() -> None:
    row = judged(talking(SYLLABLES), speaking(SYLLABLES), [track()])
    assert probability(row) > 0.85
    assert probability(row) + row["sounding_unseen"] == pytest.approx(1.0)


def test_a_mouth_that_moves_against_the_sound_is_not() -> None:
    row = judged(talking(SYLLABLES), speaking(1.0 - SYLLABLES), [track()])
    assert row["sounding_unseen"] > 0.5 > probability(row)


def test_a_still_mouth_leaves_the_voice_off_the_picture() -> None:
    row = judged(talking(np.zeros(N_FRAMES)), speaking(SYLLABLES), [track()])
    assert row["sounding_unseen"] > 0.6


def test_of_two_faces_the_one_that_keeps_time_is_the_likelier() -> None:
    both = talking(SYLLABLES, left_px=160)
    both[:, :, :160] = talking(SYLLABLES[::-1])[:, :, :160]
    row = judged(both, speaking(SYLLABLES), [track(0), track(1, left_px=160)])
    assert probability(row, 1) > 2.0 * probability(row, 0)
    assert sum(t["probability"] for t in row["sounding_tracks"]) + row["sounding_unseen"] == pytest.approx(1.0)


def test_a_face_that_travels_is_followed() -> None:
    """The whole picture slides by two pixels a frame: the mouth is judged within the face."""
    still = talking(SYLLABLES)
    sliding = np.stack([np.roll(frame, 2 * i, axis=1) for i, frame in enumerate(still)])
    moving = track()
    moving["boxes_xyxy"] = [
        (np.array(box) + np.array([4 * i / 384, 0, 4 * i / 384, 0])).tolist()
        for i, box in enumerate(moving["boxes_xyxy"])
    ]
    assert probability(judged(sliding, speaking(SYLLABLES), [moving])) > 0.85


@pytest.mark.parametrize(
    ("audio", "tracks", "voice"),
    [
        (None, [track()], 0.9),
        (speaking(SYLLABLES), [track()], 0.1),
        (speaking(SYLLABLES), [], 0.9),
        (speaking(SYLLABLES), None, 0.9),
        (speaking(SYLLABLES), [track(n_sights=3)], 0.9),
    ],
    ids=["no sound", "no voice", "no face", "faces not looked for", "a glimpse"],
)
def test_what_cannot_be_told_is_not_told(audio: np.ndarray | None, tracks: list[Row] | None, voice: float) -> None:
    row = judged(talking(SYLLABLES), audio, tracks, voice)
    assert row == {"sounding_tracks": None, "sounding_unseen": None}
