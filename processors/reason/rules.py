"""The rule-based reasoner: from a clip's measurements to its trace, without any model. Pure and deterministic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from processors.distill.vocabulary import Slot, Vocabulary
from processors.reason.changes import intensity, spans, stretches
from processors.reason.trace import Finding, Signal, Trace
from store.records import Json, Span

ENGINE = "measured"
"""Measurements and rules; no model's opinion."""


@dataclass(frozen=True)
class _Clip:
    """What the rules look at. changes: None where no curve was measured, empty where nothing changes."""

    values: Mapping[str, Any]
    vocabulary: Vocabulary
    changes: tuple[Span, ...] | None

    def take(self, *columns: str) -> Json:
        """The columns' values, None where missing."""
        return {column: self.values.get(column) for column in columns}


_Answer = tuple[str | None, Json, float]
"""Term, evidence, confidence."""
_UNKNOWN: _Answer = (None, {}, 0.0)


def reason(values: Mapping[str, Any], duration_s: float, vocabulary: Vocabulary) -> Trace:
    """The trace of a clip.

    Args:
        values: column name to value; None or absent where nothing was measured.
    """
    clip = _Clip(values, vocabulary, _changes(values, duration_s, vocabulary))
    findings = []
    for slot in vocabulary.slots:
        term, evidence, confidence = RULES[slot.name](clip) if slot.name in RULES else _read(clip, slot)
        findings.append(Finding(slot=slot.name, term=term, evidence=evidence, confidence=confidence))
    return Trace(engine=ENGINE, findings=tuple(findings), changes=clip.changes or (), signals=_signals(clip))


def expected_arousal(values: Mapping[str, Any]) -> float | None:
    """Mean of the arousal distribution with low, mid and high at 0, 1/2 and 1."""
    arousal = values.get("arousal")
    return None if arousal is None else arousal["mid"] / 2.0 + arousal["high"]


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


def _changes(values: Mapping[str, Any], duration_s: float, vocabulary: Vocabulary) -> tuple[Span, ...] | None:
    limits = vocabulary.changes
    curve = intensity(values, vocabulary)
    if not len(curve):
        return None
    least_points = max(1, round(limits.least_stretch_s * limits.rate_hz))
    return spans(stretches(curve, limits.least_step, least_points), limits.rate_hz, duration_s)


def _signals(clip: _Clip) -> tuple[Signal, ...]:
    derived = {
        "arousal": (expected_arousal(clip.values), ("arousal",)),
        "tension": (tension(clip.values, clip.changes, clip.vocabulary), _tension_columns(clip)),
    }
    signals = []
    for control in clip.vocabulary.controls:
        value, columns = derived.get(control.name, (None, ()))
        if control.column is not None:
            value, columns = clip.values.get(control.column), (control.column,)
        if value is not None:
            signals.append(Signal(name=control.name, level=control.level(value), evidence=clip.take(*columns)))
    return tuple(sorted(signals, key=lambda signal: -abs(signal.level)))


# --- rules: what fills a slot ------------------------------------------------------------------------------


def _read(clip: _Clip, slot: Slot) -> _Answer:
    """The term that the slot's column falls into: a measurement is sure of itself."""
    if slot.column is None:
        return _UNKNOWN
    term = slot.term(clip.values.get(slot.column))
    return _UNKNOWN if term is None else (term, clip.take(slot.column), 1.0)


def _from_faces(slot_name: str) -> Callable[[_Clip], _Answer]:
    """A slot that rests on faces is as sure as their detections are."""

    def rule(clip: _Clip) -> _Answer:
        term, evidence, confidence = _read(clip, clip.vocabulary.slot(slot_name))
        scores = [score for track in clip.values.get("face_tracks") or () for score in track["scores"]]
        return term, evidence, min(confidence, fmean(scores)) if scores else confidence

    return rule


def _sound_kind(clip: _Clip) -> _Answer:
    limits = clip.vocabulary.sound
    evidence = clip.take("loudness_db", "speech_share", "voiced_share", "pitch_hz")
    loudness_db, speech, voiced, pitch_hz = evidence.values()
    if loudness_db is None:
        return _UNKNOWN
    if loudness_db < limits.silent_below_db:
        return "silence", clip.take("loudness_db"), 1.0
    if speech is None or voiced is None:
        return _UNKNOWN
    if speech >= limits.speech_from:
        return "speech", evidence, 0.5 + 0.5 * (speech - limits.speech_from) / (1.0 - limits.speech_from)
    doubt = 0.5 * speech / limits.speech_from
    if voiced >= limits.voiced_from and pitch_hz is not None and pitch_hz >= limits.voice_from_hz:
        return "voice", evidence, 1.0 - doubt
    return "other", evidence, 1.0 - doubt


def _palette(clip: _Clip) -> _Answer:
    limits = clip.vocabulary.palette
    evidence = clip.take("colourfulness", "hue_deg")
    colourfulness, hue_deg = evidence.values()
    if colourfulness is None:
        return _UNKNOWN
    if colourfulness < limits.grey_below:
        return "grey", clip.take("colourfulness"), 1.0
    if hue_deg is None:
        return "mixed", evidence, 1.0
    starts = limits.hue_from_deg
    return min(starts, key=lambda term: (hue_deg - starts[term]) % 360.0), evidence, 1.0


def _course(clip: _Clip) -> _Answer:
    if clip.changes is None:
        return _UNKNOWN
    evidence: Json = {"changes": [span.model_dump() for span in clip.changes]}
    kinds = {span.kind for span in clip.changes}
    if "onset" in kinds:
        return "arc" if "resolution" in kinds else "rising", evidence, 1.0
    return "falling" if "resolution" in kinds else "steady", evidence, 1.0


def _tension(clip: _Clip) -> _Answer:
    """As sure as the likeliest arousal: little evidence makes a flat distribution."""
    level = tension(clip.values, clip.changes, clip.vocabulary)
    if level is None:
        return _UNKNOWN
    evidence = clip.take(*_tension_columns(clip))
    return clip.vocabulary.slot("tension").term(level), evidence, max(evidence["arousal"].values())


def _tension_columns(clip: _Clip) -> tuple[str, ...]:
    """What tension rests on: arousal, and what else was measured."""
    return "arousal", *(name for name in ("body_tension", "face_tension") if clip.values.get(name) is not None)


def _pose(clip: _Clip) -> _Answer:
    """As sure as the posture's probability."""
    term, evidence, confidence = _read(clip, clip.vocabulary.slot("pose"))
    chances = clip.values.get("pose_class")
    if term is None or chances is None:
        return term, evidence, confidence
    return term, evidence | clip.take("pose_class"), chances[term]


def _interaction(clip: _Clip) -> _Answer:
    limits = clip.vocabulary.interaction
    evidence = clip.take("person_count", "people_distance", "people_overlap")
    count, distance, overlap = evidence.values()
    if distance is None or overlap is None:
        return ("alone", clip.take("person_count"), 1.0) if count == 1 else _UNKNOWN
    if overlap >= limits.overlap_from:
        return "together", evidence, 1.0
    return "near" if distance <= limits.near_within else "apart", evidence, 1.0


RULES: Mapping[str, Callable[[_Clip], _Answer]] = {
    "shot_scale": _from_faces("shot_scale"),
    "people": _from_faces("people"),
    "sound_kind": _sound_kind,
    "palette": _palette,
    "course": _course,
    "tension": _tension,
    "pose": _pose,
    "interaction": _interaction,
}
