"""Annotations: stable strings, unknown stays unknown, control through fixed tables, a vocabulary that fits together."""

import json

import pytest

from processors.distill.annotate import Annotator, conditioning
from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from store.errors import InputError, SettingsError

ANNOTATOR = Annotator()
VALUES = {
    "face_count": 1,
    "face_area": 0.2,
    "face_tracks": [{"track": 0, "times_s": [0.0], "boxes_xyxy": [[0.3, 0.2, 0.7, 0.7]], "scores": [0.99]}],
    "motion_mean": 0.07,
    "motion_curve": [0.07] * 40,
    "loudness_db": -20.0,
    "loudness_curve": [-20.0] * 40,
    "speech_share": 0.9,
    "voiced_share": 0.5,
    "pitch_hz": 150.0,
    "brightness": 0.5,
    "colourfulness": 40.0,
    "hue_deg": 30.0,
    "arousal": {"low": 0.1, "mid": 0.3, "high": 0.6},
    "arousal_curve": [0.5 + 0.01 * i for i in range(40)],
    "arousal_evidence": ["loudness_curve", "motion_curve"],
}


def annotate(**changes):
    return ANNOTATOR.annotate("clip", 4.0, VALUES | changes)


# --- conditioning ------------------------------------------------------------------------------------------------


def test_the_conditioning_string_names_what_is_known_in_a_fixed_order():
    assert annotate().conditioning == (
        "close-up, one person, moderate motion, steady, tense, speech, even light, warm colours"
    )


def test_the_order_of_the_measurements_changes_nothing():
    shuffled = dict(reversed(VALUES.items()))
    assert ANNOTATOR.annotate("clip", 4.0, shuffled) == ANNOTATOR.annotate("other", 4.0, VALUES)


@pytest.mark.parametrize("share", [0.97, 1.03])
def test_jitter_inside_the_bins_leaves_the_string_as_it_is(share):
    jittered = {name: value * share if isinstance(value, float) else value for name, value in VALUES.items()}
    jittered["motion_curve"] = [0.07 * (share if i % 2 else 1.0) for i in range(40)]
    assert ANNOTATOR.annotate("clip", 4.0, jittered).conditioning == annotate().conditioning


def test_a_value_on_a_threshold_belongs_to_the_upper_term():
    assert annotate(motion_mean=0.1).attributes["motion"] == "high"
    assert annotate(motion_mean=0.0999).attributes["motion"] == "medium"


def test_the_longest_possible_string_has_at_most_twenty_words():
    longest = {
        slot.name: max(slot.terms, key=lambda term: len(term.phrase.split())).name
        for slot in ANNOTATOR.vocabulary.slots
    }
    assert len(conditioning(longest, ANNOTATOR.vocabulary).replace(",", "").split()) <= 20


def test_no_two_terms_share_a_phrase():
    phrases = [term.phrase for slot in ANNOTATOR.vocabulary.slots for term in slot.terms]
    assert len(set(phrases)) == len(phrases)


# --- unknown stays unknown ---------------------------------------------------------------------------------------


def test_a_clip_of_which_nothing_is_known_has_an_annotation_that_says_so():
    annotation = ANNOTATOR.annotate("clip", 4.0, {})
    assert set(annotation.attributes.values()) == {None}
    assert annotation.temporal == ()
    assert (annotation.affect.arousal, annotation.affect.valence, annotation.affect.arousal_trend) == (None, None, None)
    assert annotation.conditioning == ""
    assert set(annotation.control.values) == {0.0}
    assert set(annotation.control.present) == {False}


def test_without_a_sound_track_sound_and_pitch_are_unknown_and_the_rest_stays():
    silent = dict.fromkeys(("loudness_db", "loudness_curve", "speech_share", "voiced_share", "pitch_hz"))
    annotation = annotate(**silent)
    assert annotation.attributes["sound_kind"] is None
    assert annotation.attributes["motion"] == "medium"
    control = dict(zip(annotation.control.names, annotation.control.present, strict=True))
    assert (control["loudness"], control["pitch"], control["speech"], control["motion"]) == (False, False, False, True)
    assert "speech" not in annotation.conditioning


