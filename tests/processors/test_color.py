"""Colour against values computed by the formulas of the recommendations."""

import numpy as np
import pytest

from processors.color import (
    BT709,
    Colour,
    planes_to_bt709,
    planes_to_rgb,
    pq_code,
    pq_light,
    rgb_to_planes,
    tone_curve,
)

COLOURS = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 64, 200]]], np.uint8)


def coded(rgb: np.ndarray, kr: float, kb: float, depth: int, full: bool) -> tuple[np.ndarray, ...]:
    """Y'CbCr of R'G'B' in 0..1 (float [..., 3]) as BT.601 item 3.5 and BT.709 item 3 write it."""
    r, g, b = np.moveaxis(rgb, -1, 0)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    unit, dtype = 2 ** (depth - 8), np.uint8 if depth == 8 else np.uint16
    if full:
        parts = y * (2**depth - 1), 128 * unit + cb * (2**depth - 1), 128 * unit + cr * (2**depth - 1)
    else:
        parts = (16 + 219 * y) * unit, (128 + 224 * cb) * unit, (128 + 224 * cr) * unit
    return tuple(np.clip(np.rint(part), 0, 2**depth - 1).astype(dtype) for part in parts)


def test_rgb_survives_the_way_to_planes_and_back():
    assert np.abs(planes_to_rgb(rgb_to_planes(COLOURS)).astype(int) - COLOURS).max() <= 2


def test_planes_that_are_right_already_are_not_touched():
    planes = rgb_to_planes(COLOURS)
    assert planes_to_bt709(planes, 8, BT709) is planes


@pytest.mark.parametrize(("matrix", "kr", "kb"), [("bt601", 0.299, 0.114), ("bt709", 0.2126, 0.0722)])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_matrix_range_and_depth_are_all_undone(matrix, kr, kb, full, depth):
    planes = coded(COLOURS / 255, kr, kb, depth, full)
    shown = planes_to_rgb(planes_to_bt709(planes, depth, Colour(matrix, full, "sdr", False)))
    assert np.abs(shown.astype(int) - COLOURS).max() <= 6


def test_chroma_of_half_size_corrects_the_luma_too():
    picture = np.full((8, 8, 3), (200, 40, 90), np.uint8)
    y, cb, cr = coded(picture / 255, 0.299, 0.114, 8, False)
    shown = planes_to_rgb(planes_to_bt709((y, cb[::2, ::2], cr[::2, ::2]), 8, Colour("bt601", False, "sdr", False)))
    assert np.abs(shown.astype(int) - picture).max() <= 4


def test_pq_has_the_values_of_the_recommendation():
    """BT.2408-4 table 1: 203 cd/m2 at 58% of PQ, 26 cd/m2 (grey card) at 38%."""
    assert pq_code(np.array([203.0, 26.0, 10_000.0])) == pytest.approx([0.58, 0.38, 1.0], abs=0.005)
    assert pq_light(pq_code(np.array([0.01, 1.0, 100.0, 4000.0]))) == pytest.approx(
        [0.01, 1.0, 100.0, 4000.0], rel=1e-6
    )


def test_the_tone_curve_keeps_shadows_and_ends_at_white():
    light = np.geomspace(0.01, 1000, 200)
    mapped = tone_curve(light)
    assert mapped[light < 20] == pytest.approx(light[light < 20], rel=0.01)
    assert np.all(np.diff(mapped) > 0)
    assert mapped[-1] == pytest.approx(203, rel=0.001)
    assert tone_curve(np.array([4000.0]))[0] == pytest.approx(203, rel=0.001)


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_hdr_grey_stays_grey_and_gets_a_sane_brightness(transfer):
    """A grey card of 26 cd/m2 (BT.2408: 38% in PQ and HLG) is 26 / 203 of white: 34% by the BT.709 OETF."""
    grey = np.full((8, 8, 3), 0.38)
    planes = coded(grey, 0.2627, 0.0593, 10, False)
    rgb = planes_to_rgb(planes_to_bt709(planes, 10, Colour("bt2020", False, transfer, True)))
    assert rgb.max() - rgb.min() <= 3
    assert rgb.mean() / 255 == pytest.approx(0.34, abs=0.04)


def test_hdr_white_and_black_reach_the_ends():
    ramp = np.repeat(np.array([0.0, 0.7518])[None, :, None], 3, axis=2)
    planes = coded(ramp, 0.2627, 0.0593, 10, False)
    y, _, _ = planes_to_bt709(planes, 10, Colour("bt2020", False, "pq", True))
    assert y[0].tolist() == pytest.approx([16, 235], abs=2)


def test_colours_of_wide_gamut_keep_their_hue():
    """BT.709 red, coded in BT.2020 with the SDR transfer, comes back as red."""
    red_2020 = np.array([0.6274, 0.0691, 0.0164])
    signal = 1.099 * red_2020**0.45 - 0.099
    planes = coded(np.broadcast_to(signal, (4, 4, 3)), 0.2627, 0.0593, 10, False)
    rgb = planes_to_rgb(planes_to_bt709(planes, 10, Colour("bt2020", False, "sdr", True)))
    assert rgb[0, 0].tolist() == pytest.approx([255, 0, 0], abs=6)
