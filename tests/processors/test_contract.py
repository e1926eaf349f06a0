"""What every processor promises, held for every processor of every profile."""

import copy
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.base import DecodedClip, Processor, create_processor
from processors.engine import Engine, Measured
from processors.profile import load_profile, profile_names
from store.records import Column
from tests.processors.conftest import TINY_PROFILES

GIVEN_BY = {p.id: name for name in reversed(TINY_PROFILES) for p in load_profile(name).processors}
"""Every processor, and the first of the tiny profiles that has it: `test_no_processor_escapes` holds that true."""


Run = dict[str, dict[str, Measured]]
"""Profile, then clip, to what was measured."""


@pytest.fixture(scope="module")
def all_together(engines: dict[str, Engine], clips: dict[str, DecodedClip]) -> Run:
    """Each clip's measurements, taken in one batch with all others."""
    return {name: dict(zip(clips, e.run(list(clips.values())), strict=True)) for name, e in engines.items()}


@pytest.fixture(scope="module")
def all_backwards(engines: dict[str, Engine], clips: dict[str, DecodedClip]) -> dict[str, list[Measured]]:
    return {name: engine.run(list(clips.values())[::-1]) for name, engine in engines.items()}


@pytest.fixture(scope="module")
def all_alone(engines: dict[str, Engine], clips: dict[str, DecodedClip]) -> Run:
    return {name: {clip: engine.run([c])[0] for clip, c in clips.items()} for name, engine in engines.items()}


@pytest.fixture(params=GIVEN_BY)
def processor(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Processor:
    processors = engines[GIVEN_BY[request.param]].profile.processors
    return next(p for p in processors if p.id == request.param)


@pytest.fixture
def engine(processor: Processor, engines: dict[str, Engine]) -> Engine:
    return engines[GIVEN_BY[processor.id]]


@pytest.fixture
def together(processor: Processor, all_together: Run) -> dict[str, Measured]:
    return all_together[GIVEN_BY[processor.id]]


@pytest.fixture
def backwards(processor: Processor, all_backwards: dict[str, list[Measured]]) -> list[Measured]:
    return all_backwards[GIVEN_BY[processor.id]]


@pytest.fixture
def alone(processor: Processor, all_alone: Run) -> dict[str, Measured]:
    return all_alone[GIVEN_BY[processor.id]]


def values_of(processor: Processor, measured: Measured) -> dict[str, Any]:
    return {column.name: measured.values[column.name] for column in processor.columns}


def test_no_processor_escapes() -> None:
    ids = {processor.id for name in profile_names() for processor in load_profile(name).processors}
    assert ids == set(GIVEN_BY)


def test_no_clip_makes_it_fail(processor: Processor, together: dict[str, Measured]) -> None:
    reasons = {name: m.failed[processor.id] for name, m in together.items() if processor.id in m.failed}
    assert reasons == {}


def test_results_belong_to_their_clips_in_any_order(
    processor: Processor, backwards: list[Measured], together: dict[str, Measured]
) -> None:
    assert [result.clip_id for result in backwards] == list(together)[::-1]
    for result in backwards:
        assert values_of(processor, result) == values_of(processor, together[result.clip_id]), result.clip_id


def test_company_changes_nothing(
    processor: Processor, alone: dict[str, Measured], together: dict[str, Measured]
) -> None:
    for name, result in alone.items():
        assert values_of(processor, result) == values_of(processor, together[name]), name


def test_it_gives_exactly_its_columns(processor: Processor, engine: Engine, clips: dict[str, DecodedClip]) -> None:
    clip = clips["normal"]
    given = {column.name: None for other in engine.profile.processors for column in other.columns}
    rows = processor.process([clip], [{name: given.get(name) for name in processor.reads.inputs}])
    assert [set(row) for row in rows if isinstance(row, dict)] == [{column.name for column in processor.columns}]


def test_values_keep_to_what_the_columns_declare(processor: Processor, together: dict[str, Measured]) -> None:
    for name, result in together.items():
        for column in processor.columns:
            assert_allowed(column, result.values[column.name], result, name)


def assert_allowed(column: Column, value: Any, result: Measured, clip: str) -> None:
    where = f"{column.name} of {clip}: {value!r:.100}"
    assert json.loads(json.dumps(value, allow_nan=False)) == value, where
    if value is None:
        return
    kinds = {"float": float, "int": int, "text": str, "vector": list, "curve": list}
    assert column.kind == "json" or type(value) is kinds[column.kind], where
    if column.kind == "vector":
        assert len(value) == column.size, where
        assert math.isclose(np.linalg.norm(value), 1.0, abs_tol=1e-4), where
    numbers = {"float": [value], "int": [value], "vector": value, "curve": value}.get(column.kind, [])
    for number in numbers:
        assert number is None or column.low is None or number >= column.low, where
        assert number is None or column.high is None or number <= column.high, where


def test_columns_say_what_they_are(processor: Processor) -> None:
    for column in processor.columns:
        assert column.source, column.name
        assert (column.size is not None) == (column.kind == "vector"), column.name
        assert (column.rate_hz is not None) == (column.kind == "curve"), column.name


def test_inputs_stay_as_they_are(
    processor: Processor, clips: dict[str, DecodedClip], together: dict[str, Measured]
) -> None:
    clip_before = clips["normal"]
    row_before = {name: together["normal"].values.get(name) for name in processor.reads.inputs}
    clip, row = copy.deepcopy(clip_before), copy.deepcopy(row_before)
    processor.process([clip], [row])
    assert row == row_before
    for part in fields(DecodedClip):
        if part.name != "curves":
            np.testing.assert_array_equal(getattr(clip, part.name), getattr(clip_before, part.name))
    for name, curve in clip.curves.items():
        np.testing.assert_array_equal(curve.values, clip_before.curves[name].values)


def test_the_recipe_is_the_same_for_the_same_work(processor: Processor, models_folder: Path) -> None:
    profile = load_profile(GIVEN_BY[processor.id], models_folder)
    again = next(p for p in profile.processors if p.id == processor.id)
    again.load("cpu")
    assert again.recipe == processor.recipe


def test_options_that_change_values_change_the_recipe() -> None:
    for processor_id, options in (("track.mtcnn", {"min_score": 0.8}), ("audio.silero", {"threshold": 0.6})):
        usual, changed = create_processor(processor_id, {}), create_processor(processor_id, options)
        usual.load("cpu")
        changed.load("cpu")
        assert changed.recipe != usual.recipe


def test_where_a_model_lies_does_not_change_the_recipe(models_folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(models_folder / "tiny" / "siglip")
    recipes = []
    for folder in (models_folder / "tiny" / "siglip", elsewhere):
        processor = create_processor("vision.siglip", {"model": str(folder), "size": 32})
        processor.load("cpu")
        recipes.append(processor.recipe)
    assert recipes[0] == recipes[1]


def test_a_clip_means_the_same_under_another_id(engines: dict[str, Engine], clips: dict[str, DecodedClip]) -> None:
    renamed = replace(clips["short"], clip_id="other")
    first, second = engines["tiny"].run([clips["short"], renamed])
    assert (first.clip_id, second.clip_id) == ("short", "other")
    assert first.values == second.values
