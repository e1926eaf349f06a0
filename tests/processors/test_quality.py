"""Filters: each answers to what it is for, the more the more, and to nothing else; on recorded footage too."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from processors.base import Curve, DecodedClip, Row, create_processor
from processors.engine import Engine
from processors.profile import create_profile
from processors.quality.text import lines
from processors.vision.dino import fitting_size
from store.errors import ModelUnavailable, SettingsError
from tests.processors.made_clips import MEDIA, make_clip, seen

VIDEO = MEDIA / "video"
IDS = ["letterbox", "sharpness", "exposure", "flicker", "overlay", "text", "signature"]
needs_media = pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/media (recorded footage)")


@pytest.fixture(scope="module")
def filters() -> Engine:
    engine = Engine(create_profile("filters", [create_processor(f"quality.{name}", {}) for name in IDS]))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def measure(filters: Engine) -> Any:
    """Measures frames, uint8 [T, H, W, 3] at 4 Hz."""

    def run(frames_rgb: np.ndarray, **fields: Any) -> Row:
        clip = replace(make_clip("clip", frames_rgb, duration_s=len(frames_rgb) / 4.0), **fields)
        (measured,) = filters.run([clip])
        assert not measured.failed
        return measured.values

    return run


def scene(n_frames: int = 12, step_px: int = 12, picture: np.ndarray | None = None) -> np.ndarray:
    """A camera that moves over a picture (scikit-image, public domain), uint8 [n_frames, 144, 256, 3]."""
    picture = data.astronaut() if picture is None else picture
    return np.stack([picture[i * 2 : i * 2 + 144, i * step_px : i * step_px + 256] for i in range(n_frames)])


def each(frames: np.ndarray, change: Any) -> np.ndarray:
    return np.stack([change(frame) for frame in frames])


def blurred(frames: np.ndarray, sigma_px: float) -> np.ndarray:
    return each(frames, lambda frame: cv2.GaussianBlur(frame, (0, 0), sigma_px))


def barred(frames: np.ndarray, rows: int, columns: int = 0) -> np.ndarray:
    """The frames between black bars of so many pixels on each side."""
    return np.pad(frames, ((0, 0), (rows, rows), (columns, columns), (0, 0)))


def written(frames: np.ndarray, text: str, at: tuple[int, int], size: float = 0.6) -> np.ndarray:
    def write(frame: np.ndarray) -> np.ndarray:
        frame = frame.copy()
        for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(frame, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)
        return frame

    return each(frames, write)


def rises(values: Sequence[float], least: float) -> bool:
    return bool(np.all(np.diff(values) > least))


def test_blur_rises_with_blur_and_not_with_darkness_bars_or_a_soft_background(measure: Any) -> None:
    sharp = scene()
    scores = [measure(frames)["blur"] for frames in (sharp, *(blurred(sharp, s) for s in (1.0, 2.0, 4.0)))]
    assert rises(scores, 0.05)
    assert scores[0] < 0.4 < 0.75 <= scores[-1]
    assert measure((sharp * 0.5).astype(np.uint8))["blur"] == pytest.approx(scores[0], abs=0.06)
    assert measure(barred(blurred(sharp, 4.0), 30))["blur"] == pytest.approx(scores[-1], abs=0.06)
    half = blurred(sharp, 4.0)
    half[:, :, 128:] = sharp[:, :, 128:]
    assert measure(half)["blur"] < scores[0] + 0.15


def test_a_picture_without_detail_has_no_blur(measure: Any) -> None:
    assert measure(np.full((8, 90, 160, 3), 120, np.uint8))["blur"] is None


def test_exposure_counts_what_is_lost_at_either_end(measure: Any) -> None:
    half = np.full((8, 90, 160, 3), 128, np.uint8)
    half[:, :, :40] = 5
    half[:, :, 80:] = 255
    row = measure(half)
    assert (row["underexposed"], row["overexposed"]) == (0.25, 0.5)
    assert row["tonal_range"] == pytest.approx(250 / 255)
    darker = [measure((scene() * share).astype(np.uint8)) for share in (1.0, 0.3, 0.1, 0.05)]
    assert rises([row["underexposed"] for row in darker], 0.05)
    brighter = [
        measure(np.clip(scene() * float(times) + plus, 0, 255).astype(np.uint8)) for times, plus in ((1, 0), (2, 60))
    ]
    assert rises([row["overexposed"] for row in brighter], 0.2)


def test_bars_and_plain_colours_are_no_lost_blacks_or_whites(measure: Any) -> None:
    plain = measure(scene())
    assert measure(barred(scene(), 40))["underexposed"] == pytest.approx(plain["underexposed"], abs=0.02)
    red = np.zeros((8, 90, 160, 3), np.uint8)
    red[..., 0] = 255
    assert (measure(red)["underexposed"], measure(red)["overexposed"]) == (0.0, 0.0)


def flicker_of(measure: Any, luma: np.ndarray) -> float | None:
    return measure(scene(4), curves={"luma": Curve(10.0, luma.astype(np.float32))})["flicker"]


def test_flicker_rises_with_the_swing_of_the_light_and_ignores_fades_and_a_flash(measure: Any) -> None:
    tenths = np.arange(50)
    swings = [flicker_of(measure, 0.5 + swing * (-1.0) ** tenths) for swing in (0.0, 0.02, 0.05, 0.2)]
    assert swings == pytest.approx([0.0, 0.02, 0.05, 0.2], abs=1e-5)
    assert flicker_of(measure, np.linspace(0, 1, 50)) == pytest.approx(0.0, abs=1e-6)
    assert flicker_of(measure, 0.5 + 0.3 * np.sin(tenths / 10.0)) < 0.002
    flash = np.full(50, 0.3)
    flash[20] = 1.0
    assert flicker_of(measure, flash) == pytest.approx(0.0, abs=1e-6)
    assert flicker_of(measure, np.zeros(3)) is None
    assert measure(scene(4))["flicker"] is None


def test_bars_are_measured_and_the_picture_inside_is_told(measure: Any) -> None:
    assert measure(scene())["letterbox_share"] == 0.0
    row = measure(barred(scene(), 28, 0))
    assert row["letterbox_share"] == pytest.approx(56 / 200, abs=0.01)
    assert row["letterbox_xyxy"] == pytest.approx([0.0, 0.14, 1.0, 0.86], abs=0.01)
    both = measure(barred(scene(), 18, 32))
    assert both["letterbox_share"] == pytest.approx(1 - 144 * 256 / (180 * 320), abs=0.01)


def test_a_dark_floor_a_vignette_and_black_are_no_bars(measure: Any) -> None:
    floor = scene()
    floor[:, 110:] = 0
    assert measure(floor)["letterbox_share"] == 0.0
    vignette = 0.4 * np.clip(1.0 - np.abs(np.linspace(-1.3, 1.3, 256)), 0, 1)[None, None, :, None]
    assert measure((scene() * vignette).astype(np.uint8))["letterbox_share"] == 0.0
    assert measure(np.zeros((4, 90, 160, 3), np.uint8))["letterbox_share"] is None


def test_a_logo_over_moving_pictures_is_found_where_it_is(measure: Any) -> None:
    plain, marked = scene(), scene()
    marked[:, 10:34, 210:244] = 230
    marked[:, 16:28, 218:236] = (200, 30, 30)
    assert measure(plain)["overlay_share"] == 0.0
    row = measure(marked)
    assert row["overlay_share"] == pytest.approx(24 * 34 / (144 * 256), rel=0.5)
    (box,) = row["overlay_boxes"]
    assert box == pytest.approx([210 / 256, 10 / 144, 244 / 256, 34 / 144], abs=0.03)
    inside = measure(barred(marked, 36))["overlay_boxes"]
    assert inside[0] == pytest.approx([210 / 256, 46 / 216, 244 / 256, 70 / 216], abs=0.03)


def test_before_a_fixed_camera_nothing_can_be_told_of_overlays(measure: Any) -> None:
    row = measure(scene(step_px=0)[[0] * 12])
    assert row["overlay_share"] is None
    assert row["still_edges"] == 1.0
    assert measure(scene(4))["overlay_share"] is None


def test_subtitles_and_other_text_are_told_apart(measure: Any) -> None:
    plain = measure(scene())
    below = measure(written(scene(), "He never came back.", (40, 130)))
    above = measure(written(scene(), "CHANNEL NINE NEWS", (20, 30)))
    assert plain["text_share"] < 0.01
    assert (plain["subtitle_share"], above["subtitle_share"], below["subtitle_share"]) == (0.0, 0.0, 1.0)
    assert min(above["text_share"], below["text_share"]) > 0.02
    left, top, right, bottom = below["text_boxes"][0]["boxes_xyxy"][0]
    assert 0.1 < left < 0.2
    assert 0.75 < top < 0.87 < bottom < 0.98
    assert right == pytest.approx((40 + 190) / 256, abs=0.1)


def test_lines_are_formed_as_db_shrinks_them() -> None:
    probabilities = np.zeros((100, 200), np.float32)
    probabilities[40:50, 20:120] = 0.9
    probabilities[80:90, 20:24] = 0.9
    probabilities[60:70, 150:190] = 0.4
    boxes, scores = lines(probabilities)
    grown = 100 * 10 * 1.6 / (2 * 110)
    expected = [(20 - grown) / 200, (40 - grown) / 100, (120 + grown) / 200, (50 + grown) / 100]
    assert boxes.tolist() == [pytest.approx(expected)]
    assert scores == pytest.approx([0.9])


def jpeg(frames: np.ndarray) -> np.ndarray:
    """As a poor copy has them: half as large, compressed, and enlarged again."""

    def copy(frame: np.ndarray) -> np.ndarray:
        small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
        return cv2.resize(cv2.imdecode(coded, cv2.IMREAD_COLOR), frame.shape[1::-1])

    return each(frames, copy)


COPIES = {
    "coded again": jpeg,
    "brightened": lambda frames: np.clip(frames * 1.2 + 15.0, 0, 255).astype(np.uint8),
    "grey": lambda frames: each(
        frames, lambda f: cv2.cvtColor(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    ),
    "letterboxed": lambda frames: barred(frames, 30),
    "cropped": lambda frames: frames[:, 5:-5, 9:-9],
    "blurred": lambda frames: blurred(frames, 2.0),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near_and_other_footage_far(measure: Any, copy: str) -> None:
    original, other = scene(), scene(picture=data.coffee())
    signature = np.array(measure(original)["signature"])
    assert 1 - signature @ np.array(measure(COPIES[copy](original))["signature"]) < 0.12
    assert 1 - signature @ np.array(measure(COPIES[copy](other))["signature"]) > 0.4


def test_other_movements_over_one_picture_are_no_copies(measure: Any) -> None:
    forth, back = scene(), scene()[::-1]
    assert 1 - np.dot(measure(forth)["signature"], measure(back)["signature"]) > 0.4


def test_black_has_no_signature(measure: Any) -> None:
    assert measure(np.zeros((4, 90, 160, 3), np.uint8))["signature"] is None


@needs_media
def test_the_logo_of_the_white_house_is_found_in_its_corner(measure: Any) -> None:
    row = measure(seen(VIDEO / "hamilton_whitehouse.mp4", 7.0)[12:28])
    (box,) = row["overlay_boxes"]
    assert box == pytest.approx([0.89, 0.04, 0.95, 0.14], abs=0.03)
    assert 0.003 < row["overlay_share"] < 0.01


@needs_media
def test_a_film_of_1915_stands_between_pillars_and_a_dark_hall_does_not(measure: Any) -> None:
    film = measure(seen(VIDEO / "chaplin_by_the_sea.mp4", 3.0))
    hall = measure(seen(VIDEO / "nasa_13013.mp4", 3.0))
    assert film["letterbox_share"] == pytest.approx(0.224, abs=0.01)
    assert hall["letterbox_share"] == 0.0


@needs_media
def test_text_on_a_shirt_is_text_and_no_subtitle(measure: Any) -> None:
    shirt = measure(seen(VIDEO / "asl_again.mkv", 2.0))
    assert shirt["text_share"] > 0.005
    assert shirt["subtitle_share"] == 0.0
    assert measure(seen(VIDEO / "asl_walk.mkv", 2.0))["text_share"] == 0.0


def opinion(engine: Engine, name: str, clip: DecodedClip) -> Row:
    processor = next(p for p in engine.profile.processors if p.id == name)
    (row,) = processor.process([clip], [{}])
    assert isinstance(row, dict)
    return row


def test_the_greatest_frame_counts_for_nsfw_and_the_mean_for_looks(engine: Engine) -> None:
    first, second = scene(1), scene(1, picture=data.coffee())
    for name, column, pooled in (("quality.nsfw", "nsfw", max), ("quality.aesthetic", "aesthetic", np.mean)):
        alone = [opinion(engine, name, make_clip(frames_rgb=frames))[column] for frames in (first, second)]
        together = opinion(engine, name, make_clip(frames_rgb=np.concatenate([first, second])))[column]
        assert alone[0] != alone[1]
        assert together == pytest.approx(pooled(alone), abs=1e-5)


def test_a_class_that_the_model_does_not_have_is_told(models_folder: Any) -> None:
    nsfw = create_processor("quality.nsfw", {"model": str(models_folder / "tiny/nsfw"), "label": "porn"})
    with pytest.raises(SettingsError, match="has no class 'porn'; its classes are normal, nsfw"):
        nsfw.load("cpu")


def test_dino_is_shown_the_whole_frame_and_tells_how_far_it_drifts(engine: Engine) -> None:
    assert fitting_size(216, 384, 224, 14) == {"height": 168, "width": 294}
    assert fitting_size(384, 384, 224, 14) == {"height": 224, "width": 224}
    still = opinion(engine, "vision.dino", make_clip(frames_rgb=scene(1)[[0, 0, 0]]))
    moving = opinion(
        engine, "vision.dino", make_clip(frames_rgb=np.concatenate([scene(1), scene(1, picture=data.coffee())]))
    )
    edge = scene(1)
    edge[:, :, :20] = 255
    assert still["visual_drift"] == pytest.approx(0.0, abs=1e-6)
    assert moving["visual_drift"] > 0.001
    assert opinion(engine, "vision.dino", make_clip(frames_rgb=scene(1)))["visual_drift"] is None
    assert (
        np.dot(still["visual_dino"], opinion(engine, "vision.dino", make_clip(frames_rgb=edge))["visual_dino"]) < 0.9999
    )


def test_a_model_of_another_class_is_refused(models_folder: Any) -> None:
    dino = create_processor("vision.dino", {"model": str(models_folder / "tiny/nsfw"), "size": 32})
    with pytest.raises(SettingsError, match=r"is a 'vit'; vision\.dino reads a 'dinov2'"):
        dino.load("cpu")


def test_the_text_detector_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.quality.text.PACKAGE", "no-such-package")
    with pytest.raises(ModelUnavailable, match="package no-such-package, which holds the text detector, is missing"):
        create_processor("quality.text", {}).load("cpu")
