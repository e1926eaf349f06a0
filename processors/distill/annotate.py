"""From a clip's measurements to its annotation: reason, then distil the trace. No input or output once made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from processors.distill.vocabulary import DEFAULT_VOCABULARY, Vocabulary, load_vocabulary
from processors.reason.rules import ENGINE, reason
from processors.reason.trace import Trace
from store.errors import InputError
from store.records import Affect, Annotation, Column, Control, digest

_VERSION = 1


class Annotator:
    """Makes annotations by one vocabulary with the rule-based reasoner.

    Args:
        vocabulary: path of a TOML file in the form of `vocabulary.toml`.

    Raises:
        SettingsError: the file is not there or no vocabulary.
    """

    def __init__(self, vocabulary: Path = DEFAULT_VOCABULARY) -> None:
        self.vocabulary = load_vocabulary(vocabulary)

    @property
    def columns(self) -> tuple[Column, ...]:
        """A text column for each attribute."""
        return self.vocabulary.columns

    @property
    def recipe(self) -> str:
        """Hash of all that determines an annotation, given the measurements."""
        return digest(["annotation", _VERSION, ENGINE, self.vocabulary.recipe])[:16]

    def annotate(self, clip_id: str, duration_s: float, values: Mapping[str, Any]) -> Annotation:
        """The annotation of a clip.

        Args:
            values: measured columns by name; None or absent where nothing was measured, which the annotation
                leaves unknown.

        Raises:
            InputError: a value has not the form of its column.
        """
        try:
            return distilled(reason(values, duration_s, self.vocabulary), values, self.vocabulary)
        except (TypeError, KeyError) as error:
            raise InputError(
                f"clip {clip_id}: a measured value has not the form of its column ({type(error).__name__}: {error});"
                " measure the clip again with the profile of this service"
            ) from error


def distilled(trace: Trace, values: Mapping[str, Any], vocabulary: Vocabulary) -> Annotation:
    """The annotation that a trace and the measurements amount to, whatever engine wrote the trace."""
    attributes = {
        finding.slot: finding.term if finding.confidence >= vocabulary.least_confidence else None
        for finding in trace.findings
    }
    return Annotation(
        attributes=attributes,
        temporal=trace.changes,
        affect=_affect(values, vocabulary.changes.rate_hz),
        conditioning=conditioning(attributes, vocabulary),
        control=_control(trace, vocabulary),
        engine=trace.engine,
    )


def conditioning(attributes: Mapping[str, str | None], vocabulary: Vocabulary) -> str:
    """The phrases of the known attributes in the vocabulary's order; what is unknown is not named.

    Equal attributes give equal strings. Empty where nothing is known that has a phrase.
    """
    phrases = (slot.phrase(term) for slot in vocabulary.slots if (term := attributes.get(slot.name)) is not None)
    return ", ".join(phrase for phrase in phrases if phrase)


def _affect(values: Mapping[str, Any], rate_hz: float) -> Affect:
    return Affect(
        arousal=values.get("arousal"),
        valence=values.get("valence"),
        arousal_trend=_trend(values.get("arousal_curve"), rate_hz),
        evidence=(*(values.get("arousal_evidence") or ()), *(values.get("valence_evidence") or ())),
    )


def _trend(curve: list[float] | None, rate_hz: float) -> float | None:
    """Least-squares slope per second, in [-1, 1]; None for less than two points."""
    if curve is None or len(curve) < 2:
        return None
    slope = float(np.polyfit(np.arange(len(curve)) / rate_hz, curve, 1)[0])
    return round(min(1.0, max(-1.0, slope)), 6)


def _control(trace: Trace, vocabulary: Vocabulary) -> Control:
    levels = {signal.name: signal.level for signal in trace.signals}
    names = tuple(control.name for control in vocabulary.controls)
    return Control(
        names=names,
        values=tuple(round(levels.get(name, 0.0), 6) for name in names),
        present=tuple(name in levels for name in names),
    )
