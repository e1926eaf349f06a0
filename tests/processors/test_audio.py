"""Sound measurements against values that a person can compute."""

import numpy as np
import pytest

from processors.audio import logmel, prosody, silero
from processors.base import DecodedClip, Row
from tests.processors.made_clips import MEDIA, RATE_HZ, heard, make_clip, noise, tone

DEEPLY = MEDIA / "audio" / "deeply"
SPEECH = MEDIA / "audio" / "speech_librispeech.flac"


def prosody_of(audio: np.ndarray | None) -> Row:
    return prosody.Prosody(prosody.Options()).process([make_clip(audio=audio)], [{}])[0]


def coloured_noise(db_per_octave: float) -> np.ndarray:
    spectrum = np.fft.rfft(noise(5.0))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (db_per_octave / (20 * np.log10(2)))
    sound = np.fft.irfft(spectrum)
    return (0.1 * sound / sound.std()).astype(np.float32)


def bursts(rate_hz: float) -> np.ndarray:
    times_s = np.arange(5 * RATE_HZ) / RATE_HZ
    return noise(5.0, 0.2) * ((times_s * rate_hz) % 1.0 < 0.3) * (times_s > 0.2)


@pytest.mark.parametrize("hz", [80.0, 220.0, 440.0, 900.0])
def test_the_pitch_of_a_tone_is_its_frequency(hz: float) -> None:
    row = prosody_of(tone(hz, 2.0))
    assert row["pitch_hz"] == pytest.approx(hz, rel=0.02)
    assert row["pitch_range_semitones"] == pytest.approx(0.0, abs=0.05)
    assert row["voiced_share"] > 0.95


def test_the_pitch_of_a_voice_is_its_fundamental() -> None:
    harmonics = sum(tone(150.0 * n, 2.0, 0.2 / n) for n in range(1, 20))
    assert prosody_of(harmonics)["pitch_hz"] == pytest.approx(150.0, rel=0.01)


def test_an_octave_of_glide_is_twelve_semitones_from_end_to_end() -> None:
    times_s = np.arange(4 * RATE_HZ) / RATE_HZ
    glide_hz = 150.0 * 2.0 ** (times_s / 4.0)
    row = prosody_of((0.3 * np.sin(2 * np.pi * np.cumsum(glide_hz) / RATE_HZ)).astype(np.float32))
    assert row["pitch_range_semitones"] == pytest.approx(0.8 * 12, abs=0.3)
    assert row["pitch_curve"][2] == pytest.approx(150.0 * 2.0 ** (0.25 / 4), rel=0.02)
    assert row["pitch_curve"][-3] == pytest.approx(150.0 * 2.0 ** (3.75 / 4), rel=0.02)


@pytest.mark.parametrize("db_per_octave", [0.0, -3.0, -6.0])
def test_noise_of_any_colour_has_its_tilt_and_no_pitch(db_per_octave: float) -> None:
    row = prosody_of(coloured_noise(db_per_octave))
    assert row["spectral_tilt_db_per_octave"] == pytest.approx(db_per_octave, abs=0.15)
    assert row["pitch_hz"] is None
    assert row["voiced_share"] < 0.02


def test_white_noise_is_flat_and_centred_on_half_the_band() -> None:
    row = prosody_of(noise(5.0))
    assert row["spectral_flatness"] > 0.98
    assert row["spectral_centroid_hz"] == pytest.approx(4000.0, rel=0.02)


def test_a_tone_is_not_flat_and_centred_on_itself() -> None:
    row = prosody_of(tone(1000.0, 2.0))
    assert row["spectral_flatness"] < 0.01
    assert row["spectral_centroid_hz"] == pytest.approx(1000.0, rel=0.01)


def test_a_sine_of_full_scale_is_at_minus_three_decibels() -> None:
    assert prosody_of(tone(200.0, 1.0, 1.0))["loudness_db"] == pytest.approx(-3.01, abs=0.01)


def test_twice_the_level_is_six_decibels_and_nothing_else() -> None:
    soft, loud = prosody_of(coloured_noise(-3.0)), prosody_of(2 * coloured_noise(-3.0))
    assert loud["loudness_db"] - soft["loudness_db"] == pytest.approx(6.02, abs=0.01)
    assert loud["spectral_centroid_hz"] == pytest.approx(soft["spectral_centroid_hz"], rel=1e-3)
    assert loud["spectral_tilt_db_per_octave"] == pytest.approx(soft["spectral_tilt_db_per_octave"], abs=0.01)


def test_the_loudness_curve_follows_the_level() -> None:
    steps = np.concatenate([tone(200.0, 1.0, 0.01), tone(200.0, 1.0, 0.1)])
    curve = prosody_of(steps)["loudness_curve"]
    assert len(curve) == 20
    assert curve[:10] == pytest.approx([-43.01] * 10, abs=0.05)
    assert curve[10:] == pytest.approx([-23.01] * 10, abs=0.05)


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 5.0])
def test_bursts_are_counted(rate_hz: float) -> None:
    assert prosody_of(bursts(rate_hz))["onset_rate_hz"] == pytest.approx(rate_hz, abs=0.21)


def test_the_level_does_not_change_the_count_of_bursts() -> None:
    assert prosody_of(0.02 * bursts(3.0))["onset_rate_hz"] == prosody_of(bursts(3.0))["onset_rate_hz"]


