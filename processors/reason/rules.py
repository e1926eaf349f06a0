"""The rule-based reasoner: from a clip's measurements to its trace, without any model. Pure and deterministic."""

import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from processors.distill.vocabulary import Slot, Vocabulary, ramp
from processors.reason.measures import TENSION, Measured, changes_of, tension
from processors.reason.sheet import facts_of
from processors.reason.trace import (
    MOST_CITED,
    MOST_EVENTS,
    MOST_PRESENT,
    MOST_READINGS,
    MOST_SIGNALS,
    Arousal,
    Event,
    Evidence,
    Feeling,
    Finding,
    Present,
    Reading,
    Signal,
    Trace,
    Valence,
)
from store.records import Span

LEAST_PCT = 5
"""A reading that is less likely is left out."""
STANDS_OUT = 0.5
"""Level of a control from which it is a signal: chosen, half way from the usual to the extreme."""
COURSE_STEPS = (0.8, 1.0, 1.25)
"""Of the least step that is a change; chosen."""
LOOK_S = 0.5
"""Faces and bodies are looked for so often at least."""
EDGE_S = 0.75
"""A track that begins or ends nearer to the clip's ends does not appear or leave: faces are looked for every 0.5 s."""

Chances = dict[str, float]
"""Term to probability; they sum to at most 1."""
_Answer = tuple[Chances, tuple[str, ...]]
"""And the columns that this rests on."""
_UNKNOWN: _Answer = ({}, ())


def reason(clip: Measured) -> Trace:
    """The trace of a clip."""
    findings = {slot.name: _finding(clip, slot) for slot in clip.vocabulary.slots}
    return Trace(
        present=_present(clip),
        events=_events(clip),
        findings=findings,
        signals=_signals(clip),
        feeling=_feeling(clip.values),
        caption=_caption(findings, clip.vocabulary),
    )


# --- parts of the trace --------------------------------------------------------------------------------------


def _finding(clip: Measured, slot: Slot) -> Finding:
    chances, columns = RULES[slot.name](clip) if slot.name in RULES else _read(clip, slot)
    likeliest = sorted(chances.items(), key=itemgetter(1))[::-1]  # on a border: the upper
    readings = [
        Reading(term=term, pct=pct)
        for term, chance in likeliest[:MOST_READINGS]
        if (pct := round(100 * chance)) >= LEAST_PCT
    ]
    return Finding(
        readings=tuple(readings), evidence=Evidence(facts=facts_of(columns)[:MOST_CITED]) if readings else Evidence()
    )


def _present(clip: Measured) -> tuple[Present, ...]:
    people = max((int(clip.values[column]) for column in clip.known("face_count", "person_count")), default=0)
    counts: dict[tuple[Any, str], int] = {("person", "person"): people}
    for track in clip.values.get("object_tracks") or ():
        at = ("object", track["label"])
        counts[at] = counts.get(at, 0) + 1
    if (clip.values.get("text_share") or 0.0) > 0.0:
        counts["text", "lettering"] = 1
    columns = {"person": ("people_tracks", "face_tracks"), "object": ("object_tracks",), "text": ("text_share",)}
    found = sorted(((kind, what, n) for (kind, what), n in counts.items() if n), key=lambda one: (-one[2], one[1]))
    return tuple(
        Present(
            kind=kind, what=what[:60], count=min(n, 50), evidence=Evidence(facts=facts_of(clip.known(*columns[kind])))
        )
        for kind, what, n in found[:MOST_PRESENT]
    )


def _events(clip: Measured) -> tuple[Event, ...]:
    """The longest, in the order of time."""
    found: list[tuple[Any, str, float, float, str]] = []
    for start_s, end_s in clip.values.get("speech_spans") or ():
        found.append(("speaks", "speech", start_s, end_s, "speech_spans"))
    for span in clip.changes or ():
        found.append(("changes", span.kind, span.start_s, span.end_s, "motion_curve"))
    tracks = "people_tracks" if clip.values.get("people_tracks") else "face_tracks"
    for track in clip.values.get(tracks) or ():
        first_s, last_s = track["times_s"][0], track["times_s"][-1]
        if first_s > EDGE_S:
            found.append(("appears", "a person", first_s, first_s, tracks))
        if last_s < clip.duration_s - EDGE_S:
            found.append(("leaves", "a person", last_s, last_s, tracks))
    longest = sorted(found, key=lambda one: (one[2] - one[3], one[2], one[0]))[:MOST_EVENTS]
    return tuple(
        Event(
            kind=kind,
            what=what,
            start_ms=_ms(start_s, clip.duration_s),
            end_ms=_ms(end_s, clip.duration_s),
            evidence=Evidence(facts=facts_of((column,))),
        )
        for kind, what, start_s, end_s, column in sorted(longest, key=lambda one: (one[2], one[3], one[0]))
    )


def _ms(time_s: float, duration_s: float) -> int:
    return int(1000 * min(max(time_s, 0.0), duration_s))


