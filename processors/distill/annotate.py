"""From a clip's reasoning and measurements to its annotation: deterministic, without input or output."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from processors.distill.clip_tokens import MOST_TOKENS, MOST_TRIGGER_TOKENS
from processors.distill.vocabulary import Table, Vocabulary
from processors.reason.measures import Measured
from processors.reason.rules import reason
from processors.reason.trace import MEASURED, Feeling, Finding, Trace
from store.errors import InputError
from store.records import Affect, Alternative, Annotation, Column, Control, Reasoning, digest

MOST_STRING_TOKENS = MOST_TOKENS - MOST_TRIGGER_TOKENS - 1
"""Of a conditioning string, so that it has room for a concept's trigger token before it and a comma between them."""
LEAST_WEIGHT = 0.25
"""Chosen: a string that is less probable than this is no alternative worth training on."""
MOST_ALTERNATIVES = 4
_VERSION = 2
_FIXED = "vocabulary"
"""Name of the tables that the vocabulary holds."""


class Distiller:
    """Makes annotations by one vocabulary and one calibration.

    Args:
        count_tokens: tokens of a text as CLIP counts them.
        tables: control to the table that its values are read through; those that are missing are the vocabulary's.
        calibration: id of the tables.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        count_tokens: Callable[[str], int],
        tables: Mapping[str, Table] | None = None,
        calibration: str = _FIXED,
    ) -> None:
        self.vocabulary = vocabulary
        self.calibration = calibration
        self._count_tokens = count_tokens
        self._controls = {
            control.name: control.model_copy(update={"table": (tables or {}).get(control.name, control.table)})
            for control in vocabulary.controls
        }

    @property
    def columns(self) -> tuple[Column, ...]:
        """A text column for each attribute."""
        return self.vocabulary.columns

    def recipe(self, reasoned_by: str) -> str:
        """Hash of all that determines an annotation, given the measurements.

        Args:
            reasoned_by: recipe of the reasoning.
        """
        return digest(["annotation", _VERSION, self.vocabulary.recipe, self.calibration, reasoned_by])[:16]

    def distil(self, clip_id: str, duration_s: float, values: Mapping[str, Any], reasoning: Reasoning) -> Annotation:
        """The annotation of a clip.

        An attribute is what was measured where that is sure enough, and what the engine says elsewhere: so it does not
        hang on the mood of a model where it need not.

        Args:
            values: measured columns by name; None or absent where nothing was measured.

        Raises:
            InputError: a value has not the form of its column.
        """
        try:
            return self._distil(duration_s, values, reasoning)
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(
                f"clip {clip_id}: a measured value has not the form of its column ({type(error).__name__}: {error});"
                " measure the clip again with the profile of this service"
            ) from error

    def _distil(self, duration_s: float, values: Mapping[str, Any], reasoning: Reasoning) -> Annotation:
        said = Trace.model_validate(reasoning.trace)
        clip = Measured(values, duration_s, self.vocabulary)
        measured = said if reasoning.engine == MEASURED else reason(clip)
        chosen: dict[str, Finding] = {}
        origins: dict[str, str] = {}
        for slot in self.vocabulary.slots:
            for finding, origin in (
                (measured.findings[slot.name], MEASURED),
                (said.findings[slot.name], reasoning.engine),
            ):
                if finding.confidence >= self.vocabulary.least(slot):
                    chosen[slot.name], origins[slot.name] = finding, origin
                    break
        attributes = {
            slot.name: chosen[slot.name].term if slot.name in chosen else None for slot in self.vocabulary.slots
        }
        said_attributes = _said(attributes, chosen, self.vocabulary)
        alternatives = self._alternatives(said_attributes, chosen)
        return Annotation(
            attributes=attributes,
            readings={name: _shares(finding) for name, finding in chosen.items()},
            origins=origins,
            temporal=clip.changes or (),
            affect=_affect(values, said.feeling, reasoning.engine, self.vocabulary.changes.rate_hz),
            conditioning=self.conditioning(said_attributes),
            alternatives=alternatives,
            caption=said.caption,
            control=self._control(clip),
            engine=reasoning.engine,
        )

    def conditioning(self, attributes: Mapping[str, str | None]) -> str:
        """The phrases of the known attributes in the vocabulary's order; what is unknown is not named.

        Equal attributes give equal strings. Of more than `MOST_STRING_TOKENS` tokens the last phrases are left out.
        Empty where nothing is known that has a phrase.
        """
        phrases = [
            phrase
            for slot in self.vocabulary.slots
            if (term := attributes.get(slot.name)) is not None and (phrase := slot.phrase(term))
        ]
        while phrases and self._count_tokens(", ".join(phrases)) > MOST_STRING_TOKENS:
            phrases.pop()
        return ", ".join(phrases)

    def _alternatives(
        self, attributes: Mapping[str, str | None], chosen: Mapping[str, Finding]
    ) -> tuple[Alternative, ...]:
        """The probable strings of an ambiguous clip: every combination of the likely readings, as if independent."""
        options: dict[str, list[tuple[str, float]]] = {}
        for name, finding in chosen.items():
            if attributes[name] is None:
                continue
            shares = _shares(finding)
            known = sum(shares.values())
            likely = [(term, share / known) for term, share in shares.items() if share / known >= LEAST_WEIGHT]
            if len(likely) > 1:
                options[name] = likely
        weights: dict[str, float] = {}
        for readings in itertools.product(*options.values()) if options else ():
            text = self.conditioning(
                {**attributes, **{n: term for n, (term, _) in zip(options, readings, strict=True)}}
            )
            weights[text] = weights.get(text, 0.0) + float(np.prod([share for _, share in readings]))
        first = self.conditioning(attributes)
        ranked = sorted(weights, key=lambda text: (text != first, -weights[text], text))[:MOST_ALTERNATIVES]
        if len(ranked) < 2:
            return ()
        total = sum(weights[text] for text in ranked)
        return tuple(Alternative(text=text, weight=round(weights[text] / total, 4)) for text in ranked)

    def _control(self, clip: Measured) -> Control:
        levels = {name: self._controls[name].level(value) for name, (value, _) in clip.controls.items()}
        return Control(
            names=tuple(self._controls),
            values=tuple(round(levels.get(name, 0.0), 6) for name in self._controls),
            present=tuple(name in levels for name in self._controls),
            calibration=self.calibration,
        )


def _said(
    attributes: Mapping[str, str | None], chosen: Mapping[str, Finding], vocabulary: Vocabulary
) -> dict[str, str | None]:
    """The attributes that are sure enough for the conditioning string; the others are None."""
    sure = {
        slot.name for slot in vocabulary.slots if slot.name in chosen and chosen[slot.name].confidence >= slot.said_from
    }
    return {name: term if name in sure else None for name, term in attributes.items()}


def _shares(finding: Finding) -> dict[str, float]:
    """Probabilities of the readings; they sum to 1 at most."""
    total = max(100, sum(one.pct for one in finding.readings))
    return {one.term: round(one.pct / total, 4) for one in finding.readings}


def _affect(values: Mapping[str, Any], said: Feeling, engine: str, rate_hz: float) -> Affect:
    """Soft affect as measured; what was not measured is the engine's."""
    evidence = (*(values.get("arousal_evidence") or ()), *(values.get("valence_evidence") or ()))
    arousal, valence = values.get("arousal"), values.get("valence")
    if arousal is None and said.arousal is not None:
        arousal, evidence = _percents(said.arousal.model_dump()), (*evidence, f"{engine}: arousal")
    if valence is None and said.valence is not None:
        valence, evidence = _percents(said.valence.model_dump()), (*evidence, f"{engine}: valence")
    return Affect(
        arousal=arousal,
        valence=valence,
        arousal_trend=_trend(values.get("arousal_curve"), rate_hz),
        valence_trend=_trend(values.get("valence_curve"), _VALENCE_RATE_HZ),
        evidence=evidence,
    )


_VALENCE_RATE_HZ = 2.0
"""Of the column valence_curve."""


def _percents(shares: Mapping[str, int]) -> dict[str, float] | None:
    total = sum(shares.values())
    return {name.removesuffix("_pct"): share / total for name, share in shares.items()} if total else None


def _trend(curve: list[float | None] | None, rate_hz: float) -> float | None:
    """Least-squares slope per second, in [-1, 1]; None for less than two known points."""
    known = [(i / rate_hz, point) for i, point in enumerate(curve or ()) if point is not None]
    if len(known) < 2:
        return None
    times_s, points = np.array(known).T
    slope = float(np.polyfit(times_s, points, 1)[0])
    return round(min(1.0, max(-1.0, slope)), 6)
