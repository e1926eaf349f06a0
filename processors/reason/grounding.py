"""Grounding: each claim of a trace is held against what was measured of the clip.

A measurement may be wrong too: what comes out is how strongly the two contradict each other, and never a correction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from processors.affect.divergence import divergence
from processors.distill.vocabulary import Slot, Vocabulary
from processors.reason.measures import Measured
from processors.reason.trace import Event, Finding, Signal, Trace
from store.records import Check

CONTRADICTED_FROM = 0.5
"""Strength from which a claim counts as contradicted. Chosen: the claim and the measurement share less than half."""
TOO_MANY = 0.25
"""Chosen: mean strength over the checked claims from which a clip is asked about again, then goes to a person ..."""
LEAST_CONTRADICTIONS = 2
"""... if there are so many at least: one may be the measurement's fault."""
SLACK_S = 0.5
"""Chosen: faces and bodies are looked for every 0.5 s."""
OPPOSED = 1.0
"""Levels on -1..1 that are so far apart are opposed: chosen, half of the range."""


@dataclass(frozen=True)
class Grounded:
    """All checks of a trace. score: mean strength over the claims that could be checked."""

    checks: tuple[Check, ...]
    score: float

    @property
    def contradictions(self) -> tuple[Check, ...]:
        """The claims that contradict what was measured, the strongest first."""
        return tuple(sorted((c for c in self.checks if c.verdict == "contradicted"), key=lambda c: (-c.score, c.claim)))

    @property
    def too_many(self) -> bool:
        """Whether the engine, or a person, should look again."""
        return self.score >= TOO_MANY and len(self.contradictions) >= LEAST_CONTRADICTIONS


def ground(said: Trace, measured: Trace, clip: Measured, n_frames: int) -> Grounded:
    """Check a trace.

    Args:
        measured: what the rules say of the clip.
        n_frames: frames that the reasoner was shown.
    """
    checks = (
        *_findings(said, measured, clip.vocabulary),
        *_people(said, clip),
        *(check for event in said.events for check in _event(event, clip)),
        *_signals(said.signals, clip),
        *_feeling(said, clip),
        *_cited(said, n_frames),
    )
    known = [check.score for check in checks if check.verdict != "unchecked"]
    return Grounded(checks, round(sum(known) / len(known), 4) if known else 0.0)


def _check(claim: str, measured: str, strength: float | None) -> Check:
    if strength is None:
        return Check(claim=claim, measured="", verdict="unchecked", score=0.0)
    verdict: Literal["contradicted", "supported"] = "contradicted" if strength >= CONTRADICTED_FROM else "supported"
    return Check(claim=claim, measured=measured, verdict=verdict, score=round(min(1.0, max(0.0, strength)), 4))


# --- what fills the slots --------------------------------------------------------------------------------------


def _findings(said: Trace, measured: Trace, vocabulary: Vocabulary) -> Iterator[Check]:
    for slot in vocabulary.slots:
        told, known = said.findings[slot.name], measured.findings[slot.name]
        if told.readings:
            strength = _apart(told, known, slot) * known.confidence if known.readings else None
            yield _check(f"{slot.name} is {_words(told)}", f"{slot.name} was measured as {_words(known)}", strength)


def _words(finding: Finding) -> str:
    return " or ".join(f"{one.term} ({one.pct} %)" for one in finding.readings)


def _apart(told: Finding, known: Finding, slot: Slot) -> float:
    """How far two readings are apart, in [0, 1]: total variation; between neighbours on a scale it counts half."""
    names = [term.name for term in slot.terms]
    shares = np.zeros((2, len(names)))
    for row, finding in zip(shares, (told, known), strict=True):
        for one in finding.readings:
            row[names.index(one.term)] = one.pct
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    if any(term.low is not None for term in slot.terms):  # a scale: how many steps the mass must be moved
        steps = np.abs(np.cumsum(shares[0] - shares[1]))[:-1].sum()
        return float(min(1.0, steps / 2.0))
    return float(np.abs(shares[0] - shares[1]).sum() / 2.0)


def _people(said: Trace, clip: Measured) -> Iterator[Check]:
    """People that are counted against tracks: missing one that was tracked weighs double, for detectors miss people."""
    counts = [int(clip.values[column]) for column in clip.known("face_count", "person_count")]
    claimed = sum(one.count for one in said.present if one.kind == "person")
    if not counts:
        if claimed:
            yield _check(f"{claimed} people are present", "", None)
        return
    tracked = max(counts)
    apart = abs(claimed - tracked) / max(claimed, tracked, 1)
    yield _check(
        f"{claimed} people are present",
        f"{tracked} people were tracked at once",
        apart if claimed < tracked else apart / 2.0,
    )


# --- events ----------------------------------------------------------------------------------------------------


def _event(event: Event, clip: Measured) -> Iterator[Check]:
    start_s, end_s = event.start_ms / 1000, event.end_ms / 1000
    claim = f"{event.what} ({event.kind}) from {start_s:.1f} to {end_s:.1f} s"
    if end_s < start_s or end_s > clip.duration_s + SLACK_S:
        yield _check(claim, f"the clip lasts from 0.0 to {clip.duration_s:.1f} s", 1.0)
        return
    measured, strength = (
        _SEEN_OR_HEARD[event.kind](clip, start_s, end_s) if event.kind in _SEEN_OR_HEARD else ("", None)
    )
    yield _check(claim, measured, strength)


