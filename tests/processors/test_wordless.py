"""What tells wordless sounds apart, against sounds that a person can compute."""

import numpy as np
import pytest

from processors.audio import harmonicity, kind, silero, wordless
from processors.base import Row
from tests.bench.sound_kinds import DEEPLY, leave_one_speaker_out, recordings
from tests.processors.made_clips import MEDIA, RATE_HZ, heard, make_clip, noise, tone

needs_deeply = pytest.mark.skipif(not DEEPLY.exists(), reason="needs ../shared/media (recordings of wordless sounds)")
TIMES_S = np.arange(3 * RATE_HZ) / RATE_HZ


def measured(audio: np.ndarray | None) -> Row:
    (row,) = wordless.Wordless(wordless.Options()).process([make_clip(audio=audio)], [{}])
    assert isinstance(row, dict)
    return row


def modulated(rate_hz: float, depth: float, carrier: np.ndarray | None = None) -> np.ndarray:
    carrier = noise(3.0) if carrier is None else carrier
    return (carrier * (1.0 + depth * np.sin(2 * np.pi * rate_hz * TIMES_S))).astype(np.float32)


def voice(pitch_hz: float | np.ndarray) -> np.ndarray:
    """A buzz of 12 harmonics, float32 [3 s]."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch_hz, TIMES_S.shape)) / RATE_HZ
    return sum(0.2 / n * np.sin(n * phase) for n in range(1, 13)).astype(np.float32)


def bursts(rate_hz: float, share: float = 0.4) -> np.ndarray:
    return noise(3.0, 0.2) * ((TIMES_S * rate_hz) % 1.0 < share)


def test_a_sound_that_flutters_fifty_times_a_second_is_rough() -> None:
    smooth, flutter, rough = measured(voice(300.0)), measured(modulated(5.0, 0.9)), measured(modulated(50.0, 0.9))
    assert rough["roughness_db"] > flutter["roughness_db"] + 8.0
    assert rough["roughness_db"] > smooth["roughness_db"] + 8.0


def test_roughness_is_told_where_it_is() -> None:
    half = np.where(TIMES_S < 1.5, 0.0, 0.9)
    sound = noise(3.0) * (1.0 + half * np.sin(2 * np.pi * 50.0 * TIMES_S))
    curve = measured(sound.astype(np.float32))["roughness_curve"]
    assert len(curve) == 30
    assert np.mean(curve[18:28]) > np.mean(curve[2:12]) + 5.0


def test_a_louder_copy_is_the_same_sound() -> None:
    soft, loud = measured(0.1 * bursts(3.0)), measured(bursts(3.0))
    assert np.dot(soft["wordless"], loud["wordless"]) > 0.999
    for column in ("roughness_db", "harmonicity_db", "burst_rate_hz", "attack_db_per_s"):
        assert soft[column] == pytest.approx(loud[column], rel=0.02)


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 5.0])
def test_even_bursts_have_a_rate(rate_hz: float) -> None:
    row = measured(bursts(rate_hz))
    assert row["burst_rate_hz"] == pytest.approx(rate_hz, rel=0.1)
    assert row["burst_regularity"] > 0.5


def test_uneven_bursts_and_steady_sounds_have_none() -> None:
    at_s = (0.1, 0.3, 1.1, 1.4, 2.6)
    uneven = noise(3.0, 0.2) * np.any([(start <= TIMES_S) & (start + 0.1 > TIMES_S) for start in at_s], axis=0)
    assert measured(uneven.astype(np.float32))["burst_regularity"] < measured(bursts(2.0))["burst_regularity"] - 0.3
    assert measured(noise(3.0))["burst_rate_hz"] is None


def test_breath_over_a_voice_lowers_its_harmonicity() -> None:
    clear, breathy, breath = (measured(voice(200.0) + noise(3.0, level)) for level in (0.0, 0.1, 1.0))
    assert clear["harmonicity_db"] > breathy["harmonicity_db"] + 3.0 > breath["harmonicity_db"] + 6.0
    assert measured(noise(3.0))["harmonicity_db"] < 0.0


def test_harmonicity_follows_the_ratio_of_voice_to_noise() -> None:
    """In decibels, 2 too high: the highest of many lags is taken, and noise has a highest lag, too."""
    below_4_khz = np.fft.rfftfreq(3 * RATE_HZ, 1 / RATE_HZ) < 4000.0
    hiss = np.fft.irfft(np.fft.rfft(noise(3.0)) * below_4_khz)
    hiss = (hiss / hiss.std() * tone(200.0, 3.0, 0.2).std()).astype(np.float32)
    for ratio_db in (0.0, 5.0, 10.0):
        mixed = tone(200.0, 3.0, 0.2 * 10.0 ** (ratio_db / 20.0)) + hiss
        measured_db = np.median(harmonicity.harmonicity_db(mixed, RATE_HZ))
        assert measured_db == pytest.approx(ratio_db + 1.7, abs=1.0)


def test_attack_and_decay_are_the_steepest_rise_and_fall() -> None:
    """A second of rise by 30 dB, then a fall by as much in a quarter of a second."""
    gain_db = np.interp(TIMES_S, [0.5, 1.5, 1.75], [-30.0, 0.0, -30.0])
    row = measured((tone(300.0, 3.0) * 10.0 ** (gain_db / 20.0)).astype(np.float32))
    assert row["attack_db_per_s"] == pytest.approx(30.0, rel=0.25)
    assert row["decay_db_per_s"] == pytest.approx(-120.0, rel=0.25)


def test_the_pitch_slope_is_that_of_the_voice() -> None:
    assert measured(voice(150.0 * 2.0 ** (TIMES_S / 3.0)))["pitch_slope_semitones_per_s"] == pytest.approx(4.0, rel=0.1)
    assert measured(noise(3.0))["pitch_slope_semitones_per_s"] is None


@pytest.mark.parametrize("sound", [None, np.zeros(RATE_HZ, np.float32), noise(0.1)])
def test_silence_and_clicks_are_nothing(sound: np.ndarray | None) -> None:
    assert set(measured(sound).values()) == {None}


@needs_deeply
def test_wordless_sounds_of_other_speakers_come_apart() -> None:
    """The nearest sound of another speaker is of the same kind at least 8 times as often as by chance."""
    sounds = recordings(DEEPLY)
    vectors = np.array([measured(sound.audio)["wordless"] for sound in sounds])
    found = leave_one_speaker_out(vectors, [s.kind for s in sounds], [s.speaker for s in sounds])
    assert found.accuracy >= 8.0 * found.chance


# --- speech, wordless voice, other sound -----------------------------------------------------------------


@pytest.fixture(scope="module")
def kind_of():
    listening, told = silero.Silero(silero.Options()), kind.Kind(kind.Options())
    listening.load("cpu")

    def measure(audio: np.ndarray | None) -> Row:
        clip = make_clip(audio=audio, duration_s=5.0 if audio is None else len(audio) / RATE_HZ)
        return told.process([clip], listening.process([clip], [{}]))[0]

    return measure


def likeliest(row: Row) -> str:
    return max(row["sound_shares"], key=row["sound_shares"].get)


@pytest.mark.parametrize("sound", [tone(440.0, 3.0), noise(3.0), tone(100.0, 3.0), modulated(50.0, 0.5)])
def test_hums_and_noise_are_other_sound(kind_of, sound: np.ndarray) -> None:
    assert likeliest(kind_of(sound)) == "other"


def test_a_wavering_voice_that_comes_and_goes_is_a_voice(kind_of) -> None:
    wails = voice(350.0 * 2.0 ** (0.3 * np.sin(2 * np.pi * 2.0 * TIMES_S))) * (TIMES_S % 1.0 < 0.6)
    assert likeliest(kind_of(wails.astype(np.float32))) == "voice"


def test_kinds_are_a_distribution_where_there_is_sound_and_nothing_elsewhere(kind_of) -> None:
    row = kind_of(np.concatenate([np.zeros(2 * RATE_HZ, np.float32), noise(2.0)]))
    curves = [row[f"sound_{name}_curve"] for name in kind.KINDS]
    assert [len(curve) for curve in curves] == [40, 40, 40]
    assert [point for curve in curves for point in curve[:18]] == [None] * 54
    np.testing.assert_allclose(np.sum([curve[22:] for curve in curves], axis=0), 1.0)
    assert sum(row["sound_shares"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize("sound", [None, np.zeros(RATE_HZ, np.float32), noise(0.1)])
def test_of_silence_no_kind_is_told(kind_of, sound: np.ndarray | None) -> None:
    assert set(kind_of(sound).values()) == {None}


@pytest.mark.skipif(not MEDIA.exists(), reason="needs ../shared/media (recorded speech, laughter and music)")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("audio/speech_librispeech.flac", "speech"),
        ("audio/deeply/laughing__6HOK_12_3_0_27_0_0_0.wav", "voice"),
        ("video/chaplin_by_the_sea.mp4", "other"),
    ],
)
def test_recordings_are_told_apart(kind_of, path: str, expected: str) -> None:
    assert likeliest(kind_of(heard(MEDIA / path)[: 6 * RATE_HZ])) == expected


@needs_deeply
def test_the_kind_changes_where_the_sound_does(kind_of) -> None:
    speech = heard(MEDIA / "audio" / "speech_librispeech.flac")[: 4 * RATE_HZ]
    laughter = heard(DEEPLY / "laughing__CGFR_12_10_0_46_0_0_0.wav")[: 4 * RATE_HZ]
    row = kind_of(np.concatenate([speech, laughter]))
    assert np.mean([p for p in row["sound_speech_curve"][5:35] if p is not None]) > 0.8
    assert np.mean([p for p in row["sound_voice_curve"][45:75] if p is not None]) > 0.6
