"""Calibration: the tables of the control vector from the quantiles of a dataset, so that it uses its whole range.

Quantile mapping makes controls of any unit alike: half of the clips lie between -0.5 and 0.5, and outliers do not
stretch the scale. The tables are made once and kept until somebody has others made: a value never drifts by itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from processors.distill.vocabulary import Table, Vocabulary
from processors.reason.measures import Measured
from store.records import digest

LEVELS = {2: -1.0, 10: -0.8, 25: -0.5, 50: 0.0, 75: 0.5, 90: 0.8, 98: 1.0}
"""Percentile to level; the vocabulary's own tables were chosen by the same."""
LEAST_CLIPS = 50
"""Chosen: of fewer clips the outer percentiles are single clips."""
_LEAST_STEP = 1e-6
_DIGITS = 6


@dataclass(frozen=True)
class Calibration:
    """Tables of those controls that enough clips were measured for. n_clips: by control, of all controls."""

    tables: Mapping[str, Table]
    n_clips: Mapping[str, int]

    @property
    def id(self) -> str:
        """Hash of the tables."""
        return digest({name: [list(pair) for pair in table] for name, table in self.tables.items()})[:16]


def calibrate(clips: Iterable[tuple[Mapping[str, Any], float]], vocabulary: Vocabulary) -> Calibration:
    """The tables by these clips' quantiles.

    A control without enough clips, or whose clips are nearly all alike, keeps the vocabulary's table.

    Args:
        clips: measured columns and duration in seconds of each.
    """
    found: dict[str, list[float]] = {control.name: [] for control in vocabulary.controls}
    for values, duration_s in clips:
        for name, (value, _) in Measured(values, duration_s, vocabulary).controls.items():
            found[name].append(value)
    tables = {
        name: table
        for name, measured in found.items()
        if len(measured) >= LEAST_CLIPS and (table := _table(np.array(measured))) is not None
    }
    return Calibration(tables, {name: len(measured) for name, measured in found.items()})


def _table(measured: np.ndarray) -> Table | None:
    """(quantile, level) pairs, ascending; of equal quantiles the middle level is kept; None where too few differ."""
    quantiles = [float(f"{value:.{_DIGITS}g}") for value in np.percentile(measured, list(LEVELS))]
    pairs: list[list[Any]] = []
    for value, level in zip(quantiles, LEVELS.values(), strict=True):
        if pairs and value - pairs[-1][0] < _LEAST_STEP:
            pairs[-1][1].append(level)
        else:
            pairs.append([value, [level]])
    if len(pairs) < 2:
        return None
    levels = [float(np.mean(several)) for _, several in pairs]
    levels[0], levels[-1] = -1.0, 1.0
    return tuple((value, level) for (value, _), level in zip(pairs, levels, strict=True))
