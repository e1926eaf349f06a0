"""Voices, music and noise for the rendered footage, made in numpy.

No installed package carries a recorded voice, so the voices are synthesised by the source-filter model
(Fant, Acoustic Theory of Speech Production, 1960): glottal pulses and breath noise, shaped by formant
resonators that glide from one vowel to the next. They are speech-like, not speech.
"""

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, lfilter, resample_poly, sosfilt

VOICE_RATE_HZ = 16_000
BLOCK = 80
"""Samples (5 ms) for which the formants stand still: speech is quasi-stationary over 5 to 10 ms."""

VOWELS_HZ: dict[str, tuple[float, float, float]] = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "er": (490, 1350, 1690),
}
"""First three formants of adult male vowels: Peterson and Barney, J. Acoust. Soc. Am. 24 (1952), table II."""

FORMANT_WIDTHS_HZ = (70.0, 100.0, 140.0, 250.0)
"""Bandwidths typical of adult speech (Klatt, J. Acoust. Soc. Am. 67, 1980); the fourth formant is at 3,500 Hz."""


def _glide(points: list[tuple[float, float]], n: int) -> np.ndarray:
    """float64 [n]: a line through (time in [0, 1], value) points."""
    times, values = zip(*points, strict=True)
    return np.interp(np.linspace(0, 1, n), times, values)


def _pulses(f0_hz: np.ndarray) -> np.ndarray:
    """Glottal flow derivative, float64 [n], peak about 1: a rounded rise and a sharp closure in every period."""
    phase = np.cumsum(f0_hz / VOICE_RATE_HZ) % 1.0
    flow = np.where(phase < 0.6, 0.5 * (1 - np.cos(np.pi * phase / 0.6)), 0.0)
    flow = np.where((phase >= 0.6) & (phase < 0.75), np.cos(np.pi * (phase - 0.6) / 0.3), flow)
    return np.diff(flow, prepend=0.0) * VOICE_RATE_HZ / 1500.0


def _resonate(source: np.ndarray, formants_hz: np.ndarray) -> np.ndarray:
    """`source` float64 [n] through four resonators in series whose centres `formants_hz` [blocks, 3] move.

    A resonator is Klatt's: b0 = 1 - b - c, a = (1, -b, -c) with c = -exp(-2 pi w / r) and
    b = 2 exp(-pi w / r) cos(2 pi f / r).
    """
    state = np.zeros((4, 2))
    widths = np.array(FORMANT_WIDTHS_HZ)
    c = -np.exp(-2 * np.pi * widths / VOICE_RATE_HZ)
    out = np.empty_like(source)
    for block, centres in enumerate(formants_hz):
        b = 2 * np.sqrt(-c) * np.cos(2 * np.pi * np.append(centres, 3500.0) / VOICE_RATE_HZ)
        sections = np.stack([1 - b - c, 0 * b, 0 * b, 1 + 0 * b, -b, -c], axis=1)
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        if out[part].size:
            out[part], state = sosfilt(sections, source[part], zi=state)
    return out


