"""Harmonics to noise ratio of each moment by autocorrelation (Boersma 1993): high for a clear voice, low for breath.

No processor of its own.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, sosfiltfilt

from processors.audio.spectrum import HOP_S, framed

WINDOW_S = 0.040
PITCH_LOW_HZ, PITCH_HIGH_HZ = 62.0, 890.0
BAND_HZ = (60.0, 4000.0)
LIMIT_DB = 20.0
"""Chosen: a share of 0.99 harmonic power; the measure is not exact to more."""
QUIET = 1e-8
"""Chosen: what lies 80 dB below the loudest frame has no harmonics, whatever is left of it."""
LEAST_S = 0.01
"""What the filter needs at its edges."""


def harmonicity_db(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Harmonic over other power of each 10 ms frame, float64 [T], within +- `LIMIT_DB`; silence is at the bottom.

    Args:
        audio: float32 [N] mono.
    """
    hop, window = round(HOP_S * rate_hz), round(WINDOW_S * rate_hz)
    if len(audio) < LEAST_S * rate_hz:
        return np.full(-(-len(audio) // hop), -LIMIT_DB)
    band = sosfiltfilt(butter(2, BAND_HZ, "bandpass", fs=rate_hz, output="sos"), audio)
    taper = np.hanning(window)
    n_fft = next_fast_len(2 * window)
    # The lags of a windowed sound are divided by the window's own, so that a perfect period reaches one.
    own = irfft(np.abs(rfft(taper, n_fft)) ** 2, n_fft)
    correlation = irfft(np.abs(rfft(framed(band, window, hop) * taper, n_fft, axis=1)) ** 2, n_fft, axis=1)
    energy = correlation[:, :1]
    normalised = correlation / (energy + QUIET * energy.max() + 1e-12) / (own / own[0] + 1e-3)
    lag_low, lag_high = round(rate_hz / PITCH_HIGH_HZ), round(rate_hz / PITCH_LOW_HZ)
    low = 1.0 / (1.0 + 10.0 ** (LIMIT_DB / 10.0))
    share = np.clip(normalised[:, lag_low:lag_high].max(axis=1), low, 1.0 - low)
    return 10.0 * np.log10(share / (1.0 - share))
