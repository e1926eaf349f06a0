"""A clip's pictures and sound as data that a page can hold: JPEG and PNG, WAV, a waveform, a log-mel spectrogram."""

import base64
import io
import wave

import cv2
import numpy as np

JPEG_QUALITY = 82
WAVE_POINTS = 600
MELS, HOP_S, WINDOW_S = 72, 0.01, 0.032
MEL_LOW_HZ, MEL_HIGH_HZ = 50.0, 8_000.0
RANGE_DB = 70.0
"""Below the loudest: darker is not shown."""
SILENT_DB = -20.0
"""Of a band in a window, where a full-scale sine has 42: what is quieter throughout is shown dark, not stretched."""
BAND_HEIGHT_PX = 2


def jpeg_uri(frame_rgb: np.ndarray) -> str:
    """A frame, uint8 [H, W, 3], as a data URI."""
    done, coded = cv2.imencode(".jpg", frame_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return _uri("image/jpeg", coded.tobytes())


def wav_uri(audio: np.ndarray, rate_hz: int) -> str:
    """Sound, float32 [N] mono in -1..1, as a data URI."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())
    return _uri("audio/wav", file.getvalue())


def envelope(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each of at most WAVE_POINTS stretches of the sound."""
    edges = np.linspace(0, len(audio), min(WAVE_POINTS, len(audio)) + 1).astype(int)
    return np.minimum.reduceat(audio, edges[:-1]), np.maximum.reduceat(audio, edges[:-1])


def mel_of(hz: float | np.ndarray) -> np.ndarray:
    """The mel scale of O'Shaughnessy (1987)."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))


def mel_height(hz: float) -> float:
    """Where a frequency lies in the spectrogram: 0 at its foot, 1 at its top."""
    low, high = mel_of(MEL_LOW_HZ), mel_of(MEL_HIGH_HZ)
    return float((mel_of(hz) - low) / (high - low))


def log_mel(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Log-mel spectrogram, float64 [MELS, T] in dB below the loudest, -RANGE_DB to 0, low frequencies first.

    audio: float32 [N] mono, N >= 1.
    """
    window, hop = round(WINDOW_S * rate_hz), round(HOP_S * rate_hz)
    padded = np.pad(audio.astype(np.float64), (window // 2, window))
    starts = np.arange(0, max(1, len(audio)), hop)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.interp(
        np.linspace(mel_of(MEL_LOW_HZ), mel_of(min(MEL_HIGH_HZ, rate_hz / 2)), MELS + 2),
        mel_of(bins := np.arange(power.shape[1]) * rate_hz / window),
        bins,
    )
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(np.minimum(rising, falling), 0.0)
    filters[np.arange(MELS), np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)] += 1e-3  # narrow bands hold a bin
    decibels = 10.0 * np.log10(np.maximum(filters @ power.T, 1e-10))
    return np.clip(decibels - max(float(decibels.max()), SILENT_DB), -RANGE_DB, 0.0)


def spectrogram_uri(audio: np.ndarray, rate_hz: int) -> str:
    """The log-mel spectrogram as a PNG's data URI; one column for every HOP_S."""
    shades = np.round((log_mel(audio, rate_hz) / RANGE_DB + 1.0) * 255).astype(np.uint8)[::-1]
    tall = np.repeat(shades, BAND_HEIGHT_PX, axis=0)
    done, coded = cv2.imencode(".png", cv2.applyColorMap(tall, cv2.COLORMAP_MAGMA), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return _uri("image/png", coded.tobytes())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
