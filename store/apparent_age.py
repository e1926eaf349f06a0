"""The gate's rule about age: nobody who may be a minor gets through, nor anyone whose age nobody can tell.

The age model gives a normal distribution for everyone seen (`age_tracks`, in the profile's columns). The rule asks how
much of it lies below `adult_years` plus `margin_years`, and holds the clip from `minor_probability` on.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from store.clip_columns import ClipRow
from store.records import Decision, Json

AGE_MODELS = "age."
"""How the ids of processors that assess ages begin."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AgeLimits:
    """Who may be a minor. No setting lets anyone pass who is more likely than not younger than 18.

    Chosen: at the age model's published error (3.65 years in the mean, 4.6 as a deviation) the defaults hold whoever
    looks younger than 27.5. Others measured the same model on 2,250 portraits of UTKFace (told with their code, not
    repeated here): of those under 18, 85.6% are estimated below 18, 97.8% below 25, 99.2% below 27, 99.8% below 30;
    below 27 are also 87% of those of 18 to 20, 75% of 21 to 25, 26% of 26 to 35 and 1% of those above.
    """

    adult_years: float = Field(default=18.0, ge=18.0)
    margin_years: float = Field(default=2.0, ge=0.0)
    minor_probability: float = Field(default=0.05, gt=0.0, le=0.5)

    @property
    def limit_years(self) -> float:
        """The age that is asked about."""
        return self.adult_years + self.margin_years


def judge_age(row: ClipRow, released: Mapping[str, Any], limits: AgeLimits) -> Decision:
    """The rule's decision on a clip, unless someone has answered for its source.

    Args:
        released: maps `age` to who released the source, if anyone did.
    """
    assessed = any(processor.startswith(AGE_MODELS) for processor in row.get("recipes") or {})
    decision = _by_model(row, limits) if assessed else _by_faces(row)
    if decision.verdict == "hold" and "age" in released:
        release = released["age"]
        return Decision(rule="age", verdict="keep", reason=f"released on record: {release['reason']}", by=release["by"])
    return decision


def _by_model(row: ClipRow, limits: AgeLimits) -> Decision:
    tracks, unassessed = row.get("age_tracks"), row.get("age_unassessed")
    if tracks is None or unassessed is None:
        return _held(row, "faces or people were not looked for, or nothing could be told of their age")
    youngest, score = _likeliest_minor(tracks, limits)
    if score >= limits.minor_probability:
        found = f"someone seen looks {youngest:.0f} and may be younger than {limits.limit_years:g}"
        return _held(row, f"{found} (probability {score:.2f})", score, limits.minor_probability)
    if unassessed > 0:
        return _held(
            row, f"of {unassessed:.0f} of the people seen nothing could be told of their age", float(unassessed)
        )
    seen = f"everyone seen looks older than {limits.limit_years:g}" if tracks else "nobody was seen"
    return Decision(rule="age", verdict="keep", reason=seen, score=score, threshold=limits.minor_probability)


def _likeliest_minor(tracks: Sequence[Json], limits: AgeLimits) -> tuple[float, float]:
    """(apparent age, probability of being younger than the limit) of the likeliest to be; (0, 0) of nobody."""
    found = [
        (track["mean_years"], _below(limits.limit_years, track["mean_years"], track["std_years"])) for track in tracks
    ]
    return max(found, key=lambda one: one[1], default=(0.0, 0.0))


def _below(limit_years: float, mean_years: float, std_years: float) -> float:
    return 0.5 * math.erfc((mean_years - limit_years) / (std_years * math.sqrt(2.0)))


def _by_faces(row: ClipRow) -> Decision:
    """Where no model assesses ages, every face holds the clip."""
    faces = row.get("face_count")
    if faces == 0:
        return Decision(rule="age", verdict="keep", reason="no face was found", score=0.0, threshold=0.0)
    if faces is None:
        return _held(row, "faces were not looked for")
    return _held(row, f"{faces:.0f} face(s) whose age nothing here can assess", float(faces))


def _held(row: ClipRow, found: str, score: float | None = None, threshold: float = 0.0) -> Decision:
    remedy = f"an operator who knows that everyone shown is of age releases source {row.get('source')!r} on record"
    return Decision(rule="age", verdict="hold", reason=f"{found}; {remedy}", score=score, threshold=threshold)
