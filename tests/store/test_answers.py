"""Answers of models: kept by clip and recipe beside the media, found by name, confined to their folder."""

import pytest

from store.answers import AnswerStore
from store.errors import InputError

CLIP = "ab" * 16
OTHER = "ab" * 15 + "cd"
RECIPE, LATER_RECIPE = "0123456789abcdef", "f" * 16
ANSWERS = {"q1": {"text": "{}", "thinking": "Zwei Leute – or three?", "usage": {"seconds": 1.5, "cost": None}}}


@pytest.fixture
def answers(media):
    return AnswerStore(media)


def test_what_was_answered_is_read_back_whole(answers):
    answers.put(CLIP, RECIPE, ANSWERS)
    assert answers.get(CLIP, RECIPE) == ANSWERS


def test_a_clip_that_was_not_asked_about_has_no_answers(answers):
    answers.put(OTHER, RECIPE, ANSWERS)
    assert answers.get(CLIP, RECIPE) == {}
    assert answers.of(CLIP) == {}


def test_answers_are_replaced_and_those_of_another_recipe_stay(answers):
    answers.put(CLIP, LATER_RECIPE, {"q2": {}})
    answers.put(CLIP, RECIPE, ANSWERS)
    answers.put(CLIP, RECIPE, ANSWERS | {"q2": {"text": "again"}})
    assert answers.of(CLIP) == {RECIPE: ANSWERS | {"q2": {"text": "again"}}, LATER_RECIPE: {"q2": {}}}


def test_deleting_takes_all_answers_about_one_clip_and_twice_is_no_error(answers):
    for clip_id in (CLIP, OTHER):
        answers.put(clip_id, RECIPE, ANSWERS)
        answers.put(clip_id, LATER_RECIPE, ANSWERS)
    answers.delete(CLIP)
    answers.delete(CLIP)
    assert answers.of(CLIP) == {}
    assert set(answers.of(OTHER)) == {RECIPE, LATER_RECIPE}


def test_answers_are_no_media(answers, media):
    key = media.put_bytes(b"footage", "mp4")
    answers.put(CLIP, RECIPE, ANSWERS)
    assert media.keys() == [key]
    answers.delete(CLIP)
    assert media.read(key) == b"footage"


@pytest.mark.parametrize("strange", ["..", "../../../etc/passwd", "", "ab", CLIP.upper(), CLIP + "/..", "ab" * 32])
def test_a_name_that_is_no_clips_id_is_refused(strange, answers):
    for call in (
        lambda: answers.get(strange, RECIPE),
        lambda: answers.put(strange, RECIPE, ANSWERS),
        lambda: answers.of(strange),
        lambda: answers.delete(strange),
    ):
        with pytest.raises(InputError, match="is no media key"):
            call()


@pytest.mark.parametrize("strange", ["", "..", "../" + RECIPE, "short", RECIPE + ".json"])
def test_a_name_that_is_no_recipe_is_refused(strange, answers):
    with pytest.raises(InputError, match="is no media key"):
        answers.put(CLIP, strange, ANSWERS)


def test_a_write_that_is_killed_leaves_the_answers_before_it(answers, media, tmp_path):
    answers.put(CLIP, RECIPE, ANSWERS)
    with pytest.raises(TypeError):
        answers.put(CLIP, RECIPE, {"q1": object()})
    assert answers.get(CLIP, RECIPE) == ANSWERS
