"""How clips are cut for a base."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from store.errors import InputError
from tests.trainer.made_discs import COLOURS_RGB, made_clip
from trainer.cutting import CutSettings, cut_clip, fitted, size_of, spread
from trainer.families.base import Rules

CUT = CutSettings(resolution_px=16, crop="square", per_clip=2, frames=9, duration_s=0.5)


def family(media: str, **rules: object) -> SimpleNamespace:
    return SimpleNamespace(media=media, rules=Rules(**rules))


def numbered(n: int) -> np.ndarray:
    """Frames that tell their number."""
    return np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 24, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "found"),
    [(np.zeros((0, 8, 8, 3), np.uint8), r"\(0, 8, 8, 3\)"), (np.zeros((1, 8, 8, 3)), "float64")],
)
def test_a_clip_of_broken_frames_is_refused_by_name(frames, found):
    clip = replace(made_clip(1, "red"), load_frames=lambda: frames)
    with pytest.raises(InputError, match=rf"clip01: frames of shape .*{found}"):
        cut_clip(clip, family("picture"), CUT)


def test_the_middle_is_cut_out_in_the_wanted_shape_and_size():
    frame = np.zeros((40, 100, 3), np.uint8)
    frame[:, 30:70] = COLOURS_RGB["green"]
    for side in (16, 64):
        assert (fitted(frame, side, side) == COLOURS_RGB["green"]).all()
    assert fitted(frame, 32, 16)[:, 0].max() == 0
    assert fitted(frame, 32, 16).shape == (16, 32, 3)


def test_frames_of_a_picture_family_are_evenly_spaced_and_few_all_come():
    for n, wanted in ((9, [0, 8]), (1, [0])):
        clip = replace(made_clip(0, "red"), load_frames=lambda n=n: numbered(n))
        assert cut_clip(clip, family("picture"), CUT)[:, 0, 0, 0].tolist() == wanted
    assert spread(9, 1) == [4]


def test_sizes_keep_the_shape_and_about_the_area_in_the_steps_of_the_base():
    by_aspect = replace(CUT, resolution_px=64, crop="aspect")
    assert size_of(1920, 1080, 16, by_aspect) == (80, 48)
    assert size_of(1080, 1920, 16, by_aspect) == (48, 80)
    assert size_of(5000, 500, 16, by_aspect) == size_of(1000, 500, 16, by_aspect)
    assert size_of(1920, 1080, 16, CUT) == (16, 16)
    with pytest.raises(InputError, match="resolution_px is 16; this base takes multiples of 32"):
        size_of(1920, 1080, 32, CUT)


def test_windows_of_a_video_have_the_bases_rate_and_number_of_frames():
    rates = []

    def load(rate: float) -> np.ndarray:
        rates.append(rate)
        return numbered(20)

    windows = cut_clip(replace(made_clip(0, "red"), load_video=load), family("video", frame_step=4, frame_rate=8), CUT)
    assert windows.shape == (2, 9, 16, 16, 3)
    assert windows[:, :, 0, 0, 0].tolist() == [list(range(9)), list(range(11, 20))]
    assert rates == [8]


@pytest.mark.parametrize(("n", "length"), [(7, 5), (3, 1)])
def test_a_short_clip_gives_as_many_frames_as_the_base_takes(n, length):
    clip = replace(made_clip(0, "red"), load_video=lambda rate: numbered(n))
    assert cut_clip(clip, family("video", frame_step=4), CUT).shape[1] == length


def test_stretches_of_sound_have_one_length_and_short_sounds_are_filled_up():
    sound = family("sound", rate_hz=100, channels=1)
    for n in (120, 20):
        ramp = np.arange(1, n + 1, dtype=np.float32)[None]
        cut = cut_clip(replace(made_clip(0, "red"), load_sound=lambda rate, channels, ramp=ramp: ramp), sound, CUT)
        assert cut.shape[1:] == (1, 50)
        assert cut[0, 0, :20].tolist() == list(range(1, 21))
    assert cut[0, 0, 20:].max() == 0


def test_a_silent_clip_and_sound_of_the_wrong_form_are_refused():
    sound = family("sound", rate_hz=100, channels=2)
    with pytest.raises(InputError, match="clip01 has no sound"):
        cut_clip(made_clip(1, "red"), sound, CUT)
    broken = replace(made_clip(1, "red"), load_sound=lambda rate, channels: np.zeros((1, 100), np.float32))
    with pytest.raises(InputError, match=r"clip01: sound of shape \(1, 100\).*expected float32 \[2, S\]"):
        cut_clip(broken, sound, CUT)
