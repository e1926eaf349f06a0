"""How the main person holds themselves: standing, sitting, lying, kneeling; contracted or expanded.

Posture is read off the heights of hips, knees and ankles against the trunk's length (proportions after Drillis and
Contini 1966: thigh and shank are about nine tenths of the trunk) and off the trunk's lean. Expansion follows the
contraction index of Camurri, Lagerloef and Volpe (2003): how far the limbs reach from the trunk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from processors.base import DecodedClip, Failed, Processor, Reads, Row
from processors.skeleton import (
    ANKLES,
    ELBOWS,
    HIPS,
    KNEES,
    SHOULDERS,
    WRISTS,
    Skeleton,
    aspect_of,
    skeletons,
)
from store.records import Column

CURVE_RATE_HZ = 4.0
KINDS = ("standing", "sitting", "lying", "kneeling", "unknown")
LEAN_DEG, LEAN_WIDTH_DEG = 55.0, 6.0
"""Lean of the trunk from the vertical at which someone lies as likely as not. Chosen: bowing and leaning reach 45."""
THIGH, SHANK, DROP_WIDTH = 0.55, 0.4, 0.08
"""Drop from hip to knee and from knee to ankle, in trunk lengths, at which the limb counts as upright as likely as
not. Chosen: upright ones have 0.8 to 1, level ones pointing at the camera 0 to 0.3."""
HOLD_S = 0.5
"""A curve's point may rest on a sight so near."""


@dataclass(frozen=True)
class Options:
    """None."""


class Posture(Processor):
    """Posture and expansion of the main person (largest, seen longest); None without key points."""

    version = 1
    reads = Reads(optional=("pose_tracks",))
    Options = Options
    columns = (
        Column(name="pose_class", kind="json", low=0.0, high=1.0,
               source="probabilities of standing, sitting, lying, kneeling and unknown (limbs that are not seen): mean "
               "over the main person's sights; logistic in the drop from hips to knees to ankles by the trunk's length "
               "(Drillis and Contini 1966) and in the trunk's lean, chosen constants"),
        Column(name="posture", kind="text",
               source="the likeliest of pose_class; None where that is unknown"),
        Column(name="body_expansion", kind="float", unit="trunk lengths", low=0.0,
               source="mean of body_expansion_curve"),
        Column(name="body_expansion_curve", kind="curve", unit="trunk lengths", low=0.0, rate_hz=CURVE_RATE_HZ,
               source="mean distance of the main person's elbows, wrists, knees and ankles, where seen, from the "
               "trunk's middle, after the contraction index of Camurri, Lagerloef and Volpe 2003"),
    )  # fmt: skip

    def process(self, clips: Sequence[DecodedClip], inputs: Sequence[Row]) -> list[Row | Failed]:
        return [self._measured(clip, row) for clip, row in zip(clips, inputs, strict=True)]

    def _measured(self, clip: DecodedClip, row: Row) -> Row:
        aspect = aspect_of(clip.frames_rgb)
        sights = main_sights(row.get("pose_tracks") or (), aspect)
        if not sights:
            return dict.fromkeys(column.name for column in self.columns)
        chances = np.mean([[posture(skeleton)[kind] for kind in KINDS] for _, skeleton in sights], axis=0)
        curve = curve_of([(t, expansion(s)) for t, s in sights], clip.duration_s)
        known = [value for value in curve if value is not None]
        likeliest = KINDS[int(chances.argmax())]
        return {
            "pose_class": dict(zip(KINDS, chances.tolist(), strict=True)),
            "posture": None if likeliest == "unknown" else likeliest,
            "body_expansion": float(np.mean(known)) if known else None,
            "body_expansion_curve": curve if known else None,
        }


def main_sights(tracks: Sequence[Mapping[str, Any]], aspect: float) -> list[tuple[float, Skeleton]]:
    """The sights of the person with the largest area, summed over the sights; empty without any."""
    people = [list(skeletons(track, aspect)) for track in tracks]
    return max(people, key=lambda sights: sum(skeleton.area for _, skeleton in sights), default=[])


def posture(skeleton: Skeleton) -> dict[str, float]:
    """Probabilities of KINDS at one sight."""
    unknown = dict.fromkeys(KINDS, 0.0) | {"unknown": 1.0}
    shoulders, hips, torso = skeleton.middle(SHOULDERS), skeleton.middle(HIPS), skeleton.torso
    if shoulders is None or hips is None or torso is None:
        return unknown
    across, down = hips - shoulders
    lean_deg = float(np.degrees(np.arctan2(abs(across), down)))
    lying = float(expit((lean_deg - LEAN_DEG) / LEAN_WIDTH_DEG))
    knees, ankles = skeleton.middle(KNEES), skeleton.middle(ANKLES)
    if knees is None:
        return unknown | {"lying": lying, "unknown": 1.0 - lying}
    thigh = float(expit(((knees - hips)[1] / torso - THIGH) / DROP_WIDTH))
    if ankles is None:  # a thigh that is upright may stand or kneel
        shares = {"sitting": 1.0 - thigh, "standing": 0.5 * thigh, "kneeling": 0.0, "unknown": 0.5 * thigh}
    else:
        shank = float(expit(((ankles - knees)[1] / torso - SHANK) / DROP_WIDTH))
        heels = (1.0 - thigh) * (1.0 - shank)  # on one's heels, or with the legs towards the camera
        shares = {
            "standing": thigh * shank,
            "kneeling": thigh * (1.0 - shank) + 0.5 * heels,
            "sitting": (1.0 - thigh) * shank + 0.5 * heels,
            "unknown": 0.0,
        }
    return {"lying": lying} | {kind: (1.0 - lying) * share for kind, share in shares.items()}


def expansion(skeleton: Skeleton) -> float | None:
    """Mean distance of the limbs' points from the trunk's middle in trunk lengths; None where no limb is seen."""
    shoulders, torso = skeleton.middle(SHOULDERS), skeleton.torso
    if shoulders is None or torso is None:
        return None
    hips = skeleton.middle(HIPS)
    centre = (shoulders + hips) / 2 if hips is not None else shoulders + np.array([0.0, torso / 2])
    limbs = skeleton.places[[*ELBOWS, *WRISTS, *KNEES, *ANKLES]]
    distances = np.linalg.norm(limbs - centre, axis=1)
    seen = distances[~np.isnan(distances)]
    return float(seen.mean()) / torso if len(seen) else None


def curve_of(points: Sequence[tuple[float, float | None]], duration_s: float) -> list[float | None]:
    """A curve at CURVE_RATE_HZ of the nearest known point within HOLD_S; None elsewhere.

    points: (time in seconds, value), by time.
    """
    known = [(time_s, value) for time_s, value in points if value is not None]
    curve: list[float | None] = []
    for i in range(max(1, round(duration_s * CURVE_RATE_HZ))):
        near = min(known, key=lambda point: abs(point[0] - i / CURVE_RATE_HZ), default=None)
        curve.append(near[1] if near is not None and abs(near[0] - i / CURVE_RATE_HZ) <= HOLD_S else None)
    return curve