def _signals(clip: Measured) -> tuple[Signal, ...]:
    signals = []
    for name, (value, columns) in clip.controls.items():
        level = clip.vocabulary.control(name).level(value)
        if abs(level) >= STANDS_OUT:
            course = _course_of(clip, name)
            evidence = Evidence(facts=facts_of(columns)[:MOST_CITED])
            told = Signal(name=name, level_pct=round(100 * level), course=course, confidence_pct=100, evidence=evidence)
            signals.append(told)
    return tuple(sorted(signals, key=lambda signal: (-abs(signal.level_pct), signal.name))[:MOST_SIGNALS])


def _course_of(clip: Measured, control: str) -> Any:
    """How a control goes over the clip, by the stretches of its own curve; steady where it has none."""
    curves = {column: name for column, name in clip.vocabulary.changes.curves.items() if name == control}
    alone = clip.vocabulary.with_changes(curves=curves)
    return _course_term(changes_of(clip.values, clip.duration_s, alone) or ())


def _feeling(values: Mapping[str, Any]) -> Feeling:
    valence, arousal = values.get("valence"), values.get("arousal")
    return Feeling(
        valence=None if valence is None else Valence(**_percents(valence)),
        arousal=None if arousal is None else Arousal(**_percents(arousal)),
    )


def _percents(chances: Chances) -> dict[str, int]:
    return {f"{name}_pct": round(100 * chance) for name, chance in chances.items()}


def _caption(findings: Mapping[str, Finding], vocabulary: Vocabulary) -> str | None:
    """A plain sentence of the phrases: what is seen, then what is heard."""
    said = {
        slot.name: slot.phrase(term)
        for slot in vocabulary.slots
        if (term := findings[slot.name].term) is not None and findings[slot.name].confidence >= vocabulary.least(slot)
    }
    heard = said.pop("sound_kind", "")
    seen = ", ".join(phrase for phrase in said.values() if phrase)
    parts = [part for part in (seen, f"with {heard}" if heard else "") if part]
    return " ".join(parts)[:1].upper() + " ".join(parts)[1:239] + "." if parts else None


# --- rules: what fills a slot ------------------------------------------------------------------------------


def _read(clip: Measured, slot: Slot) -> _Answer:
    """The terms that the slot's column falls into."""
    value = None if slot.column is None else clip.values.get(slot.column)
    if slot.column is None or value is None:
        return _UNKNOWN
    if isinstance(value, str):
        term = slot.fold(value)
        return ({term: 1.0}, (slot.column,)) if term is not None else _UNKNOWN
    return slot.chances(float(value)), (slot.column,)


def _as_sure_as_faces(clip: Measured, answer: _Answer) -> _Answer:
    """What rests on faces is as sure as their detections are, and unknown where they are seen in passing only."""
    chances, columns = answer
    tracks = clip.values.get("face_tracks")
    if tracks is None:
        return answer
    if not _mostly(clip, "face_tracks"):
        return _UNKNOWN
    scores = [score for track in tracks for score in track["scores"]]
    sure = sum(scores) / len(scores) if scores else 1.0
    return {term: chance * sure for term, chance in chances.items()}, columns


def _shot_scale(clip: Measured) -> _Answer:
    return _as_sure_as_faces(clip, _read(clip, clip.vocabulary.slot("shot_scale")))


def _at_once(clip: Measured, column: str) -> list[int]:
    """How many of the tracks in a column go on in each half second of the clip, lost for a moment or not."""
    counts = [0] * max(1, math.ceil(clip.duration_s / LOOK_S - 1e-6))
    for track in clip.values.get(column) or ():
        first, last = (min(len(counts) - 1, round(track["times_s"][end] / LOOK_S)) for end in (0, -1))
        for look in range(first, last + 1):
            counts[look] += 1
    return counts


