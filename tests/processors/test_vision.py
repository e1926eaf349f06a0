"""Picture measurements against pictures that a person can compute, and the embeddings of pictures."""

import numpy as np
import pytest

from processors.base import Row
from processors.engine import Engine
from processors.vision.texture import SIZE, Options, Texture
from tests.processors.made_clips import MEDIA, face_frames, make_clip, seen

VIDEO = MEDIA / "video"


def looks(frames_rgb: np.ndarray) -> Row:
    return Texture(Options()).process([make_clip(frames_rgb=frames_rgb)], [{}])[0]


def plain(red: int, green: int, blue: int, n_frames: int = 4) -> np.ndarray:
    frames = np.zeros((n_frames, 72, 128, 3), np.uint8)
    frames[:] = (red, green, blue)
    return frames


def stripes(width_px: int, upright: bool = True) -> np.ndarray:
    rows, columns = np.indices((96, 96))
    bright = (columns if upright else rows) // width_px % 2
    return np.repeat((60 + 120 * bright)[None, ..., None], 3, axis=3).astype(np.uint8).repeat(4, axis=0)


def likeness(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.dot(looks(left)["visual"], looks(right)["visual"]))


@pytest.mark.parametrize(
    ("colour", "hue_deg"), [((200, 0, 0), 0), ((200, 200, 0), 60), ((0, 200, 0), 120), ((0, 0, 200), 240)]
)
def test_a_plain_colour_has_its_hue(colour: tuple[int, int, int], hue_deg: float) -> None:
    row = looks(plain(*colour))
    assert row["hue_deg"] == pytest.approx(hue_deg, abs=0.5)
    assert row["saturation"] == pytest.approx(1.0, abs=0.01)


def test_hues_on_both_sides_of_red_are_red_on_average() -> None:
    both = np.concatenate([plain(200, 0, 33), plain(200, 33, 0)])
    assert min(looks(both)["hue_deg"], 360 - looks(both)["hue_deg"]) < 1.0


def test_grey_has_no_hue_and_no_colour() -> None:
    row = looks(plain(120, 120, 120))
    assert row["hue_deg"] is None
    assert row["saturation"] == 0.0
    assert row["colourfulness"] == 0.0


def test_colourfulness_is_that_of_the_paper() -> None:
    """Half red, half black: rg is 200 or 0, yb 100 or 0; deviations 100 and 50, means 100 and 50."""
    half = plain(200, 0, 0)
    half[:, :, :64] = 0
    assert looks(half)["colourfulness"] == pytest.approx(1.3 * np.hypot(100, 50), rel=1e-3)


def test_brightness_and_contrast_are_mean_and_deviation() -> None:
    half = plain(255, 255, 255)
    half[:, :, :64] = 0
    row = looks(half)
    assert row["brightness"] == pytest.approx(0.5, abs=1e-3)
    assert row["contrast"] == pytest.approx(0.5, abs=1e-3)
    assert looks(plain(51, 51, 51))["brightness"] == pytest.approx(0.2, abs=1e-3)
    assert looks(plain(51, 51, 51))["contrast"] == pytest.approx(0.0, abs=1e-6)


def test_a_blurred_picture_is_less_sharp() -> None:
    sharp = face_frames(4)
    blurred = ((sharp.astype(np.uint16) + np.roll(sharp, 1, axis=2) + np.roll(sharp, 2, axis=2)) // 3).astype(np.uint8)
    assert looks(blurred)["sharpness"] < 0.5 * looks(sharp)["sharpness"]
    assert looks(plain(90, 90, 90))["sharpness"] == 0.0


def test_black_frames_are_counted() -> None:
    assert looks(np.concatenate([plain(0, 0, 0, 1), plain(90, 90, 90, 3)]))["black_share"] == 0.25
    assert looks(plain(8, 8, 8))["black_share"] == 1.0
    assert looks(plain(40, 40, 40))["black_share"] == 0.0


def test_a_still_picture_is_frozen_and_a_moving_one_is_not() -> None:
    assert looks(face_frames(4))["frozen_share"] == 1.0
    assert looks(face_frames(4, 0, 8))["frozen_share"] == 0.0
    stops = np.concatenate([face_frames(3, 0, 8), face_frames(2, 24)])
    assert looks(stops)["frozen_share"] == 0.25


def test_one_frame_is_neither_frozen_nor_moving() -> None:
    assert looks(face_frames(1))["frozen_share"] is None


def test_the_same_picture_gives_the_same_vector_whatever_its_size() -> None:
    large = face_frames(4)
    assert likeness(large, large[:, ::2, ::2]) > 0.98


def test_colour_and_texture_set_pictures_apart() -> None:
    assert likeness(plain(200, 20, 20), plain(190, 30, 25)) > 0.99
    assert likeness(plain(200, 20, 20), plain(20, 20, 200)) < 0.7
    assert likeness(stripes(8), stripes(9)) > likeness(stripes(8), stripes(8, upright=False)) + 0.1
    assert likeness(stripes(8), stripes(9)) > likeness(stripes(8), plain(120, 120, 120)) + 0.1


def test_a_changing_clip_differs_from_a_still_one_of_the_same_content() -> None:
    red, blue = plain(200, 20, 20, 1), plain(20, 20, 200, 1)
    still = np.concatenate([red, red, red, red])
    changing = np.concatenate([red, blue, red, blue])
    assert likeness(changing, changing[::-1]) > 0.999
    assert likeness(still, changing) < 0.95
    assert not np.any(looks(still)["visual"][SIZE // 2 :])
    assert np.any(looks(changing)["visual"][SIZE // 2 :])


def test_the_vector_has_its_size_and_unit_length_even_for_black() -> None:
    vector = looks(plain(0, 0, 0))["visual"]
    assert len(vector) == SIZE == 192
    assert np.linalg.norm(vector) == pytest.approx(1.0)


def test_siglip_sees_the_frames(engine: Engine) -> None:
    """Random weights mean nothing, but equal pictures are equal and different ones are not."""
    siglip = next(p for p in engine.profile.processors if p.id == "vision.siglip")
    clips = [make_clip(frames_rgb=frames) for frames in (face_frames(3), face_frames(1), stripes(8))]
    still, once, other = (np.array(row["visual_text"]) for row in siglip.process(clips, [{}, {}, {}]))
    assert still @ once == pytest.approx(1.0, abs=1e-6)
    assert still @ other < 0.999


@pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/media (recorded footage)")
def test_two_halves_of_a_video_are_nearest_to_each_other() -> None:
    names = ["talk_katie_hill.mp4", "juggle_720p.mp4", "makeup_webcam.avi", "hamilton_whitehouse.mp4", "asl_book.mkv"]
    vectors = []
    for name in names:
        frames = seen(VIDEO / name, 3.0)
        vectors += [looks(frames[: len(frames) // 2])["visual"], looks(frames[len(frames) // 2 :])["visual"]]
    likenesses = np.array(vectors) @ np.array(vectors).T - 2 * np.eye(len(vectors))
    assert likenesses.argmax(axis=1).tolist() == [index ^ 1 for index in range(len(vectors))]
