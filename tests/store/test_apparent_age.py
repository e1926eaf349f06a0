"""The rule about age: who may be a minor holds the clip, and so does everything that nobody could tell."""

from pathlib import Path
from typing import Any

import pytest

from store.apparent_age import AgeLimits, judge_age
from store.errors import SettingsError
from store.gate import GateOptions, judge, load_gate
from store.records import Column, Decision, Record
from store.store import Store
from store.view import View
from tests.store.made_footage import COLUMNS, Video

ROOT = Path(__file__).parents[2]
LIMITS = AgeLimits()
RELEASE = {"by": "Ada", "reason": "papers are on file", "decided_at": "2026-01-01T12:00:00Z"}


def person(years: float, std_years: float = 4.6) -> dict[str, Any]:
    return {"track": 0, "person": None, "mean_years": years, "std_years": std_years, "n_sights": 3}


def row(*ages: float, unassessed: int | None = 0, **others: Any) -> dict[str, Any]:
    """A clip of a profile with an age model, in which people of these apparent ages are seen."""
    told = {"age_tracks": [person(years) for years in ages], "age_unassessed": unassessed}
    return {"source": "park", "recipes": {"age.mivolo": "r"}, "face_count": len(ages)} | told | others


def decided(clip: dict[str, Any], limits: AgeLimits = LIMITS, released: bool = False) -> Decision:
    return judge_age(clip, {"age": RELEASE} if released else {}, limits)


@pytest.mark.parametrize(
    ("years", "verdict"), [(8, "hold"), (18, "hold"), (24, "hold"), (27, "hold"), (28.5, "keep"), (60, "keep")]
)
def test_whoever_may_be_a_minor_holds_the_clip(years: float, verdict: str) -> None:
    decision = decided(row(years))
    assert decision.verdict == verdict
    assert decision.score is not None
    assert (decision.score >= 0.05) == (verdict == "hold")
    assert decision.threshold == 0.05


def test_the_likeliest_minor_decides_and_is_told() -> None:
    decision = decided(row(40, 17, 35))
    assert decision.verdict == "hold"
    assert "looks 17 and may be younger than 20 (probability 0.74)" in decision.reason
    assert "releases source 'park' on record" in decision.reason


def test_an_unsure_estimate_holds_where_a_sure_one_would_not() -> None:
    sure, unsure = (row() | {"age_tracks": [person(30, std)]} for std in (4.6, 9.0))
    assert (decided(sure).verdict, decided(unsure).verdict) == ("keep", "hold")


def test_one_person_whose_age_nobody_can_tell_holds_the_clip() -> None:
    decision = decided(row(40, unassessed=2))
    assert (decision.verdict, decision.score, decision.threshold) == ("hold", 2.0, 0.0)
    assert "of 2 of the people seen nothing could be told" in decision.reason


def test_nobody_seen_is_nobody_to_protect() -> None:
    decision = decided(row())
    assert (decision.verdict, decision.reason, decision.score) == ("keep", "nobody was seen", 0.0)


@pytest.mark.parametrize(
    "unknown",
    [{"age_unassessed": None}, {"age_tracks": None}, {"age_tracks": None, "age_unassessed": None, "face_count": 0}],
)
def test_what_was_not_looked_for_holds_the_clip_even_where_no_face_was_found(unknown: dict[str, Any]) -> None:
    assert decided(row(40) | unknown).verdict == "hold"
    assert "were not looked for" in decided(row(40) | unknown).reason


def test_an_age_model_that_is_absent_holds_the_clip() -> None:
    absent = {"source": "park", "recipes": {"age.mivolo": "absent"}, "face_count": 0}
    assert decided(absent).verdict == "hold"


def test_without_an_age_model_every_face_holds_and_no_face_does_not() -> None:
    measured = {"source": "park", "recipes": {"track.mtcnn": "r"}, "age_tracks": None, "age_unassessed": None}
    assert decided(measured | {"face_count": 0}).verdict == "keep"
    assert decided(measured | {"face_count": 1}).verdict == "hold"
    assert decided(measured | {"face_count": None}).verdict == "hold"


@pytest.mark.parametrize("held", [row(12), row(unassessed=1), row(unassessed=None)])
def test_a_source_that_is_released_on_record_is_let_through(held: dict[str, Any]) -> None:
    decision = decided(held, released=True)
    assert (decision.verdict, decision.by) == ("keep", "Ada")


