"""The rule-based reasoner: what fills each slot, how a clip changes, and that nothing is guessed."""

import numpy as np
import pytest

from processors.distill.vocabulary import load_vocabulary
from processors.reason.changes import intensity, spans, stretches
from processors.reason.measures import Measured, changes_of, expected_arousal, expected_valence, tension
from processors.reason.rules import reason
from store.records import Span

VOCABULARY = load_vocabulary()

SPOKEN = {"loudness_db": -20.0, "speech_share": 0.9, "voiced_share": 0.5, "pitch_hz": 180.0}


def term(slot, values, duration_s=4.0):
    return reason(Measured(values, duration_s, VOCABULARY)).findings[slot].term


def curve(*parts):
    """Levels with how many points each lasts."""
    return np.concatenate([np.full(n, float(level)) for level, n in parts])


# --- slots -----------------------------------------------------------------------------------------------------


def test_nothing_measured_leaves_every_slot_unknown():
    trace = reason(Measured({}, 4.0, VOCABULARY))
    assert list(trace.findings) == [slot.name for slot in VOCABULARY.slots]
    assert all(
        (finding.readings, finding.term, finding.confidence) == ((), None, 0.0) for finding in trace.findings.values()
    )
    assert (trace.present, trace.events, trace.signals, trace.caption) == ((), (), (), None)
    assert (trace.feeling.valence, trace.feeling.arousal) == (None, None)
    assert changes_of({}, 4.0, VOCABULARY) is None


@pytest.mark.parametrize(
    ("slot", "column", "value", "expected"),
    [
        ("shot_scale", "face_area", 0.005, "long"),
        ("shot_scale", "face_area", 0.01, "medium"),
        ("shot_scale", "face_area", 0.3, "close"),
        ("people", "face_count", 0, "none"),
        ("people", "face_count", 1, "one"),
        ("people", "face_count", 2, "two"),
        ("people", "face_count", 7, "group"),
        ("motion", "motion_mean", 0.0, "still"),
        ("motion", "motion_mean", 0.0499, "low"),
        ("motion", "motion_mean", 0.05, "medium"),
        ("motion", "motion_mean", 2.0, "high"),
        ("light", "brightness", 0.1, "dark"),
        ("light", "brightness", 0.7, "bright"),
        ("pose", "posture", "sitting", "sitting"),
        ("pose", "posture", "levitating", None),
    ],
)
def test_a_threshold_decides(slot, column, value, expected):
    assert term(slot, {column: value}) == expected


def test_a_finding_names_its_evidence():
    finding = reason(Measured({"motion_mean": 0.2}, 4.0, VOCABULARY)).findings["motion"]
    assert finding.evidence.facts == ("motion",)
    assert finding.confidence == 1.0


@pytest.mark.parametrize(
    ("motion_mean", "expected"),
    [
        (0.03, {"low": 100}),
        (0.05, {"medium": 50, "low": 50}),
        (0.0525, {"medium": 75, "low": 25}),
        (0.0551, {"medium": 100}),
    ],
)
def test_near_a_border_both_terms_are_possible(motion_mean, expected):
    finding = reason(Measured({"motion_mean": motion_mean}, 4.0, VOCABULARY)).findings["motion"]
    assert {reading.term: reading.pct for reading in finding.readings} == expected


def test_a_posture_is_as_sure_as_its_probability():
    chances = {"standing": 0.7, "sitting": 0.2, "lying": 0.0, "kneeling": 0.0, "unknown": 0.1}
    finding = reason(Measured({"posture": "standing", "pose_class": chances}, 4.0, VOCABULARY)).findings["pose"]
    assert [(reading.term, reading.pct) for reading in finding.readings] == [("standing", 70), ("sitting", 20)]
    assert finding.evidence.facts == ("pose",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"person_count": 0}, None),
        ({"person_count": 1}, "alone"),
        ({"person_count": 2}, None),
        ({"person_count": 2, "people_distance": 0.0, "people_overlap": 0.3}, "together"),
        ({"person_count": 2, "people_distance": 0.0, "people_overlap": 0.05}, "near"),
        ({"person_count": 2, "people_distance": 0.65, "people_overlap": 0.0}, "near"),
        ({"person_count": 3, "people_distance": 0.8, "people_overlap": 0.0}, "apart"),
    ],
)
def test_how_people_stand_to_each_other(values, expected):
    assert term("interaction", values) == expected