def _part(curve: Sequence[float | None], rate_hz: float, start_s: float, end_s: float) -> np.ndarray:
    """Known points of a curve between two times, one at least where there are any nearby."""
    first, last = int(start_s * rate_hz), max(int(start_s * rate_hz) + 1, round(end_s * rate_hz))
    return np.array([point for point in curve[first:last] if point is not None], float)


def _moves(clip: Measured, start_s: float, end_s: float) -> tuple[str, float | None]:
    part = _part(clip.values.get("motion_curve") or (), clip.vocabulary.changes.rate_hz, start_s, end_s)
    still = clip.vocabulary.slot("motion").terms[1].low
    if not len(part) or still is None:
        return "", None
    peak = float(part.max())
    return f"motion there is {peak:.3g} frame heights/s at most", float(max(0.0, 1.0 - peak / still))


def _stops(clip: Measured, start_s: float, end_s: float) -> tuple[str, float | None]:
    rate_hz, curve = clip.vocabulary.changes.rate_hz, clip.values.get("motion_curve") or ()
    before = _part(curve, rate_hz, max(0.0, start_s - 1.0), start_s)
    after = _part(curve, rate_hz, end_s, min(clip.duration_s, end_s + 1.0))
    if not len(before) or not len(after):
        return "", None
    ratio = float(after.mean() / max(before.mean(), 1e-6))
    return f"motion after it is {ratio:.2g} times that before", min(1.0, ratio / 2.0)


def _speaks(clip: Measured, start_s: float, end_s: float) -> tuple[str, float | None]:
    spans_s = clip.values.get("speech_spans")
    if spans_s is None:
        return "", None
    heard_s = sum(max(0.0, min(end_s, last) - max(start_s, first)) for first, last in spans_s)
    share = heard_s / max(end_s - start_s, 0.1)
    return f"speech fills {share:.0%} of it", max(0.0, 1.0 - 2.0 * share)


def _sounds(clip: Measured, start_s: float, end_s: float) -> tuple[str, float | None]:
    part = _part(clip.values.get("loudness_curve") or (), clip.vocabulary.changes.rate_hz, start_s, end_s)
    if not len(part):
        return "", None
    loudest = float(part.max())
    return f"the level is {loudest:.0f} dBFS at most", float(loudest < clip.vocabulary.sound.silent_below_db)


def _comes(clip: Measured, start_s: float, end_s: float) -> tuple[str, float | None]:
    return _track_ends(clip, start_s, end_s, 0, "begins")


def _goes(clip: Measured, start_s: float, end_s: float) -> tuple[str, float | None]:
    return _track_ends(clip, start_s, end_s, -1, "ends")


def _track_ends(clip: Measured, start_s: float, end_s: float, which: int, does: str) -> tuple[str, float | None]:
    """Only people and objects that are tracked can be held against it; what else appears cannot."""
    tracks = [track for column in ("people_tracks", "object_tracks") for track in clip.values.get(column) or ()]
    if not tracks:
        return "", None
    away_s = min(max(start_s - t, t - end_s, 0.0) for t in (track["times_s"][which] for track in tracks))
    return f"the nearest track {does} {away_s:.1f} s away", 0.0 if away_s <= SLACK_S else None


_SEEN_OR_HEARD = {
    "moves": _moves,
    "stops": _stops,
    "speaks": _speaks,
    "sounds": _sounds,
    "appears": _comes,
    "leaves": _goes,
}


# --- signals, affect, what is cited ------------------------------------------------------------------------------


def _signals(signals: Sequence[Signal], clip: Measured) -> Iterator[Check]:
    levels = {name: clip.vocabulary.control(name).level(value) for name, (value, _) in clip.controls.items()}
    for signal in signals:
        level, sure = levels.get(signal.name), signal.confidence_pct / 100
        claim = f"{signal.name} is at {signal.level_pct} of -100 to 100"
        apart = None if level is None else abs(level - signal.level_pct / 100) / OPPOSED * CONTRADICTED_FROM * sure
        yield _check(claim, "" if level is None else f"{signal.name} was measured at {100 * level:.0f}", apart)


def _feeling(said: Trace, clip: Measured) -> Iterator[Check]:
    for name, told in (("valence", said.feeling.valence), ("arousal", said.feeling.arousal)):
        known: Mapping[str, float] | None = clip.values.get(name)
        if told is None:
            continue
        shares = {key.removesuffix("_pct"): value for key, value in told.model_dump().items()}
        claim = f"{name} is " + ", ".join(f"{key} {value} %" for key, value in shares.items())
        if known is None or not sum(shares.values()):
            yield _check(claim, "", None)
            continue
        measured = ", ".join(f"{key} {100 * known[key]:.0f} %" for key in shares)
        yield _check(claim, f"{name} was measured as {measured}", divergence([_normal(shares), _normal(known)]))


def _normal(shares: Mapping[str, float]) -> dict[str, float]:
    total = max(sum(shares.values()), 1e-9)
    return {name: share / total for name, share in shares.items()}


def _cited(said: Trace, n_frames: int) -> Iterator[Check]:
    claims: list[Any] = [*said.present, *said.events, *said.findings.values(), *said.signals]
    beyond = sorted({frame for claim in claims for frame in claim.evidence.frames if frame > n_frames})
    if beyond:
        yield _check(f"frames {', '.join(map(str, beyond))} show it", f"{n_frames} frames were shown", 1.0)
