"""Roughness: how deeply a sound's envelope is modulated at 30 to 150 Hz, as in screams (Arnal et al. 2015).

Laughs, sobs and groans differ in it too. No processor of its own.
"""

from itertools import pairwise

import numpy as np
from scipy.fft import ifft, next_fast_len, rfft, rfftfreq

from processors.audio.spectrum import framed

BAND_EDGES_HZ = (100.0, 289.0, 837.0, 2420.0, 7000.0)
"""Chosen: four bands of one and a half octaves, of which all but the lowest hold several harmonics of a voice."""
RATE_EDGES_HZ = (16.0, 30.0, 70.0, 150.0)
"""Flutter, roughness below the pitch of voices, and above: there the pitch of low voices itself shows."""
ENVELOPE_RATE_HZ = 1000
WINDOW_S = 0.256
HOP_S = 0.05
LOUD_SHARE = 0.05
"""Chosen: a window counts where its envelope has this share of the loudest one's mean."""
FLOOR = 1e-6
"""Chosen: -60 dB, below what any recording holds."""


def modulation(audio: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Power of the envelope's modulation over its squared mean, per window.

    Args:
        audio: float32 [N] mono.

    Returns:
        float64 [T, bands, rates], a window centred at each i * `HOP_S`, and bool [T, bands]: where the band is loud
        enough to tell.
    """
    envelopes = _envelopes(audio, rate_hz)
    window = round(WINDOW_S * ENVELOPE_RATE_HZ)
    taper = np.hanning(window)
    rates_hz = rfftfreq(window, 1.0 / ENVELOPE_RATE_HZ)
    powers, loud = [], []
    for envelope in envelopes:
        windows = framed(envelope, window, round(HOP_S * ENVELOPE_RATE_HZ)) * taper
        sums = windows.sum(axis=1) + 1e-9
        power = np.abs(rfft(windows, axis=1)) ** 2 / sums[:, None] ** 2
        means = [power[:, (rates_hz >= low) & (rates_hz < high)].mean(axis=1) for low, high in pairwise(RATE_EDGES_HZ)]
        powers.append(np.stack(means, axis=1) + FLOOR)
        loud.append(sums > LOUD_SHARE * sums.max())
    return np.stack(powers, axis=1), np.stack(loud, axis=1)


def _envelopes(audio: np.ndarray, rate_hz: int) -> list[np.ndarray]:
    """Hilbert envelope of each band, float64 [N * ENVELOPE_RATE_HZ / rate_hz]."""
    step = rate_hz // ENVELOPE_RATE_HZ
    n_fft = next_fast_len(len(audio))
    spectrum = rfft(audio.astype(np.float64), n_fft)
    bins_hz = rfftfreq(n_fft, 1.0 / rate_hz)
    envelopes = []
    for low, high in pairwise(BAND_EDGES_HZ):
        analytic = np.zeros(n_fft, np.complex128)
        analytic[: len(spectrum)] = np.where((bins_hz >= low) & (bins_hz < high), 2.0 * spectrum, 0.0)
        envelope = np.abs(ifft(analytic))[: len(audio)]
        padded = np.pad(envelope, (0, -len(envelope) % step))
        envelopes.append(padded.reshape(-1, step).mean(axis=1))
    return envelopes
