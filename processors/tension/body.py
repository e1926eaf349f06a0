"""How tense bodies seem, from raised shoulders, limbs held in, jerky hands and restlessness.

Raised shoulders and arms held against the trunk are coded as signs of tension and fear in the Body Action and Posture
coding system (Dael, Mortillaro and Scherer 2012; Wallbott 1998); movement that is tense is not fluent: its speed
changes from moment to moment (Flash and Hogan 1985 on smoothness; Camurri, Lagerloef and Volpe 2003); small movements
of body on body, such as fidgeting, go with anxiety (Ekman and Friesen 1972). Which way each cue points comes from
these; middles and widths are chosen. It is a measure of how someone holds themselves and no reading of a mind.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import expit

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.posture.keypoints import CURVE_RATE_HZ, curve_of, expansion
from processors.skeleton import EARS, SHOULDERS, WRISTS, Skeleton, aspect_of, skeletons
from store.records import Column

STILL = 0.1
"""Trunk lengths per second: hands that are slower tell nothing of fluency."""


@dataclass(frozen=True)
class Cue:
    """logistic((x - middle) / width) is the cue's level in 0..1; `weight` its say among the cues."""

    middle: float
    width: float
    weight: float


CUES = {
    "shoulders": Cue(-0.55, 0.07, 2.0),
    "contraction": Cue(-0.75, 0.12, 1.0),
    "jerk": Cue(1.0, 0.2, 1.0),
    "restlessness": Cue(-1.1, 0.35, 0.5),
}
"""shoulders: minus the height of the ears above the shoulders, in shoulder widths (0.6 to 0.7 at ease). contraction:
minus the limbs' distance in trunk lengths (`body_expansion`; arms hanging have 0.6 to 0.8, spread 1 and more). jerk:
change of the hands' velocity by their speed (0 in even movement, 2 to and fro). restlessness: inner motion of the
body in powers of ten of its own heights per second (0.03 at rest, 0.2 in lively gestures)."""


@dataclass(frozen=True)
class Options:
    """None."""


class BodyTension(Processor):
    """Soft bodily tension: little evidence keeps it near 0.5, none makes None."""

    version = 1
    reads = Reads(columns=("motion_tracks",), optional=("pose_tracks", "people_tracks"))
    Options = Options
    columns = (
        Column(name="body_tension", kind="float", low=0.0, high=1.0,
               source="mean of body_tension_curve"),
        Column(name="body_tension_curve", kind="curve", low=0.0, high=1.0, rate_hz=CURVE_RATE_HZ,
               source="mean over the people in view of raised shoulders, limbs held in, jerky hands, restless motion "
               "(Dael, Mortillaro and Scherer 2012; Camurri, Lagerloef and Volpe 2003; Ekman and Friesen 1972), nearer "
               "to 0.5 the less of these there is to see; chosen constants; None while nobody is seen"),
        Column(name="body_tension_evidence", kind="json", source="names of the cues that body_tension rests on"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [_judged(clip, row) for clip, row in zip(clips, inputs, strict=True)]


def _judged(clip: DecodedClip, row: Row) -> Row:
    aspect = aspect_of(clip.frames_rgb)
    seen: dict[str, list[list[float | None]]] = {name: [] for name in CUES}
    for track in row.get("pose_tracks") or ():
        for name, points in pose_cues(list(skeletons(track, aspect))).items():
            seen[name].append(curve_of(points, clip.duration_s))
    for points in _restlessness(row):
        seen["restlessness"].append(curve_of(points, clip.duration_s))
    sums, weights = np.zeros(_length(clip)), np.zeros(_length(clip))
    for name, curves in seen.items():
        if not curves:
            continue
        values = np.array([[np.nan if v is None else v for v in curve] for curve in curves])
        known = ~np.isnan(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        level = expit((mean - CUES[name].middle) / CUES[name].width)
        sums += np.where(count > 0, CUES[name].weight * level, 0.0)
        weights += np.where(count > 0, CUES[name].weight, 0.0)
    evidence = [name for name, curves in seen.items() if any(v is not None for curve in curves for v in curve)]
    if not evidence:
        return {"body_tension": None, "body_tension_curve": None, "body_tension_evidence": []}
    missing = sum(cue.weight for cue in CUES.values()) - weights
    curve = (sums + 0.5 * missing) / (weights + missing)
    return {
        "body_tension": float(curve[weights > 0].mean()),
        "body_tension_curve": [float(v) if w > 0 else None for v, w in zip(curve, weights, strict=True)],
        "body_tension_evidence": evidence,
    }


def _length(clip: DecodedClip) -> int:
    return max(1, round(clip.duration_s * CURVE_RATE_HZ))


def pose_cues(sights: Sequence[tuple[float, Skeleton]]) -> dict[str, list[tuple[float, float | None]]]:
    """Of one person: (time in seconds, value) of each cue that key points tell, in the units of CUES."""
    held_in = [(time_s, expansion(skeleton)) for time_s, skeleton in sights]
    return {
        "shoulders": [(time_s, _shoulders(skeleton)) for time_s, skeleton in sights],
        "contraction": [(time_s, None if value is None else -value) for time_s, value in held_in],
        "jerk": _jerk(sights),
    }


def _shoulders(skeleton: Skeleton) -> float | None:
    ears, shoulders, width = skeleton.middle(EARS), skeleton.middle(SHOULDERS), skeleton.width(SHOULDERS)
    if ears is None or shoulders is None or not width:
        return None
    return -float(shoulders[1] - ears[1]) / width


def _jerk(sights: Sequence[tuple[float, Skeleton]]) -> list[tuple[float, float | None]]:
    """At every sight but the outermost: how much the hands' velocity changes, by their mean speed."""
    steps = []
    for (before_s, before), (after_s, after) in pairwise(sights):
        torso = after.torso
        moved = after.places[list(WRISTS)] - before.places[list(WRISTS)]
        steps.append((after_s, np.full((2, 2), np.nan) if not torso else moved / torso / (after_s - before_s)))
    points: list[tuple[float, float | None]] = []
    for (time_s, first), (_, second) in pairwise(steps):
        speeds = (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)) / 2
        changes = np.linalg.norm(second - first, axis=1)
        moving = speeds > STILL  # NaN is not
        points.append((time_s, float((changes[moving] / speeds[moving]).mean()) if moving.any() else None))
    return points


def _restlessness(row: Row) -> Iterator[list[tuple[float, float | None]]]:
    people: Mapping[int, Any] = {track["track"]: track for track in row.get("people_tracks") or ()}
    for motion in row["motion_tracks"] or ():
        person = people.get(motion["track"]) if motion["of"] == "people_tracks" else None
        if person is None:
            continue
        boxes = np.asarray(person["boxes_xyxy"], np.float64)
        heights = np.interp(motion["times_s"], person["times_s"], boxes[:, 3] - boxes[:, 1])
        speeds = np.asarray(motion["inner"]) / np.maximum(heights, 1e-3)
        yield list(zip(motion["times_s"], np.log10(np.maximum(speeds, 1e-4)).tolist(), strict=True))
