"""How a clip looks: a colour and texture embedding and measures of the picture, by signal processing."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from store.records import Column

HUES, SATURATIONS, VALUES, GREYS = 8, 2, 2, 4
GREY_BELOW = 0.15
"""Chosen: below this saturation, or this value, a hue is noise."""
ORIENTATIONS = 8
LBP_CODES = 10
PER_FRAME = HUES * SATURATIONS * VALUES + GREYS + ORIENTATIONS * 5 + LBP_CODES * 2
"""96: colour 36, gradient orientations 40, local binary patterns 20."""
SIZE = 2 * PER_FRAME
CHANGE_WEIGHT = 0.5
"""Chosen: how the picture looks counts twice as much as how it changes."""

BLACK_LUMA, BLACK_PIXELS = 0.10, 0.98
"""A frame is black where 98% of its pixels are under 0.10: the defaults of ffmpeg's blackdetect."""
FROZEN_DIFFERENCE = 0.001
"""Two frames are one where they differ by 0.001 of full scale in the mean: the default of ffmpeg's freezedetect."""


@dataclass(frozen=True)
class Options:
    """None: what is measured is fixed, so that rows compare."""


class Texture(Processor):
    """The vector `visual` and the picture's quality, pooled over sampled frames."""

    version = 1
    reads = Reads(frame_rate_hz=2.0, longest_px=384)
    Options = Options
    columns = (
        Column(name="visual", kind="vector", low=-1.0, high=1.0, size=SIZE,
               source="HSV histogram, gradient orientations in a pyramid (Bosch et al. 2007), local binary patterns "
               "(Ojala et al. 2002) at two scales; mean and deviation over frames, unit length"),
        Column(name="sharpness", kind="float", low=0.0,
               source="variance of the Laplacian of 8-bit luma at 384 px, median of frames; Pech-Pacheco et al. 2000"),
        Column(name="contrast", kind="float", low=0.0, high=0.5,
               source="root mean square contrast: deviation of luma in 0..1, mean over frames; Peli 1990"),
        Column(name="brightness", kind="float", low=0.0, high=1.0, source="mean luma"),
        Column(name="saturation", kind="float", low=0.0, high=1.0, source="mean HSV saturation weighted by value"),
        Column(name="hue_deg", kind="float", unit="degrees", low=0.0, high=360.0,
               source="circular mean of hue, weighted by saturation times value; None where no hue prevails"),
        Column(name="colourfulness", kind="float", low=0.0,
               source="Hasler and Suesstrunk 2003; 0 is grey, 15 slightly, 59 quite, 109 extremely colourful"),
        Column(name="black_share", kind="float", low=0.0, high=1.0, source="share of black frames; ffmpeg blackdetect"),
        Column(name="frozen_share", kind="float", low=0.0, high=1.0,
               source="share of successive frames that are the same, ffmpeg freezedetect; None with one frame"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_measured(clip.frames_rgb) for clip in clips]


def _measured(frames_rgb: np.ndarray) -> Row:
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_rgb]
    frames = np.stack([_halved(frame) for frame in frames_rgb]).astype(np.float32) / 255.0
    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    hsv = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in frames])
    black = np.mean(luma < BLACK_LUMA, axis=(1, 2)) >= BLACK_PIXELS
    changes = np.abs(np.diff(luma, axis=0)).mean(axis=(1, 2))
    return {
        "visual": embedding(luma, hsv),
        "sharpness": float(np.median([cv2.Laplacian(picture, cv2.CV_32F).var() for picture in grey])),
        "contrast": min(0.5, float(np.mean([picture.std(dtype=np.float64) for picture in luma]))),
        "brightness": _share(luma.mean(dtype=np.float64)),
        "saturation": _share(np.sum(hsv[..., 1] * hsv[..., 2]) / max(1e-6, float(np.sum(hsv[..., 2])))),
        "hue_deg": mean_hue_deg(hsv),
        "colourfulness": colourfulness(frames * 255.0),
        "black_share": float(black.mean()),
        "frozen_share": float(np.mean(changes < FROZEN_DIFFERENCE)) if len(changes) else None,
    }


