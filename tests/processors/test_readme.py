"""The processor that the README of the processors shows: one file and one profile line, and it keeps the contract."""

import re
from pathlib import Path

import numpy as np
import pytest

import processors.vision
from processors.base import DecodedClip, Processor
from processors.engine import Engine, Measured
from processors.profile import load_profile
from tests.processors import test_contract as contract
from tests.processors import test_permutation as permutation
from tests.processors.made_clips import make_clip

README = Path(processors.vision.__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The README's processor, from the README's file by the README's line."""
    text = README.read_text(encoding="utf-8")
    (file,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (line,) = re.findall(r"```toml\n(.*?)```", text, flags=re.S)
    folder = tmp_path_factory.mktemp("readme")
    (folder / "colour.py").write_text(file)
    (folder / "own.toml").write_text(line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processors.vision, "__path__", [*processors.vision.__path__, str(folder)])
        engine = Engine(load_profile(folder / "own.toml"))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def processor(engine: Engine) -> Processor:
    return engine.profile.processors[0]


@pytest.fixture(scope="module")
def together(engine: Engine, clips: dict[str, DecodedClip]) -> dict[str, Measured]:
    return dict(zip(clips, engine.run(list(clips.values())), strict=True))


def test_it_is_in_the_profile_under_its_id_with_its_option(processor: Processor) -> None:
    assert processor.id == "vision.colour"
    assert processor.options.black_luma == 4.0


def test_it_keeps_the_contract(
    processor: Processor, engine: Engine, clips: dict[str, DecodedClip], together: dict[str, Measured]
) -> None:
    alone = {name: engine.run([clip])[0] for name, clip in clips.items()}
    contract.test_no_clip_makes_it_fail(processor, together)
    contract.test_results_belong_to_their_clips_in_any_order(
        processor, engine.run(list(clips.values())[::-1]), together
    )
    contract.test_company_changes_nothing(processor, alone, together)
    contract.test_it_gives_exactly_its_columns(processor, clips)
    contract.test_values_keep_to_what_the_columns_declare(processor, together)
    contract.test_columns_say_what_they_are(processor)
    contract.test_inputs_stay_as_they_are(processor, clips, together)


def test_its_results_stay_with_their_clips(engine: Engine) -> None:
    crowd = permutation.make_crowd()
    alone = {clip.clip_id: engine.run([clip])[0] for clip in crowd}
    permutation.test_every_result_stays_with_its_clip(engine, alone, permutation.run_shuffled(engine, crowd))
    permutation.test_the_clips_are_told_apart_by_every_processor(engine, alone)


def test_it_measures_what_it_says(engine: Engine) -> None:
    grey = np.full((4, 48, 64, 3), 128, np.uint8)
    red = grey * np.array([1, 0, 0], np.uint8)
    pictures = {"grey": grey, "red": red, "black": np.zeros_like(grey)}
    found = engine.run([make_clip(name, frames, duration_s=1.0) for name, frames in pictures.items()])
    values = {result.clip_id: result.values["colourfulness"] for result in found}
    # One colour everywhere: no spread, and 0.3 of the length of (128, 64).
    assert values == {"grey": 0.0, "red": pytest.approx(0.3 * np.hypot(128, 64), rel=1e-5), "black": None}
