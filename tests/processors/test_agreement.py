"""What the models agree on: peaks stay peaks, doubt stays doubt, and nothing is said of what nobody saw."""

import math
from typing import Any

import pytest

from processors.affect.agreement import MODELS, Agreement, Options, divergence, valence_shares
from processors.affect.faces import PLEASURE_AROUSAL
from processors.base import Row
from tests.processors.made_clips import make_clip

XCEPTION, DEEPFACE, EMONET = MODELS
SEVEN = [label for label in PLEASURE_AROUSAL if label != "contempt"]
LARGE, SMALL = [0.2, 0.1, 0.6, 0.9], [0.8, 0.1, 0.85, 0.2]


def face(number: int = 0, n: int = 4, box: list[float] = LARGE, start_s: float = 0.0) -> dict[str, Any]:
    times = [start_s + 0.5 * i for i in range(n)]
    return {"track": number, "times_s": times, "boxes_xyxy": [box] * n, "scores": [1.0] * n}


def reads(of: dict[str, Any], *looks: dict[str, float], labels: list[str] = SEVEN, **places: Any) -> dict[str, Any]:
    """A model's curves of a face: one look for all of its times, or one for each."""
    n = len(of["times_s"])
    each = list(looks) * (n if len(looks) == 1 else 1)
    expression = {label: [look.get(label, 0.0) for look in each] for label in labels}
    where = [[sum(look[word] * PLEASURE_AROUSAL[word][axis] for word in look) for look in each] for axis in (0, 1)]
    told = {"valence": where[0], "arousal": where[1]} | places
    return {"track": of["track"], "times_s": of["times_s"], "expression": expression, "model": "m", **told}


def agreed(*faces: dict[str, Any], duration_s: float = 2.0, **columns: Any) -> Row:
    inputs = dict.fromkeys(Agreement.reads.inputs) | {"face_tracks": list(faces)} | columns
    (row,) = Agreement(Options()).process([make_clip(duration_s=duration_s)], [inputs])
    assert isinstance(row, dict)
    return row


def test_a_happy_face_is_positive() -> None:
    one = face()
    row = agreed(one, affect_tracks_xception=[reads(one, {"happiness": 1.0})])
    assert row["valence"]["positive"] > 0.95
    assert row["expression"]["happiness"] == 1.0
    assert row["valence_curve"] == pytest.approx([0.81] * 4)
    assert row["valence_evidence"] == [XCEPTION]


def test_happy_or_sad_is_not_neutral() -> None:
    one = face()
    row = agreed(one, affect_tracks_xception=[reads(one, {"happiness": 0.5, "sadness": 0.5})])
    assert row["valence"]["neutral"] < 0.05
    assert row["valence"]["positive"] == pytest.approx(0.5, abs=0.02)


def test_two_models_that_see_two_things_leave_two_peaks_and_disagree() -> None:
    one = face()
    happy, sad = reads(one, {"happiness": 1.0}), reads(one, {"sadness": 1.0})
    row = agreed(one, affect_tracks_xception=[happy], affect_tracks_deepface=[sad])
    assert row["valence"]["positive"] == pytest.approx(0.5, abs=0.02)
    assert row["valence"]["neutral"] < 0.05
    assert row["affect_disagreement"] == pytest.approx(1.0)
    assert agreed(one, affect_tracks_xception=[happy], affect_tracks_deepface=[happy])["affect_disagreement"] == 0.0


def test_disagreement_grows_with_the_difference() -> None:
    one = face()
    found = [
        agreed(
            one,
            affect_tracks_xception=[reads(one, {"happiness": 1.0})],
            affect_tracks_deepface=[reads(one, {"happiness": 1.0 - doubt, "neutral": doubt})],
        )["affect_disagreement"]
        for doubt in (0.1, 0.4, 0.9)
    ]
    assert found == sorted(found)
    assert found[0] < 0.1 < found[2]


def test_one_model_alone_neither_agrees_nor_disagrees() -> None:
    one = face()
    assert agreed(one, affect_tracks_xception=[reads(one, {"fear": 1.0})])["affect_disagreement"] is None