def test_bodies_and_faces_weigh_on_tension_where_they_were_measured():
    arousal = {"low": 0.0, "mid": 1.0, "high": 0.0}
    alone = tension({"arousal": arousal}, None, VOCABULARY)
    held = tension({"arousal": arousal, "body_tension": 0.9, "face_tension": None}, None, VOCABULARY)
    assert alone == pytest.approx(0.5)
    assert held == pytest.approx((0.5 + 0.5 * 0.9) / 1.5)
    finding = reason(
        Measured({"arousal": arousal, "body_tension": 0.9, "face_tension": None}, 4.0, VOCABULARY)
    ).findings["tension"]
    assert finding.evidence.facts == ("pose", "affect")


def test_findings_from_faces_are_as_sure_as_the_detections():
    tracks = [{"track": 0, "times_s": [0.0, 3.5], "boxes_xyxy": [], "scores": [0.9, 1.0]}]
    finding = reason(Measured({"face_area": 0.2, "face_tracks": tracks}, 4.0, VOCABULARY)).findings["shot_scale"]
    assert (finding.term, finding.confidence) == ("close", pytest.approx(0.95))


def test_a_face_in_passing_tells_neither_the_scale_of_the_shot_nor_an_expression():
    tracks = [{"track": 0, "times_s": [0.0, 0.5], "boxes_xyxy": [], "scores": [1.0, 1.0]}]
    findings = reason(
        Measured({"face_area": 0.2, "face_tracks": tracks, "expression": {"happiness": 1.0}}, 4.0, VOCABULARY)
    ).findings
    assert (findings["shot_scale"].term, findings["face_expression"].term) == (None, None)


@pytest.mark.parametrize(
    ("faces", "bodies", "expected"),
    [
        ([(0.0, 3.5)], [], "one"),
        ([(0.0, 3.5)], [(0.0, 3.5), (0.0, 3.5)], "one"),
        ([(0.0, 3.5), (0.0, 3.5)], [(0.0, 3.5)], "two"),
        ([(0.0, 3.5), (3.0, 3.5)], [], "one"),
        ([(0.0, 0.5)], [(0.0, 2.5)], "one"),
        ([(0.0, 0.5)], [(0.0, 1.0)], "none"),
        ([], [], "none"),
    ],
)
def test_people_are_those_in_view_for_most_of_the_clip_by_faces_where_there_are_any(faces, bodies, expected):
    values = {
        "face_tracks": [tracked(*times) for times in faces],
        "people_tracks": [tracked(*times) for times in bodies],
    }
    assert term("people", values) == expected


def test_as_many_people_are_as_sure_as_they_stay():
    tracks = [tracked(0.0, 3.5), tracked(2.5, 3.5)]
    readings = reason(Measured({"face_tracks": tracks}, 4.0, VOCABULARY)).findings["people"].readings
    assert [(reading.term, reading.pct) for reading in readings] == [("one", 62), ("two", 38)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (SPOKEN, "speech"),
        (SPOKEN | {"loudness_db": -70.0}, "silence"),
        (SPOKEN | {"speech_share": 0.1}, "voice"),
        (SPOKEN | {"speech_share": 0.1, "pitch_hz": 80.0}, "other"),
        (SPOKEN | {"speech_share": 0.0, "voiced_share": 0.0, "pitch_hz": None}, "other"),
        (SPOKEN | {"loudness_db": None}, None),
        (SPOKEN | {"speech_share": None}, None),
    ],
)
def test_what_is_heard(values, expected):
    assert term("sound_kind", values) == expected


def test_speech_that_fills_the_clip_is_surer_than_speech_in_half_of_it():
    full, half = (
        reason(Measured(SPOKEN | {"speech_share": share}, 4.0, VOCABULARY)).findings["sound_kind"].confidence
        for share in (1.0, 0.5)
    )
    assert (full, half) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("colourfulness", "hue_deg", "expected"),
    [(5.0, 30.0, "grey"), (40.0, 30.0, "warm"), (40.0, 350.0, "warm"), (40.0, 120.0, "green"), (40.0, 220.0, "cool"),
     (40.0, None, "mixed"), (None, 30.0, None)],
)  # fmt: skip
def test_which_colours_prevail(colourfulness, hue_deg, expected):
    assert term("palette", {"colourfulness": colourfulness, "hue_deg": hue_deg}) == expected


