"""Generated media, measured as footage is."""

from types import SimpleNamespace

import numpy as np
import pytest

from trainer.families.base import Rules
from trainer.measuring import Meter, as_clip

PICTURE = SimpleNamespace(media="picture", rules=Rules())
VIDEO = SimpleNamespace(media="video", rules=Rules(frame_rate=8.0))
SOUND = SimpleNamespace(media="sound", rules=Rules(rate_hz=8000, channels=1))


@pytest.fixture(scope="module")
def meter() -> Meter:
    """The measured profile."""
    return Meter()


def test_brighter_pictures_measure_brighter_and_a_still_has_no_sound(meter):
    pictures = np.full((2, 64, 64, 3), 60, np.uint8)
    pictures[1] = 180
    dark, bright = meter.controls(pictures, PICTURE)
    assert dark["brightness"] < bright["brightness"]
    assert "loudness" not in dark


def test_faster_videos_measure_more_motion(meter):
    drawn = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    picture = np.kron(drawn[::8, ::8], np.ones((8, 8, 1), np.uint8))
    still, moving = (np.stack([np.roll(picture, step * t, axis=1) for t in range(9)]) for step in (0, 3))
    slow, fast = meter.controls(np.stack([still, moving]), VIDEO)
    assert slow["motion"] < fast["motion"]
    assert as_clip("a", moving, VIDEO).duration_s == 9 / 8


def test_louder_sounds_measure_louder_and_alike_sounds_are_alike(meter):
    tone = np.sin(np.arange(16000) * 2 * np.pi * 220 / 8000).astype(np.float32)
    noise = np.random.default_rng(0).uniform(-1, 1, 16000).astype(np.float32)
    sounds = np.stack([0.05 * tone, 0.5 * tone, 0.5 * noise])[:, None]
    quiet, loud, _ = meter.controls(sounds, SOUND)
    assert quiet["loudness"] < loud["loudness"]
    vectors = meter.likeness(sounds, SOUND)
    assert vectors.shape[0] == 3
    assert vectors[0] @ vectors[1] > vectors[1] @ vectors[2]