def _voice(
    f0_hz: np.ndarray,
    vowels: list[tuple[float, str]],
    voiced: np.ndarray,
    breath: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One breath of voice, float64 [n].

    f0_hz, voiced, breath: [n], pitch and the amplitudes of the pulses and of the noise that excite the tract.
    vowels: (time in [0, 1], vowel) points that the formants glide through.
    """
    n = len(f0_hz)
    knots = n // 160 + 2
    jitter = np.interp(np.arange(n), 160 * np.arange(knots), rng.normal(0, 0.012, knots))
    source = voiced * _pulses(f0_hz * (1 + jitter)) + breath * rng.normal(0, 0.35, n)
    blocks = -(-n // BLOCK)
    tract = np.stack([_glide([(t, VOWELS_HZ[v][k]) for t, v in vowels], blocks) for k in range(3)], axis=1)
    return _resonate(source, tract * 1.08)


def _hump(n: int, attack: float, release: float) -> np.ndarray:
    """float64 [n] in [0, 1]: rises over `attack`, falls over `release` (shares of n)."""
    t = np.linspace(0, 1, n)
    return np.clip(np.minimum(t / attack, (1 - t) / release), 0, 1)


def _speech(n: int, rng: np.random.Generator) -> np.ndarray:
    """Phrases of syllables, four to five a second, with plosives, fricatives and falling pitch."""
    out = np.zeros(n)
    base_hz, at = rng.uniform(110, 200), 0
    while at < n - VOICE_RATE_HZ // 4:
        syllables = int(rng.integers(4, 9))
        for k in range(syllables):
            length = int(VOICE_RATE_HZ * rng.uniform(0.16, 0.27))
            if at + length > n:
                return out
            first, second = rng.choice(list(VOWELS_HZ), 2)
            accent = 1.25 if rng.random() < 0.3 else 1.0
            f0 = base_hz * accent * (1.15 - 0.35 * k / syllables) * _glide([(0, 1.0), (0.4, 1.06), (1, 0.94)], length)
            loud = _hump(length, 0.18, 0.3) * accent
            out[at : at + length] += _voice(f0, [(0, first), (0.35, first), (1, second)], loud, 0.04 * loud, rng)
            burst = min(int(VOICE_RATE_HZ * rng.choice([0.015, 0.07])), length)
            noise = lfilter([1, -0.9], 1, rng.normal(0, 0.25, burst)) * _hump(burst, 0.3, 0.5)
            out[at : at + burst] += noise
            at += int(length * 0.94)
        at += int(VOICE_RATE_HZ * rng.uniform(0.12, 0.3))
    return out


def _bursts(n: int, rng: np.random.Generator, rate_hz: float, vowel: str, f0_hz: float, breathy: float) -> np.ndarray:
    """A train of short voiced bursts, each begun by breath; the pitch falls over the train."""
    out = np.zeros(n)
    step = int(VOICE_RATE_HZ / rate_hz)
    for start in range(0, n - step + 1, step):
        length = int(step * rng.uniform(0.6, 0.8))
        fall = 1.1 - 0.3 * start / n
        f0 = f0_hz * fall * rng.uniform(0.93, 1.07) * _glide([(0, 0.9), (0.3, 1.1), (1, 0.8)], length)
        loud = _hump(length, 0.25, 0.5) * rng.uniform(0.7, 1.0)
        breath = breathy * np.exp(-np.linspace(0, 6, length))
        out[start : start + length] += _voice(f0, [(0, vowel), (1, "er")], loud, breath, rng)
    return out


def _laugh(n: int, rng: np.random.Generator) -> np.ndarray:
    """Voiced laughs have a mean pitch of 272 Hz (men) and 405 Hz (women): Bachorowski et al., JASA 110 (2001)."""
    return _bursts(n, rng, rng.uniform(4.5, 5.5), "a", rng.uniform(300, 405), 0.6)


def _sob(n: int, rng: np.random.Generator) -> np.ndarray:
    wail = _moan(n, rng) * (0.6 + 0.4 * np.sin(2 * np.pi * 7 * np.arange(n) / VOICE_RATE_HZ))
    return 0.5 * wail + _bursts(n, rng, rng.uniform(2.2, 3.0), "e", rng.uniform(260, 340), 1.2)


def _sigh(n: int, rng: np.random.Generator) -> np.ndarray:
    envelope = _hump(n, 0.15, 0.8) ** 1.5
    f0 = rng.uniform(130, 180) * _glide([(0, 1.15), (1, 0.6)], n)
    return _voice(f0, [(0, "a"), (1, "er")], 0.12 * envelope, 0.9 * envelope, rng)


def _moan(n: int, rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform(170, 240)
    f0 = top * _glide([(0, 0.75), (0.35, 1.1), (1, 0.65)], n)
    f0 *= 1 + 0.02 * np.sin(2 * np.pi * 5.5 * np.arange(n) / VOICE_RATE_HZ)
    envelope = _hump(n, 0.2, 0.4)
    return _voice(f0, [(0, "u"), (0.4, "o"), (1, "u")], envelope, 0.1 * envelope, rng)


def _music(n: int, rng: np.random.Generator) -> np.ndarray:
    """A pentatonic tune of plucked tones over a drone."""
    root = rng.choice([110.0, 130.8, 146.8])
    time_s = np.arange(n) / VOICE_RATE_HZ
    out = 0.15 * (np.sin(2 * np.pi * root * time_s) + np.sin(2 * np.pi * 1.5 * root * time_s))
    step = int(VOICE_RATE_HZ * rng.uniform(0.22, 0.4))
    for start in range(0, n, step):
        tone = time_s[: n - start]
        pitch = 2 * root * 2 ** (rng.choice([0, 2, 4, 7, 9, 12]) / 12)
        pluck = np.exp(-tone * 4) * np.minimum(tone * 200, 1)
        out[start:] += pluck * sum(np.sin(2 * np.pi * pitch * h * tone) / h**1.5 for h in (1, 2, 3))
    return out


def _noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Wind: low-passed noise that swells."""
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 0.4 * np.arange(n) / VOICE_RATE_HZ + rng.uniform(0, 6))
    return sosfilt(butter(2, 900, fs=VOICE_RATE_HZ, output="sos"), rng.normal(0, 1, n)) * swell


SOUNDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "speech": _speech,
    "laugh": _laugh,
    "sob": _sob,
    "sigh": _sigh,
    "moan": _moan,
    "music": _music,
    "noise": _noise,
}
LOUDNESS = {"speech": 0.09, "laugh": 0.12, "sob": 0.1, "sigh": 0.04, "moan": 0.07, "music": 0.06, "noise": 0.02}
"""Root mean square that each kind is brought to; chosen so that wordless voices differ in level as they do in life."""


def make_sound(kind: str, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """One sound of a kind in `SOUNDS`: float32 [duration_s * 16000], mono, in [-1, 1], 10 ms ramps at both ends."""
    n = round(duration_s * VOICE_RATE_HZ)
    wave = SOUNDS[kind](n, rng)
    wave = wave * LOUDNESS[kind] / max(float(np.sqrt(np.mean(wave**2))), 1e-9)
    ramp = np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.01 * VOICE_RATE_HZ)
    return (np.clip(wave, -1, 1) * np.minimum(ramp, 1)).astype(np.float32)


def resample(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """`wave` float32 [N] at `VOICE_RATE_HZ`, as float32 [N * rate_hz / VOICE_RATE_HZ] at `rate_hz`."""
    step = np.gcd(rate_hz, VOICE_RATE_HZ)
    return resample_poly(wave, rate_hz // step, VOICE_RATE_HZ // step).astype(np.float32)