def test_arousal_is_expected_with_low_mid_and_high_at_equal_steps():
    assert expected_arousal({"arousal": {"low": 0.2, "mid": 0.5, "high": 0.3}}) == pytest.approx(0.55)
    assert expected_arousal({}) is None


def test_escalation_adds_tension_and_resolution_takes_it():
    values = {"arousal": {"low": 0.2, "mid": 0.6, "high": 0.2}}
    rise, fall = (Span(kind=kind, start_s=1.0, end_s=2.0) for kind in ("escalation", "resolution"))
    calm, tense, resolved = (tension(values, changes, VOCABULARY) for changes in (None, (rise,), (rise, fall)))
    assert (calm, tense, resolved) == pytest.approx((0.5, 0.65, 0.5))
    assert tension({"arousal": {"low": 0.0, "mid": 0.0, "high": 1.0}}, (rise,), VOCABULARY) == 1.0


def test_signals_are_what_stands_out_the_strongest_first():
    values = {"motion_mean": 0.04, "loudness_db": -8.0, "brightness": 0.3}
    trace = reason(Measured(values | {"loudness_curve": [-60.0] * 20 + [-8.0] * 20}, 4.0, VOCABULARY))
    assert [(signal.name, signal.level_pct, signal.course) for signal in trace.signals] == [
        ("loudness", 100, "rising"), ("brightness", -50, "steady"),
    ]  # fmt: skip
    assert trace.signals[0].evidence.facts == ("sound",)


def test_valence_is_expected_between_minus_one_and_one():
    assert expected_valence({"valence": {"negative": 0.1, "neutral": 0.2, "positive": 0.7}}) == pytest.approx(0.6)


# --- what is there and what happens ------------------------------------------------------------------------------


def tracked(*times_s, label=None):
    body = {"track": 0, "times_s": list(times_s), "boxes_xyxy": [[0.1, 0.1, 0.5, 0.9]] * len(times_s), "scores": [1.0]}
    return body | ({"label": label} if label else {})


def test_people_and_objects_are_counted():
    objects = [tracked(0.0, label="dog"), tracked(0.0, label="dog"), tracked(0.0, label="car")]
    trace = reason(Measured({"face_count": 1, "person_count": 3, "object_tracks": objects}, 4.0, VOCABULARY))
    assert [(one.kind, one.what, one.count) for one in trace.present] == [
        ("person", "person", 3), ("object", "dog", 2), ("object", "car", 1),
    ]  # fmt: skip
    assert trace.findings["people"].term == "group"


def test_speech_changes_and_comings_and_goings_are_events_in_the_order_of_time():
    values = {
        "speech_spans": [[0.5, 1.5]],
        "motion_curve": [0.001] * 20 + [0.5] * 20,
        "people_tracks": [tracked(0.0, 0.5, 3.5), tracked(1.0, 1.5, 2.0)],
    }
    events = reason(Measured(values, 4.0, VOCABULARY)).events
    assert [(event.kind, event.what, event.start_ms, event.end_ms) for event in events] == [
        ("speaks", "speech", 500, 1500),
        ("appears", "a person", 1000, 1000),
        ("leaves", "a person", 2000, 2000),
        ("changes", "onset", 2000, 4000),
    ]


def test_the_caption_is_a_sentence_of_what_is_seen_and_heard():
    caption = reason(Measured({"motion_mean": 0.2, "brightness": 0.1} | SPOKEN, 4.0, VOCABULARY)).caption
    assert caption == "Strong motion, dark with speech."


# --- changes ---------------------------------------------------------------------------------------------------


def test_intensity_is_the_mean_level_of_the_curves():
    values = {"motion_curve": [0.5, 0.5], "loudness_curve": [-60.0, -22.0]}
    assert intensity(values, VOCABULARY) == pytest.approx([0.0, 0.5])


