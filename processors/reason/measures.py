"""What a clip's measurements amount to before anything is said of it: how it changes, and each control's value."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from processors.distill.vocabulary import Vocabulary
from processors.reason.changes import intensity, spans, stretches
from store.records import Span

TENSION = ("arousal", "body_tension", "face_tension")
"""Columns that tension rests on."""


@dataclass(frozen=True)
class Measured:
    """A clip as the rules see it. values: its columns by name; None or absent where nothing was measured."""

    values: Mapping[str, Any]
    duration_s: float
    vocabulary: Vocabulary

    @cached_property
    def changes(self) -> tuple[Span, ...] | None:
        """Onset, escalation and resolution; None where no curve was measured, empty where nothing changes."""
        return changes_of(self.values, self.duration_s, self.vocabulary)

    @cached_property
    def controls(self) -> dict[str, tuple[float, tuple[str, ...]]]:
        """Value of each control that has one, in the control's own unit, with the columns that it rests on."""
        found = {}
        derived: dict[str, tuple[float | None, tuple[str, ...]]] = {
            "arousal": (expected_arousal(self.values), ("arousal",)),
            "valence": (expected_valence(self.values), ("valence",)),
            "tension": (tension(self.values, self.changes, self.vocabulary), self.known(*TENSION)),
        }
        for control in self.vocabulary.controls:
            own = (self.values.get(control.column or ""), (control.column or "",))
            value, columns = own if control.column is not None else derived[control.name]
            if value is not None:
                found[control.name] = (float(value), columns)
        return found

    def known(self, *columns: str) -> tuple[str, ...]:
        """Those of the columns that were measured."""
        return tuple(column for column in columns if self.values.get(column) is not None)


def changes_of(values: Mapping[str, Any], duration_s: float, vocabulary: Vocabulary) -> tuple[Span, ...] | None:
    """Onset, escalation and resolution at the change points of the clip's curves; None where none was measured."""
    limits = vocabulary.changes
    curve = intensity(values, vocabulary)
    if not len(curve):
        return None
    least_points = max(1, round(limits.least_stretch_s * limits.rate_hz))
    return spans(stretches(curve, limits.least_step, least_points), limits.rate_hz, duration_s)


def expected_arousal(values: Mapping[str, Any]) -> float | None:
    """Mean of the arousal distribution with low, mid and high at 0, 1/2 and 1."""
    arousal = values.get("arousal")
    return None if arousal is None else arousal["mid"] / 2.0 + arousal["high"]


def expected_valence(values: Mapping[str, Any]) -> float | None:
    """Mean of the valence distribution with negative, neutral and positive at -1, 0 and 1."""
    valence = values.get("valence")
    return None if valence is None else valence["positive"] - valence["negative"]


def tension(values: Mapping[str, Any], changes: tuple[Span, ...] | None, vocabulary: Vocabulary) -> float | None:
    """Tension in [0, 1]: the expected arousal with bodily and facial tension where they were measured, more where the
    clip escalates, less where it resolves.
    """
    arousal = expected_arousal(values)
    if arousal is None:
        return None
    kinds = {span.kind for span in changes or ()}
    limits = vocabulary.tension
    said = [(1.0, arousal), (limits.body, values.get("body_tension")), (limits.face, values.get("face_tension"))]
    known = [(weight, level) for weight, level in said if level is not None]
    mean = sum(weight * level for weight, level in known) / sum(weight for weight, _ in known)
    shift = limits.escalation * ("escalation" in kinds) - limits.resolution * ("resolution" in kinds)
    return min(1.0, max(0.0, mean + shift))
