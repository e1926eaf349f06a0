"""Annotations: stable strings, unknown stays unknown, control through fixed tables, a vocabulary that fits together."""

import json

import pytest

from processors.distill.annotate import MOST_STRING_TOKENS, Distiller
from processors.distill.clip_tokens import count_tokens
from processors.distill.vocabulary import DEFAULT_VOCABULARY, load_vocabulary
from processors.reason.measures import Measured
from processors.reason.rules import reason
from processors.reason.trace import Evidence, Feeling, Finding, Reading, Trace, Valence
from store.errors import InputError, SettingsError
from store.records import Reasoning

VOCABULARY = load_vocabulary()
DISTILLER = Distiller(VOCABULARY, count_tokens)
VALUES = {
    "face_count": 1,
    "face_area": 0.2,
    "face_tracks": [
        {"track": 0, "times_s": [0.0, 3.5], "boxes_xyxy": [[0.3, 0.2, 0.7, 0.7]] * 2, "scores": [0.99] * 2}
    ],
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


def reasoned(trace, engine="measured"):
    return Reasoning(
        trace=trace.model_dump(mode="json"),
        checks=(),
        contradiction=0.0,
        is_contradicted=False,
        engine=engine,
        recipe="r",
        n_rounds=1,
        failed=None,
    )


def distil(values, clip_id="clip", distiller=DISTILLER):
    return distiller.distil(clip_id, 4.0, values, reasoned(reason(Measured(values, 4.0, VOCABULARY))))


def annotate(**changes):
    return distil(VALUES | changes)


def said(feeling=Feeling(), caption="A face.", **readings):
    """A model's trace that fills these slots: (term, percent) pairs."""
    findings = {
        slot.name: Finding(
            readings=tuple(Reading(term=term, pct=pct) for term, pct in readings.get(slot.name, ())),
            evidence=Evidence(),
        )
        for slot in VOCABULARY.slots
    }
    return Trace(present=(), events=(), findings=findings, signals=(), feeling=feeling, caption=caption)


# --- conditioning ------------------------------------------------------------------------------------------------


def test_the_conditioning_string_names_what_is_known_in_a_fixed_order():
    assert annotate().conditioning == (
        "close-up, one person, moderate motion, steady, speech, even light, warm colours"
    )


def test_the_order_of_the_measurements_changes_nothing():
    shuffled = dict(reversed(VALUES.items()))
    assert distil(shuffled) == distil(VALUES, "other")


@pytest.mark.parametrize("share", [0.97, 1.03])
def test_jitter_inside_the_bins_leaves_the_string_as_it_is(share):
    jittered = {name: value * share if isinstance(value, float) else value for name, value in VALUES.items()}
    jittered["motion_curve"] = [0.07 * (share if i % 2 else 1.0) for i in range(40)]
    assert distil(jittered).conditioning == annotate().conditioning


def test_the_longest_possible_string_fits_into_clip():
    longest = {
        slot.name: max(slot.terms, key=lambda term: count_tokens(term.phrase) if term.phrase else 0).name
        for slot in VOCABULARY.slots
    }
    told = DISTILLER.conditioning(longest)
    assert count_tokens(told) <= MOST_STRING_TOKENS
    assert told.count(",") == len(VOCABULARY.slots) - 1, "the default vocabulary never needs cutting"


def test_a_string_that_is_too_long_loses_its_last_phrases_whole():
    crowded = Distiller(VOCABULARY, lambda text: 14 * len(text.split(", ")))
    assert distil(VALUES, distiller=crowded).conditioning == "close-up, one person, moderate motion, steady, speech"


def test_no_two_terms_share_a_phrase():
    phrases = [term.phrase for slot in VOCABULARY.slots for term in slot.terms if term.phrase]
    assert len(set(phrases)) == len(phrases)


def test_what_is_not_sure_enough_to_be_said_stays_an_attribute():
    annotation = annotate(arousal={"low": 0.05, "mid": 0.35, "high": 0.6}, expression={"happiness": 0.5, "fear": 0.4})
    assert (annotation.attributes["tension"], annotation.attributes["face_expression"]) == ("high", "happy")
    assert "tense" not in annotation.conditioning
    assert "expression" not in annotation.conditioning
    sure = annotate(arousal={"low": 0.0, "mid": 0.1, "high": 0.9}, expression={"happiness": 0.9})
    assert "tense" in sure.conditioning
    assert "happy expression" in sure.conditioning


# --- unknown stays unknown ---------------------------------------------------------------------------------------


def test_a_clip_of_which_nothing_is_known_has_an_annotation_that_says_so():
    annotation = distil({})
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
    valence = {"negative": 0.5, "neutral": 0.3, "positive": 0.2}
    control = annotate(motion_mean=0.055, pitch_hz=20.0, brightness=0.95, valence=valence).control
    levels = dict(zip(control.names, control.values, strict=True))
    assert levels["motion"] == pytest.approx(0.25)
    assert levels["pitch"] == -1.0
    assert levels["brightness"] == 1.0
    assert levels["valence"] == pytest.approx(-0.375)
    assert control.calibration == "vocabulary"
    assert levels["speech"] == pytest.approx(0.8)
    assert all(control.present)


def test_every_control_keeps_to_minus_one_and_one():
    for extreme in (-1e9, 1e9):
        assert all(-1.0 <= control.level(extreme) <= 1.0 for control in VOCABULARY.controls)


# --- annotator ---------------------------------------------------------------------------------------------------


def test_a_row_has_exactly_the_declared_attribute_columns():
    assert list(annotate().attributes) == [column.name for column in DISTILLER.columns]
    assert {column.kind for column in DISTILLER.columns} == {"text"}


def test_annotations_by_rules_say_that_they_are_measured():
    assert annotate().engine == "measured"


def test_annotations_are_plain_json():
    annotation = annotate()
    assert type(annotation).model_validate(json.loads(annotation.model_dump_json())) == annotation


def test_a_value_of_the_wrong_form_is_refused_and_the_clip_named():
    with pytest.raises(InputError, match="clip c7: a measured value has not the form of its column"):
        DISTILLER.distil("c7", 4.0, {"arousal": {"calm": 1.0}}, reasoned(said(), "endpoint:m"))


def test_another_threshold_another_calibration_or_other_reasoning_is_another_recipe(tmp_path):
    path = tmp_path / "vocabulary.toml"
    path.write_text(DEFAULT_VOCABULARY.read_text().replace("silent_below_db = -55.0", "silent_below_db = -50.0"))
    others = [
        Distiller(load_vocabulary(path), count_tokens).recipe("r"),
        Distiller(VOCABULARY, count_tokens, calibration="c1").recipe("r"),
        DISTILLER.recipe("s"),
    ]
    assert len({*others, DISTILLER.recipe("r")}) == 4
    assert Distiller(load_vocabulary(DEFAULT_VOCABULARY), count_tokens).recipe("r") == DISTILLER.recipe("r")


# --- what a model says beside the measurements -----------------------------------------------------------------


def test_a_model_fills_what_was_not_measured_and_leaves_what_was():
    trace = said(setting=[("indoors", 90)], motion=[("high", 100)], pose=[("sitting", 60), ("standing", 30)])
    annotation = DISTILLER.distil("clip", 4.0, VALUES, reasoned(trace, "endpoint:m"))
    assert annotation.attributes["setting"] == "indoors"
    assert annotation.attributes["motion"] == "medium"
    assert annotation.attributes["pose"] == "sitting"
    assert {name: annotation.origins[name] for name in ("setting", "motion", "pose")} == {
        "setting": "endpoint:m", "motion": "measured", "pose": "endpoint:m",
    }  # fmt: skip
    assert annotation.readings["pose"] == {"sitting": 0.6, "standing": 0.3}
    assert (annotation.engine, annotation.caption) == ("endpoint:m", "A face.")


def test_clips_that_mean_the_same_have_one_string_whatever_else_a_model_says():
    first = said(setting=[("indoors", 90)], caption="A woman talks.")
    second = said(setting=[("indoors", 55)], caption="Somebody speaks to us.")
    strings = {DISTILLER.distil("clip", 4.0, VALUES, reasoned(trace, "m")).conditioning for trace in (first, second)}
    assert len(strings) == 1


def test_affect_that_was_not_measured_is_the_models_and_says_so():
    feeling = Feeling(valence=Valence(negative_pct=60, neutral_pct=20, positive_pct=0))
    affect = DISTILLER.distil("clip", 4.0, VALUES, reasoned(said(feeling), "endpoint:m")).affect
    assert affect.valence == {"negative": 0.75, "neutral": 0.25, "positive": 0.0}
    assert affect.arousal == VALUES["arousal"]
    assert affect.evidence[-1] == "endpoint:m: valence"


def test_an_ambiguous_clip_carries_its_strings_with_their_weights():
    trace = said(setting=[("indoors", 50), ("studio", 40), ("vehicle", 10)], pose=[("sitting", 60), ("standing", 40)])
    annotation = DISTILLER.distil("clip", 4.0, VALUES, reasoned(trace, "m"))
    alternatives = {one.text: one.weight for one in annotation.alternatives}
    assert next(iter(alternatives)) == annotation.conditioning
    assert "sitting" in annotation.conditioning
    assert "indoors" in annotation.conditioning
    assert len(alternatives) == 4
    assert sum(alternatives.values()) == pytest.approx(1.0, abs=1e-3)
    assert alternatives[annotation.conditioning] == pytest.approx(0.6 * 0.5 / 0.9, abs=1e-3)


def test_a_clear_clip_has_no_alternatives():
    assert annotate().alternatives == ()


# --- vocabulary ------------------------------------------------------------------------------------------------


def test_a_project_adds_slots_terms_and_synonyms(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        """
extends = "default"

[[slots]]
name = "pose"
terms = [{ name = "dancing", phrase = "dancing", meaning = "In a dance.", synonyms = ["waltzing"] }]

[[slots]]
name = "prop"
meaning = "What is held."
asked = true
terms = [{ name = "umbrella", phrase = "with an umbrella", meaning = "An umbrella." }]

[sound]
silent_below_db = -50.0
"""
    )
    mine = load_vocabulary(path)
    assert mine.slot("pose").fold("Waltzing") == "dancing"
    assert mine.slot("pose").fold("seated") == "sitting"
    assert mine.slots[-1].name == "prop"
    assert (mine.sound.silent_below_db, mine.sound.speech_from) == (-50.0, 0.5)
    assert [slot.name for slot in mine.slots[:-1]] == [slot.name for slot in VOCABULARY.slots]


@pytest.mark.parametrize(
    ("slot", "words", "expected"),
    [("shot_scale", "Close-up", "close"), ("shot_scale", "head shot", "close"), ("shot_scale", "WIDE  SHOT", "long"),
     ("palette", "gray", "grey"), ("face_expression", "happiness", "happy"), ("pose", "levitating", None)],
)  # fmt: skip
def test_synonyms_are_folded_into_their_terms(slot, words, expected):
    assert VOCABULARY.slot(slot).fold(words) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("low = 0.05,", "low = 0.001,", r"slot 'motion': `low` must ascend"),
        ("low = 0.05,", "", r"slot 'motion': every term but the first needs `low`"),
        ('{ name = "voice", ', '{ name = "hum", ', r"slot 'sound_kind' lacks the terms \['voice'\]"),
        ("asked = true\n", "", r"slot 'setting' needs a `column`, or `asked = true`"),
        ('"seated", "sits"', '"upright"', r"slot 'pose': \['upright'\] mean more than one term"),
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