@pytest.mark.parametrize(
    ("limits", "years", "verdict"),
    [
        (AgeLimits(margin_years=0.0), 26, "keep"),
        (AgeLimits(margin_years=5.0), 30, "hold"),
        (AgeLimits(adult_years=21.0), 30, "hold"),
        (AgeLimits(minor_probability=0.5), 21, "keep"),
        (AgeLimits(minor_probability=0.01), 30, "hold"),
    ],
)
def test_every_setting_moves_the_border(limits: AgeLimits, years: float, verdict: str) -> None:
    assert decided(row(years), limits).verdict == verdict
    assert decided(row(years)).verdict != verdict


def test_the_gate_keeps_the_limits_with_every_decision() -> None:
    clip = row(40, licence="CC0-1.0")
    recipes = {judge(clip, None, GateOptions(age=limits))[0].recipe for limits in (LIMITS, AgeLimits(margin_years=5.0))}
    assert len(recipes) == 2


def test_the_file_that_comes_along_sets_what_is_set_anyway() -> None:
    assert load_gate(ROOT / "gate.toml") == load_gate(None) == GateOptions()


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("[age]\nmargin_years = 7\n")
    assert load_gate(path) == GateOptions(age=AgeLimits(margin_years=7.0))


def test_a_file_moves_the_thresholds_of_filters(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("[filters]\nblur = 0.4\n")
    clip = row(40, licence="CC0-1.0", blur=0.5, black_share=0.5)
    held = {one.rule for one in judge(clip, None, load_gate(path)) if one.verdict == "hold"}
    assert held == {"blur"}
    assert not any(one.verdict == "hold" for one in judge(clip, None, load_gate(None)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[age", "is not TOML"),
        ("[age]\nadult_years = 16", "age.adult_years: Input should be greater than or equal to 18, got 16"),
        ("[age]\nminor_probability = 0.9", "age.minor_probability: Input should be less than or equal to 0.5"),
        ("[age]\nmargin = 2", "age.margin: Unexpected"),
        ("[face]\nx = 1", r"has tables \[age\] and \[filters\] and nothing else"),
        ("age = 3", r"has tables \[age\] and \[filters\] and nothing else"),
        ("[filters]\nblurr = 0.5", "filters.blurr is not known; there are black, frozen, blur"),
        ("[filters]\nblur = nan", "filters.blur = nan is no number"),
        ("[age]\nminor_probability = nan", "age.minor_probability"),
        ("[filters]\nblur = 'much'", "filters.blur = 'much' is no number"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        load_gate(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_gate(tmp_path / "none.toml")


AGE_COLUMNS = (Column(name="age_tracks", kind="json"), Column(name="age_unassessed", kind="int"))
VIDEO = Video("one", n_clips=2)


def aged(years: float) -> list[Record]:
    """The road of a video in whose clips someone looks so old."""
    told = row(years)
    values = {"age_tracks": told["age_tracks"], "age_unassessed": 0}
    embedded = [r.model_copy(update={"values": r.values | values, "recipes": told["recipes"]}) for r in VIDEO.embedded]
    return [record for record in VIDEO.road if record not in VIDEO.embedded] + embedded


def test_clips_that_are_stored_are_judged_again_by_new_limits(tmp_path: Path) -> None:
    store = Store.open(tmp_path, (*COLUMNS, *AGE_COLUMNS))
    View(store).apply(aged(30))
    assert {one["verdict"] for one in store.clips.select()} == {"keep"}
    strict = View(store, GateOptions(age=AgeLimits(margin_years=7.0)))
    assert strict.judge_again() == tuple(sorted(VIDEO.clip_ids))
    assert [(one["verdict"], one["held_for"]) for one in store.clips.select()] == [("hold", ["age"])] * 2
    assert strict.judge_again() == ()


def test_judging_again_by_the_same_limits_writes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path, (*COLUMNS, *AGE_COLUMNS))
    View(store).apply(aged(30))
    before = store.clips.version
    assert View(store).judge_again() == ()
    assert store.clips.version == before


def test_new_limits_that_decide_the_same_are_kept_with_the_decisions(tmp_path: Path) -> None:
    store = Store.open(tmp_path, (*COLUMNS, *AGE_COLUMNS))
    View(store).apply(aged(60))
    options = GateOptions(age=AgeLimits(margin_years=7.0))
    assert View(store, options).judge_again() == ()
    assert {one["recipe"] for clip in store.clips.select() for one in clip["decisions"]} == {options.recipe}