def test_onsets_are_told_where_they_are_and_how_strong() -> None:
    quiet_then_loud = np.concatenate([0.03 * noise(0.5), noise(1.0), 0.03 * noise(1.0), 0.2 * noise(0.5)])
    row = prosody_of(quiet_then_loud.astype(np.float32))
    assert row["onset_times_s"] == pytest.approx([0.5, 2.5], abs=0.05)
    assert row["onset_strengths_db"] == pytest.approx([20 * np.log10(1 / 0.03), 20 * np.log10(0.2 / 0.03)], abs=3.0)
    assert row["onset_rate_hz"] == pytest.approx(2 / 3)


def test_steady_noise_has_no_onsets() -> None:
    row = prosody_of(noise(5.0))
    assert (row["onset_rate_hz"], row["onset_times_s"], row["onset_strengths_db"]) == (0.0, [], [])


def test_silence_is_measured_and_has_no_pitch_or_spectrum() -> None:
    row = prosody_of(np.zeros(RATE_HZ, np.float32))
    assert row["loudness_db"] == -96.0
    assert row["loudness_curve"] == [-96.0] * 10
    assert row["voiced_share"] == 0.0
    assert row["pitch_curve"] == [None] * 10
    assert row["pitch_hz"] is row["spectral_flatness"] is row["spectral_centroid_hz"] is None


def test_without_a_sound_track_nothing_is_said() -> None:
    assert set(prosody_of(None).values()) == {None}


# --- speech ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speech_of():
    processor = silero.Silero(silero.Options())
    processor.load("cpu")
    return lambda audio: processor.process([make_clip(audio=audio)], [{}])[0]


@pytest.mark.parametrize("sound", [tone(220.0, 2.0), noise(2.0), np.zeros(2 * RATE_HZ, np.float32)])
def test_tones_noise_and_silence_are_not_speech(speech_of, sound: np.ndarray) -> None:
    row = speech_of(sound)
    assert (row["speech_share"], row["speech_spans"]) == (0.0, [])
    assert np.mean(row["speech_curve"]) < 0.2


def test_no_sound_track_is_neither_speech_nor_silence(speech_of) -> None:
    assert speech_of(None) == {"speech_share": None, "speech_spans": None, "speech_curve": None}


@pytest.mark.skipif(not SPEECH.exists(), reason="needs ../shared/media (recorded speech)")
def test_speech_is_found_where_it_is(speech_of) -> None:
    speech = heard(SPEECH)[: 4 * RATE_HZ]
    silence = np.zeros(2 * RATE_HZ, np.float32)
    row = speech_of(np.concatenate([silence, speech, silence]))
    assert row["speech_share"] > 0.35
    assert row["speech_spans"][0][0] > 1.8
    assert row["speech_spans"][-1][1] < 6.3
    assert len(row["speech_curve"]) == 80
    assert np.mean(row["speech_curve"][25:55]) > 0.7 > 0.1 > np.mean(row["speech_curve"][:18])


def test_listening_to_speech_leaves_the_thread_count_alone(speech_of) -> None:
    import torch

    before = torch.get_num_threads()
    silero.Silero(silero.Options()).load("cpu")
    assert torch.get_num_threads() == before


# --- the embedding of sound ------------------------------------------------------------------------------


def test_a_louder_copy_is_the_same_sound() -> None:
    soft, loud = (logmel.embedding(level * bursts(4.0), RATE_HZ) for level in (0.1, 1.0))
    assert soft @ loud > 0.999


def test_the_rate_of_bursts_sets_sounds_apart() -> None:
    """Panting at 2 Hz is nearer to panting at 2.2 Hz than to laughing at 6 Hz, of one and the same noise."""
    slow, slower, fast = (logmel.embedding(bursts(rate), RATE_HZ) for rate in (2.0, 2.2, 6.0))
    assert slow @ slower > slow @ fast + 0.1


@pytest.mark.parametrize("sound", [np.zeros(RATE_HZ, np.float32), noise(1.0, 1e-5), noise(0.1)])
def test_silence_and_clicks_are_no_sound(sound: np.ndarray) -> None:
    assert logmel.embedding(sound, RATE_HZ) is None


@pytest.mark.skipif(not DEEPLY.exists(), reason="needs ../shared/media (recordings of wordless sounds)")
def test_wordless_sounds_of_other_speakers_come_apart() -> None:
    """The nearest sound of another speaker is of the same kind at least 5 times as often as by chance."""
    kinds, speakers, vectors = [], [], []
    for path in sorted(DEEPLY.glob("*.wav")):
        kind, recording = path.stem.split("__")
        kinds.append(kind)
        speakers.append(recording.split("_")[0])
        vectors.append(logmel.embedding(heard(path), RATE_HZ))
    same_kind = np.array(kinds)[:, None] == np.array(kinds)
    others = np.array(speakers)[:, None] != np.array(speakers)
    likeness = np.where(others, np.stack(vectors) @ np.stack(vectors).T, -np.inf)
    right = same_kind[np.arange(len(kinds)), likeness.argmax(axis=1)].mean()
    chance = np.mean([same_kind[i, others[i]].mean() for i in range(len(kinds))])
    assert right >= 5.0 * chance


def test_clip_and_vector_are_of_the_declared_size(clips: dict[str, DecodedClip]) -> None:
    (row,) = logmel.LogMel(logmel.Options()).process([clips["normal"]], [{}])
    assert len(row["sound"]) == logmel.SIZE == 112
