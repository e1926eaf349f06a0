"""Which vectors clips are compared by."""

from store.modalities import by_likeness, chosen_columns


def test_of_the_columns_that_tell_how_a_clip_looks_the_best_is_used():
    assert chosen_columns({"visual": 10, "visual_text": 10, "visual_dino": 10, "sound": 8}) == ["sound", "visual_dino"]
    assert chosen_columns({"visual": 10, "visual_text": 10}) == ["visual_text"]
    assert chosen_columns({"visual": 10}) == ["visual"]


def test_of_the_measured_vectors_of_sound_one_is_used():
    assert chosen_columns({"visual": 10, "sound": 8, "wordless": 8, "voice": 8}) == ["visual", "voice", "wordless"]


def test_a_better_column_waits_until_nearly_all_clips_have_it():
    assert chosen_columns({"visual": 100, "visual_dino": 89}) == ["visual"]
    assert chosen_columns({"visual": 100, "visual_dino": 90}) == ["visual_dino"]


def test_identities_signatures_and_empty_columns_say_nothing_of_likeness():
    assert chosen_columns({"visual": 5, "identity_faces": 5, "signature": 5, "voice": 0}) == ["visual"]


def test_a_column_that_nobody_listed_is_a_modality_of_its_own():
    assert chosen_columns({"gesture": 5, "visual": 5, "sound": 5, "voice": 5}) == [
        "gesture",
        "sound",
        "visual",
        "voice",
    ]


def test_more_like_this_is_by_looks_first():
    names = ["signature", "sound", "visual", "visual_dino", "visual_text"]
    assert by_likeness(names) == ["visual_dino", "visual_text", "visual", "sound"]
