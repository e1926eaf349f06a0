"""Colour: from what a decoder gives to 8-bit limited-range BT.709 Y'CbCr, and from there to RGB.

Y'CbCr of 8-bit video stays Y'CbCr: range and matrix are corrected on the planes. Wide-gamut and HDR pictures
go the long way: R'G'B', linear light, BT.709 primaries, tone curve, BT.709 OETF. The primaries of BT.601
(SMPTE 170M, BT.470BG) are taken for those of BT.709; they differ by less than 0.03 in xy.

Sources: ITU-R BT.601-7, BT.709-6, BT.2020-2 (matrices, OETF); BT.2100-2 (PQ, HLG); BT.2087-0 (2020 to 709);
BT.2390-8 section 5.4.1 (EETF, the tone curve); BT.2408-4 (203 cd/m2 for HDR reference white).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import av
import cv2
import numpy as np

from store.records import Json

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
Matrix = Literal["bt601", "bt709", "bt2020"]
Transfer = Literal["sdr", "pq", "hlg"]

HDR_PEAK_NITS = 1000.0
"""Assumed peak of HDR footage: BT.2100's nominal HLG display and the common mastering display of PQ."""
SDR_WHITE_NITS = 203.0
"""HDR light that becomes SDR white's limit (BT.2408, HDR reference white)."""

_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""Linear light, BT.2087-0 annex 2."""
_STEPS = 4096
"""Entries of the transfer tables: 12 bits, what BT.2100 quantises PQ to."""

# FFmpeg's numbers are those of ITU-T H.273.
_MATRICES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
_HDR_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_BT2020_PRIMARIES, _FULL = 9, 2


@dataclass(frozen=True)
class Colour:
    """How a picture's numbers mean light."""

    matrix: Matrix
    full_range: bool
    transfer: Transfer
    wide: bool
    """BT.2020 primaries."""

    def describe(self) -> Json:
        """For the facts of a video."""
        primaries = "bt2020" if self.wide else "bt709"
        return {"matrix": self.matrix, "full_range": self.full_range, "transfer": self.transfer, "primaries": primaries}


BT709 = Colour("bt709", False, "sdr", False)
"""What clips are written in."""


def colour_of(frame: av.VideoFrame) -> Colour:
    """The picture's colour as tagged; untagged Y'CbCr is BT.709 from 720 lines or 1280 columns on, else BT.601
    (the rule of Chromium and mpv, since SD came from BT.601 and HD from BT.709)."""
    hdr = _HDR_TRANSFERS.get(frame.color_trc, "sdr")
    wide = frame.color_primaries == _BT2020_PRIMARIES or hdr != "sdr"
    large = frame.width >= 1280 or frame.height >= 720
    guess: Matrix = "bt2020" if wide else "bt709" if large else "bt601"
    full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    return Colour(_MATRICES.get(frame.colorspace, guess), full, hdr, wide)


def planes_to_bt709(planes: Planes, depth: int, colour: Colour) -> Planes:
    """Y'CbCr planes of any depth and colour as 8-bit limited-range BT.709 Y'CbCr.

    Args:
        planes: Y' [H, W], Cb and Cr [h, w], uint8 or (for a depth above 8) uint16.
        depth: significant bits.
        colour: of the planes.

    Returns:
        Planes of the same shapes, uint8.
    """
    if colour.wide:
        return _wide_to_bt709(planes, depth, colour)
    if depth == 8 and not colour.full_range and colour.matrix == "bt709":
        return planes
    if depth > 8 or colour.full_range:
        planes = _to_limited_8(planes, depth, colour.full_range)
    return planes if colour.matrix == "bt709" else _bt601_to_bt709(planes)


def rgb_to_planes(rgb: np.ndarray) -> Planes:
    """R'G'B' (uint8 [H, W, 3]) as limited-range BT.709 Y'CbCr planes of full size, uint8."""
    forward = (_limited_scale() @ _rgb_to_ycbcr("bt709")).astype(np.float32)
    offset = np.array([[16.0], [128.0], [128.0]], np.float32)
    ycbcr = cv2.transform(rgb, np.hstack([forward, offset]))
    y, cb, cr = cv2.split(ycbcr)
    return y, cb, cr


