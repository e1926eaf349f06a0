"""Arousal is soft, follows its evidence, and is not made up where there is none."""

import math
from itertools import pairwise
from typing import Any

import pytest

from processors.affect.arousal import EVIDENCE, Arousal, Options, distribution
from processors.base import Row
from processors.engine import Engine
from processors.profile import load_profile
from tests.processors.made_clips import MEDIA, heard, make_clip

DEEPLY = MEDIA / "audio" / "deeply"
NOTHING: Row = dict.fromkeys((*EVIDENCE, "loudness_db", "black_share"))
CALM = {
    "loudness_db": -40.0,
    "loudness_curve": [-40.0] * 50,
    "pitch_curve": [130.0] * 50,
    "spectral_tilt_db_per_octave": -8.0,
    "onset_rate_hz": 0.3,
    "motion_curve": [0.003] * 50,
    "black_share": 0.0,
}
WILD = {
    "loudness_db": -10.0,
    "loudness_curve": [-10.0] * 50,
    "pitch_curve": [700.0] * 50,
    "spectral_tilt_db_per_octave": 2.0,
    "onset_rate_hz": 5.0,
    "motion_curve": [0.5] * 50,
    "black_share": 0.0,
}


def judged(duration_s: float = 5.0, **columns: Any) -> Row:
    return Arousal(Options()).process([make_clip(duration_s=duration_s)], [NOTHING | columns])[0]


def test_calm_is_low_and_wild_is_high() -> None:
    assert judged(**CALM)["arousal"]["low"] > 0.7
    assert judged(**WILD)["arousal"]["high"] > 0.7


def test_it_is_a_distribution() -> None:
    for row in (CALM, WILD, {"motion_curve": [0.02] * 50}):
        assert math.isclose(sum(judged(**row)["arousal"].values()), 1.0)
        assert min(judged(**row)["arousal"].values()) > 0.0


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_cue_raises_arousal(name: str) -> None:
    calmer = judged(**CALM)
    livelier = judged(**(CALM | {name: WILD[name]}))
    assert livelier["arousal_curve"].mean() > calmer["arousal_curve"].mean() + 0.05
    assert livelier["arousal"]["high"] > calmer["arousal"]["high"]


def test_without_evidence_nothing_is_said() -> None:
    assert judged() == {"arousal": None, "arousal_curve": None, "arousal_evidence": []}


def test_a_black_silent_clip_is_no_evidence() -> None:
    dark = CALM | {"black_share": 1.0, "loudness_db": -96.0}
    assert judged(**dark)["arousal"] is None


def test_silence_leaves_motion_to_judge_by() -> None:
    row = judged(**(WILD | {"loudness_db": -96.0, "loudness_curve": [-96.0] * 50}))
    assert row["arousal_evidence"] == ["motion_curve"]
    assert row["arousal"]["high"] > row["arousal"]["low"]


def test_less_evidence_makes_a_flatter_distribution() -> None:
    all_of_it = judged(**WILD)["arousal"]
    motion_only = judged(motion_curve=WILD["motion_curve"])["arousal"]
    assert max(motion_only.values()) < max(all_of_it.values())
    assert min(motion_only.values()) > min(all_of_it.values())


def test_no_coverage_is_the_flat_distribution() -> None:
    assert list(distribution(0.9, 0.0).values()) == pytest.approx([1 / 3] * 3)


def test_the_middle_is_mid() -> None:
    shares = distribution(0.5, 1.0)
    assert shares["mid"] > shares["low"] == pytest.approx(shares["high"])


def test_the_curve_rises_where_the_sound_does() -> None:
    curve = judged(**(CALM | {"loudness_curve": [-40.0] * 25 + [-10.0] * 25}))["arousal_curve"]
    assert len(curve) == 50
    assert curve[40] > curve[10] + 0.1
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(curve))


def test_pitch_holds_through_unvoiced_stretches() -> None:
    broken = [700.0 if index % 10 == 0 else None for index in range(50)]
    held = judged(**(CALM | {"pitch_curve": broken}))["arousal_curve"]
    assert held == pytest.approx(judged(**(CALM | {"pitch_curve": [700.0] * 50}))["arousal_curve"])


def test_a_whisper_without_pitch_is_judged_by_the_rest() -> None:
    row = judged(**(CALM | {"pitch_curve": [None] * 50}))
    assert row["arousal_evidence"] == [name for name in EVIDENCE if name != "pitch_curve"]


def test_curves_that_differ_by_a_point_still_count() -> None:
    row = judged(**(CALM | {"motion_curve": [0.003] * 49, "loudness_curve": [-40.0] * 51}))
    assert len(row["arousal_curve"]) == 50


@pytest.mark.skipif(not DEEPLY.exists(), reason="needs ../shared/media (recordings of wordless sounds)")
def test_screams_are_more_aroused_than_sighs() -> None:
    engine = Engine(load_profile("measured"))
    engine.load()
    levels: dict[str, list[float]] = {"screaming": [], "sighing": []}
    for kind, found in levels.items():
        for path in sorted(DEEPLY.glob(f"{kind}__*.wav")):
            sound = heard(path)
            (row,) = engine.run([make_clip(audio=sound, duration_s=len(sound) / 16_000)])
            found.append(row.values["arousal"]["high"] - row.values["arousal"]["low"])
    assert min(levels["screaming"]) > max(levels["sighing"])