def _mostly(clip: Measured, column: str) -> int:
    """The number that is in view for more than half of the clip."""
    counts = sorted(_at_once(clip, column))
    return counts[(len(counts) - 1) // 2]


def _people(clip: Measured) -> _Answer:
    """As many as are in view for most of the clip: by faces where there are any for most of it, else by bodies, which
    detectors lose and invent more often. As sure as that number holds.
    """
    slot = clip.vocabulary.slot("people")
    if not clip.known("face_tracks", "people_tracks"):
        counted = clip.known("face_count", "person_count")
        most = max((float(clip.values[column]) for column in counted), default=None)
        return _UNKNOWN if most is None else (slot.chances(most), counted)
    column = "face_tracks" if _mostly(clip, "face_tracks") else "people_tracks"
    counts = _at_once(clip, column)
    chances: Chances = {}
    for count in counts:
        for term, chance in slot.chances(float(count)).items():
            chances[term] = chances.get(term, 0.0) + chance / len(counts)
    (mostly,) = slot.chances(float(_mostly(clip, column)))
    likeliest = max(chances.pop(mostly), *chances.values(), 0.0)
    return chances | {mostly: likeliest}, (column,)  # of two that are as likely the last comes first


def _sound_kind(clip: Measured) -> _Answer:
    """Speech by its share of the clip; what is left is a voice without words by pitch, or anything else."""
    limits = clip.vocabulary.sound
    loudness_db, speech, voiced = (clip.values.get(name) for name in ("loudness_db", "speech_share", "voiced_share"))
    if loudness_db is None:
        return _UNKNOWN
    if _audible(clip, loudness_db) < limits.audible_from:
        return {"silence": 1.0}, clip.known("loudness_db", "loudness_curve")
    if speech is None or voiced is None:
        return _UNKNOWN
    pitch_hz = clip.values.get("pitch_hz")
    is_voice = voiced >= limits.voiced_from and pitch_hz is not None and pitch_hz >= limits.voice_from_hz
    columns = clip.known("loudness_db", "speech_share", "voiced_share", "pitch_hz")
    spoken = float(np.interp(speech, (0.0, limits.speech_from, 1.0), (0.0, 0.5, 1.0)))
    return {"speech": spoken, "voice" if is_voice else "other": 1.0 - spoken}, columns


def _audible(clip: Measured, loudness_db: float) -> float:
    """Share of the clip that is loud enough to be heard: a click does not make a silent clip sound."""
    curve = [level for level in clip.values.get("loudness_curve") or (loudness_db,) if level is not None]
    return sum(level >= clip.vocabulary.sound.silent_below_db for level in curve) / max(1, len(curve))


def _palette(clip: Measured) -> _Answer:
    limits = clip.vocabulary.palette
    colourfulness, hue_deg = clip.values.get("colourfulness"), clip.values.get("hue_deg")
    if colourfulness is None:
        return _UNKNOWN
    if colourfulness < limits.grey_below:
        return {"grey": 1.0}, ("colourfulness",)
    if hue_deg is None:
        return {"mixed": 1.0}, ("colourfulness",)
    starts = limits.hue_from_deg
    return {min(starts, key=lambda term: (hue_deg - starts[term]) % 360.0): 1.0}, ("colourfulness", "hue_deg")


def _course(clip: Measured) -> _Answer:
    """As sure as it stays when a change must be somewhat larger, or may be somewhat smaller, to count as one."""
    if clip.changes is None:
        return _UNKNOWN
    chances: Chances = {}
    least_step = clip.vocabulary.changes.least_step
    for share in COURSE_STEPS:
        elsewise = clip.vocabulary.with_changes(least_step=share * least_step)
        changes = clip.changes if share == 1.0 else changes_of(clip.values, clip.duration_s, elsewise)
        term = _course_term(changes or ())
        chances[term] = chances.get(term, 0.0) + 1.0 / len(COURSE_STEPS)
    return chances, clip.known(*clip.vocabulary.changes.curves)


def _course_term(changes: tuple[Span, ...]) -> str:
    kinds = {span.kind for span in changes}
    if "onset" in kinds:
        return "arc" if "resolution" in kinds else "rising"
    return "falling" if "resolution" in kinds else "steady"


def _tension(clip: Measured) -> _Answer:
    """As sure as the likeliest arousal: little evidence makes a flat distribution."""
    level = tension(clip.values, clip.changes, clip.vocabulary)
    if level is None:
        return _UNKNOWN
    sure = max(clip.values["arousal"].values())
    chances = clip.vocabulary.slot("tension").chances(level)
    return {term: chance * sure for term, chance in chances.items()}, clip.known(*TENSION)


def _pose(clip: Measured) -> _Answer:
    """The probabilities of the pose model, where there is one."""
    slot, chances = clip.vocabulary.slot("pose"), clip.values.get("pose_class")
    if chances is None:
        return _read(clip, slot)
    folded = {term: chance for name, chance in chances.items() if (term := slot.fold(name)) is not None}
    return folded, ("pose_class",)


def _expression(clip: Measured) -> _Answer:
    slot, chances = clip.vocabulary.slot("face_expression"), clip.values.get("expression") or {}
    folded = {term: chance for name, chance in chances.items() if (term := slot.fold(name)) is not None}
    return _as_sure_as_faces(clip, (folded, ("expression",)))


def _interaction(clip: Measured) -> _Answer:
    limits = clip.vocabulary.interaction
    distance, overlap = clip.values.get("people_distance"), clip.values.get("people_overlap")
    columns = clip.known("person_count", "people_distance", "people_overlap")
    chances, _ = _people(clip)
    if max(chances, key=chances.__getitem__, default=None) == "one":
        return {"alone": chances["one"]}, columns
    if distance is None or overlap is None:
        return _UNKNOWN
    several = 1.0 - chances.get("one", 0.0) - chances.get("none", 0.0) if chances else 1.0
    together = ramp(overlap, limits.overlap_from, limits.blur)
    apart = (1.0 - together) * ramp(distance, limits.near_within, limits.blur)
    shares = {"together": together, "near": 1.0 - together - apart, "apart": apart}
    return {term: several * share for term, share in shares.items() if share > 0.0}, columns


RULES: Mapping[str, Callable[[Measured], _Answer]] = {
    "shot_scale": _shot_scale,
    "people": _people,
    "sound_kind": _sound_kind,
    "palette": _palette,
    "course": _course,
    "tension": _tension,
    "pose": _pose,
    "face_expression": _expression,
    "interaction": _interaction,
}