def test_valence_comes_with_the_models_that_it_rests_on():
    told = {"negative": 0.1, "neutral": 0.2, "positive": 0.7}
    affect = annotate(valence=told, valence_evidence=["affect_tracks_xception"]).affect
    assert affect.valence == told
    assert affect.evidence == ("loudness_curve", "motion_curve", "affect_tracks_xception")


def test_pose_and_valence_are_unknown_while_nothing_measures_them():
    annotation = annotate()
    assert annotation.attributes["pose"] is None
    assert annotation.affect.valence is None


def test_a_finding_that_is_hardly_surer_than_chance_is_left_unknown():
    assert annotate(arousal={"low": 0.3, "mid": 0.35, "high": 0.35}).attributes["tension"] is None


# --- affect ------------------------------------------------------------------------------------------------------


def test_affect_is_the_whole_distribution_with_its_evidence_and_trend():
    affect = annotate().affect
    assert affect.arousal == {"low": 0.1, "mid": 0.3, "high": 0.6}
    assert affect.arousal_trend == pytest.approx(0.1)
    assert affect.evidence == ("loudness_curve", "motion_curve")


def test_one_point_of_arousal_has_no_trend():
    assert annotate(arousal_curve=[0.5]).affect.arousal_trend is None


# --- control -----------------------------------------------------------------------------------------------------


def test_the_control_vector_goes_through_the_tables():
    control = annotate(motion_mean=0.055, pitch_hz=20.0, brightness=0.95).control
    levels = dict(zip(control.names, control.values, strict=True))
    assert levels["motion"] == pytest.approx(0.25)
    assert levels["pitch"] == -1.0
    assert levels["brightness"] == 1.0
    assert levels["speech"] == pytest.approx(0.8)
    assert all(control.present)


def test_every_control_keeps_to_minus_one_and_one():
    for extreme in (-1e9, 1e9):
        assert all(-1.0 <= control.level(extreme) <= 1.0 for control in ANNOTATOR.vocabulary.controls)


# --- annotator ---------------------------------------------------------------------------------------------------


def test_a_row_has_exactly_the_declared_attribute_columns():
    assert list(annotate().attributes) == [column.name for column in ANNOTATOR.columns]
    assert {column.kind for column in ANNOTATOR.columns} == {"text"}


def test_annotations_by_rules_say_that_they_are_measured():
    assert annotate().engine == "measured"


def test_annotations_are_plain_json():
    annotation = annotate()
    assert type(annotation).model_validate(json.loads(annotation.model_dump_json())) == annotation


def test_a_value_of_the_wrong_form_is_refused_and_the_clip_named():
    with pytest.raises(InputError, match="clip c7: a measured value has not the form of its column"):
        ANNOTATOR.annotate("c7", 4.0, {"arousal": {"calm": 1.0}})


def test_another_threshold_is_another_recipe(tmp_path):
    path = tmp_path / "vocabulary.toml"
    path.write_text(DEFAULT_VOCABULARY.read_text().replace("silent_below_db = -55.0", "silent_below_db = -50.0"))
    assert Annotator(path).recipe != ANNOTATOR.recipe
    assert Annotator(DEFAULT_VOCABULARY).recipe == ANNOTATOR.recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low = 0.05,", "low = 0.001,", r"slot 'motion': `low` must ascend"),
        ("low = 0.05,", "", r"slot 'motion': every term but the first needs `low`"),
        ('{ name = "voice", ', '{ name = "hum", ', r"slot 'sound_kind' lacks the terms \['voice'\]"),
        ('column = "posture"\n', "", r"slot 'pose' needs a `column`"),
        ('column = "loudness_db"\n', "", r"control 'loudness' needs a `column`"),
        ('"loudness", arousal_curve', '"volume", arousal_curve', r"read through 'volume', which is no control"),
        ("[1.0, 1.0]]", "[1.0, 0.9]]", r"levels go from -1 to 1"),
        ('name = "light"', 'name = "motion"', r"a slot is named twice"),
        ("least_step = 0.5", "least_jump = 0.5", r"changes\.least_step: Field required"),
        ("[sound]", "[sound", r"is not TOML"),
    ],
)
def test_a_vocabulary_that_does_not_fit_together_is_refused(tmp_path, old, new, message):
    path = tmp_path / "vocabulary.toml"
    text = DEFAULT_VOCABULARY.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SettingsError, match=message):
        load_vocabulary(path)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read"):
        load_vocabulary(tmp_path / "nowhere.toml")
