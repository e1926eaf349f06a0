"""Frames of clips: what may enter, how it is cut, split and drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from store.errors import Conflict, InputError
from tests.trainer.made_discs import COLOURS_RGB, made_clip
from trainer.dataset import gather_frames, held_out_ids, run_texts, square


def test_a_held_clip_is_refused_by_name_and_reason():
    clips = [made_clip(0, "red"), made_clip(1, "red", held_for=("age", "licence"))]
    with pytest.raises(Conflict, match=r"1 of 2 clips may not be trained on: clip clip01 .* held for age, licence"):
        gather_frames(clips, 32, 4)


def test_a_held_clip_is_not_even_read():
    def read() -> np.ndarray:
        raise AssertionError("read")

    clips = [replace(made_clip(0, "red"), load_frames=read), made_clip(1, "red", held_for=("age",))]
    with pytest.raises(Conflict):
        gather_frames(clips, 32, 4)


@pytest.mark.parametrize(
    ("clips", "message"),
    [([], "0 clips"), ([made_clip(1, "red")], "1 clips"), ([made_clip(1, "red")] * 2, "clip clip01 comes twice")],
)
def test_too_few_different_clips_are_refused(clips, message):
    with pytest.raises(InputError, match=message):
        gather_frames(clips, 32, 4)


def test_a_clip_without_frames_is_refused_by_name():
    empty = replace(made_clip(1, "red"), load_frames=lambda: np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"clip01: frames of shape \(0, 8, 8, 3\)"):
        gather_frames([made_clip(0, "red"), empty], 32, 4)


def test_frames_are_the_centre_square_at_the_wanted_size():
    frame = np.zeros((40, 100, 3), np.uint8)
    frame[:, 30:70] = COLOURS_RGB["green"]
    assert (square(frame, 16) == COLOURS_RGB["green"]).all()
    assert (square(frame, 64) == COLOURS_RGB["green"]).all()


def test_frames_are_evenly_spaced_and_few_frames_all_come():
    numbered = [np.full((9, 8, 8, 3), 0, np.uint8), np.full((2, 8, 8, 3), 0, np.uint8)]
    for frames in numbered:
        frames += np.arange(len(frames), dtype=np.uint8)[:, None, None, None]
    clips = [replace(made_clip(i, "red"), load_frames=lambda i=i: numbered[i]) for i in range(2)]
    frames = gather_frames(clips, 8, 3)
    assert frames.frames_rgb[:, 0, 0, 0].tolist() == [0, 4, 8, 0, 1]
    assert frames.clip_of.tolist() == [0, 0, 0, 1, 1]


def test_every_video_is_drawn_as_often_and_held_out_frames_never():
    clips = [made_clip(number, "red") for number in range(20)] + [made_clip(number, "blue") for number in range(20, 23)]
    frames = gather_frames(clips, 16, 4)
    drawn = torch.multinomial(
        frames.draw_weights(), 4000, replacement=True, generator=torch.Generator().manual_seed(0)
    ).numpy()
    assert not frames.held_out[drawn].any()
    assert np.mean(frames.video_of[drawn] == 0) == pytest.approx(0.5, abs=0.03)


def test_a_clip_keeps_its_side_of_the_split_while_the_set_grows():
    few = [f"clip{number}" for number in range(60)]
    many = [f"clip{number}" for number in range(400)]
    assert held_out_ids(few) == held_out_ids(many) & set(few)
    assert 0.08 < len(held_out_ids(many)) / len(many) < 0.17


@pytest.mark.parametrize("ids", [["a", "b"], ["a", "b", "c"], [f"clip{n}" for n in range(5)]])
def test_a_small_set_still_has_both_sides(ids):
    assert 1 <= len(held_out_ids(ids)) < len(ids)


def test_texts_begin_with_the_token_and_without_one_are_as_they_were():
    clips = [made_clip(0, "red"), replace(made_clip(1, "blue"), conditioning="")]
    assert run_texts(clips, "conditioning", "bakdom") == ["bakdom, wide shot, red ground, low motion", "bakdom"]
    assert run_texts(clips, "conditioning", None) == [clip.conditioning for clip in clips]


def test_captions_are_for_those_who_read_them_and_only_where_there_are_any():
    clips = [replace(made_clip(0, "red"), caption="A disc crosses a red ground."), made_clip(1, "red")]
    conditioning = "wide shot, red ground, low motion"
    assert run_texts(clips, "caption", "bakdom") == ["bakdom, A disc crosses a red ground.", f"bakdom, {conditioning}"]
    assert run_texts(clips, "conditioning", None) == [conditioning, conditioning]