def _halved(picture: np.ndarray) -> np.ndarray:
    """The picture at half its size (at least 3 px, which patterns need): texture at 192 px and below."""
    size = (max(3, picture.shape[1] // 2), max(3, picture.shape[0] // 2))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _share(value: float) -> float:
    return min(1.0, max(0.0, float(value)))


def mean_hue_deg(hsv: np.ndarray) -> float | None:
    """Circular mean of hue in degrees, weighted by chroma; None where the hues cancel out or there are none.

    Args:
        hsv: float32 [T, H, W, 3]: hue 0..360, saturation and value 0..1.
    """
    chroma = hsv[..., 1] * hsv[..., 2]
    mean = np.mean(chroma * np.exp(1j * np.radians(hsv[..., 0])), dtype=np.complex128)
    # Chosen: under 2% of full chroma a picture looks grey.
    return float(np.degrees(np.angle(mean)) % 360.0) if abs(mean) >= 0.02 else None


def colourfulness(frames_rgb: np.ndarray) -> float:
    """Hasler and Suesstrunk 2003, equation for RGB in 0..255: sigma + 0.3 mu of the opponent colours."""
    red, green, blue = (frames_rgb[..., channel].astype(np.float64) for channel in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2.0 - blue
    sigma = np.hypot(red_green.std(), yellow_blue.std())
    return float(sigma + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def embedding(luma: np.ndarray, hsv: np.ndarray) -> np.ndarray:
    """Mean and deviation over frames of what `_described` says of each, float64 [SIZE] of unit length.

    Args:
        luma: float32 [T, H, W] in 0..1.
        hsv: float32 [T, H, W, 3].
    """
    described = np.stack([_described(*frame) for frame in zip(luma, hsv, strict=True)])
    pooled = np.concatenate([described.mean(axis=0), CHANGE_WEIGHT * described.std(axis=0)])
    return pooled / np.linalg.norm(pooled)


def _described(luma: np.ndarray, hsv: np.ndarray) -> np.ndarray:
    """One frame, float64 [PER_FRAME]: square roots of histograms (Hellinger), each kind with one vote."""
    patterns = np.concatenate([_binary_patterns(luma), _binary_patterns(_halved(luma))])
    parts = [_colours(hsv), _orientations(luma), patterns]
    return np.concatenate([np.sqrt(part / max(part.sum(), 1e-12)) for part in parts])


def _colours(hsv: np.ndarray) -> np.ndarray:
    """Counts of hue by saturation by value where there is a hue, and of value where there is none."""
    hue, saturation, value = (hsv[..., channel].ravel() for channel in range(3))
    grey = (saturation < GREY_BELOW) | (value < GREY_BELOW)
    chromatic = np.stack([hue[~grey], saturation[~grey], value[~grey]], axis=1)
    ranges = [(0.0, 360.0), (GREY_BELOW, 1.0), (GREY_BELOW, 1.0)]
    counts, _ = np.histogramdd(chromatic, bins=(HUES, SATURATIONS, VALUES), range=ranges)
    greys, _ = np.histogram(value[grey], bins=GREYS, range=(0.0, 1.0))
    return np.concatenate([counts.ravel(), greys])


def _orientations(luma: np.ndarray) -> np.ndarray:
    """Gradient strength by orientation (0 to 180 degrees), for the whole frame and its quarters."""
    across, down = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    turns = np.mod(np.arctan2(down, across), np.pi) / np.pi
    bins = np.minimum((turns * ORIENTATIONS).astype(np.int64), ORIENTATIONS - 1)
    rows, columns = np.indices(luma.shape)
    quarter = 2 * (2 * rows >= luma.shape[0]) + (2 * columns >= luma.shape[1])
    counts = np.bincount((quarter * ORIENTATIONS + bins).ravel(), strength.ravel(), 4 * ORIENTATIONS)
    return np.concatenate([counts.reshape(4, ORIENTATIONS).sum(axis=0), counts])


def _binary_patterns(luma: np.ndarray) -> np.ndarray:
    """Counts of rotation-invariant uniform local binary patterns of 8 neighbours (Ojala et al. 2002).

    A pattern with at most two changes around the circle counts under its number of brighter neighbours (0 to
    8), any other under 9. Brighter by one 8-bit step, so that noise in flat areas makes no texture.
    """
    padded = np.pad(luma, 1, mode="edge")
    height, width = luma.shape
    circle = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    brighter = np.stack([padded[r : r + height, c : c + width] > luma + 1.0 / 255.0 for r, c in circle])
    changes = np.sum(brighter != np.roll(brighter, 1, axis=0), axis=0)
    codes = np.where(changes <= 2, brighter.sum(axis=0), LBP_CODES - 1)
    return np.bincount(codes.ravel(), minlength=LBP_CODES).astype(np.float64)