def test_models_are_compared_by_the_expressions_that_both_know() -> None:
    one = face()
    seven = reads(one, {"anger": 0.5, "neutral": 0.5})
    eight = reads(one, {"anger": 0.25, "neutral": 0.25, "contempt": 0.5}, labels=list(PLEASURE_AROUSAL))
    row = agreed(one, affect_tracks_xception=[seven], affect_tracks_emonet=[eight])
    assert row["affect_disagreement"] == 0.0
    assert row["expression"]["contempt"] == pytest.approx(0.5 / 1.25)
    assert sum(row["expression"].values()) == pytest.approx(1.0)


def test_a_model_that_was_trained_on_valence_is_taken_at_its_word() -> None:
    one = face()
    told = reads(one, {"neutral": 1.0}, labels=list(PLEASURE_AROUSAL), valence=[-0.8] * 4)
    assert agreed(one, affect_tracks_emonet=[told])["valence"]["negative"] > 0.95
    assert agreed(one, affect_tracks_xception=[told])["valence"]["neutral"] > 0.8


def test_the_larger_face_counts_for_more() -> None:
    near, far = face(0), face(1, box=SMALL)
    both = [reads(near, {"happiness": 1.0}), reads(far, {"anger": 1.0})]
    row = agreed(near, far, affect_tracks_xception=both)
    area = {"near": 0.4 * 0.8, "far": 0.05 * 0.1}
    share = area["near"] / sum(area.values())
    assert row["expression"]["happiness"] == pytest.approx(share)
    assert row["valence_curve"][0] == pytest.approx(0.81 * share - 0.51 * (1 - share))


def test_the_curve_follows_the_face_and_is_none_while_there_is_none() -> None:
    one = face(n=3, start_s=2.0)
    looks = [{"neutral": 1.0}, {"neutral": 0.5, "happiness": 0.5}, {"happiness": 1.0}]
    row = agreed(one, affect_tracks_xception=[reads(one, *looks)], duration_s=6.0)
    curve = row["valence_curve"]
    assert curve[:3] + curve[8:] == [None] * 7
    assert curve[3:8] == pytest.approx([0.0, 0.0, 0.405, 0.81, 0.81])
    assert [value is None for value in row["face_arousal_curve"]] == [value is None for value in row["valence_curve"]]


@pytest.mark.parametrize("tracks", [None, []])
def test_without_a_face_nothing_is_said(tracks: list[Any] | None) -> None:
    row = agreed(affect_tracks_xception=tracks, arousal={"low": 1.0, "mid": 0.0, "high": 0.0})
    assert row.pop("valence_evidence") == []
    assert set(row.values()) == {None}


def test_a_profile_without_a_model_of_affect_says_nothing() -> None:
    assert agreed(face())["valence"] is None


def test_signals_and_faces_may_differ_about_arousal() -> None:
    one = face()
    calm = [reads(one, {"neutral": 1.0}, arousal=[-0.9] * 4)]
    low, high = {"low": 1.0, "mid": 0.0, "high": 0.0}, {"low": 0.0, "mid": 0.0, "high": 1.0}
    assert agreed(one, affect_tracks_xception=calm, arousal=low)["arousal_disagreement"] < 0.05
    assert agreed(one, affect_tracks_xception=calm, arousal=high)["arousal_disagreement"] > 0.9
    assert agreed(one, affect_tracks_xception=calm, arousal=None)["arousal_disagreement"] is None


def test_a_face_without_area_still_counts() -> None:
    one = face(box=[0.0, 0.5, 0.0, 0.5])
    assert agreed(one, affect_tracks_xception=[reads(one, {"fear": 1.0})])["expression"]["fear"] == 1.0


def test_valence_shares_are_a_distribution_that_rises() -> None:
    found = [valence_shares(valence) for valence in (-1.0, -0.3, 0.0, 0.3, 1.0)]
    assert all(math.isclose(sum(shares), 1.0) and min(shares) > 0 for shares in found)
    assert [shares[2] for shares in found] == sorted(shares[2] for shares in found)
    assert [int(shares.argmax()) for shares in found] == [0, 0, 1, 2, 2]


def test_divergence_is_none_of_equals_and_whole_of_strangers() -> None:
    yes, no = {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}
    assert divergence([yes, yes, yes]) == 0.0
    assert divergence([yes, no]) == pytest.approx(1.0)