def test_intensity_leaves_what_a_curve_lacks_to_the_others():
    values = {"motion_curve": [0.5, None, 0.04], "loudness_curve": [-8.0, -8.0, None]}
    assert intensity(values, VOCABULARY) == pytest.approx([1.0, 1.0, 0.0])


def test_intensity_goes_on_where_every_curve_lacks_a_point():
    assert intensity({"motion_curve": [None, 0.5, None]}, VOCABULARY) == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("values", [{}, {"motion_curve": None}, {"motion_curve": []}, {"motion_curve": [None]}])
def test_there_is_no_intensity_without_curves(values):
    assert len(intensity(values, VOCABULARY)) == 0


def test_stretches_are_found_where_the_level_steps():
    found = stretches(curve((0.0, 12), (1.0, 9), (-0.5, 20)), least_step=0.5, least_points=5)
    assert [(first, end) for first, end, _ in found] == [(0, 12), (12, 21), (21, 41)]
    assert [level for _, _, level in found] == pytest.approx([0.0, 1.0, -0.5])


def test_noise_does_not_move_a_step_or_add_one():
    noise = np.random.default_rng(0).normal(0.0, 0.15, 41)
    found = stretches(curve((0.0, 12), (1.0, 9), (-0.5, 20)) + noise, least_step=0.5, least_points=5)
    assert [(first, end) for first, end, _ in found] == [(0, 12), (12, 21), (21, 41)]


@pytest.mark.parametrize("parts", [[(0.0, 30), (0.4, 30)], [(0.0, 20), (1.0, 2), (0.0, 20)], [(0.0, 6)], [(0.0, 1)]])
def test_small_short_or_no_changes_make_one_stretch(parts):
    assert len(stretches(curve(*parts), least_step=0.5, least_points=5)) == 1


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0], []),
        ([], []),
        ([0, 1], [("onset", 1.0, 2.0)]),
        ([1, 0], [("resolution", 1.0, 2.0)]),
        ([0, 1, 0], [("onset", 1.0, 2.0), ("resolution", 2.0, 3.0)]),
        ([0, 1, 2], [("onset", 1.0, 2.0), ("escalation", 2.0, 3.0)]),
        ([0, 1, 2, 1], [("onset", 1.0, 2.0), ("escalation", 2.0, 3.0), ("resolution", 3.0, 4.0)]),
        ([2, 0, 1], [("onset", 2.0, 3.0)]),
    ],
)
def test_stretches_become_onset_escalation_and_resolution(levels, expected):
    found = [(10 * i, 10 * (i + 1), float(level)) for i, level in enumerate(levels)]
    met = spans(found, rate_hz=10.0, duration_s=float(max(1, len(levels))))
    assert [(span.kind, span.start_s, span.end_s) for span in met] == expected


def test_a_click_does_not_make_a_silent_clip_sound():
    silent = SPOKEN | {"loudness_db": -40.0, "loudness_curve": [-20.0] + [-90.0] * 39}
    assert term("sound_kind", silent) == "silence"


def test_a_change_that_hardly_counts_leaves_the_course_ambiguous():
    findings = reason(Measured({"motion_curve": [0.04] * 20 + [0.0735] * 20}, 4.0, VOCABULARY)).findings
    assert {reading.term for reading in findings["course"].readings} == {"rising", "steady"}


def test_a_clip_that_sets_in_and_dies_down_runs_in_an_arc():
    values = {"motion_curve": [0.001] * 10 + [0.5] * 20 + [0.001] * 10}
    assert term("course", values) == "arc"
    assert [(span.kind, span.start_s, span.end_s) for span in changes_of(values, 4.0, VOCABULARY) or ()] == [
        ("onset", 1.0, 3.0), ("resolution", 3.0, 4.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("motion", "expected"),
    [([0.04] * 40, "steady"), ([0.001] * 20 + [0.5] * 20, "rising"), ([0.5] * 20 + [0.001] * 20, "falling")],
)
def test_the_course_of_a_clip(motion, expected):
    assert term("course", {"motion_curve": motion}) == expected


def test_motion_and_sound_that_change_against_each_other_leave_the_course_steady():
    values = {"motion_curve": [0.001] * 20 + [0.5] * 20, "loudness_curve": [-8.0] * 20 + [-60.0] * 20}
    assert term("course", values) == "steady"
