"""Calibration: tables of the control vector by the quantiles of clips, made once and kept."""

import numpy as np
import pytest

from processors.distill.annotate import Distiller
from processors.distill.calibrate import LEAST_CLIPS, LEVELS, calibrate
from processors.distill.clip_tokens import count_tokens
from processors.distill.vocabulary import Control, load_vocabulary
from processors.reason.measures import Measured
from processors.reason.rules import reason
from store.records import Reasoning

VOCABULARY = load_vocabulary()
HUNDREDTHS = [i / 100 for i in range(101)]
"""Percentile p of them is p / 100."""


def by(values, column="motion_mean"):
    """The calibration of clips that have these values of a column, and nothing else."""
    return calibrate(([({column: value}, 4.0) for value in values]), VOCABULARY)


def distilled(values, distiller):
    trace = reason(Measured(values, 4.0, VOCABULARY))
    reasoning = Reasoning(
        trace=trace.model_dump(mode="json"),
        checks=(),
        contradiction=0.0,
        is_contradicted=False,
        engine="measured",
        recipe="r",
        n_rounds=1,
        failed=None,
    )
    return distiller.distil("clip", 4.0, values, reasoning).control


def calibrated(found):
    return Distiller(VOCABULARY, count_tokens, found.tables, found.id)


def test_quantiles_are_mapped_to_their_levels():
    found = by(HUNDREDTHS)
    assert found.tables == {"motion": tuple((percent / 100, level) for percent, level in LEVELS.items())}
    control = VOCABULARY.control("motion").model_copy(update={"table": found.tables["motion"]})
    inside = sum(-0.5 <= control.level(value) <= 0.5 for value in HUNDREDTHS)
    assert inside == 51, "half of the clips lie in the middle half of the range"


def test_an_outlier_does_not_stretch_the_scale():
    usual, stretched = by(HUNDREDTHS * 10), by([*HUNDREDTHS * 10, 1e6])
    assert stretched.tables["motion"][-1][0] == pytest.approx(usual.tables["motion"][-1][0], abs=0.01)


@pytest.mark.parametrize(
    ("values", "table"),
    [
        # The 25th to the 75th percentile are one value, in the middle of their levels.
        ([*HUNDREDTHS[:20], *[0.5] * 61, *HUNDREDTHS[81:]], {0.5: 0.0}),
        # The 2nd to the 50th: the least value is the lowest level.
        ([*[0.0] * 60, *HUNDREDTHS[60:]], {0.0: -1.0, 0.75: 0.5, 0.98: 1.0}),
        # The 75th to the 98th: the greatest value is the highest.
        ([*HUNDREDTHS[:60], *[1.0] * 41], {0.02: -1.0, 0.5: 0.0, 1.0: 1.0}),
    ],
    ids=["in the middle", "low", "high"],
)
def test_of_equal_quantiles_one_is_kept(values, table):
    found = dict(by(values).tables["motion"])
    assert table.items() <= found.items()
    assert len(found) < len(LEVELS)


@pytest.mark.parametrize(("n", "has_own"), [(LEAST_CLIPS - 1, False), (LEAST_CLIPS, True)])
def test_a_control_of_too_few_clips_keeps_the_vocabularys_table(n, has_own):
    found = by(HUNDREDTHS[:n])
    assert ("motion" in found.tables) == has_own
    assert found.n_clips["motion"] == n
    assert set(found.n_clips) == {control.name for control in VOCABULARY.controls}
    assert found.n_clips["pitch"] == 0


@pytest.mark.parametrize("values", [[0.3] * 200, [0.3] * 199 + [0.9], [0.3 + i * 1e-9 for i in range(200)]])
def test_a_control_whose_clips_are_all_alike_keeps_the_vocabularys_table(values):
    assert by(values).tables == {}


def test_clips_of_which_nothing_was_measured_do_not_count():
    found = by([*HUNDREDTHS, *[None] * 500])
    assert found == by(HUNDREDTHS)


def test_controls_that_are_computed_are_calibrated_as_those_that_are_measured():
    clips = [({"arousal": {"low": 1 - share, "mid": 0.0, "high": share}}, 4.0) for share in HUNDREDTHS]
    found = calibrate(clips, VOCABULARY)
    assert found.tables["arousal"][3] == (0.5, 0.0)
    assert found.tables["tension"][3] == (0.5, 0.0)


def test_the_id_is_that_of_the_tables():
    found = by(HUNDREDTHS)
    assert len(found.id) == 16
    assert by(reversed(HUNDREDTHS)).id == found.id
    assert by([value + 1e-10 for value in HUNDREDTHS]).id == found.id
    assert by([value + 0.01 for value in HUNDREDTHS]).id != found.id
    assert by(HUNDREDTHS, "brightness").id != found.id


@pytest.mark.parametrize("seed", range(20))
def test_every_table_is_one_that_a_control_takes(seed):
    random = np.random.default_rng(seed)
    columns = [control.column for control in VOCABULARY.controls if control.column is not None]
    shapes = (
        lambda: random.normal(-20, 10, 300),
        lambda: random.exponential(0.05, 300),
        lambda: random.integers(0, 3, 300).astype(float),
        lambda: np.where(random.random(300) < 0.7, 0.0, random.random(300)),
        lambda: random.normal(1e6, 1e-3, 300),
    )
    drawn = {column: shapes[random.integers(len(shapes))]() for column in columns}
    found = calibrate([({c: float(drawn[c][i]) for c in columns}, 4.0) for i in range(300)], VOCABULARY)
    for name, table in found.tables.items():
        Control.model_validate(VOCABULARY.control(name).model_dump() | {"table": table})


def test_a_calibrated_distiller_gives_other_values_and_the_calibrations_id():
    found = by(HUNDREDTHS)
    values = {"motion_mean": 0.25, "loudness_db": -30.0}
    before, after = distilled(values, Distiller(VOCABULARY, count_tokens)), distilled(values, calibrated(found))
    assert (before.calibration, after.calibration) == ("vocabulary", found.id)
    was, now = (dict(zip(one.names, one.values, strict=True)) for one in (before, after))
    assert now["motion"] == -0.5
    assert was["motion"] > 0.8
    assert now["loudness"] == was["loudness"] == -0.5
    assert calibrated(found).recipe("r") != Distiller(VOCABULARY, count_tokens).recipe("r")


def test_a_value_does_not_drift_with_the_clips_that_come_later():
    distiller = calibrated(by(HUNDREDTHS))
    first = distilled({"motion_mean": 0.25}, distiller)
    for value in HUNDREDTHS:
        distilled({"motion_mean": 10 * value}, distiller)
    assert distilled({"motion_mean": 0.25}, distiller) == first
    again = calibrated(by([*HUNDREDTHS, *(10 * value for value in HUNDREDTHS)]))
    assert distilled({"motion_mean": 0.25}, again) != first
    assert again.recipe("r") != distiller.recipe("r")