def planes_to_rgb(planes: Planes) -> np.ndarray:
    """Limited-range BT.709 Y'CbCr planes (uint8, chroma of any size) as R'G'B', uint8 [H, W, 3].

    R'G'B' are shown as sRGB: the two share primaries, and displays treat them alike.
    """
    y, cb, cr = planes
    size = (y.shape[1], y.shape[0])
    if cb.shape != y.shape:
        cb, cr = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (cb, cr))
    return cv2.transform(cv2.merge((y, cb, cr)), _decode_matrix("bt709", 8, False, 255.0))


def _rgb_to_ycbcr(matrix: str) -> np.ndarray:
    kr, kb = _KR_KB[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    return np.stack([luma, cb, cr])


def _limited_scale() -> np.ndarray:
    return np.diag([219 / 255, 224 / 255, 224 / 255])


@lru_cache(maxsize=32)
def _decode_matrix(matrix: str, depth: int, full: bool, white: float) -> np.ndarray:
    """[3, 4] for cv2.transform: quantised Y'CbCr (BT.709-6 item 4, BT.2100-2 table 9) to R'G'B' in 0..white."""
    unit = 2.0 ** (depth - 8)
    scale = np.array([1, 1, 1]) / (2.0**depth - 1) if full else 1 / (unit * np.array([219, 224, 224]))
    offset = np.array([0 if full else 16, 128, 128]) * unit
    inverse = white * np.linalg.inv(_rgb_to_ycbcr(matrix)) * scale
    return np.hstack([inverse, -(inverse @ offset)[:, None]]).astype(np.float32)


def _to_limited_8(planes: Planes, depth: int, full: bool) -> Planes:
    unit = 2.0 ** (depth - 8)
    luma_gain = 219 / (2**depth - 1) if full else 1 / unit
    chroma_gain = 224 / (2**depth - 1) if full else 1 / unit
    luma_offset = 16.0 if full else 0.0
    y, cb, cr = planes
    return (
        cv2.convertScaleAbs(y, alpha=luma_gain, beta=luma_offset),
        cv2.convertScaleAbs(cb, alpha=chroma_gain, beta=128 - 128 * unit * chroma_gain),
        cv2.convertScaleAbs(cr, alpha=chroma_gain, beta=128 - 128 * unit * chroma_gain),
    )


def _bt601_to_bt709(planes: Planes) -> Planes:
    """The luma's correction is linear in chroma, so it is computed at chroma's size and enlarged."""
    scale = _limited_scale()
    change = scale @ _rgb_to_ycbcr("bt709") @ np.linalg.inv(_rgb_to_ycbcr("bt601")) @ np.linalg.inv(scale)
    y, cb, cr = planes
    rows = change[:, 1:].astype(np.float32)
    offset = 128 - 128 * rows.sum(axis=1, keepdims=True)
    moved = cv2.transform(cv2.merge((cb, cr)), np.hstack([rows, offset]))
    luma_change, new_cb, new_cr = cv2.split(moved)
    if luma_change.shape != y.shape:
        luma_change = cv2.resize(luma_change, (y.shape[1], y.shape[0]), interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(y, 1.0, luma_change, 1.0, -128.0), new_cb, new_cr


# --- wide gamut and HDR ----------------------------------------------------------------------------------


def _wide_to_bt709(planes: Planes, depth: int, colour: Colour) -> Planes:
    size = (planes[0].shape[1], planes[0].shape[0])
    full = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in planes)
    coded = cv2.merge([plane.astype(np.float32) for plane in full])
    rgb = cv2.transform(coded, _decode_matrix(colour.matrix, depth, colour.full_range, _STEPS - 1.0))
    codes = np.clip(np.rint(rgb), 0, _STEPS - 1).astype(np.int32)
    light = cv2.transform(_display_light(codes, colour.transfer), _BT2020_TO_BT709)
    signal = _oetf_table()[np.rint(np.sqrt(np.clip(light, 0, 1)) * (_STEPS - 1)).astype(np.int32)]
    y, cb, cr = rgb_to_planes(signal)
    half = (planes[1].shape[1], planes[1].shape[0])
    return y, cv2.resize(cb, half, interpolation=cv2.INTER_AREA), cv2.resize(cr, half, interpolation=cv2.INTER_AREA)


def _display_light(codes: np.ndarray, transfer: str) -> np.ndarray:
    """Linear light, 1 = SDR white, of R'G'B' codes (int32 [H, W, 3], 0.._STEPS-1), tone curve applied."""
    if transfer == "sdr":
        return _sdr_table()[codes]
    if transfer == "pq":
        light = _pq_table()[codes]
    else:
        scene = _hlg_table()[codes]
        luma = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        # BT.2100-2 table 5: the HLG OOTF with the system gamma of 1.2 at 1000 cd/m2.
        light = HDR_PEAK_NITS * np.maximum(luma, 1e-6)[:, :, None] ** np.float32(0.2) * scene
    # The curve is applied to the largest of R, G and B, and the others follow in proportion: hue is kept.
    largest = codes.max(axis=2) / (_STEPS - 1) if transfer == "pq" else pq_code(light.max(axis=2))
    brightest = np.rint(largest * (_STEPS - 1)).astype(np.int32)
    return light * _tone_gain_table()[brightest][:, :, None]


def pq_light(code: np.ndarray) -> np.ndarray:
    """PQ EOTF, BT.2100-2 table 4: code in [0, 1] to cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.power(np.maximum(code, 0), 1 / m2)
    return 10000 * np.power(np.maximum(power - c1, 0) / (c2 - c3 * power), 1 / m1)


def pq_code(light: np.ndarray) -> np.ndarray:
    """Inverse PQ EOTF, BT.2100-2 table 4: cd/m2 to code in [0, 1]."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.power(np.clip(light, 0, 10000) / 10000, m1)
    return np.power((c1 + c2 * power) / (1 + c3 * power), m2)


def tone_curve(light: np.ndarray) -> np.ndarray:
    """BT.2390-8 EETF: cd/m2 of a display of HDR_PEAK_NITS to cd/m2 of one of SDR_WHITE_NITS, black kept.

    Below the knee nothing changes; above, a Hermite spline in PQ code rolls off to the smaller peak.
    """
    peak = pq_code(np.array(HDR_PEAK_NITS))
    limit = pq_code(np.array(SDR_WHITE_NITS)) / peak
    code = np.minimum(pq_code(light) / peak, 1)
    knee = 1.5 * limit - 0.5
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * limit
    return pq_light(np.where(code < knee, code, spline) * peak)


@lru_cache(maxsize=1)
def _pq_table() -> np.ndarray:
    return pq_light(np.linspace(0, 1, _STEPS)).astype(np.float32)


@lru_cache(maxsize=1)
def _hlg_table() -> np.ndarray:
    """Inverse HLG OETF, BT.2100-2 table 5: code to scene light in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = np.linspace(0, 1, _STEPS)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


@lru_cache(maxsize=1)
def _tone_gain_table() -> np.ndarray:
    """Factor from cd/m2 to light relative to SDR white, by PQ code of the brightest component."""
    light = np.maximum(pq_light(np.linspace(0, 1, _STEPS)), 1e-4)
    return (tone_curve(light) / light / SDR_WHITE_NITS).astype(np.float32)


@lru_cache(maxsize=1)
def _sdr_table() -> np.ndarray:
    """Inverse of the OETF of BT.709-6 item 1.2."""
    code = np.linspace(0, 1, _STEPS)
    return np.where(code < 0.081, code / 4.5, ((code + 0.099) / 1.099) ** (1 / 0.45)).astype(np.float32)


@lru_cache(maxsize=1)
def _oetf_table() -> np.ndarray:
    """OETF of BT.709-6 item 1.2 in 8 bits, by the square root of linear light (finer steps in the shadows)."""
    light = np.linspace(0, 1, _STEPS) ** 2
    signal = np.where(light < 0.018, 4.5 * light, 1.099 * np.power(np.maximum(light, 1e-9), 0.45) - 0.099)
    return np.rint(255 * signal).astype(np.uint8)
