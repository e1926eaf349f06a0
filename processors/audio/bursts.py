"""The rhythm of a sound's level: how often and how evenly it comes in bursts, how fast it rises and falls.

A laugh has about five even bursts per second (Bachorowski et al. 2001), panting two, a sigh one slow fall. No
processor of its own.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from processors.audio.spectrum import HOP_S

DEPTH_DB = 60.0
AUDIBLE_DB = 35.0
"""Chosen: below the loudest frame; what is quieter is room and recorder."""
RHYTHM_DB = 40.0
SMOOTHING_FRAMES = 2.0
RISE_S = 0.05
BURST_LAGS_S = (0.1, 1.5)
"""Chosen: from ten bursts per second to slow breathing."""
LEAST_REGULARITY = 0.2
"""Chosen: below this the bursts have no rate. All laughs of the Deeply set reach it and three of four pantings; no
sigh, one of eight moans and of EmoGator's vocal bursts, which mostly are one sound, one in ten."""


def levels_db(spectra: np.ndarray) -> np.ndarray:
    """Level of each frame relative to the loudest one, float64 [T], not below -`DEPTH_DB`.

    Args:
        spectra: float32 [T, F] from `power_spectra`.
    """
    levels = 10.0 * np.log10(spectra.sum(axis=1, dtype=np.float64) + 1e-12)
    return np.maximum(levels - levels.max(), -DEPTH_DB)


def slopes_db_per_s(levels: np.ndarray) -> np.ndarray:
    """Change of level over `RISE_S` from each frame of which either end is audible, float64 [at most T]."""
    lag = round(RISE_S / HOP_S)
    heard = levels > -AUDIBLE_DB
    return (levels[lag:] - levels[:-lag])[heard[lag:] | heard[:-lag]] / RISE_S


def autocorrelation(levels: np.ndarray) -> np.ndarray:
    """Of the smoothed level, float64 [T], 1 at lag 0; zeros for a level that does not move."""
    smooth = gaussian_filter1d(np.maximum(levels, -RHYTHM_DB), SMOOTHING_FRAMES)
    smooth = smooth - smooth.mean()
    n_fft = next_fast_len(2 * len(smooth))
    correlation = irfft(np.abs(rfft(smooth, n_fft)) ** 2, n_fft)[: len(smooth)]
    return correlation / max(correlation[0], 1e-9)


def rhythm(correlation: np.ndarray) -> tuple[float | None, float]:
    """Bursts per second, None where they are not regular, and how regular they are (0 to 1).

    The rate is that of the highest peak of the autocorrelation.
    """
    low, high = (round(lag_s / HOP_S) for lag_s in BURST_LAGS_S)
    within = correlation[: high + 1]
    peaks = find_peaks(within)[0]
    peaks = peaks[(peaks >= low) & (within[peaks] > 0.0)]
    if not len(peaks):
        return None, 0.0
    best = peaks[within[peaks].argmax()]
    regularity = min(1.0, float(within[best]))
    return (1.0 / (best * HOP_S) if regularity >= LEAST_REGULARITY else None), regularity
