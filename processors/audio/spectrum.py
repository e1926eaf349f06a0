"""Short-time spectra that the sound processors share. No processor of its own."""

from functools import lru_cache

import numpy as np
from scipy.fft import rfft
from torchaudio.functional import melscale_fbanks

WINDOW_S = 0.064
"""Chosen: four periods of a 62 Hz voice, so that the harmonics of low voices come apart."""
HOP_S = 0.010

FLOOR_DB = -96.0
"""The quantisation step of 16-bit sound; what is below is silence."""


def decibels(power: np.ndarray) -> np.ndarray:
    """10 log10 of `power` (full scale is 1), not below `FLOOR_DB`."""
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10.0)))


def framed(audio: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Overlapping windows of `audio`, the i-th centred at sample i * `hop`; zeros beyond the ends.

    Args:
        audio: float32 [N].

    Returns:
        float32 [ceil(N / hop), window], a read-only view.
    """
    n_frames = -(-len(audio) // hop)
    padded = np.pad(audio, (window // 2, window))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][:n_frames]


def power_spectra(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Power in each bin of each frame (Hann window), scaled so that a frame's bins sum to its mean square.

    Args:
        audio: float32 [N] mono.

    Returns:
        float32 [T, F]: T frames every `HOP_S`, F bins from 0 to `rate_hz` / 2.
    """
    window = round(WINDOW_S * rate_hz)
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    spectra = np.abs(rfft(framed(audio, window, round(HOP_S * rate_hz)) * taper, axis=1)) ** 2
    spectra[:, 1:-1] *= 2.0
    return (spectra / (window * np.sum(taper**2))).astype(np.float32)


@lru_cache(maxsize=4)
def mel_filters(n_bins: int, n_mels: int, rate_hz: int, low_hz: float = 50.0) -> np.ndarray:
    """Triangular filters float32 [n_bins, n_mels], `low_hz` to half of `rate_hz` (O'Shaughnessy's mel scale)."""
    return melscale_fbanks(n_bins, low_hz, rate_hz / 2, n_mels, rate_hz, norm=None, mel_scale="htk").numpy()
