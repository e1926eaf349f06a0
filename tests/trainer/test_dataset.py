"""The clips of a run: what may enter, how they are split, described, drawn and steered."""

from dataclasses import replace

import numpy as np
import pytest

from store.errors import Conflict, InputError
from store.records import Control
from tests.trainer.made_discs import made_clip
from trainer.dataset import clip_texts, control_rows, draw_shares, falls_out, held_out_ids, refuse_unfit, split_replay


def test_a_held_clip_is_refused_by_name_and_reason():
    clips = [made_clip(0, "red"), made_clip(1, "red", held_for=("age", "licence"))]
    with pytest.raises(Conflict, match=r"1 of 2 clips may not be trained on: clip clip01 .* held for age, licence"):
        refuse_unfit(clips)


@pytest.mark.parametrize(
    ("clips", "message"),
    [([], "0 clips"), ([made_clip(1, "red")], "1 clips"), ([made_clip(1, "red")] * 2, "clip clip01 comes twice")],
)
def test_too_few_different_clips_are_refused(clips, message):
    with pytest.raises(InputError, match=message):
        refuse_unfit(clips)


def test_every_video_of_a_source_is_drawn_as_often():
    clips = [made_clip(number, "red") for number in range(20)] + [made_clip(number, "blue") for number in range(20, 23)]
    shares = draw_shares(clips)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[:20].sum() == pytest.approx(0.5)


def test_a_source_of_many_videos_and_a_face_that_is_everywhere_are_drawn_more_often_but_not_by_as_much():
    many = [replace(made_clip(n, "red"), video_id=f"v{n}") for n in range(16)]
    one = [replace(made_clip(99, "red"), video_id="other", source="street")]
    shares = draw_shares([*many, *one])
    assert shares[:16].sum() / shares[16] == pytest.approx(4.0)
    clips = [replace(clip, identities=("p",) if n < 9 else ("q",)) for n, clip in enumerate(many[:10])]
    shares = draw_shares(clips)
    assert shares[:9].sum() / shares[9] == pytest.approx(3.0)


def test_a_clip_keeps_its_side_of_the_split_while_the_set_grows():
    few = [f"clip{number}" for number in range(60)]
    many = [f"clip{number}" for number in range(400)]
    assert held_out_ids(few) == held_out_ids(many) & set(few)
    assert 0.08 < len(held_out_ids(many)) / len(many) < 0.17


@pytest.mark.parametrize("ids", [["a", "b"], ["a", "b", "c"], [f"clip{n}" for n in range(5)]])
def test_a_small_set_still_has_both_sides(ids):
    assert 1 <= len(held_out_ids(ids)) < len(ids)


def test_whether_a_clip_is_measured_on_is_told_by_its_id_alone():
    ids = [f"clip-{number}" for number in range(200)]
    assert held_out_ids(ids) == {clip_id for clip_id in ids if falls_out(clip_id)}


def test_stage_a_learns_what_is_new_and_replays_the_rest_stage_b_learns_its_members():
    a, b, c, d = (made_clip(number, "red") for number in range(4))
    assert split_replay([a, b, c], [], "A") == ([a, b, c], [])
    assert split_replay([a, b, c], [a, b, d], "A") == ([c], [a, b, d])
    assert split_replay([a, b], [a, b, d], "A") == ([a, b], [d])
    assert split_replay([a, b], [a, b, c, d], "B") == ([a, b], [c, d])


def test_texts_begin_with_the_token_and_without_one_are_as_they_were():
    clip = made_clip(0, "red")
    assert clip_texts(clip, "conditioning", "bakdom") == [("bakdom, wide shot, red ground, low motion", 1.0)]
    assert clip_texts(replace(clip, conditioning=""), "conditioning", "bakdom") == [("bakdom", 1.0)]
    assert clip_texts(clip, "conditioning", None) == [(clip.conditioning, 1.0)]


def test_captions_are_for_those_who_read_them_and_only_where_there_are_any():
    clip = replace(made_clip(0, "red"), caption="A disc crosses a red ground.")
    assert clip_texts(clip, "caption", "bakdom") == [("bakdom, A disc crosses a red ground.", 1.0)]
    assert clip_texts(made_clip(0, "red"), "caption", None)[0][0] == "wide shot, red ground, low motion"
    assert clip_texts(clip, "conditioning", None)[0][0] == "wide shot, red ground, low motion"


def test_other_readings_of_a_clip_come_as_often_as_they_are_probable():
    clip = replace(made_clip(0, "red"), conditioning="tense", alternatives=(("calm", 0.3), ("tense", 0.6)))
    assert clip_texts(clip, "conditioning", None) == [("tense", pytest.approx(0.7)), ("calm", pytest.approx(0.3))]


def test_control_rows_are_in_the_order_of_the_names_and_absent_channels_are_zero():
    first = replace(made_clip(0, "red"), control=Control(names=("a", "b"), values=(0.5, 0.9), present=(True, False)))
    second = replace(made_clip(1, "red"), control=Control(names=("b",), values=(-1.0,), present=(True,)))
    values, present = control_rows([first, second], ("b", "a", "c"))
    assert np.array_equal(values, np.array([[0, 0.5, 0], [-1, 0, 0]], np.float32))
    assert np.array_equal(present, np.array([[0, 1, 0], [1, 0, 0]], np.float32))
