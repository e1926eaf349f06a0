"""How a clip sounds: loudness, pitch, spectrum and onsets, measured by signal processing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, rfft
from scipy.ndimage import median_filter
from scipy.signal import butter, find_peaks, sosfiltfilt

from processors.audio.spectrum import FLOOR_DB, HOP_S, decibels, framed, mel_filters, power_spectra
from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

CURVE_RATE_HZ = 10.0
PITCH_LOW_HZ, PITCH_HIGH_HZ = 65.0, 1000.0
"""Chosen: from a low male voice to a scream."""
APERIODICITY_LIMIT = 0.2
"""YIN's absolute threshold; the paper uses 0.1 for clean speech, 0.2 keeps breathy and sobbing voices."""
VOICED_MIN_FRAMES = 3
"""Chosen: a voiced stretch lasts 30 ms or is an accident."""
PITCHED_MIN_FRAMES = 10
"""Chosen: a pitch rests on 0.1 s of voice at least."""
AUDIBLE_DB = -60.0
"""Chosen: below this lie the noise of recorders and the remains of lossy coding."""
TILT_BANDS_HZ = 125.0 * 2.0 ** (np.arange(16) / 3.0)
"""Centres of third-octave bands, 125 Hz to 4 kHz."""
PITCH_BAND_HZ = (60.0, 1200.0)
"""Chosen: read speech is voiced in 39% of its frames with this band, in 26% without; noise stays unvoiced."""
ONSET_RISE_DB = 4.0
"""Chosen: finds 3.3 onsets per second in read speech, 3.8 in laughs, 1.4 in coughs, none in noise."""
ONSET_LAG_FRAMES = 4
ONSET_GAP_FRAMES = 7
"""Chosen: onsets are at least 70 ms apart; the fastest laughs have 8 bursts per second."""
ONSET_DEPTH_DB = 40.0
"""Chosen: rises that stay this far below the clip's loud parts are not heard as onsets."""
ONSET_FLOOR_DB = -80.0
"""Chosen: nothing is heard of what lies below."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Prosody(Processor):
    """Loudness, pitch (YIN), spectral shape and onset rate. No sound track gives None throughout."""

    version = 2
    reads = Reads(audio_rate_hz=16_000)
    Options = Options
    columns = (
        Column(name="loudness_db", kind="float", unit="dBFS", low=FLOOR_DB, high=0.0,
               source="root mean square of the clip; a full-scale sine is at -3"),
        Column(name="loudness_curve", kind="curve", unit="dBFS", low=FLOOR_DB, high=0.0, rate_hz=CURVE_RATE_HZ,
               source="root mean square of 0.1 s from each sample's time"),
        Column(name="pitch_hz", kind="float", unit="Hz", low=PITCH_LOW_HZ, high=PITCH_HIGH_HZ,
               source="median over voiced frames; YIN, de Cheveigne and Kawahara 2002"),
        Column(name="pitch_range_semitones", kind="float", unit="semitones", low=0.0, high=48.0,
               source="10th to 90th percentile of the pitch of voiced frames"),
        Column(name="pitch_curve", kind="curve", unit="Hz", low=PITCH_LOW_HZ, high=PITCH_HIGH_HZ, rate_hz=CURVE_RATE_HZ,
               source="median pitch of 0.1 s; None where fewer than half of its frames are voiced"),
        Column(name="voiced_share", kind="float", low=0.0, high=1.0, source="share of 10 ms frames with a pitch"),
        Column(name="spectral_centroid_hz", kind="float", unit="Hz", low=0.0, high=8000.0,
               source="centre of the clip's mean power spectrum"),
        Column(name="spectral_flatness", kind="float", low=0.0, high=1.0,
               source="geometric over arithmetic mean of the clip's mean power spectrum; 1 is white noise"),
        Column(name="spectral_tilt_db_per_octave", kind="float", unit="dB/octave",
               source="least squares over third-octave densities, 125 Hz to 4 kHz; vocal effort raises it, "
               "Sundberg and Nordenberg 2006"),
        Column(name="onset_rate_hz", kind="float", unit="Hz", low=0.0,
               source="peaks of spectral flux per second; Bello et al. 2005"),
        Column(name="onset_times_s", kind="json", unit="s", source="times of those peaks, ascending"),
        Column(name="onset_strengths_db", kind="json", unit="dB",
               source="mean rise of 24 mel bands over 40 ms at each of onset_times_s, above that of its half second"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip) for clip in clips]

    def _measured(self, clip: DecodedClip) -> Row:
        row: Row = {column.name: None for column in self.columns}
        if clip.audio is None:
            return row
        row["loudness_db"] = min(0.0, float(decibels(np.mean(np.square(clip.audio, dtype=np.float64)))))
        row["loudness_curve"] = loudness_curve(clip.audio, clip.audio_rate_hz)
        pitch_hz = pitch_track(clip.audio, clip.audio_rate_hz)
        row["voiced_share"] = float(np.mean(~np.isnan(pitch_hz)))
        row["pitch_curve"] = _pitch_curve(pitch_hz)
        if np.count_nonzero(~np.isnan(pitch_hz)) >= PITCHED_MIN_FRAMES:
            low, middle, high = np.nanpercentile(pitch_hz, [10, 50, 90])
            row["pitch_hz"] = float(middle)
            row["pitch_range_semitones"] = float(12.0 * np.log2(high / low))
        spectra = power_spectra(clip.audio, clip.audio_rate_hz)
        audible = decibels(spectra.sum(axis=1)) > AUDIBLE_DB
        times_s, strengths_db = onsets(spectra, clip.audio_rate_hz)
        row |= {
            "onset_rate_hz": len(times_s) / (len(spectra) * HOP_S),
            "onset_times_s": times_s,
            "onset_strengths_db": strengths_db,
        }
        if audible.any():
            mean_spectrum = spectra[audible].mean(axis=0, dtype=np.float64)
            row |= _spectral_shape(mean_spectrum, clip.audio_rate_hz)
        return row


def loudness_curve(audio: np.ndarray, rate_hz: int) -> list[float]:
    """Level in dBFS of each 0.1 s of `audio`; the last stretch takes what is left, 0.05 s to 0.15 s."""
    per_point = round(rate_hz / CURVE_RATE_HZ)
    n_points = max(1, round(len(audio) / per_point))
    power = np.square(audio, dtype=np.float64)
    stretches = np.split(power, [per_point * i for i in range(1, n_points)])
    return [min(0.0, float(decibels(np.mean(stretch)))) for stretch in stretches]


def pitch_track(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Pitch of each 10 ms frame by YIN (de Cheveigne and Kawahara, JASA 111, 2002); NaN where unvoiced.

    The difference function d(lag) = sum (x[j] - x[j + lag])^2 over 32 ms is computed by FFT, divided by its
    running mean, and the first local minimum under `APERIODICITY_LIMIT` is the period, refined by a parabola.
    """
    if len(audio) < rate_hz * HOP_S * VOICED_MIN_FRAMES:
        return np.full(-(-len(audio) // round(HOP_S * rate_hz)), np.nan)
    audio = sosfiltfilt(butter(2, PITCH_BAND_HZ, "bandpass", fs=rate_hz, output="sos"), audio)
    lag_low, lag_high = int(rate_hz / PITCH_HIGH_HZ), int(rate_hz / PITCH_LOW_HZ) + 1
    window = round(0.032 * rate_hz)
    frames = framed(audio, window + lag_high + 1, round(HOP_S * rate_hz))
    difference = _difference(frames, window, lag_high + 1)
    lags = np.arange(1, lag_high + 2)
    running_mean = np.cumsum(difference[:, 1:], axis=1) / lags
    normalised = difference[:, 1:] / np.maximum(running_mean, 1e-12)
    middle = normalised[:, 1:-1]
    candidates = (middle < APERIODICITY_LIMIT) & (middle <= normalised[:, :-2]) & (middle < normalised[:, 2:])
    candidates[:, : max(0, lag_low - 2)] = False
    lag = candidates.argmax(axis=1) + 2
    rows = np.arange(len(frames))
    before, at, after = (difference[rows, lag + step] for step in (-1, 0, 1))
    curvature = before - 2.0 * at + after
    shift = np.where(curvature > 0, 0.5 * (before - after) / np.maximum(curvature, 1e-12), 0.0)
    pitch_hz = np.clip(rate_hz / (lag + shift), PITCH_LOW_HZ, PITCH_HIGH_HZ)
    audible = decibels(np.mean(frames[:, :window] ** 2, axis=1)) > AUDIBLE_DB
    voiced = _without_short_runs(candidates.any(axis=1) & audible)
    return np.where(voiced, pitch_hz, np.nan)


def _difference(frames: np.ndarray, window: int, lag_high: int) -> np.ndarray:
    """YIN's difference function, float64 [T, lag_high + 1], of frames float64 [T, window + lag_high]."""
    n_fft = 1 << (frames.shape[1] - 1).bit_length()
    correlation = irfft(np.conj(rfft(frames[:, :window], n_fft)) * rfft(frames, n_fft), n_fft)[:, : lag_high + 1]
    energy = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    energies = energy[:, window : window + lag_high + 1] - energy[:, : lag_high + 1]
    return np.maximum(energies[:, :1] + energies - 2.0 * correlation, 0.0)


def _without_short_runs(voiced: np.ndarray) -> np.ndarray:
    """`voiced` with the runs shorter than `VOICED_MIN_FRAMES` taken out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(np.int8), [0]])))
    kept = np.zeros_like(voiced)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        kept[start:end] = end - start >= VOICED_MIN_FRAMES
    return kept


def _pitch_curve(pitch_hz: np.ndarray) -> list[float | None]:
    per_point = round(1.0 / (HOP_S * CURVE_RATE_HZ))
    n_points = max(1, round(len(pitch_hz) / per_point))
    stretches = np.split(pitch_hz, [per_point * i for i in range(1, n_points)])
    return [float(np.nanmedian(s)) if 2 * np.count_nonzero(~np.isnan(s)) >= len(s) else None for s in stretches]


def onsets(spectra: np.ndarray, rate_hz: int) -> tuple[list[float], list[float]]:
    """Times and strengths of peaks of the mean rise of 24 mel bands over 40 ms (Bello et al. 2005, section III).

    Args:
        spectra: float32 [T, F] from `power_spectra`.
    """
    bands = spectra @ mel_filters(spectra.shape[1], 24, rate_hz)
    loud = np.percentile(bands.sum(axis=1), 95)
    floor = max(loud * 10.0 ** (-ONSET_DEPTH_DB / 10.0), 10.0 ** (ONSET_FLOOR_DB / 10.0)) / bands.shape[1]
    levels_db = 10.0 * np.log10(bands + floor)
    rise_db = np.zeros(len(bands))
    rises = levels_db[ONSET_LAG_FRAMES:] - levels_db[:-ONSET_LAG_FRAMES]
    rise_db[ONSET_LAG_FRAMES:] = np.maximum(rises, 0.0).mean(axis=1)
    rise_db -= median_filter(rise_db, size=51, mode="nearest")
    peaks, _ = find_peaks(rise_db, height=ONSET_RISE_DB, distance=ONSET_GAP_FRAMES)
    return (peaks * HOP_S).tolist(), rise_db[peaks].tolist()


def _spectral_shape(mean_spectrum: np.ndarray, rate_hz: int) -> Row:
    """Centroid, flatness and tilt of a power spectrum float64 [F] from 0 to `rate_hz` / 2."""
    bins_hz = np.linspace(0.0, rate_hz / 2, len(mean_spectrum))
    # The lowest and the highest bin hold half a band each.
    power, power_hz = mean_spectrum[1:-1], bins_hz[1:-1]
    bands_db = [
        decibels(np.mean(power[(power_hz >= centre / 2 ** (1 / 6)) & (power_hz < centre * 2 ** (1 / 6))]))
        for centre in TILT_BANDS_HZ
    ]
    return {
        "spectral_centroid_hz": float(np.sum(power * power_hz) / np.sum(power)),
        "spectral_flatness": float(np.exp(np.mean(np.log(power + 1e-20))) / np.mean(power + 1e-20)),
        "spectral_tilt_db_per_octave": float(np.polyfit(np.log2(TILT_BANDS_HZ), bands_db, 1)[0]),
    }
